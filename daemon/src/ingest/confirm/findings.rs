//! Tells the operator of artifacts that are there and not what their manifest says.
//!
//! The ledger is never asked while [`Faulty`] is locked: the thread that looks at artifacts, and
//! shows that the daemon lives, needs it for every look.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use jiff::Timestamp;
use runsync_config::root::Root;
use runsync_manifest::name::{ArtifactPath, RunKey};
use tracing::warn;

use super::compare::Fault;
use crate::file_identity::FileIdentity;
use crate::ingest::flow::Flow;
use crate::ledger::LedgerError;
use crate::ledger::record::Finding;
use crate::poison::lock;
use crate::registry::record::WaitingArtifact;
use crate::telemetry::metrics::{self, Artifacts};

/// Kind of the finding.
pub(super) const CORRUPT: &str = "corrupt";
/// Faulty artifacts remembered: a bound on memory.
const REMEMBERED: usize = 100_000;

/// The artifacts of one root that have such a finding.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    /// Files that were told of, so that none is read again and again.
    known: HashMap<ArtifactPath, FileIdentity>,
    told: Told,
}

/// Which paths have a finding in the ledger.
#[derive(Debug, Default)]
enum Told {
    /// The ledger is to be asked.
    #[default]
    Unknown,
    /// These.
    These(HashSet<String>),
    /// More than are remembered: it may be any.
    Many,
}

impl Faulty {
    /// Whether this very file was told of.
    pub(super) fn knows(&self, path: &ArtifactPath, identity: FileIdentity) -> bool {
        self.known.get(path) == Some(&identity)
    }

    fn insert(&mut self, path: ArtifactPath, identity: FileIdentity) {
        if let Told::These(told) = &mut self.told {
            told.insert(path.to_string());
            if told.len() > REMEMBERED {
                self.told = Told::Many;
            }
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(path, identity);
    }

    /// Those of the artifacts that may have a finding.
    fn told_of<'a>(
        &self,
        artifacts: impl Iterator<Item = &'a WaitingArtifact>,
    ) -> Vec<&'a ArtifactPath> {
        let paths = artifacts.map(|artifact| &artifact.path);
        match &self.told {
            Told::These(told) if told.is_empty() => Vec::new(),
            Told::These(told) => paths.filter(|path| told.contains(path.as_str())).collect(),
            Told::Unknown | Told::Many => paths.collect(),
        }
    }
}

/// Reads once which paths were told of, also by earlier processes.
pub(super) fn recall(faulty: &Mutex<Faulty>, flow: &Flow) -> Result<(), LedgerError> {
    if !matches!(lock(faulty).told, Told::Unknown) {
        return Ok(());
    }
    let ours = ours(flow.root());
    let ledger = &flow.site().ledger;
    let findings = ledger.findings_of(CORRUPT, &ours, None, REMEMBERED + 1)?;
    let told = if findings.len() > REMEMBERED {
        Told::Many
    } else {
        let paths = findings.iter().filter_map(|one| path_of(&ours, one));
        Told::These(paths.map(str::to_owned).collect())
    };
    lock(faulty).told = told;
    Ok(())
}

/// Keeps a finding for each artifact that has stopped changing; others may still be on their way.
pub(super) fn tell(
    faulty: &Mutex<Faulty>,
    flow: &Flow,
    run: &RunKey,
    wrong: Vec<Fault>,
) -> Result<(), LedgerError> {
    let root = flow.root();
    let now = flow.site().clock.now();
    let settled = |fault: &Fault| has_settled(fault.identity, root, now);
    let settled: Vec<Fault> = wrong.into_iter().filter(settled).collect();
    if settled.is_empty() {
        return Ok(());
    }
    let finding = |fault: &Fault| Finding {
        kind: CORRUPT.to_owned(),
        subject: subject(root, &fault.path),
        detail: format!("run `{}`: {}", run.name, fault.detail),
        first_seen: now,
        last_seen: now,
        times: 1,
    };
    let findings: Vec<Finding> = settled.iter().map(finding).collect();
    flow.site().ledger.find_all(&findings)?;
    metrics::artifacts(&root.name, Artifacts::Corrupt, settled.len() as u64);
    for Fault { path, detail, .. } in &settled {
        warn!(run = %run.name, %path, detail, "artifact is not what its manifest says");
    }
    let mut faulty = lock(faulty);
    for Fault { path, identity, .. } in settled {
        faulty.insert(path, identity);
    }
    Ok(())
}

/// Drops the findings about artifacts that were found right, in one commit.
///
/// Called before they get their records: where a crash or an error comes in between, they are still
/// waited for and found right again. After it nobody would look at them any more.
pub(super) fn heal<'a>(
    faulty: &Mutex<Faulty>,
    flow: &Flow,
    artifacts: impl Iterator<Item = &'a WaitingArtifact>,
) -> Result<(), LedgerError> {
    let healed = lock(faulty).told_of(artifacts);
    if healed.is_empty() {
        return Ok(());
    }
    let subjects: Vec<String> = healed
        .iter()
        .map(|path| subject(flow.root(), path))
        .collect();
    flow.site().ledger.healed_all(CORRUPT, &subjects)?;
    let mut faulty = lock(faulty);
    for path in healed {
        faulty.known.remove(path);
        if let Told::These(told) = &mut faulty.told {
            told.remove(path.as_str());
        }
    }
    Ok(())
}

/// Forgets which files were told of: nothing is waited for any more.
pub(super) fn forget(faulty: &Mutex<Faulty>) {
    lock(faulty).known.clear();
}

/// What the subjects of a root's findings begin with.
pub(super) fn ours(root: &Root) -> String {
    format!("{}:", root.name)
}

/// The path that a finding is about, where it is of the root whose findings begin with `ours`.
pub(super) fn path_of<'a>(ours: &str, finding: &'a Finding) -> Option<&'a str> {
    finding.subject.strip_prefix(ours)
}

/// The name of the run that waits for it.
pub(super) fn run_of(finding: &Finding) -> Option<&str> {
    let (name, _) = finding.detail.strip_prefix("run `")?.split_once('`')?;
    Some(name)
}

fn has_settled(identity: FileIdentity, root: &Root, now: Timestamp) -> bool {
    let settle = i128::try_from(root.settle.as_nanos()).unwrap_or(i128::MAX);
    i128::from(identity.modified_ns).saturating_add(settle) <= now.as_nanosecond()
}

fn subject(root: &Root, path: &ArtifactPath) -> String {
    format!("{}:{path}", root.name)
}
