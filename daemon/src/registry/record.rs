//! Rows of the registry as types.

use std::io;
use std::sync::Arc;

use runsync_config::root::RootName;
use runsync_manifest::checksum::{Checksums, Sha256};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{ArtifactPath, DatasetId, DatasetTypeName, RunKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::embedded_json;
use crate::schema::{ChecksumsSchema, GenerationSchema, RunKeySchema};

/// One additions manifest on its way into the registry.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// Its run.
    pub run: &'a RunKey,
    /// Its generation.
    pub generation: Generation,
    /// Its digest: a registration that was interrupted goes on only with the same bytes.
    pub digest: Sha256,
    /// The root that its paths are relative to.
    pub root: &'a RootName,
    /// Its dataset types; rows name them by index.
    pub dataset_types: &'a [DatasetType],
    /// Whether records are added at once (level trust) or artifacts are waited for.
    pub trust: bool,
    /// Its rows.
    pub rows: &'a dyn RowSource,
}

/// The rows of one manifest, in whichever key order a backend asks for, as often as it asks.
///
/// The source has made sure that the manifest does not contradict itself: each
/// (UUID, component), each (dataset type, data ID) and each UUID's content occurs once, and rows that share a
/// path agree on size and checksums.
pub trait RowSource: std::fmt::Debug + Send + Sync {
    /// Number of claims: (UUID, component) rows.
    fn claims(&self) -> u64;

    /// Number of datasets: distinct UUIDs.
    fn datasets(&self) -> u64;

    /// Sum of the sizes of all claims, in bytes.
    fn bytes(&self) -> u64;

    /// Calls `each` with every dimension record, in foreign-key order.
    fn dimensions(
        &self,
        each: &mut dyn FnMut(DimensionRow<'_>) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Distinct dimension keys that the data IDs refer to, less those that the manifest
    /// brings itself, by element and key.
    fn dimension_keys(&self) -> io::Result<Box<dyn DimensionKeyCursor + '_>>;

    /// Claims by (UUID, component).
    fn by_dataset(&self) -> io::Result<Box<dyn ClaimCursor + '_>>;

    /// Datasets by (dataset type index, canonical data ID).
    fn by_data_id(&self) -> io::Result<Box<dyn DataIdCursor + '_>>;

    /// Claims by (path, UUID, component).
    fn by_path(&self) -> io::Result<Box<dyn PathCursor + '_>>;
}

/// Lends claims in (UUID, component) order.
pub trait ClaimCursor {
    /// The next one.
    fn next(&mut self) -> io::Result<Option<ClaimRow<'_>>>;
}

/// Lends datasets in (dataset type, data ID) order.
pub trait DataIdCursor {
    /// The next one.
    fn next(&mut self) -> io::Result<Option<DataIdRow<'_>>>;
}

/// Lends claims in (path, UUID, component) order.
pub trait PathCursor {
    /// The next one.
    fn next(&mut self) -> io::Result<Option<PathRow<'_>>>;
}

/// Lends dimension keys in (element, key) order.
pub trait DimensionKeyCursor {
    /// The next one: element and canonical key.
    fn next(&mut self) -> io::Result<Option<(&str, &str)>>;
}

/// A dimension record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DimensionRow<'a> {
    /// Its element.
    pub element: &'a str,
    /// Its key: canonical data ID over the element's required dimensions.
    pub key: &'a str,
    /// The whole record, canonical JSON.
    pub record: &'a str,
}

/// What a manifest claims of one artifact of one dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRow<'a> {
    /// The dataset.
    pub uuid: DatasetId,
    /// Component, empty for the whole dataset.
    pub component: &'a str,
    /// Index into [`Registration::dataset_types`].
    pub dataset_type: usize,
    /// Canonical data ID.
    pub data_id: &'a str,
    /// Path in the root.
    pub path: &'a str,
    /// Size in bytes.
    pub size: u64,
    /// Checksums.
    pub checksums: Checksums,
    /// Formatter.
    pub formatter: Option<&'a str>,
}

/// A dataset by its data ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataIdRow<'a> {
    /// Index into [`Registration::dataset_types`].
    pub dataset_type: usize,
    /// Canonical data ID.
    pub data_id: &'a str,
    /// The dataset.
    pub uuid: DatasetId,
}

/// A claim by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRow<'a> {
    /// Path in the root.
    pub path: &'a str,
    /// The dataset.
    pub uuid: DatasetId,
    /// Component, empty for the whole dataset.
    pub component: &'a str,
    /// Size in bytes.
    pub size: u64,
    /// Checksums.
    pub checksums: Checksums,
}

/// A manifest whose registration has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Registering {
    /// Its run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// Its generation.
    #[schema(value_type = GenerationSchema)]
    pub generation: Generation,
    /// Its digest: only these bytes go on where it stopped.
    #[schema(value_type = String)]
    pub digest: Sha256,
    /// Claims done, all tables taken together.
    pub done: u64,
    /// Claims in all.
    pub claims: u64,
}

/// What registering one manifest did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registered {
    /// Datasets that were not known before this manifest.
    pub datasets_added: u64,
    /// Artifacts that are waited for because of it.
    pub artifacts_waiting: u64,
    /// Dimension records that differ from those registered first; at most 100 are named.
    pub dimensions_differing: Vec<DimensionDiffers>,
}

/// Most dropped datasets that are named.
const DROPPED_NAMED: usize = 20;

