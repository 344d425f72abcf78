//! What the commands print with `--json`, as far as tasks read it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use uuid::Uuid;

/// What `manifest create` made.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Created {
    /// The manifest file.
    pub(crate) manifest: PathBuf,
    /// Datasets in it.
    pub(crate) datasets: u64,
}

/// What `status` tells.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Status {
    /// Number of manifests in each state.
    pub(crate) manifests: BTreeMap<String, u64>,
    /// All runs together.
    pub(crate) runs: RunCounts,
}

/// All runs together, as `status` counts them.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RunCounts {
    /// Runs that wait for artifacts.
    pub(crate) waiting: u64,
    /// Datasets known.
    pub(crate) datasets: u64,
    /// Artifacts named.
    pub(crate) claims: u64,
    /// Artifacts confirmed.
    pub(crate) confirmed: u64,
}

/// A run as `query runs` tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Run {
    /// Its name.
    pub(crate) name: String,
    /// Datasets known.
    pub(crate) datasets: u64,
    /// Artifacts not confirmed yet.
    pub(crate) waiting: u64,
    /// Sum of the sizes of its artifacts.
    pub(crate) bytes: u64,
}

/// One line of the answer of `exists`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Existence {
    /// The dataset asked for.
    pub(crate) uuid: Uuid,
    /// `yes`, `pending` or `no`.
    pub(crate) exists: String,
    /// Its artifacts.
    pub(crate) artifacts: Vec<Artifact>,
}

/// An artifact in an answer of `exists`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Artifact {
    /// Path in the root.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Checksums by algorithm.
    pub(crate) checksums: BTreeMap<String, String>,
}
