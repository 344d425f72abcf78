//! Shows the operator what cannot be read among the manifests, until it can be.
//!
//! Such a file is tried again and again and says nothing about itself, so it has no state in the
//! ledger. Without a finding nobody would know that it is there.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tracing::{info, warn};

use super::flow::Flow;
use crate::ledger::LedgerError;
use crate::ledger::record::Finding;

/// Kind of the finding.
const UNREADABLE: &str = "manifest_unreadable";

/// The files and folders of one root that have such a finding.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    paths: BTreeSet<String>,
    /// Whether `paths` holds what an earlier process has found.
    recalled: bool,
}

impl Unreadable {
    /// Keeps a finding; the log hears of it once.
    pub(super) fn found(
        &mut self,
        flow: &Flow,
        path: &str,
        error: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        flow.site().ledger.find_all(&[Finding {
            kind: UNREADABLE.to_owned(),
            subject: subject(flow, path),
            detail: error.to_owned(),
            first_seen: now,
            last_seen: now,
            times: 1,
        }])?;
        if self.paths.insert(path.to_owned()) {
            let root = &flow.root().name;
            warn!(%root, path, error, "manifest cannot be read; it is tried again");
        }
        Ok(())
    }

    /// Drops the finding about `path`, if there is one: it was read, or is gone.
    pub(super) fn healed(&mut self, flow: &Flow, path: &str) -> Result<(), LedgerError> {
        if self.paths.contains(path) {
            flow.site()
                .ledger
                .healed(UNREADABLE, &subject(flow, path))?;
            self.paths.remove(path);
            info!(root = %flow.root().name, path, "manifest can be read again, or is gone");
        }
        Ok(())
    }

    /// Drops all findings but those about paths that `stays` names.
    pub(super) fn keep(
        &mut self,
        flow: &Flow,
        stays: impl Fn(&str) -> bool,
    ) -> Result<(), LedgerError> {
        self.recall(flow)?;
        let gone: Vec<String> = self
            .paths
            .iter()
            .filter(|path| !stays(path))
            .cloned()
            .collect();
        gone.iter().try_for_each(|path| self.healed(flow, path))
    }

    fn recall(&mut self, flow: &Flow) -> Result<(), LedgerError> {
        if self.recalled {
            return Ok(());
        }
        let ours = subject(flow, "");
        let ledger = &flow.site().ledger;
        for finding in ledger.findings_of(UNREADABLE, &ours, None, usize::MAX)? {
            let path = finding.subject.strip_prefix(&ours).map(str::to_owned);
            self.paths.extend(path);
        }
        self.recalled = true;
        Ok(())
    }
}

fn subject(flow: &Flow, path: &str) -> String {
    format!("{}:{path}", flow.root().name)
}
