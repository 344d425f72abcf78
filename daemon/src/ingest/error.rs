//! What stops the flow itself, as against what is wrong with one manifest.

use super::verify::VerifyError;
use crate::datastore::DatastoreError;
use crate::ledger::LedgerError;
use crate::registration_lock::RegistrationLockError;
use crate::registry::RegistryError;

/// Why ingest cannot go on now. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The root does not answer.
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The caller broke off.
    #[error("ingest was interrupted")]
    Interrupted,
    /// The turn to register cannot be had.
    #[error(transparent)]
    Lock(#[from] RegistrationLockError),
}

impl IngestError {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Datastore(error) => error.hint(),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Interrupted | Self::Lock(_) => None,
        }
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_fenced(),
            Self::Registry(error) => error.is_fenced(),
            Self::Datastore(_) | Self::Interrupted | Self::Lock(_) => false,
        }
    }

    /// Whether nothing failed and the caller itself broke off.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Registry(RegistryError::Interrupted)
                | Self::Lock(RegistrationLockError::Interrupted)
        )
    }
}

impl From<VerifyError> for IngestError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Ledger(error) => Self::Ledger(error),
            VerifyError::Registry(error) => Self::Registry(error),
        }
    }
}
