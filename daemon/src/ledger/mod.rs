//! runsync's own memory: every manifest file seen, its state and why, and findings.
//!
//! Separate from the registry, because it stays ours when a Butler is the registry.
//! Methods block (decision 0002).

pub mod record;

pub mod hints;

pub mod scans;

pub mod spans;

pub mod drift_summary;

pub mod jobs;

pub mod repairs;

pub mod error;

pub mod sqlite;

#[cfg(test)]
mod conformance;

#[cfg(test)]
mod hint_conformance;

#[cfg(test)]
mod scan_conformance;

#[cfg(test)]
mod repair_conformance;

use std::fmt::Debug;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ArtifactPath, ManifestId, RepositoryId, RunKey};

use crate::file_identity::FileIdentity;
use crate::ledger::drift_summary::DriftSummary;
pub use crate::ledger::error::LedgerError;
use crate::ledger::jobs::JobRow;
use crate::ledger::record::{
    Finding, Hint, HintKind, Location, MadeName, ManifestRow, ManifestState, NewHint, NewPoison,
    NewRequest, Poison, Publication, PublicationState, RequestRow, RuleEnding, SyncMarks, SyncPass,
};
use crate::ledger::repairs::{
    NewDeclaration, NewRepair, RepairEnd, RepairRow, Repaired, Watch, WhichRepairs,
};
use crate::ledger::scans::{Drift, DriftFilter, DriftFinding, DriftKind, Ignored, ScanRow, Span};
pub use crate::ledger::sqlite::{SqliteLease, SqliteLedger};

/// A ledger.
pub trait Ledger: Send + Sync + Debug {
    /// A number that grows with every row forgotten, also by another process: equal numbers mean
    /// that nobody has asked for a file to be taken anew in between.
    fn forgotten(&self) -> Result<u64, LedgerError>;

    /// Every file known in a root with its state: what a sweep compares with.
    fn known_files(
        &self,
        root: &RootName,
    ) -> Result<Vec<(String, FileIdentity, ManifestState)>, LedgerError>;

    /// The row of one file.
    fn manifest(&self, at: &Location) -> Result<Option<ManifestRow>, LedgerError>;

    /// The rows of those of the files that are known.
    fn manifests_at(
        &self,
        root: &RootName,
        paths: &[&str],
    ) -> Result<Vec<ManifestRow>, LedgerError>;

    /// Notes the files that manifests lie in now, in one commit: nothing else about them has
    /// changed.
    fn seen_again(
        &self,
        root: &RootName,
        files: &[(String, FileIdentity)],
    ) -> Result<(), LedgerError>;

    /// Writes rows, replacing those of the same files, in one commit.
    fn record(&self, rows: &[ManifestRow]) -> Result<(), LedgerError>;

    /// Drops the row of a file, so that the next sweep takes it for new.
    fn forget(&self, at: &Location) -> Result<bool, LedgerError>;

    /// Rows in a state, oldest decision first; all states for `None`.
    fn manifests(&self, state: Option<ManifestState>) -> Result<Vec<ManifestRow>, LedgerError>;

    /// A page of these, of one root or of all: the next `limit` after the row decided then about that
    /// file, which need not be there. A page of fewer is the last.
    fn manifests_after(
        &self,
        state: Option<ManifestState>,
        root: Option<&RootName>,
        after: Option<(Timestamp, &Location)>,
        limit: usize,
    ) -> Result<Vec<ManifestRow>, LedgerError>;

    /// Rows of a run, by generation.
    fn of_run(&self, run: &RunKey) -> Result<Vec<ManifestRow>, LedgerError>;

    /// Whether a file of a run is known to be the manifest of that UUID.
    fn names_manifest(&self, run: &RunKey, manifest: ManifestId) -> Result<bool, LedgerError>;

    /// Remembers manifests as those of their generations, in one commit; an earlier one stays.
    fn accept(&self, manifests: &[(RunKey, Generation, Sha256)]) -> Result<(), LedgerError>;

    /// The digest of the manifest that was first accepted as a generation of a run. Remembered
    /// for ever once it was [accepted](Self::accept), or a row with a digest was recorded as
    /// registered, blocked or superseded
    /// (an inventory has no place in the run's history and is not), even where that file's row is
    /// replaced later.
    fn accepted_digest(
        &self,
        run: &RunKey,
        generation: Generation,
    ) -> Result<Option<Sha256>, LedgerError>;

