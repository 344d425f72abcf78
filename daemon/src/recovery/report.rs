//! What a scan has seen, and found.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runsync_config::root::RootName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ledger::scans::DriftKind;

/// Examples that are told of things that are only counted.
pub(super) const EXAMPLES: usize = 100;

/// What a pass has seen so far, whether by one scan or by several that went on with it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScanCounts {
    /// The share of artifacts that all scans of the pass were asked to read; none before the first path.
    pub share: Option<f64>,
    /// Paths that were met, whether files, records or both: what limits count.
    pub objects: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Artifacts that are confirmed by the registry.
    pub records: u64,
    /// Of these, those whose file has the size of the record.
    pub agree: u64,
    /// Files that were read and have the checksums of their records.
    pub checked: u64,
    /// Bytes that were read.
    pub checked_bytes: u64,
    /// Artifacts that are awaited: nothing is said of them.
    pub awaited: u64,
    /// Artifacts that a registration, a removal or a restoration under way concerns: the same.
    pub under_way: u64,
    /// Files that no record names and that a journal, or a manifest which is not registered, does.
    pub spoken_for: u64,
    /// Files that no record names and that are too new to be told from those just arriving.
    pub new: u64,
    /// Files that no record names in a root where names are Rucio's: dark ones are not told there.
    pub untold: u64,
    /// Of the files that are too new or undecided, those that are from the future.
    pub ahead: u64,
    /// Second names of artifacts that Rucio keeps under others.
    pub second_names: u64,
    /// Files of temporary or hidden names that no record names.
    pub temporary: u64,
    /// Names that no artifact can have.
    pub unnameable: u64,
    /// Links, pipes and the like that no record names.
    pub irregular: u64,
    /// Artifacts that the listing left out, and that are there.
    pub left_out: u64,
    /// Folders that could not be listed whole.
    pub unlisted: u64,
    /// Artifacts below these that are confirmed by the registry.
    pub unjudged: u64,
    /// Artifacts below folders that are roots of their own, whose files are those roots'.
    pub elsewhere: u64,
    /// Paths about which no conclusion could be drawn: something changed meanwhile, or age tells nothing.
    pub undecided: u64,
    /// Paths that could not be looked at, opened or read.
    pub unreadable: u64,
    /// Calls to storage.
    pub calls: u64,
}

/// What came of scanning one root, or one folder of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanReport {
    /// The root.
    pub root: RootName,
    /// The folder; empty for all of the root; `/runs` and which for those of runs.
    pub scope: String,
    /// The number of the pass.
    pub pass: u64,
    /// Whether the pass is through; else the next scan goes on with it.
    pub whole: bool,
    /// Where it goes on.
    pub position: Option<String>,
    /// When the pass began.
    pub begun_at: Timestamp,
    /// When a pass last went through.
    pub finished_at: Option<Timestamp>,
    /// What the pass has seen so far.
    pub counts: ScanCounts,
    /// Findings there are now in what is scanned, without those to be left out.
    pub findings: BTreeMap<DriftKind, u64>,
    /// What kept this scan from conclusions, and what else an operator should know.
    pub notes: Vec<String>,
    /// Folders that this scan could not list, or the first of them, with the reason.
    pub unlisted: Vec<String>,
    /// Names of things that this scan only counted, or the first of them.
    pub odd: Vec<String>,
    /// Deletions that have been under way for long, or cannot go on.
    pub stale_journals: Vec<StaleJournal>,
    /// Runs that have waited past their deadline.
    pub overdue_runs: Vec<OverdueRun>,
}

/// A deletion that has been under way for long, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleJournal {
    /// Name of the journal.
    pub name: String,
    /// The removal; none where the journal cannot be read.
    pub removal: Option<Uuid>,
    /// What is the matter.
    pub reason: String,
}

/// A run that has waited past its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverdueRun {
    /// The run, with its origin.
    pub run: String,
    /// What it waits for.
    pub detail: String,
}

impl ScanCounts {
    /// Artifacts below folders that could not be listed, and what could not be looked at or read.
    pub fn unseen(&self) -> u64 {
        self.unjudged.saturating_add(self.unreadable)
    }
}

impl ScanReport {
    /// Whether nothing was found, and nothing kept from conclusions.
    pub fn is_well(&self) -> bool {
        self.findings.values().all(|count| *count == 0)
            && self.counts.unlisted == 0
            && self.counts.unreadable == 0
            && self.notes.is_empty()
            && self.stale_journals.is_empty()
            && self.overdue_runs.is_empty()
    }
}
