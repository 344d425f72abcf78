//! What keeps a manifest out of the registry although it is whole and signed.

use runsync_config::root::RootName;
use runsync_manifest::checksum::Checksums;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{ArtifactPath, DatasetId, DatasetTypeName, RunKey};
use serde::{Deserialize, Serialize};

/// A contradiction between a manifest and the registry. Stored with a blocked manifest, so that
/// [`still_stands`](super::Registry::still_stands) can be asked before the manifest is read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "conflict", rename_all = "snake_case")]
pub enum Conflict {
    /// The UUID is registered with another run, dataset type or data ID.
    #[error("dataset {uuid} is registered as {held_type} {held_data_id} in run `{}`", held_run.name)]
    DatasetHeld {
        /// The dataset.
        uuid: DatasetId,
        /// Where it is registered.
        held_run: RunKey,
        /// As what.
        held_type: DatasetTypeName,
        /// With which data ID.
        held_data_id: String,
    },
    /// The run has another dataset of that type and data ID.
    #[error("run `{}` has {dataset_type} {data_id} as dataset {held_by}, not {uuid}", run.name)]
    DataIdHeld {
        /// The run.
        run: RunKey,
        /// The dataset type.
        dataset_type: DatasetTypeName,
        /// Canonical data ID.
        data_id: String,
        /// The dataset in the manifest.
        uuid: DatasetId,
        /// The dataset in the registry.
        held_by: DatasetId,
    },
    /// The path belongs to another dataset's artifact of another size or checksum.
    #[error("path `{path}` in root `{root}` holds another artifact, of dataset {held_by}")]
    PathHeld {
        /// The root.
        root: RootName,
        /// The path.
        path: ArtifactPath,
        /// A dataset whose artifact it is.
        held_by: DatasetId,
        /// What the manifest says lies there.
        claim: PathClaim,
    },
    /// The dataset type is registered with another definition.
    #[error(
        "dataset type `{}` is registered as {}, and the manifest has {}",
        manifest.name, definition(registered), definition(manifest)
    )]
    DatasetTypeDiffers {
        /// As registered.
        registered: DatasetType,
        /// As in the manifest.
        manifest: DatasetType,
    },
    /// The run is being removed, and not all of it is gone.
    #[error("run `{}` is being removed", run.name)]
    RemovalUnderWay {
        /// The run.
        run: RunKey,
    },
    /// The sizes of the run's claims would add up to more than the registry can count.
    #[error("run `{}` would have {bytes} bytes or more, and {} can be counted", run.name, i64::MAX)]
    RunTooLarge {
        /// The run.
        run: RunKey,
        /// What its claims add up to where that first was too much.
        bytes: u64,
    },
    /// A data ID refers to a dimension record that is not registered.
    #[error("there is no {element} record {key}")]
    DimensionMissing {
        /// The dimension.
        element: String,
        /// Its canonical key.
        key: String,
    },
}

/// What a manifest says about a path that another artifact holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathClaim {
    /// The dataset in the manifest.
    pub uuid: DatasetId,
    /// The manifest's generation.
    pub generation: Generation,
    /// Size in bytes.
    pub size: u64,
    /// Checksums.
    pub checksums: Checksums,
}

/// What makes a dataset type what it is, in words.
fn definition(dataset_type: &DatasetType) -> String {
    let dimensions = dataset_type.dimensions.join(", ");
    let calibration = if dataset_type.is_calibration {
        " (calibration)"
    } else {
        ""
    };
    format!(
        "{} of {{{dimensions}}}{calibration}",
        dataset_type.storage_class
    )
}

impl Conflict {
    /// Whether another manifest may resolve it: then the manifest is blocked, else quarantined.
    pub fn may_resolve(&self) -> bool {
        match self {
            Self::DatasetHeld { .. }
            | Self::DataIdHeld { .. }
            | Self::PathHeld { .. }
            | Self::DatasetTypeDiffers { .. }
            | Self::RemovalUnderWay { .. }
            | Self::DimensionMissing { .. } => true,
            Self::RunTooLarge { .. } => false,
        }
    }
}
