//! The first line of a manifest: whose run, which generation, which types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::generation::Generation;
use crate::name::{
    DatasetTypeName, ManifestId, RepositoryId, RunName, Scope, SiteName, StorageClassName,
};

/// The header line, less its `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Major version of the format.
    pub format: u32,
    /// The manifest's own UUID, version 7.
    pub manifest: ManifestId,
    /// What this manifest says about its run.
    pub content: Content,
    /// The run.
    pub run: RunName,
    /// The repository that owns the run.
    pub origin: Repository,
    /// The repository that took the inventory; only in an inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Repository>,
    /// Place in the run's history.
    pub generation: Generation,
    /// When it was written, RFC 3339 in UTC. For people; nothing is ordered by it.
    pub created_at: String,
    /// The Rucio scope of the run's files, where Rucio moves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The dimension universe that data IDs and dimension records are meant in.
    pub universe: UniverseVersion,
    /// The dataset types that the dataset lines use.
    #[serde(default)]
    pub dataset_types: Vec<DatasetType>,
    /// Free: who made the run, from what. Not interpreted.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub provenance: serde_json::Value,
}

/// A Butler repository and the site it stands at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// Its UUID.
    pub repository: RepositoryId,
    /// Its site.
    pub site: SiteName,
}

/// A dimension universe's name and version, as the Butler's `dimensions.yaml` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UniverseVersion {
    /// Namespace, `daf_butler` for the Butler's own.
    pub name: String,
    /// Version, 8 in November 2026.
    pub version: u32,
}

/// The definition of a dataset type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetType {
    /// Its name.
    pub name: DatasetTypeName,
    /// Its required dimensions; a data ID of this type has exactly these keys.
    /// Order carries no meaning; the writer sorts them.
    pub dimensions: Vec<String>,
    /// Its storage class.
    pub storage_class: StorageClassName,
    /// Whether its datasets may enter CALIBRATION collections.
    #[serde(default)]
    pub is_calibration: bool,
}
