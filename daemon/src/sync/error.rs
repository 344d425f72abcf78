//! Every way in which asking Rucio what should be here stops.

use runsync_config::root::RootName;
use runsync_manifest::name::{RseName, RunName};
use thiserror::Error;

use crate::datastore::DatastoreError;
use crate::ingest::IngestError;
use crate::ledger::LedgerError;
use crate::publish::PublishError;
use crate::registry::RegistryError;
use crate::removal::RemovalError;
use crate::rucio::RucioError;

/// Why this site cannot be compared with Rucio now.
#[derive(Debug, Error)]
pub enum SyncError {
    /// Configuration knows no Rucio.
    #[error("this site has no Rucio: its configuration has no `[rucio]`")]
    NoRucio,
    /// No root is that RSE.
    #[error("no root of this site is RSE `{rse}`")]
    NoRse {
        /// The RSE.
        rse: RseName,
    },
    /// No root is an RSE.
    #[error("no root of this site is an RSE")]
    NoRses,
    /// No root of that name is an RSE.
    #[error("no root `{root}` of this site is an RSE")]
    NoRoot {
        /// The root's name.
        root: RootName,
    },
    /// Records are being compared with Rucio's view.
    #[error("records are being compared with Rucio's replicas already")]
    Viewing,
    /// What is sorted finds no place on the disk.
    #[error("names that Rucio lists cannot be sorted in the state directory")]
    Scratch {
        /// Why.
        source: std::io::Error,
    },
    /// What the ledger has of a pass makes no sense.
    #[error("how far comparing with Rucio's view has come cannot be read")]
    Position {
        /// Why.
        source: serde_json::Error,
    },
    /// There is no such run.
    #[error("this site knows no run `{run}` of another")]
    NoRun {
        /// The run.
        run: RunName,
    },
    /// What the name stands for is nothing of a peer's.
    #[error("`{did}` belongs to no run that this site knows, and to no peer")]
    Unknown {
        /// The data identifier.
        did: String,
    },
    /// Rucio gives no answer, or refuses.
    #[error(transparent)]
    Rucio(#[from] RucioError),
    /// A root does not answer.
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What has arrived cannot be taken in.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// What is wanted again cannot be restored.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// What is to be declared cannot be told to Rucio.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The caller broke off.
    #[error("comparing with Rucio was interrupted")]
    Interrupted,
}

impl SyncError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoRucio => "add `[rucio]`: see docs/PUBLISHING.md",
            Self::Scratch { .. } => "see whether the disk of the state directory is full",
            Self::Viewing => "wait for it; `runsync schedule list` shows whether a job does it",
            Self::Position { .. } => "begin anew: `runsync scan --rucio --anew`",
            Self::NoRse { .. } | Self::NoRses | Self::NoRoot { .. } => {
                "name the RSE that Rucio knows a root as: `rse` in `[[root]]`"
            }
            Self::NoRun { .. } => {
                "`runsync query runs` lists them; runs of this site's own are not compared, and one whose manifest has not come yet is found by `runsync sync`"
            }
            Self::Unknown { .. } => {
                "name a run, a file of one, or a Rucio dataset of runsync's below `runsync/`; `[[peer]]` names the origins that are known"
            }
            Self::Rucio(error) => return error.hint(),
            Self::Datastore(error) => return error.hint(),
            Self::Registry(error) => return error.hint().map(str::to_owned),
            Self::Ledger(error) => return error.hint().map(str::to_owned),
            Self::Ingest(error) => return error.hint(),
            Self::Removal(error) => return error.hint(),
            Self::Publish(error) => return error.hint(),
            Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether it was broken off by whoever asked.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted
            | Self::Rucio(RucioError::Interrupted)
            | Self::Registry(RegistryError::Interrupted) => true,
            Self::Ingest(error) => error.is_interruption(),
            Self::Removal(error) => error.is_interruption(),
            Self::Publish(error) => error.is_interruption(),
            Self::NoRucio
            | Self::NoRse { .. }
            | Self::NoRses
            | Self::NoRoot { .. }
            | Self::Scratch { .. }
            | Self::Viewing
            | Self::Position { .. }
            | Self::NoRun { .. }
            | Self::Unknown { .. }
            | Self::Rucio(_)
            | Self::Datastore(_)
            | Self::Registry(_)
            | Self::Ledger(_) => false,
        }
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_fenced(),
            Self::Ledger(error) => error.is_fenced(),
            Self::Ingest(error) => error.is_fenced(),
            Self::Removal(error) => error.is_fenced(),
            Self::Publish(error) => error.is_fenced(),
            Self::NoRucio
            | Self::NoRse { .. }
            | Self::NoRses
            | Self::NoRoot { .. }
            | Self::Scratch { .. }
            | Self::Viewing
            | Self::Position { .. }
            | Self::NoRun { .. }
            | Self::Unknown { .. }
            | Self::Rucio(_)
            | Self::Datastore(_)
            | Self::Interrupted => false,
        }
    }

    /// Whether what is asked for cannot be: asked again, it is refused again.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoRucio
            | Self::NoRse { .. }
            | Self::NoRses
            | Self::NoRoot { .. }
            | Self::NoRun { .. }
            | Self::Unknown { .. } => true,
            Self::Scratch { .. }
            | Self::Viewing
            | Self::Position { .. }
            | Self::Rucio(_)
            | Self::Datastore(_)
            | Self::Registry(_)
            | Self::Ledger(_)
            | Self::Ingest(_)
            | Self::Removal(_)
            | Self::Publish(_)
            | Self::Interrupted => false,
        }
    }

    /// Whether Rucio as a whole is away, or does not know this site: nothing that is asked of it would fare
    /// better.
    pub fn is_about_rucio(&self) -> bool {
        match self {
            Self::Rucio(error) => error.is_of_the_server(),
            Self::Publish(error) => error.is_about_rucio(),
            Self::NoRucio
            | Self::NoRse { .. }
            | Self::NoRses
            | Self::NoRoot { .. }
            | Self::Scratch { .. }
            | Self::Viewing
            | Self::Position { .. }
            | Self::NoRun { .. }
            | Self::Unknown { .. }
            | Self::Datastore(_)
            | Self::Registry(_)
            | Self::Ledger(_)
            | Self::Ingest(_)
            | Self::Removal(_)
            | Self::Interrupted => false,
        }
    }
}
