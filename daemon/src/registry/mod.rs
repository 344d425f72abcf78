//! What this site knows: runs, dataset types, dimension records, datasets, datastore records.
//!
//! One trait, several backends; every backend passes the suite in `conformance`.
//! Methods block (decision 0002): callers run them on blocking threads.

pub mod record;

pub mod removal;

pub mod collection;

pub mod conflict;

pub mod error;

pub mod memory_rows;

pub mod dump;

pub mod sqlite;

#[cfg(test)]
mod conformance;

use std::fmt::Debug;
use std::ops::ControlFlow;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{
    ArtifactPath, CollectionName, DatasetId, DatasetTypeName, ManifestId, RepositoryId, RunKey,
};
use uuid::Uuid;

use crate::registry::collection::{
    Actor, BrokenChain, Change, Collection, CollectionPlan, CollectionRow, Links,
};
use crate::registry::conflict::Conflict;
pub use crate::registry::dump::dump;
pub use crate::registry::error::RegistryError;
use crate::registry::record::{
    ArtifactAt, ClaimAt, DatasetRow, Existence, GivenWay, HeldDataset, RecordRow, Registered,
    Registering, Registration, RowSource, RunRow, WaitingArtifact, WaitingRun,
};
use crate::registry::removal::{
    Extent, NamedArtifact, Notice, Removal, RemovalRow, RunPart, Unwanted,
};
pub use crate::registry::sqlite::SqliteRegistry;

/// A registry.
///
/// All changes are atomic per commit; a reader sees only committed rows. Every
/// method may be called from any thread.
pub trait Registry: Send + Sync + Debug {
    /// The registry's own UUID; a datastore root is bound to one registry.
    fn id(&self) -> Uuid;

    /// A number that grows with every committed change; equal numbers mean that
    /// nothing has changed in between.
    fn changes(&self) -> Result<u64, RegistryError>;

