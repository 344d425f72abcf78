//! The registry over its tables: which transaction each question and each change takes.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{
    ArtifactPath, CollectionName, DatasetId, DatasetTypeName, ManifestId, RepositoryId, RunKey,
};
use rusqlite::{Connection, Transaction};
use uuid::Uuid;

use super::failure::Failure;
use super::{
    SCHEMA, at_paths, by_path, chains, collections, confirm, conflicts, give_way, names, notices,
    omitted, query, reap, recalled, register, removal, standing, unlink, unwanted,
};
use crate::lease::{Fence, Tenure};
use crate::registry::collection::{
    Actor, BrokenChain, Change, Collection, CollectionPlan, CollectionRow, Links,
};
use crate::registry::conflict::Conflict;
use crate::registry::record::{
    ArtifactAt, ClaimAt, DatasetRow, Existence, GivenWay, HeldDataset, RecordRow, Registered,
    Registering, Registration, RowSource, RunRow, WaitingArtifact, WaitingRun,
};
use crate::registry::removal::{
    Extent, NamedArtifact, Notice, Removal, RemovalRow, RunPart, Unwanted,
};
use crate::registry::{Registry, RegistryError};
use crate::sqlite::Database;

/// Rows after which a large registration commits: enough that syncing does not count, few enough
/// that another writer waits well below a second.
const BATCH_ROWS: u64 = 50_000;

/// A registry in a SQLite file.
#[derive(Debug)]
pub struct SqliteRegistry {
    database: Database,
    id: Uuid,
    batch_rows: u64,
}

impl SqliteRegistry {
    /// Creates an empty registry.
    ///
    /// # Errors
    ///
    /// Where the file holds something already, or cannot be written.
    pub fn create(path: &Path, id: Uuid) -> Result<(), RegistryError> {
        Database::create(path, &SCHEMA, |begun| {
            begun.execute(
                "INSERT INTO meta (only_row, registry, changes) VALUES (1, ?1, 0)",
                [id.as_bytes()],
            )?;
            Ok(())
        })?;
        Ok(())
    }

    /// Opens a registry for reading and writing under a tenure; one of an older release is
    /// migrated. `patience` is how long another process's write is waited for.
    ///
    /// # Errors
    ///
    /// Where the file is missing, no registry, of a newer release, or opened under a later tenure.
    pub fn open(path: &Path, tenure: &Tenure, patience: Duration) -> Result<Self, RegistryError> {
        Self::over(Database::open(path, &SCHEMA, tenure, patience)?)
    }

    /// The fence under which the registry was last opened.
    ///
    /// # Errors
    ///
    /// Where the file is missing, no registry, or of a newer release.
    pub fn fence(path: &Path) -> Result<Fence, RegistryError> {
        Ok(Database::fence_of(path, &SCHEMA)?)
    }

    /// Opens a registry for reading only, whether or not a daemon writes to it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); also where it must first be migrated.
    pub fn open_read_only(path: &Path) -> Result<Self, RegistryError> {
        Self::over(Database::open_read_only(path, &SCHEMA)?)
    }

    /// The same for a command that asks and ends: see [`Database::open_mapped`].
    ///
    /// # Errors
    ///
    /// As [`open_read_only`](Self::open_read_only).
    pub fn open_mapped(path: &Path) -> Result<Self, RegistryError> {
        Self::over(Database::open_mapped(path, &SCHEMA)?)
    }

    fn over(database: Database) -> Result<Self, RegistryError> {
        let id = database
            .read(|connection| {
                connection.query_row("SELECT registry FROM meta", [], |row| row.get(0))
            })
            .map_err(|error| Failure::from(error).during("read the registry's identity"))?;
        Ok(Self {
            database,
            id: Uuid::from_bytes(id),
            batch_rows: BATCH_ROWS,
        })
    }

    /// Commits a large registration after this many rows instead of the default.
    #[must_use]
    pub fn with_batch_rows(self, batch_rows: u64) -> Self {
        Self {
            batch_rows: batch_rows.max(1),
            ..self
        }
    }

    fn read<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, RegistryError> {
        self.database
            .read(work)
            .map_err(|failure| failure.during(action))
    }

    fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, RegistryError> {
        self.database
            .write(|begun| {
                let value = work(begun)?;
                register::note_change(begun)?;
                Ok(value)
            })
            .map_err(|failure: Failure| failure.during(action))
    }
}

impl Registry for SqliteRegistry {
    fn id(&self) -> Uuid {
        self.id
    }

    fn changes(&self) -> Result<u64, RegistryError> {
        self.read("read the registry's change counter", query::changes)
    }

    fn conflicts_beside(
        &self,
        registration: &Registration<'_>,
        giving_way: &[RunKey],
        limit: usize,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Conflict>, RegistryError> {
        self.read("look for conflicts", |connection| {
            conflicts::find(connection, registration, giving_way, limit, progress)
        })
    }

    fn outgoing(
        &self,
        registration: &Registration<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<Conflict>, RegistryError> {
        self.read("look for what is on its way out", |connection| {
            conflicts::outgoing(connection, registration, progress)
        })
    }

    fn still_stands(&self, conflict: &Conflict) -> Result<bool, RegistryError> {
        self.read("look for a conflict", |connection| {
            standing::still_stands(connection, conflict)
        })
    }

    fn register(
        &self,
        registrations: &[Registration<'_>],
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<Result<Registered, Conflict>>, RegistryError> {
        register::register(&self.database, self.batch_rows, registrations, progress)
            .map_err(|failure| failure.during("register manifests"))
    }

    fn give_way(
        &self,
        adopted: &RunKey,
        registration: &Registration<'_>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<GivenWay, RegistryError> {
        give_way::give_way(&self.database, adopted, registration, progress)
            .map_err(|failure| failure.during("let an adopted run give way"))
    }

    fn holders(&self, datasets: &[DatasetId]) -> Result<Vec<Option<HeldDataset>>, RegistryError> {
        self.read("look for who holds datasets", |connection| {
            query::holders(connection, datasets)
        })
    }

    fn raise_floor(&self, run: &RunKey, generation: Generation) -> Result<(), RegistryError> {
        self.write("raise the floor of a run", |connection| {
            let run_id = names::run(connection, run)?;
            Ok(removal::raise_floor(connection, run_id, generation)?)
        })
    }

    fn registering(&self) -> Result<Vec<Registering>, RegistryError> {
        self.read("list unfinished registrations", query::registering)
    }

    fn run(&self, run: &RunKey) -> Result<Option<RunRow>, RegistryError> {
        self.read("read a run", |connection| query::run(connection, run))
    }

    fn runs(&self, prefix: Option<&str>) -> Result<Vec<RunRow>, RegistryError> {
        self.runs_after(prefix, false, None, usize::MAX)
    }

    fn runs_after(
        &self,
        prefix: Option<&str>,
        waiting: bool,
        after: Option<(&str, RepositoryId)>,
        limit: usize,
    ) -> Result<Vec<RunRow>, RegistryError> {
        self.read("list runs", |connection| {
            query::runs(connection, prefix, waiting, after, limit)
        })
    }

    fn waiting_runs(&self) -> Result<Vec<WaitingRun>, RegistryError> {
        self.read("list waiting runs", query::waiting_runs)
    }

    fn waiting_artifacts(
        &self,
        run: &RunKey,
        root: &RootName,
        between: (Option<&str>, Option<&str>),
        limit: usize,
    ) -> Result<Vec<WaitingArtifact>, RegistryError> {
        self.read("list artifacts that are waited for", |connection| {
            query::waiting_artifacts(connection, run, root, between, limit)
        })
    }

    fn confirm_all(
        &self,
        root: &RootName,
        found: &[(&RunKey, &[WaitingArtifact])],
    ) -> Result<Vec<u64>, RegistryError> {
        self.write("confirm artifacts", |connection| {
            let of_run = |&(run, artifacts): &(&RunKey, &[WaitingArtifact])| {
                confirm::confirm(connection, run, root, artifacts)
            };
            found.iter().map(of_run).collect()
        })
    }

    fn exists(&self, datasets: &[DatasetId]) -> Result<Vec<Existence>, RegistryError> {
        self.read("look datasets up", |connection| {
            query::exists(connection, datasets)
        })
    }

    fn datasets(
        &self,
        run: &RunKey,
        dataset_type: Option<&DatasetTypeName>,
        after: Option<DatasetId>,
        limit: usize,
    ) -> Result<Vec<DatasetRow>, RegistryError> {
        self.read("list datasets", |connection| {
            query::datasets(connection, run, dataset_type, after, limit)
        })
    }

    fn records(
        &self,
        run: &RunKey,
        after: Option<DatasetId>,
        limit: usize,
    ) -> Result<Vec<RecordRow>, RegistryError> {
        self.read("list datastore records", |connection| {
            query::records(connection, run, after, limit)
        })
    }

    fn extent(&self, part: &RunPart) -> Result<Extent, RegistryError> {
        self.read("measure a part of a run", |connection| {
            removal::extent(connection, part)
        })
    }

    fn artifacts_of(
        &self,
        parts: &[RunPart],
        root: &RootName,
        each: &mut dyn FnMut(NamedArtifact) -> ControlFlow<()>,
    ) -> Result<(), RegistryError> {
        self.read("list the artifacts of runs", |connection| {
            removal::artifacts_of(connection, parts, root, each)
        })
    }

    fn remove(&self, removal: &Removal<'_>) -> Result<(), RegistryError> {
        self.write("commit a removal", |connection| {
            removal::remove(connection, removal).map(drop)
        })
    }

    fn removals(&self) -> Result<Vec<RemovalRow>, RegistryError> {
        self.read("list removals", removal::removals)
    }

    fn may_reap(&self, removal: Uuid) -> Result<(), RegistryError> {
        self.write("let a removal be reaped", |connection| {
            removal::may_reap(connection, removal)
        })
    }

    fn reap(&self, most: usize) -> Result<bool, RegistryError> {
        self.write("reap removed rows", |connection| {
            reap::reap(connection, most)
        })
    }

    fn journal_closed(&self, removal: Uuid, root: &RootName) -> Result<(), RegistryError> {
        self.write("close a journal", |connection| {
            removal::journal_closed(connection, removal, root)
        })
    }

    fn wait_for_late(
        &self,
        removal: Uuid,
        root: &RootName,
        until: Timestamp,
    ) -> Result<(), RegistryError> {
        self.write("let a journal wait", |connection| {
            removal::wait_for_late(connection, removal, root, until)
        })
    }

    fn claimed(
        &self,
        root: &RootName,
        paths: &[&ArtifactPath],
    ) -> Result<Vec<bool>, RegistryError> {
        self.read("look for what claims paths", |connection| {
            removal::claimed(connection, root, paths)
        })
    }

    fn artifacts_between(
        &self,
        root: &RootName,
        from: &str,
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ArtifactAt>, RegistryError> {
        self.read("list artifacts by path", |connection| {
            by_path::page(connection, root, (from, until), limit)
        })
    }

    fn claims_at(
        &self,
        root: &RootName,
        paths: &[&ArtifactPath],
    ) -> Result<Vec<Vec<ClaimAt>>, RegistryError> {
        self.read("look for what claims paths", |connection| {
            at_paths::claims(connection, root, paths)
        })
    }

    fn forget_at(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<u64, RegistryError> {
        self.write("forget artifacts", |connection| {
            at_paths::forget(connection, root, paths)
        })
    }

    fn recall_at(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<u64, RegistryError> {
        self.write("take back that artifacts are there", |connection| {
            recalled::recall(connection, root, paths)
        })
    }

    fn record_at(
        &self,
        root: &RootName,
        artifacts: &[WaitingArtifact],
    ) -> Result<u64, RegistryError> {
        self.write("record artifacts again", |connection| {
            recalled::record(connection, root, artifacts)
        })
    }

    fn await_at(&self, root: &RootName, paths: &[&ArtifactPath]) -> Result<u64, RegistryError> {
        self.write("let artifacts be waited for again", |connection| {
            at_paths::await_again(connection, root, paths)
        })
    }

    fn omitted(
        &self,
        run: &RunKey,
        below: Generation,
        kept: Option<&dyn RowSource>,
    ) -> Result<u64, RegistryError> {
        self.read("count what an origin leaves out", |connection| {
            omitted::count(connection, run, below, kept)
        })
    }

    fn list_omitted(
        &self,
        run: &RunKey,
        below: Generation,
        kept: Option<&dyn RowSource>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Extent, RegistryError> {
        omitted::list(&self.database, run, below, kept, progress)
            .map_err(|failure| failure.during("list what an origin leaves out"))
    }

    fn followed(&self, run: &RunKey, generation: Generation) -> Result<(), RegistryError> {
        self.write("note that an origin was followed", |connection| {
            let run_id = names::run(connection, run)?;
            Ok(removal::raise_followed(connection, run_id, generation)?)
        })
    }

    fn notices(&self) -> Result<Vec<Notice>, RegistryError> {
        self.read("list what is to be told", notices::all)
    }

    fn notice_sent(&self, manifest: ManifestId) -> Result<(), RegistryError> {
        self.write("note what was told", |connection| {
            notices::sent(connection, manifest)
        })
    }

    fn unwanted(&self) -> Result<Vec<Unwanted>, RegistryError> {
        self.read("list what is not wanted", unwanted::all)
    }

    fn has_absent(&self, run: &RunKey) -> Result<bool, RegistryError> {
        self.read("look for what is not here", |connection| {
            unwanted::has_absent(connection, run)
        })
    }

    fn restore(&self, parts: &[RunPart]) -> Result<(), RegistryError> {
        self.write("restore parts of runs", |connection| {
            unwanted::restore(connection, parts)
        })
    }

    fn check_settled(&self) -> Result<(), RegistryError> {
        self.read("look for runs that are being restored", |connection| {
            unwanted::check_settled(connection)
        })
    }

    fn bring_back(&self, most: usize) -> Result<bool, RegistryError> {
        self.write("bring claims back", |connection| {
            unwanted::bring_back(connection, most)
        })
    }

    fn check_fence(&self) -> Result<(), RegistryError> {
        self.database
            .check_fence()
            .map_err(|failure: Failure| failure.during("check the lease"))
    }

    fn collections_after(
        &self,
        prefix: Option<&str>,
        all: bool,
        after: Option<(&str, RepositoryId)>,
        limit: usize,
    ) -> Result<Vec<CollectionRow>, RegistryError> {
        self.read("list collections", |connection| {
            collections::page(connection, prefix, all, after, limit)
        })
    }

    fn collection(&self, name: &CollectionName) -> Result<Option<Collection>, RegistryError> {
        self.read("read a collection", |connection| {
            collections::collection(connection, name)
        })
    }

    fn change_collection(
        &self,
        name: &CollectionName,
        change: &Change,
        by: &Actor,
    ) -> Result<u64, RegistryError> {
        self.write("change a collection", |connection| {
            collections::change(connection, name, change, by)
        })
    }

    fn plan_collections(&self, names: &[CollectionName]) -> Result<CollectionPlan, RegistryError> {
        self.read("plan the removal of collections", |connection| {
            unlink::plan(connection, names)
        })
    }

    fn remove_collections(
        &self,
        names: &[CollectionName],
        plan: &str,
        by: &Actor,
    ) -> Result<(), RegistryError> {
        self.write("remove collections", |connection| {
            unlink::remove(connection, names, plan, by)
        })
    }

    fn links(&self, run: &RunKey) -> Result<Links, RegistryError> {
        self.read("look for what names a run", |connection| {
            unlink::links(connection, run)
        })
    }

    fn broken_chains(&self) -> Result<Vec<BrokenChain>, RegistryError> {
        self.read("list chains with gaps", chains::broken)
    }

    fn dataset_types(&self) -> Result<Vec<DatasetType>, RegistryError> {
        self.read("list dataset types", query::dataset_types)
    }

    fn has_dimensions(&self, rows: &dyn RowSource) -> Result<bool, RegistryError> {
        self.read("look for dimension records", |connection| {
            query::has_dimensions(connection, rows)
        })
    }

    fn dimension_records(&self) -> Result<Vec<(String, String, String)>, RegistryError> {
        self.read("list dimension records", query::dimension_records)
    }
}
