//! What goes wrong with a registry.

use runsync_manifest::name::RunKey;

use crate::disposition::Disposition;
use crate::lease::Fenced;
use crate::registry::collection::CollectionError;
use crate::registry::conflict::Conflict;
use crate::sqlite::SqliteError;

/// What goes wrong with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Reading the manifest's staged rows failed.
    #[error("cannot read the staged rows of the manifest")]
    Rows(#[source] std::io::Error),
    /// A staged row names a dataset type that its manifest does not define.
    #[error("a staged row names dataset type {index}, but the manifest defines {defined}")]
    DatasetTypeIndex {
        /// The index in the row.
        index: usize,
        /// How many the manifest defines.
        defined: usize,
    },
    /// An artifact is larger than the registry can record.
    #[error("the size of `{path}`, {size} bytes, is more than the registry can record")]
    Size {
        /// Its path.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A value in the registry is not what runsync writes there.
    #[error("the registry holds {value:?} where a {what} should be")]
    Damaged {
        /// What should be there.
        what: &'static str,
        /// What is there.
        value: String,
    },
    /// Something that contradicts the manifest was registered between two of its commits. Only
    /// a caller that does not keep other registrations out meanwhile can bring this about.
    #[error("the manifest was contradicted while it was registered")]
    Contradicted(#[source] Box<Conflict>),
    /// A run that is to be removed is not registered, or not any more.
    #[error("there is no run `{}`", run.name)]
    RunMissing {
        /// The run.
        run: RunKey,
    },
    /// A run that is to be removed is being removed already.
    #[error("run `{}` is being removed already", run.name)]
    RemovalUnderWay {
        /// The run.
        run: RunKey,
    },
    /// Nothing is removed while a run is being restored: what it names is not settled.
    #[error("run `{}` is being restored", run.name)]
    Restoring {
        /// The run.
        run: RunKey,
    },
    /// A dataset type cannot be wanted again where its run is not wanted at all.
    #[error("run `{}` is not wanted here as a whole", run.name)]
    UnwantedWhole {
        /// The run.
        run: RunKey,
    },
    /// A collection cannot be changed so; nothing was.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// The caller broke off.
    #[error("registration was interrupted")]
    Interrupted,
    /// The lease is another process's by now; nothing was written.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// SQLite failed.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
}

impl RegistryError {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Sqlite(error) => error.hint(),
            Self::Collection(error) => Some(error.hint()),
            Self::RunMissing { .. } => Some("`runsync query runs` lists the runs"),
            Self::RemovalUnderWay { .. } => Some("`runsync journal list` shows how far it is"),
            Self::Restoring { .. } => {
                Some("try again in a moment: its claims are being brought back")
            }
            Self::UnwantedWhole { .. } => Some("restore the whole run, then unstore other types"),
            Self::Rows(_)
            | Self::DatasetTypeIndex { .. }
            | Self::Size { .. }
            | Self::Damaged { .. }
            | Self::Contradicted(_)
            | Self::Interrupted
            | Self::Fenced(_) => None,
        }
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced(_) | Self::Sqlite(SqliteError::Fenced(_)))
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Rows(_)
            | Self::Contradicted(_)
            | Self::RunMissing { .. }
            | Self::RemovalUnderWay { .. }
            | Self::UnwantedWhole { .. }
            | Self::Restoring { .. }
            | Self::Collection(_)
            | Self::Interrupted
            | Self::Fenced(_) => Disposition::Retry,
            Self::DatasetTypeIndex { .. } | Self::Size { .. } => Disposition::Quarantine,
            Self::Damaged { .. } => Disposition::Stop,
            Self::Sqlite(error) => error.disposition(),
        }
    }
}