    /// The conflicts between a manifest and what is registered, at most `limit`.
    ///
    /// Rows whose dataset this run already holds under the same or a higher generation
    /// claim no path; nor does a path count as held by a dataset whose claims the manifest
    /// itself replaces. Sizes are added up as if nothing of the run were replaced.
    ///
    /// `progress` hears every few thousand rows how many have been looked at, a row as often as
    /// it was, and may break off.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Interrupted`] where `progress` broke off.
    fn conflicts(
        &self,
        registration: &Registration<'_>,
        limit: usize,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Conflict>, RegistryError> {
        self.conflicts_beside(registration, &[], limit, progress)
    }

    /// The [`conflicts`](Self::conflicts) that are left once adopted runs have
    /// [given way](Self::give_way) to the manifest. One that is being removed does not.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Interrupted`] where `progress` broke off.
    fn conflicts_beside(
        &self,
        registration: &Registration<'_>,
        giving_way: &[RunKey],
        limit: usize,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Conflict>, RegistryError>;

    /// What a registration that was interrupted would meet on its way out: its run, or an artifact
    /// that is being removed. Any other conflict was looked for before its first row.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Interrupted`] where `progress` broke off.
    fn outgoing(
        &self,
        registration: &Registration<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<Conflict>, RegistryError>;

    /// Whether a conflict found earlier still stands; cheap.
    fn still_stands(&self, conflict: &Conflict) -> Result<bool, RegistryError>;

    /// Registers manifests: their datasets become known, their artifacts waited for, or,
    /// at level trust, recorded at once.
    ///
    /// Small manifests of one call share a commit; a large one commits in batches and
    /// continues where it stopped when it is brought again after a crash. Idempotent.
    /// `progress` hears at least after every commit how many of the rows of all manifests together
    /// are done, and may break off: what is committed stays, and the rest is registered when the
    /// manifests are brought again.
    ///
    /// The caller has checked [`conflicts`](Self::conflicts) for each, and registers nothing else
    /// until this returns; a conflict that shows only here (between two manifests of the call) is
    /// returned in that manifest's place, and this call registers nothing of that manifest.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Interrupted`] where `progress` broke off;
    /// [`RegistryError::Contradicted`] where something else was registered all the same, between
    /// two commits of a large manifest that it contradicts: what is committed stays.
    fn register(
        &self,
        registrations: &[Registration<'_>],
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Result<Registered, Conflict>>, RegistryError>;

    /// Has an adopted run give way to what the run's owner says: datasets that the manifest names as the
    /// adopted run holds them go over to the manifest's run, below every generation, with their records
    /// and what is confirmed of them; those that contradict it are dropped, and no artifact is touched.
    /// Where the adopted run is being removed, nothing happens.
    ///
    /// `progress` hears how many rows were looked at, and may break off: what went over stays.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Interrupted`] where `progress` broke off.
    fn give_way(
        &self,
        adopted: &RunKey,
        registration: &Registration<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<GivenWay, RegistryError>;

    /// Who holds each dataset, in the order asked; also what is on its way out. `None` where nobody does.
    fn holders(&self, datasets: &[DatasetId]) -> Result<Vec<Option<HeldDataset>>, RegistryError>;

    /// Manifests whose registration has begun and not ended, by run and generation.
    fn registering(&self) -> Result<Vec<Registering>, RegistryError>;

    /// Raises a run's floor to `generation`: manifests at or below it are superseded.
    /// Creates the run's row where there is none. Never lowers a floor.
    fn raise_floor(&self, run: &RunKey, generation: Generation) -> Result<(), RegistryError>;

    /// One run.
    fn run(&self, run: &RunKey) -> Result<Option<RunRow>, RegistryError>;

    /// All runs whose name is `prefix` or lies below it (all for `None`), by name, then origin.
    fn runs(&self, prefix: Option<&str>) -> Result<Vec<RunRow>, RegistryError>;

    /// A page of these: the next `limit` after the run of that name and origin, which need not be
    /// there; for `waiting` only those that wait for artifacts. A page of fewer is the last.
    fn runs_after(
        &self,
        prefix: Option<&str>,
        waiting: bool,
        after: Option<(&str, RepositoryId)>,
        limit: usize,
    ) -> Result<Vec<RunRow>, RegistryError>;

    /// Runs that wait for artifacts, by run, then root. It does not count what they wait for, so it
    /// costs little however much that is.
    fn waiting_runs(&self) -> Result<Vec<WaitingRun>, RegistryError>;

    /// A page of the artifacts that a run waits for in `root`, by path, of those between two paths,
    /// which are any text and not among them: between `a/b/` and `a/b0` lies all that is below the
    /// folder `a/b`. A page of fewer than `limit` is the last.
    fn waiting_artifacts(
        &self,
        run: &RunKey,
        root: &RootName,
        between: (Option<&str>, Option<&str>),
        limit: usize,
    ) -> Result<Vec<WaitingArtifact>, RegistryError>;

    /// Turns what runs wait for in `root` into datastore records, in one commit. An artifact that
    /// its run does not wait for, not yet or no longer or in another shape (another size or
    /// checksum), is passed over; of two with one path of one run the second is.
    /// Returns for each run how many artifacts were confirmed.
    fn confirm_all(
        &self,
        root: &RootName,
        found: &[(&RunKey, &[WaitingArtifact])],
    ) -> Result<Vec<u64>, RegistryError>;

    /// [`confirm_all`](Self::confirm_all) for one run.
    fn confirm(
        &self,
        run: &RunKey,
        root: &RootName,
        artifacts: &[WaitingArtifact],
    ) -> Result<u64, RegistryError> {
        let confirmed = self.confirm_all(root, &[(run, artifacts)])?;
        Ok(confirmed.into_iter().sum())
    }

    /// Answers for each UUID, in the order asked, from records alone.
    fn exists(&self, datasets: &[DatasetId]) -> Result<Vec<Existence>, RegistryError>;

    /// A page of a run's datasets, by UUID, after `after`; of one dataset type, or all.
    fn datasets(
        &self,
        run: &RunKey,
        dataset_type: Option<&DatasetTypeName>,
        after: Option<DatasetId>,
        limit: usize,
    ) -> Result<Vec<DatasetRow>, RegistryError>;

    /// A page of a run's datastore records and what it waits for, by UUID and component,
    /// of the next `limit` datasets after `after`.
    fn records(
        &self,
        run: &RunKey,
        after: Option<DatasetId>,
        limit: usize,
    ) -> Result<Vec<RecordRow>, RegistryError>;

    /// What a part of a run holds; of a whole run its counters.
    ///
    /// # Errors
    ///
    /// [`RegistryError::RunMissing`] where there is no such run.
    fn extent(&self, part: &RunPart) -> Result<Extent, RegistryError>;

    /// Calls `each` with every artifact in `root` that parts of runs name, by path, until it
    /// breaks off. Datasets that are hidden already count for nothing.
    fn artifacts_of(
        &self,
        parts: &[RunPart],
        root: &RootName,
        each: &mut dyn FnMut(NamedArtifact) -> ControlFlow<()>,
    ) -> Result<(), RegistryError>;

    /// Commits a removal: one small transaction, however much it takes away. From then on nobody
    /// sees what it names. Idempotent: one that is committed already is left as it is.
    ///
    /// # Errors
    ///
    /// [`RegistryError::RunMissing`], [`RegistryError::RemovalUnderWay`] and, about the chain,
    /// [`RegistryError::Collection`]: nothing is changed.
    fn remove(&self, removal: &Removal<'_>) -> Result<(), RegistryError>;

    /// Removals that are committed and not done, oldest first.
    fn removals(&self) -> Result<Vec<RemovalRow>, RegistryError>;

    /// Lets the rows of a removal be reaped: all of its artifacts that were there are gone.
    fn may_reap(&self, removal: Uuid) -> Result<(), RegistryError>;

    /// Reaps the rows of at most `most` datasets of removals that may be, in one commit. False
    /// where nothing is left.
    fn reap(&self, most: usize) -> Result<bool, RegistryError>;

    /// Notes that the journal of a removal in a root is gone; the removal is forgotten with its last
    /// journal, once its rows are reaped.
    fn journal_closed(&self, removal: Uuid, root: &RootName) -> Result<(), RegistryError>;

    /// Notes that the journal of a removal in a root stays open until then, for what was not there
    /// and may still arrive. Rows may be reaped meanwhile.
    fn wait_for_late(
        &self,
        removal: Uuid,
        root: &RootName,
        until: Timestamp,
    ) -> Result<(), RegistryError>;

    /// Which of the paths in `root` some dataset names, in the order asked.
    fn claimed(&self, root: &RootName, paths: &[&ArtifactPath])
    -> Result<Vec<bool>, RegistryError>;

    /// A page of all artifacts that runs name in `root`, in the bytewise order of their paths: the next
    /// `limit` at the path `from` or later and before `until`, both of which are any text. A page of fewer
    /// is the last.
    fn artifacts_between(
        &self,
        root: &RootName,
        from: &str,
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ArtifactAt>, RegistryError>;

    /// For each path in `root` what runs say of the artifact there, in the order asked: by run, each
    /// statement once.
    fn claims_at(
        &self,
        root: &RootName,
        paths: &[&ArtifactPath],
    ) -> Result<Vec<Vec<ClaimAt>>, RegistryError>;

    /// Forgets the artifacts at these paths in `root`, in one commit: confirmed claims become absent, and
    /// their datasets stay known. What is busy is passed over. Returns how many claims it changed.
    fn forget_at(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<u64, RegistryError>;

    /// Lets absent claims at these paths in `root` wait again, in one commit. Passed over is what is busy
    /// or not wanted, and a path that another run claims in another shape by now. Returns how many
    /// claims it changed.
    fn await_at(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<u64, RegistryError>;

    /// Takes back that the artifacts at these paths in `root` are confirmed, in one commit: confirmed claims
    /// wait again, and what is not wanted becomes absent. What is busy is passed over. Returns how many claims
    /// it changed.
    fn recall_at(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<u64, RegistryError>;

    /// Confirms artifacts in `root` that were forgotten and are there all the same, in one commit. Passed over is
    /// what is busy or not wanted, a claim of another shape, and a path that not only absent claims name.
    /// Returns how many claims it changed.
    fn record_at(
        &self,
        root: &RootName,
        artifacts: &[WaitingArtifact],
    ) -> Result<u64, RegistryError>;

    /// How many datasets of a run are left out: below a generation, and not in `kept`.
    fn omitted(
        &self,
        run: &RunKey,
        below: Generation,
        kept: Option<&dyn RowSource>,
    ) -> Result<u64, RegistryError>;

    /// Lists these as [`Which::Omitted`](removal::Which::Omitted) of the run, instead of those listed
    /// before, and returns what they hold. Readers notice nothing. `progress` hears how many are
    /// listed and may break off.
    ///
    /// # Errors
    ///
    /// [`RegistryError::RunMissing`] and [`RegistryError::RemovalUnderWay`];
    /// [`RegistryError::Interrupted`] where `progress` broke off.
    fn list_omitted(
        &self,
        run: &RunKey,
        below: Generation,
        kept: Option<&dyn RowSource>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Extent, RegistryError>;

    /// Notes that all that the run's origin removed up to a generation is removed here.
    fn followed(&self, run: &RunKey, generation: Generation) -> Result<(), RegistryError>;

    /// Removal manifests that are committed and not written yet, oldest first.
    fn notices(&self) -> Result<Vec<Notice>, RegistryError>;

    /// Notes that one is written.
    fn notice_sent(&self, manifest: ManifestId) -> Result<(), RegistryError>;

    /// Parts of runs whose artifacts this site does not want, by run and dataset type.
    fn unwanted(&self) -> Result<Vec<Unwanted>, RegistryError>;

    /// Whether claims of a run are neither awaited nor confirmed here: unstored, or forgotten.
    fn has_absent(&self, run: &RunKey) -> Result<bool, RegistryError>;

    /// Wants parts of runs again; their claims wait again once they are
    /// [brought back](Self::bring_back).
    ///
    /// # Errors
    ///
    /// [`RegistryError::RunMissing`], [`RegistryError::RemovalUnderWay`], and
    /// [`RegistryError::UnwantedWhole`] where a type is of a run that is not wanted at all: nothing
    /// is changed.
    fn restore(&self, parts: &[RunPart]) -> Result<(), RegistryError>;

    /// Checks that no run is being restored: until its claims are brought back it is not settled which
    /// artifacts are shared.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Restoring`] where one is.
    fn check_settled(&self) -> Result<(), RegistryError>;

    /// Lets the claims of at most `most` datasets of restored parts wait again, in one commit. False
    /// where nothing is left.
    fn bring_back(&self, most: usize) -> Result<bool, RegistryError>;

    /// Checks that this process may still write: asked between deletions, which no transaction
    /// guards.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Fenced`] where the lease is another's by now.
    fn check_fence(&self) -> Result<(), RegistryError>;

    /// A page of runs and collections whose name is `prefix` or lies below it, by name, then origin:
    /// the next `limit` after that name and origin, which need not be there. Hidden ones only for
    /// `all`. A page of fewer is the last.
    fn collections_after(
        &self,
        prefix: Option<&str>,
        all: bool,
        after: Option<(&str, RepositoryId)>,
        limit: usize,
    ) -> Result<Vec<CollectionRow>, RegistryError>;

    /// The run or collection of that name, hidden or not.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Collection`] where several origins own a run of that name.
    fn collection(&self, name: &CollectionName) -> Result<Option<Collection>, RegistryError>;

    /// Changes a collection, in one commit, and returns how much: tags added or taken away, places
    /// that a chain has now, flags that were not so before.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Collection`] says why nothing is changed.
    fn change_collection(
        &self,
        name: &CollectionName,
        change: &Change,
        by: &Actor,
    ) -> Result<u64, RegistryError>;

    /// What removing collections would do.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Collection`] where one is not there, or a run.
    fn plan_collections(&self, names: &[CollectionName]) -> Result<CollectionPlan, RegistryError>;

    /// Removes collections, as the plan of that number says; never a dataset.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Collection`] says why nothing is changed.
    fn remove_collections(
        &self,
        names: &[CollectionName],
        plan: &str,
        by: &Actor,
    ) -> Result<(), RegistryError>;

    /// What of collections goes with a run.
    fn links(&self, run: &RunKey) -> Result<Links, RegistryError>;

    /// Chains that show `[deleted]`, by name.
    fn broken_chains(&self) -> Result<Vec<BrokenChain>, RegistryError>;

    /// All dataset types, by name.
    fn dataset_types(&self) -> Result<Vec<DatasetType>, RegistryError>;

    /// Whether all dimension records of a manifest are registered just as it has them.
    fn has_dimensions(&self, rows: &dyn RowSource) -> Result<bool, RegistryError>;

    /// All dimension records as (element, canonical key, record JSON), by element and key.
    fn dimension_records(&self) -> Result<Vec<(String, String, String)>, RegistryError>;
}
