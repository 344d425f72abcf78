//! The lease's row, wherever it is kept.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

use super::fence::{Fence, Fenced};
use super::holder::Holder;

/// The lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The highest number given.
    pub fence: Fence,
    /// Grows with every change of the row: as long as it stands still nobody renews.
    pub beat: u64,
    /// Who holds it; `None` where it was given back, or never claimed.
    pub holder: Option<Holder>,
}

/// Why the lease cannot be looked at, claimed, or renewed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process keeps the table locked.
    #[error(transparent)]
    Busy(Box<dyn Error + Send + Sync>),
    /// The lease is another's.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The table fails.
    #[error(transparent)]
    Table(Box<dyn Error + Send + Sync>),
    /// A lock file cannot be made or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process cannot be looked at or ended.
    #[error("cannot {action}")]
    Process {
        /// What was attempted.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The thread that renews the lease cannot be started.
    #[error("cannot start the thread that renews the lease")]
    Thread(#[source] io::Error),
}

impl LeaseError {
    /// Whether another process keeps the table locked.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

/// Where the lease's row is kept. Its methods block, and give up where the table stays locked for a
/// part of the lease's duration.
pub trait LeaseTable: Send + Sync + Debug {
    /// The row.
    fn read(&self) -> Result<LeaseRow, LeaseError>;

    /// Makes `holder` the holder under `fence`, where the row is still the one that was `seen`.
    /// From then on nothing is written to the ledger under a lower number.
    ///
    /// Returns false where the row has changed, or `fence` is not higher than its number.
    fn claim(&self, seen: &LeaseRow, fence: Fence, holder: &Holder) -> Result<bool, LeaseError>;

    /// Shows that the holder of `fence` lives.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Fenced`] where it is the holder no more.
    fn renew(&self, fence: Fence) -> Result<(), LeaseError>;

    /// Gives the lease back: whoever wants it may take it at once.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Fenced`] where it is another's.
    fn release(&self, fence: Fence) -> Result<(), LeaseError>;
}
