//! Removals as the registry sees them: what is hidden at once, and reaped afterwards.
//!
//! A removal hides parts of runs with one small commit, however large they are: readers leave out
//! what it names. Once the artifacts that were there are deleted its rows are reaped, in chunks. Its
//! journals lie in the roots and are none of the registry's business but for where they are open.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::{Adler32, Sha256};
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{
    ArtifactPath, CollectionName, DatasetId, DatasetTypeName, ManifestId, RunKey,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::registry::collection::Actor;
use crate::schema::RunKeySchema;

/// What a removal is: the word of the command that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Runs leave registry and datastore, here and, by their origin, everywhere.
    RemoveRuns,
    /// Runs leave registry and datastore of this site alone, which is not their origin.
    DropCopy,
    /// The runs that a chain's name owns leave registry and datastore, as does the chain.
    Purge,
    /// The runs that a chain's name owns and that are not in it leave registry and datastore.
    Cleanup,
    /// Runs, or what of them their origin leaves out, go because a manifest of it says so.
    Follow,
    /// Artifacts and records go and are not wanted any more; datasets stay.
    Unstore,
    /// Records go; datasets and artifacts stay.
    Forget,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RemoveRuns,
        Self::DropCopy,
        Self::Purge,
        Self::Cleanup,
        Self::Follow,
        Self::Unstore,
        Self::Forget,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RemoveRuns => "remove-runs",
            Self::DropCopy => "drop-copy",
            Self::Purge => "purge",
            Self::Cleanup => "cleanup",
            Self::Follow => "follow",
            Self::Unstore => "unstore",
            Self::Forget => "forget",
        }
    }

    /// Whether datasets leave the registry, and not only their records.
    pub const fn takes_datasets(self) -> bool {
        match self {
            Self::RemoveRuns | Self::DropCopy | Self::Purge | Self::Cleanup | Self::Follow => true,
            Self::Unstore | Self::Forget => false,
        }
    }

    /// Whether artifacts are deleted.
    pub const fn deletes(self) -> bool {
        !matches!(self, Self::Forget)
    }

    /// Whether this repository removes runs of its own, and tells other sites.
    pub const fn is_told(self) -> bool {
        matches!(self, Self::RemoveRuns | Self::Purge | Self::Cleanup)
    }

    /// Whether it is the will of the runs' origin, so that nothing of it is left to be done when
    /// its manifest comes.
    pub const fn is_of_origin(self) -> bool {
        self.is_told() || matches!(self, Self::Follow)
    }

    /// Whether it is about a chain, and chooses its runs itself.
    pub const fn is_of_chain(self) -> bool {
        matches!(self, Self::Purge | Self::Cleanup)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is the word of no operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no operation")]
pub struct UnknownOperation(String);

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|one| one.as_str() == text);
        named.ok_or_else(|| UnknownOperation(text.to_owned()))
    }
}

/// A run, or some of its datasets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunPart {
    /// The run.
    pub run: RunKey,
    /// Which of its datasets.
    pub which: Which,
}

/// Which datasets of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// All.
    All,
    /// Those of one type.
    Type(DatasetTypeName),
    /// Those that [`list_omitted`](super::Registry::list_omitted) has listed.
    Omitted,
}

impl RunPart {
    /// All of a run.
    pub const fn whole(run: RunKey) -> Self {
        let which = Which::All;
        Self { run, which }
    }

    /// A run, or its datasets of one type.
    pub fn of_type(run: RunKey, dataset_type: Option<DatasetTypeName>) -> Self {
        let which = dataset_type.map_or(Which::All, Which::Type);
        Self { run, which }
    }
}

impl fmt::Display for RunPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::All => write!(f, "run `{}`", self.run.name),
            Which::Type(name) => write!(f, "{name} of run `{}`", self.run.name),
            Which::Omitted => write!(f, "datasets of run `{}`", self.run.name),
        }
    }
}