/// What an adopted run gave up to the run that its owner speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GivenWay {
    /// Datasets that are the owner's now, as they are.
    pub moved: u64,
    /// Datasets that contradicted the owner, and are known no more. Artifacts stay.
    pub dropped: u64,
    /// Some of these.
    pub examples: Vec<DatasetId>,
}

impl GivenWay {
    /// Counts a dataset that is dropped.
    pub fn drop(&mut self, uuid: DatasetId) {
        self.dropped += 1;
        if self.examples.len() < DROPPED_NAMED {
            self.examples.push(uuid);
        }
    }
}

/// A dataset, and the run that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDataset {
    /// The run.
    pub run: RunKey,
    /// The dataset.
    pub dataset: DatasetRow,
}

/// A dimension record that differs from the one registered first. The first stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DimensionDiffers {
    /// Its element.
    pub element: String,
    /// Its canonical key.
    pub key: String,
    /// The record registered first, JSON.
    pub registered: String,
    /// The record in the manifest, JSON.
    pub manifest: String,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunRow {
    /// Its identity.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub key: RunKey,
    /// The highest generation registered.
    #[schema(value_type = Option<GenerationSchema>)]
    pub generation: Option<Generation>,
    /// Manifests at or below it are superseded.
    #[schema(value_type = Option<GenerationSchema>)]
    pub floor: Option<Generation>,
    /// What is below it and was removed by the run's origin is removed here. Above the floor where a
    /// copy was dropped: then nothing at the floor counts either.
    #[schema(value_type = Option<GenerationSchema>)]
    pub followed: Option<Generation>,
    /// Datasets known.
    pub datasets: u64,
    /// Artifacts named, each (UUID, component) counted.
    pub claims: u64,
    /// Claims that are not confirmed yet.
    pub waiting: u64,
    /// Sum of the sizes of all claims, in bytes.
    pub bytes: u64,
}

impl RunRow {
    /// Whether nothing but this row is left of the run, at least for now.
    pub fn is_removed(&self) -> bool {
        let below = |floor| self.generation.is_none_or(|generation| generation <= floor);
        self.datasets == 0 && self.floor.is_some_and(below)
    }

    /// Claims that are confirmed.
    pub fn confirmed(&self) -> u64 {
        self.claims.saturating_sub(self.waiting)
    }
}

/// A run that waits for artifacts in a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRun {
    /// The run.
    pub run: RunKey,
    /// The root.
    pub root: RootName,
}

/// An artifact that a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingArtifact {
    /// Path in the root.
    pub path: ArtifactPath,
    /// Size in bytes.
    pub size: u64,
    /// Checksums.
    pub checksums: Checksums,
}

/// How an artifact that a dataset names stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArtifactStanding {
    /// It is waited for.
    Awaited,
    /// It is confirmed.
    Confirmed,
    /// It is neither: unstored, or forgotten.
    Absent,
}

/// What a run says of the artifact at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimAt {
    /// The run.
    pub run: RunKey,
    /// How the artifact stands there.
    pub standing: ArtifactStanding,
    /// Size in bytes.
    pub size: u64,
    /// Checksums.
    pub checksums: Checksums,
    /// Whether this site wants it, which it does but for what was unstored.
    pub wanted: bool,
    /// Whether a registration, a removal or a restoration that concerns it is under way, which comes
    /// first.
    pub busy: bool,
}

/// What all runs together say of the artifact at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactAt {
    /// Where it lies.
    pub path: ArtifactPath,
    /// How it stands: confirmed where any claim is, else awaited where any is.
    pub standing: ArtifactStanding,
    /// Size in bytes, of a claim that stands so.
    pub size: u64,
    /// Checksums, of claims that stand so and agree.
    pub checksums: Checksums,
    /// Whether a registration, a removal or a restoration that concerns it is under way.
    pub busy: bool,
}

/// Whether a dataset is in the datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// All its artifacts have records.
    Yes,
    /// A registered manifest names it; at least one artifact is not confirmed.
    Pending,
    /// Not known, or known without artifacts here.
    No,
}

/// The answer for one UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existence {
    /// The dataset asked for.
    pub uuid: DatasetId,
    /// The answer.
    pub presence: Presence,
    /// Its artifacts, by component; empty for no.
    pub records: Vec<RecordRow>,
}

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatasetRow {
    /// Its UUID.
    #[schema(value_type = Uuid)]
    pub uuid: DatasetId,
    /// Its dataset type.
    #[schema(value_type = String)]
    pub dataset_type: DatasetTypeName,
    /// Its canonical data ID, JSON.
    #[serde(
        serialize_with = "embedded_json::serialize",
        deserialize_with = "embedded_json::deserialize"
    )]
    #[schema(value_type = Object)]
    pub data_id: String,
    /// The highest generation that names it.
    #[schema(value_type = GenerationSchema)]
    pub generation: Generation,
}

/// A datastore record, or (not confirmed) a claim that waits to become one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordRow {
    /// The dataset.
    #[schema(value_type = Uuid)]
    pub uuid: DatasetId,
    /// Component, empty for the whole dataset.
    pub component: String,
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// Path in the root.
    #[schema(value_type = String)]
    pub path: ArtifactPath,
    /// Size in bytes.
    pub size: u64,
    /// Checksums.
    #[schema(value_type = ChecksumsSchema)]
    pub checksums: Checksums,
    /// Formatter. Many rows have the same one, and share it.
    #[schema(value_type = Option<String>)]
    pub formatter: Option<Arc<str>>,
    /// Whether the artifact was confirmed here.
    pub confirmed: bool,
}
