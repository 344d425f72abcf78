//! What goes wrong with a ledger.

use crate::disposition::Disposition;
use crate::lease::Fenced;
use crate::sqlite::SqliteError;

/// What goes wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A value in the ledger is not what runsync writes there.
    #[error("the ledger holds {value:?} where a {what} should be")]
    Damaged {
        /// What should be there.
        what: &'static str,
        /// What is there.
        value: String,
    },
    /// The lease is another process's by now; nothing was written.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// SQLite failed.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
}

impl LedgerError {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Sqlite(error) => error.hint(),
            Self::Damaged { .. } | Self::Fenced(_) => None,
        }
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced(_) | Self::Sqlite(SqliteError::Fenced(_)))
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Damaged { .. } => Disposition::Stop,
            Self::Fenced(_) => Disposition::Retry,
            Self::Sqlite(error) => error.disposition(),
        }
    }
}