/// A removal manifest that is committed and not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its UUID.
    pub manifest: ManifestId,
    /// The run that it removes.
    pub run: RunKey,
    /// Its generation.
    pub generation: Generation,
    /// When the removal was committed.
    pub created_at: Timestamp,
    /// Whether the run's rules end in Rucio at once, and not only when this manifest has arrived
    /// wherever manifests go.
    pub at_once: bool,
}

/// A part of a run whose artifacts this site does not want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unwanted {
    /// The run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// The dataset type; none: all of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dataset_type: Option<DatasetTypeName>,
    /// Who unstored it.
    pub account: String,
    /// When.
    #[schema(value_type = String)]
    pub since: Timestamp,
}

/// A journal as its removal knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRef {
    /// The root in which it lies.
    pub root: RootName,
    /// SHA-256 of what it said when the removal was committed.
    pub digest: Sha256,
    /// Until when what was not there is waited for, and deleted where it arrives all the same; none:
    /// that has not been settled.
    pub late_until: Option<Timestamp>,
}

/// A removal to commit.
#[derive(Debug, Clone, Copy)]
pub struct Removal<'a> {
    /// Its UUID, which its journals name.
    pub id: Uuid,
    /// What it is.
    pub operation: Operation,
    /// Who asked for it.
    pub account: &'a str,
    /// When.
    pub at: Timestamp,
    /// What it takes away, and how much that is: of parts that are no whole runs.
    pub parts: &'a [(RunPart, Extent)],
    /// Floors that it raises: manifests at or below them are superseded from then on.
    pub floors: &'a [(RunKey, Generation)],
    /// Its journals.
    pub journals: &'a [JournalRef],
    /// What other sites are to be told.
    pub notices: &'a [Notice],
    /// The chain whose runs these are, where it is about one.
    pub chain: Option<OfChain<'a>>,
}

/// What a removal has to see to in its commit where it removes runs of a chain: no chain that stays
/// has one of them in it.
#[derive(Debug, Clone, Copy)]
pub struct OfChain<'a> {
    /// The chain.
    pub name: &'a CollectionName,
    /// Who asks, to whom it has to belong.
    pub by: &'a Actor,
    /// The number of the plan by which it goes, too; none: it stays.
    pub plan: Option<&'a str>,
}

/// A committed removal that is not done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalRow {
    /// Its UUID.
    pub id: Uuid,
    /// What it is.
    pub operation: Operation,
    /// Who asked for it.
    pub account: String,
    /// When it was committed.
    pub at: Timestamp,
    /// What it hides and has not reaped yet.
    pub parts: Vec<RunPart>,
    /// Its open journals, by root.
    pub journals: Vec<JournalRef>,
    /// Whether its rows may be reaped.
    pub reapable: bool,
}

impl RemovalRow {
    /// Whether nothing of it is left but journals that wait for late arrivals.
    pub fn is_late(&self) -> bool {
        let mut journals = self.journals.iter();
        !self.journals.is_empty() && journals.all(|journal| journal.late_until.is_some())
    }
}

/// What a part of a run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Extent {
    /// Datasets.
    pub datasets: u64,
    /// Artifacts named, each (UUID, component) counted.
    pub claims: u64,
    /// Claims that are not confirmed.
    pub waiting: u64,
    /// Sum of the sizes of all claims, in bytes.
    pub bytes: u64,
}

impl Extent {
    /// More than anything holds.
    pub const EVERYTHING: Self = Self {
        datasets: u64::MAX,
        claims: u64::MAX,
        waiting: u64::MAX,
        bytes: u64::MAX,
    };

    /// Adds another one to it.
    pub const fn add(&mut self, other: &Self) {
        self.datasets += other.datasets;
        self.claims += other.claims;
        self.waiting += other.waiting;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// An artifact that parts of runs name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedArtifact {
    /// Path in the root.
    pub path: ArtifactPath,
    /// Size in bytes, as named.
    pub size: u64,
    /// Adler-32, as named.
    pub adler32: Adler32,
    /// The datasets, with component, of the parts that name it.
    pub datasets: Vec<(DatasetId, String)>,
    /// Whether any of them has it confirmed.
    pub confirmed: bool,
    /// Whether a dataset that stays names it too.
    pub shared: bool,
}
