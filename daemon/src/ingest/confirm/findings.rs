//! Tells the operator of artifacts that are there and not what their manifest says.

use std::collections::{HashMap, HashSet};

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
use crate::telemetry::metrics::{self, Artifacts};

/// Kind of the finding.
const CORRUPT: &str = "corrupt";
/// Faulty artifacts remembered, so that one file is not read again and again.
const REMEMBERED: usize = 100_000;

/// The artifacts of one root that have such a finding.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    known: HashMap<ArtifactPath, FileIdentity>,
    /// Paths that an earlier process has told of, once they were asked for.
    recalled: Option<HashSet<String>>,
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
        metrics::artifacts(&root.name, Artifacts::Corrupt, settled.len() as u64);
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
        self.recall(flow)?;
        if self.known.is_empty() && self.recalled.as_ref().is_none_or(HashSet::is_empty) {
            return Ok(());
        }
        for artifact in artifacts {
            let recalled = self.recalled.as_mut();
            let told = recalled.is_some_and(|paths| paths.remove(artifact.path.as_str()));
            if self.known.remove(&artifact.path).is_some() || told {
                let subject = subject(flow.root(), &artifact.path);
                flow.site().ledger.healed(CORRUPT, &subject)?;
            }
        }
        Ok(())
    }

    /// Reads once what an earlier process has told of.
    fn recall(&mut self, flow: &Flow) -> Result<(), LedgerError> {
        if self.recalled.is_none() {
            let prefix = format!("{}:", flow.root().name);
            let corrupt = flow.site().ledger.findings()?.into_iter();
            let paths = corrupt
                .filter(|finding| finding.kind == CORRUPT)
                .filter_map(|finding| Some(finding.subject.strip_prefix(&prefix)?.to_owned()));
            self.recalled = Some(paths.collect());
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