    /// For each run its generations that were accepted, ascending: what gaps are counted from.
    fn accepted_generations(&self, runs: &[&RunKey]) -> Result<Vec<Vec<Generation>>, LedgerError>;

    /// Number of rows in each state, in the order of [`ManifestState::ALL`]; none is left out.
    fn counts(&self) -> Result<Vec<(ManifestState, u64)>, LedgerError>;

    /// When a manifest was last registered: the last success.
    fn last_registered(&self) -> Result<Option<Timestamp>, LedgerError>;

    /// Keeps findings, in one commit. One that is already kept (same kind and subject) is counted
    /// again, with the newest detail.
    fn find_all(&self, findings: &[Finding]) -> Result<(), LedgerError>;

    /// Drops a finding that has healed.
    fn healed(&self, kind: &str, subject: &str) -> Result<(), LedgerError>;

    /// The same for many of one kind, in one commit.
    fn healed_all(&self, kind: &str, subjects: &[String]) -> Result<(), LedgerError>;

    /// A page of the findings of one kind whose subjects begin with `prefix`, by subject, after
    /// `after`. A page of fewer than `limit` is the last.
    fn findings_of(
        &self,
        kind: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Finding>, LedgerError>;

    /// All findings, by kind and subject.
    fn findings(&self) -> Result<Vec<Finding>, LedgerError>;

    /// Remembers that a sweep of a root went through.
    fn swept(&self, root: &RootName, at: Timestamp) -> Result<(), LedgerError>;

    /// When a sweep of a root last went through.
    fn last_sweep(&self, root: &RootName) -> Result<Option<Timestamp>, LedgerError>;

    /// Writes orders that are new, in one commit. Of one that is known and did not go on only what kept it
    /// goes; whatever else is known of it stays.
    fn order_publications(&self, orders: &[Publication]) -> Result<(), LedgerError>;

    /// Writes publications, replacing those of the same manifests, in one commit: for the one flow that
    /// is at them.
    fn note_publications(&self, publications: &[Publication]) -> Result<(), LedgerError>;

    /// The publications of a run, by generation.
    fn publications_of(&self, run: &RunKey) -> Result<Vec<Publication>, LedgerError>;

    /// The publications in a state, first ordered first.
    fn publications_in(&self, state: PublicationState) -> Result<Vec<Publication>, LedgerError>;

    /// How many publications are ordered, and how many of those do not go on.
    fn publication_counts(&self) -> Result<(u64, u64), LedgerError>;

    /// Runs of an origin with a registered manifest that nobody has ordered, by name; inventories do not
    /// count.
    fn runs_to_order(&self, origin: RepositoryId) -> Result<Vec<RunKey>, LedgerError>;

    /// Runs with a published snapshot or removal and older published manifests, by name.
    fn overtaken(&self) -> Result<Vec<RunKey>, LedgerError>;

    /// A page of all publications, by run, origin and generation: the next `limit` after that one,
    /// which need not be there. A page of fewer is the last.
    fn publications_after(
        &self,
        after: Option<(&RunKey, Generation)>,
        limit: usize,
    ) -> Result<Vec<Publication>, LedgerError>;

    /// Writes how far a pass over what Rucio has of a root has come.
    fn note_sync_pass(&self, pass: &SyncPass) -> Result<(), LedgerError>;

    /// How far it has come; `None` where there was none.
    fn sync_pass(&self, root: &RootName) -> Result<Option<SyncPass>, LedgerError>;

    /// Notes what was done to files of a run in a root because of Rucio.
    fn mark_synced(
        &self,
        root: &RootName,
        run: &RunKey,
        marks: SyncMarks,
    ) -> Result<(), LedgerError>;

    /// Notes names that are about to be given to files of Rucio's in a root, in one commit.
    fn note_names(&self, root: &RootName, names: &[MadeName<'_>]) -> Result<(), LedgerError>;

    /// Whether each of these names was given by runsync to that very file.
    fn are_made(&self, root: &RootName, names: &[MadeName<'_>]) -> Result<Vec<bool>, LedgerError>;

    /// Strikes names out that are taken away, in one commit.
    fn strike_names(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<(), LedgerError>;

    /// What was done to files of a run in a root because of Rucio.
    fn sync_marks(&self, root: &RootName, run: &RunKey) -> Result<SyncMarks, LedgerError>;

    /// Adds runs whose rules are to end in Rucio, in one commit. One that is known stays as it is, but
    /// that what was to end at once still is.
    fn add_rule_endings(&self, endings: &[RuleEnding]) -> Result<(), LedgerError>;

    /// Writes how far they are, in one commit. One that was struck out meanwhile stays so.
    fn note_rule_endings(&self, endings: &[RuleEnding]) -> Result<(), LedgerError>;

    /// Strikes one out: it is met. Told by run, scope and RSE.
    fn strike_rule_ending(&self, ending: &RuleEnding) -> Result<(), LedgerError>;

    /// All of them, oldest first.
    fn rule_endings(&self) -> Result<Vec<RuleEnding>, LedgerError>;

    /// Those of a run.
    fn rule_endings_of(&self, run: &RunKey) -> Result<Vec<RuleEnding>, LedgerError>;

    /// Notes what an operator asks for, before it is done, and returns its number. Of all requests
    /// the newest [`REQUESTS_KEPT`](record::REQUESTS_KEPT) are kept.
    fn note_request(&self, request: &NewRequest) -> Result<u64, LedgerError>;

    /// Notes what came of it.
    fn note_outcome(&self, request: u64, outcome: &str) -> Result<(), LedgerError>;

    /// The newest `limit` requests before the one of that number, newest first; before none: of all.
    fn requests(&self, before: Option<u64>, limit: usize) -> Result<Vec<RequestRow>, LedgerError>;

    /// Keeps hints, in one commit; each is due at once. One that is kept already (same kind, RSE and DID)
    /// stays one, under a new number, with what is newest about it. Returns how many were not kept already.
    fn note_hints(&self, hints: &[NewHint]) -> Result<usize, LedgerError>;

    /// The first `limit` hints of a kind that are due: what is due longest first.
    fn hints_due(
        &self,
        kind: HintKind,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Hint>, LedgerError>;

    /// When the next hint of a kind is due.
    fn next_hint_due(&self, kind: HintKind) -> Result<Option<Timestamp>, LedgerError>;

    /// A page of hints, of one kind or of all, in the order in which they were heard: the next
    /// `limit` after that number. A page of fewer is the last.
    fn hints_after(
        &self,
        kind: Option<HintKind>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Hint>, LedgerError>;

    /// Drops hints that were acted on, in one commit. One that was heard again meanwhile stays.
    fn hints_done(&self, ids: &[u64]) -> Result<(), LedgerError>;

    /// Puts hints off until `due`, in one commit, and counts a try. One that was heard again meanwhile
    /// stays due.
    fn hints_later(&self, ids: &[u64], due: Timestamp) -> Result<(), LedgerError>;

    /// Drops hints that nobody could make anything of in time, in one commit, and counts them as
    /// [lost](Self::hints_lost). One that was heard again meanwhile stays.
    fn give_up_hints(&self, ids: &[u64]) -> Result<(), LedgerError>;

    /// Number of hints of each kind, in the order of [`HintKind::ALL`]; none is left out.
    fn hint_counts(&self) -> Result<Vec<(HintKind, u64)>, LedgerError>;

    /// Counts hints that were not kept for want of room.
    fn lose_hints(&self, count: u64) -> Result<(), LedgerError>;

    /// How many hints were ever lost. Whoever finds that it has grown owes a look at everything.
    fn hints_lost(&self) -> Result<u64, LedgerError>;

    /// Keeps messages that could not be read, in one commit; of all of them the newest `keep`.
    fn note_poison(&self, messages: &[NewPoison], keep: u64) -> Result<(), LedgerError>;

    /// The newest `limit` of these before the one of that number, newest first; before none: of all.
    fn poison_before(&self, before: Option<u64>, limit: usize) -> Result<Vec<Poison>, LedgerError>;

    /// How many of these are kept.
    fn poison_count(&self) -> Result<u64, LedgerError>;

    /// One of these.
    fn poison(&self, id: u64) -> Result<Option<Poison>, LedgerError>;

    /// Begins a pass of a scan over a part of a root, whose paths begin at `from`: under a number of its own,
    /// and in the place of one that is under way.
    fn begin_scan(
        &self,
        root: &RootName,
        scope: &str,
        from: &str,
        at: Timestamp,
    ) -> Result<ScanRow, LedgerError>;

    /// How far the scans of a part of a root have come.
    fn scan(&self, root: &RootName, scope: &str) -> Result<Option<ScanRow>, LedgerError>;

    /// All of these, by root and part.
    fn scans(&self) -> Result<Vec<ScanRow>, LedgerError>;

    /// Writes how far a pass has come and the drift that it saw on the way, in one commit. What was found
    /// earlier in the stretches that are `concluded`, and not by this pass, has healed and goes.
    fn note_scan(
        &self,
        scan: &ScanRow,
        seen: &[Drift],
        concluded: &[Span],
    ) -> Result<(), LedgerError>;

    /// A page of drift, by root and path: the next `limit` after that one, which need not be there, and more
    /// where that many end amid those of one path. A page of fewer is the last.
    fn drift(
        &self,
        filter: &DriftFilter,
        after: Option<(&RootName, &str)>,
        limit: usize,
    ) -> Result<Vec<DriftFinding>, LedgerError>;

    /// How much drift of each kind is meant, in the order of [`DriftKind::ALL`]; none is left out.
    fn drift_counts(&self, filter: &DriftFilter) -> Result<Vec<(DriftKind, u64)>, LedgerError>;

    /// Notes that drift at a path is to be left out from now on, or no more. False where there is none.
    fn ignore_drift(
        &self,
        root: &RootName,
        path: &str,
        word: Option<&Ignored>,
    ) -> Result<bool, LedgerError>;

    /// Whether runsync gave a second name to the file of each of these inodes.
    fn have_second_names(&self, root: &RootName, inodes: &[u64]) -> Result<Vec<bool>, LedgerError>;

    /// Counts drift, of one root or of all, as it is at a time: of so many runs each, and of the others
    /// together.
    fn drift_summary(
        &self,
        root: Option<&RootName>,
        now: Timestamp,
        runs_max: usize,
    ) -> Result<DriftSummary, LedgerError>;

    /// The drift that was first seen last, newest first, without what is to be left out.
    fn newest_drift(
        &self,
        root: Option<&RootName>,
        limit: usize,
    ) -> Result<Vec<DriftFinding>, LedgerError>;

    /// When the first manifest of each run was registered, of those that are still registered or superseded.
    fn runs_registered(&self) -> Result<Vec<(RunKey, Timestamp)>, LedgerError>;

    /// What is kept of all jobs that were ever done by schedule, by name.
    fn jobs(&self) -> Result<Vec<JobRow>, LedgerError>;

    /// Writes what is known of a job.
    fn note_job(&self, job: &JobRow) -> Result<(), LedgerError>;

    /// Leaves a mark of time, and answers what is known of the clock with it.
    fn watch(&self, now: Timestamp) -> Result<Watch, LedgerError>;

    /// Notes repairs that are about to be done, in one commit, and returns their numbers.
    fn begin_repairs(&self, repairs: &[NewRepair]) -> Result<Vec<u64>, LedgerError>;

    /// Notes what became of repairs, in one commit: the drift that one was about goes with it.
    fn end_repairs(&self, ends: &[RepairEnd], at: Timestamp) -> Result<(), LedgerError>;

    /// A page of repairs: the newest `limit` before the one of that number, newest first; before none: of
    /// all. A page of fewer is the last.
    fn repairs(
        &self,
        which: WhichRepairs<'_>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<RepairRow>, LedgerError>;

    /// Notes that Rucio is about to be told of replicas.
    fn note_declaration(&self, told: &NewDeclaration) -> Result<(), LedgerError>;

    /// How much was repaired, or begun to be, since a time, without approval, and of how many replicas Rucio was told
    /// so.
    fn repaired_since(&self, since: Timestamp) -> Result<Repaired, LedgerError>;

    /// Notes that the file of a repair was brought back from quarantine.
    fn note_restored(&self, id: u64, at: Timestamp) -> Result<(), LedgerError>;

    /// Drops one of these, or all of them, and returns how many.
    fn forget_poison(&self, id: Option<u64>) -> Result<u64, LedgerError>;
}
