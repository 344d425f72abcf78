//! A registry every call of which can be made to fail, or end the process, before it is made or after.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "test support, of which each target uses a part"
)]

use std::fmt::Debug;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use runsync::registry::collection::{
    Actor, BrokenChain, Change, Collection, CollectionPlan, CollectionRow, Links,
};
use runsync::registry::conflict::Conflict;
use runsync::registry::record::{
    ArtifactAt, ClaimAt, DatasetRow, Existence, GivenWay, HeldDataset, RecordRow, Registered,
    Registering, Registration, RowSource, RunRow, WaitingArtifact, WaitingRun,
};
use runsync::registry::removal::{
    Extent, NamedArtifact, Notice, Removal, RemovalRow, RunPart, Unwanted,
};
use runsync::registry::{Registry, RegistryError};
use runsync::sqlite::SqliteError;
use runsync_config::root::RootName;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{
    ArtifactPath, CollectionName, DatasetId, DatasetTypeName, ManifestId, RepositoryId, RunKey,
};
use uuid::Uuid;

/// What happens at the calls of a registry, each of which it hears by name.
pub trait AtCalls: Send + Sync + Debug {
    /// An error keeps the call from being made.
    fn before(&self, call: &'static str) -> Result<(), RegistryError>;

    /// An error is what the caller hears, whatever the call has done.
    fn after(&self, call: &'static str) -> Result<(), RegistryError>;
}

/// The registry.
#[derive(Debug)]
pub struct Seam {
    registry: Arc<dyn Registry>,
    at: Arc<dyn AtCalls>,
}

impl Seam {
    pub fn over(registry: Arc<dyn Registry>, at: Arc<dyn AtCalls>) -> Arc<dyn Registry> {
        Arc::new(Self { registry, at })
    }
}

/// As when the file cannot be read any more.
pub fn gone() -> RegistryError {
    RegistryError::Sqlite(SqliteError::Unreachable {
        what: "registry",
        path: "registry.sqlite3".into(),
        source: io::Error::other("gone by a test"),
    })
}

/// Every method goes through `before` and `after`.
macro_rules! pass_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl Registry for Seam {
            fn id(&self) -> Uuid {
                self.registry.id()
            }

            $(fn $name(&self, $($argument: $kind),*) -> Result<$answer, RegistryError> {
                self.at.before(stringify!($name))?;
                let answer = self.registry.$name($($argument),*)?;
                self.at.after(stringify!($name))?;
                Ok(answer)
            })*
        }
    };
}

type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

pass_on! {
    fn changes() -> u64;
    fn conflicts_beside(asked: &Registration<'_>, giving_way: &[RunKey], limit: usize, progress: Progress<'_>) -> Vec<Conflict>;
    fn still_stands(conflict: &Conflict) -> bool;
    fn register(asked: &[Registration<'_>], progress: Progress<'_>) -> Vec<Result<Registered, Conflict>>;
    fn give_way(adopted: &RunKey, asked: &Registration<'_>, progress: Progress<'_>) -> GivenWay;
    fn holders(datasets: &[DatasetId]) -> Vec<Option<HeldDataset>>;
    fn registering() -> Vec<Registering>;
    fn raise_floor(run: &RunKey, generation: Generation) -> ();
    fn run(run: &RunKey) -> Option<RunRow>;
    fn runs(prefix: Option<&str>) -> Vec<RunRow>;
    fn runs_after(prefix: Option<&str>, waiting: bool, after: Option<(&str, RepositoryId)>, limit: usize) -> Vec<RunRow>;
    fn waiting_runs() -> Vec<WaitingRun>;
    fn waiting_artifacts(run: &RunKey, root: &RootName, between: (Option<&str>, Option<&str>), limit: usize) -> Vec<WaitingArtifact>;
    fn confirm_all(root: &RootName, found: &[(&RunKey, &[WaitingArtifact])]) -> Vec<u64>;
    fn exists(datasets: &[DatasetId]) -> Vec<Existence>;
    fn datasets(run: &RunKey, of: Option<&DatasetTypeName>, after: Option<DatasetId>, limit: usize) -> Vec<DatasetRow>;
    fn records(run: &RunKey, after: Option<DatasetId>, limit: usize) -> Vec<RecordRow>;
    fn extent(part: &RunPart) -> Extent;
    fn artifacts_of(parts: &[RunPart], root: &RootName, each: &mut dyn FnMut(NamedArtifact) -> ControlFlow<()>) -> ();
    fn remove(removal: &Removal<'_>) -> ();
    fn removals() -> Vec<RemovalRow>;
    fn may_reap(removal: Uuid) -> ();
    fn reap(most: usize) -> bool;
    fn journal_closed(removal: Uuid, root: &RootName) -> ();
    fn check_fence() -> ();
    fn outgoing(asked: &Registration<'_>, progress: Progress<'_>) -> Option<Conflict>;
    fn wait_for_late(removal: Uuid, root: &RootName, until: Timestamp) -> ();
    fn claimed(root: &RootName, paths: &[&ArtifactPath]) -> Vec<bool>;
    fn artifacts_between(root: &RootName, from: &str, until: Option<&str>, limit: usize) -> Vec<ArtifactAt>;
    fn claims_at(root: &RootName, paths: &[&ArtifactPath]) -> Vec<Vec<ClaimAt>>;
    fn forget_at(root: &RootName, paths: &[&ArtifactPath]) -> u64;
    fn await_at(root: &RootName, paths: &[&ArtifactPath]) -> u64;
    fn recall_at(root: &RootName, paths: &[&ArtifactPath]) -> u64;
    fn record_at(root: &RootName, artifacts: &[WaitingArtifact]) -> u64;
    fn omitted(run: &RunKey, below: Generation, kept: Option<&dyn RowSource>) -> u64;
    fn list_omitted(run: &RunKey, below: Generation, kept: Option<&dyn RowSource>, progress: Progress<'_>) -> Extent;
    fn followed(run: &RunKey, generation: Generation) -> ();
    fn notices() -> Vec<Notice>;
    fn notice_sent(manifest: ManifestId) -> ();
    fn unwanted() -> Vec<Unwanted>;
    fn has_absent(run: &RunKey) -> bool;
    fn restore(parts: &[RunPart]) -> ();
    fn check_settled() -> ();
    fn bring_back(most: usize) -> bool;
    fn collections_after(prefix: Option<&str>, all: bool, after: Option<(&str, RepositoryId)>, limit: usize) -> Vec<CollectionRow>;
    fn collection(name: &CollectionName) -> Option<Collection>;
    fn change_collection(name: &CollectionName, change: &Change, by: &Actor) -> u64;
    fn plan_collections(names: &[CollectionName]) -> CollectionPlan;
    fn remove_collections(names: &[CollectionName], plan: &str, by: &Actor) -> ();
    fn links(run: &RunKey) -> Links;
    fn broken_chains() -> Vec<BrokenChain>;
    fn dataset_types() -> Vec<DatasetType>;
    fn has_dimensions(rows: &dyn RowSource) -> bool;
    fn dimension_records() -> Vec<(String, String, String)>;
}
