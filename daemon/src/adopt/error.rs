//! What keeps hints from being looked into at all. What is wrong with one message is no error.

use runsync_manifest::error::{KeyError, WriteError};

use crate::create::CreateError;
use crate::datastore::DatastoreError;
use crate::ingest::{IngestError, ParseError};
use crate::ledger::LedgerError;
use crate::registration_lock::RegistrationLockError;
use crate::registry::RegistryError;
use crate::removal::GenerationError;

/// Why nothing is adopted now; all of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The root does not answer.
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
    /// Registering does not go on.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The turn to register cannot be had.
    #[error(transparent)]
    Lock(#[from] RegistrationLockError),
    /// No generation is to be had.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The manifest cannot be made.
    #[error("cannot make a manifest of adopted files")]
    Create(#[from] CreateError),
    /// The snapshot cannot be written.
    #[error("cannot write a snapshot of an adopted run")]
    Write(#[from] WriteError),
    /// What the registry holds of a run is no JSON.
    #[error("the registry holds a data ID that is no JSON")]
    Garbled(#[source] serde_json::Error),
    /// The manifest that was just made cannot be read.
    #[error("cannot read the manifest of adopted files that was just made")]
    Parse(#[from] ParseError),
    /// A scratch file cannot be written.
    #[error("cannot write a scratch file")]
    Scratch(#[source] std::io::Error),
    /// The signing key cannot be read.
    #[error("cannot read the signing key")]
    Key(#[from] runsync_config::secret::SecretError),
    /// The signing key is none.
    #[error("cannot use the signing key file")]
    KeyText(#[from] KeyError),
}

impl AdoptError {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::Datastore(error) => error.hint(),
            Self::Ingest(error) => error.hint(),
            Self::Generation(error) => error.hint(),
            Self::Scratch(_) => {
                Some("see that the state directory has room and can be written to".to_owned())
            }
            Self::Key(_) | Self::KeyText(_) => Some(
                "restore the file that `signing_key_file` names, from a backup of the keys"
                    .to_owned(),
            ),
            Self::Garbled(_) => Some("its file is damaged: restore it from a backup".to_owned()),
            Self::Lock(_) | Self::Create(_) | Self::Write(_) | Self::Parse(_) => None,
        }
    }
}
