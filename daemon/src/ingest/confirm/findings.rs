//! Tells the operator of artifacts that are there and not what their manifest says.

use std::collections::HashMap;

use jiff::Timestamp;
use runsync_config::root::Root;
use runsync_manifest::name::{ArtifactPath, RunKey};
use tracing::warn;

use super::compare::Fault;
use crate::file_identity::FileIdentity;
use crate::ingest::flow::Flow;
use crate::ledger::LedgerError;
use crate::ledger::record::Finding;
use crate::registry::record::WaitingArtifact;

/// Kind of the finding.
const CORRUPT: &str = "corrupt";
/// Faulty artifacts remembered, so that one file is not read again and again.
const REMEMBERED: usize = 100_000;

/// The artifacts of one root that have such a finding.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    known: HashMap<ArtifactPath, FileIdentity>,
}

impl Faulty {
    /// Whether this very file was told of.
    pub(super) fn knows(&self, path: &ArtifactPath, identity: FileIdentity) -> bool {
        self.known.get(path) == Some(&identity)
    }

    pub(super) fn forget_all(&mut self) {
        self.known.clear();
    }

    /// Keeps a finding for each artifact that has stopped changing; others may still be on
    /// their way.
    pub(super) fn found(
        &mut self,
        flow: &Flow,
        run: &RunKey,
        faults: Vec<Fault>,
    ) -> Result<(), LedgerError> {
        let root = flow.root();
        let now = flow.site().clock.now();
        let settled: Vec<Fault> = faults
            .into_iter()
            .filter(|fault| has_settled(fault.identity, root, now))
            .collect();
        let findings: Vec<Finding> = settled
            .iter()
            .map(|fault| Finding {
                kind: CORRUPT.to_owned(),
                subject: subject(root, &fault.path),
                detail: format!("run `{}`: {}", run.name, fault.detail),
                first_seen: now,
                last_seen: now,
                times: 1,
            })
            .collect();
        flow.site().ledger.find_all(&findings)?;
        for Fault {
            path,
            identity,
            detail,
        } in settled
        {
            warn!(run = %run.name, %path, detail, "artifact is not what its manifest says");
            if self.known.len() >= REMEMBERED {
                self.known.clear();
            }
            self.known.insert(path, identity);
        }
        Ok(())
    }

    /// Drops the findings about artifacts that are as they should be now.
    pub(super) fn healed(
        &mut self,
        flow: &Flow,
        artifacts: &[WaitingArtifact],
    ) -> Result<(), LedgerError> {
        for artifact in artifacts {
            if self.known.remove(&artifact.path).is_some() {
                let subject = subject(flow.root(), &artifact.path);
                flow.site().ledger.healed(CORRUPT, &subject)?;
            }
        }
        Ok(())
    }
}

fn has_settled(identity: FileIdentity, root: &Root, now: Timestamp) -> bool {
    let settle = i128::try_from(root.settle.as_nanos()).unwrap_or(i128::MAX);
    i128::from(identity.modified_ns).saturating_add(settle) <= now.as_nanosecond()
}

fn subject(root: &Root, path: &ArtifactPath) -> String {
    format!("{}:{path}", root.name)
}
