//! Every way in which a scan stops without being done.

use std::io;

use runsync_config::root::RootName;
use runsync_manifest::name::RunName;
use thiserror::Error;

use crate::datastore::{DatastoreError, StorageFault};
use crate::ledger::LedgerError;
use crate::registry::RegistryError;
use crate::removal::RemovalError;

/// Why a root cannot be scanned now. What was found before stays.
#[derive(Debug, Error)]
pub enum ScanError {
    /// Configuration knows no such root.
    #[error("this site has no root `{root}`")]
    NoRoot {
        /// As asked for.
        root: RootName,
    },
    /// It is being scanned.
    #[error("root `{root}` is being scanned already")]
    Busy {
        /// The root.
        root: RootName,
    },
    /// This site knows no run of that name.
    #[error("this site knows no run `{run}`")]
    NoRun {
        /// As asked for.
        run: RunName,
    },
    /// The root, or one of the files that a scan needs, does not answer.
    #[error("cannot scan root `{root}`")]
    Datastore {
        /// The root.
        root: RootName,
        /// Why.
        source: DatastoreError,
    },
    /// The root's own folder cannot be listed.
    #[error("cannot list root `{root}`: {fault}")]
    Unlisted {
        /// The root.
        root: RootName,
        /// Why.
        fault: StorageFault,
    },
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Journals cannot be asked for.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// Reading records ended without their end.
    #[error("records are not read to their end: the thread that reads them is gone")]
    Unread,
    /// What is being removed or has not arrived cannot be sorted.
    #[error("cannot use the scratch folder for a scan")]
    Scratch(#[from] io::Error),
    /// What a scan has seen cannot be written down.
    #[error("cannot write down what a scan has seen")]
    Counts(#[from] serde_json::Error),
}

impl ScanError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRoot { .. } => Some("`runsync config show` lists the roots".to_owned()),
            Self::Busy { .. } => Some(
                "wait until that scan is over: `runsync schedule list` and `GET /v1/scans` tell how it goes"
                    .to_owned(),
            ),
            Self::NoRun { .. } => Some("`runsync query runs` lists them".to_owned()),
            Self::Datastore { source, .. } => source.hint(),
            Self::Unlisted { .. } => {
                Some("run the scan as a user that may list the root".to_owned())
            }
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::Removal(error) => error.hint(),
            Self::Scratch(_) => Some("see that its disk has room".to_owned()),
            Self::Unread => Some("scan again; it goes on where it was".to_owned()),
            Self::Counts(_) => None,
        }
    }

    /// Whether the lease of whoever asks was taken over.
    pub fn is_fenced(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_fenced(),
            Self::Ledger(error) => error.is_fenced(),
            Self::Removal(error) => error.is_fenced(),
            Self::NoRoot { .. }
            | Self::Busy { .. }
            | Self::NoRun { .. }
            | Self::Datastore { .. }
            | Self::Unlisted { .. }
            | Self::Unread
            | Self::Scratch(_)
            | Self::Counts(_) => false,
        }
    }

    /// Whether another scan of that root is under way.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// Whether what was asked for is wrong, and nothing else.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NoRoot { .. } | Self::NoRun { .. })
    }
}
