//! The journal: a file in each root that says which deletion is under way there.
//!
//! It holds all that is needed to finish without the database: who asked for what, and each
//! artifact with the file that was found at its path. Whether the removal was committed the registry
//! knows; once that is known it stands in the journal too.
//!
//! Where Rucio deletes, it also says where Rucio has the artifacts: configuration may change meanwhile,
//! and what Rucio has is not unlinked because of that.
//!
//! JSON Lines: one `journal`, an `artifact` each by path, one `end`, and `committed` once it is.

mod format;

mod read;

mod write;

use std::io;

use thiserror::Error;

pub use self::format::{Artifact, Header, InRucio, name_of};
pub use self::read::{Artifacts, Journal};
pub use self::write::{Written, write};
use crate::datastore::DatastoreError;

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The root refuses it.
    #[error("cannot use journal `{name}`")]
    Root {
        /// Its name.
        name: String,
        /// Why.
        source: DatastoreError,
    },
    /// It cannot be read.
    #[error("cannot read journal `{name}`")]
    Read {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It is not whole: whoever wrote it did not come to its end.
    #[error("journal `{name}` is not whole")]
    Torn {
        /// Its name.
        name: String,
    },
    /// A later version wrote it.
    #[error(
        "journal `{name}` has format {found}, and this version reads formats up to {}",
        format::FORMAT
    )]
    Format {
        /// Its name.
        name: String,
        /// Its format.
        found: u64,
    },
    /// It does not say what was committed.
    #[error("journal `{name}` is not the one that was committed: somebody has changed it")]
    Changed {
        /// Its name.
        name: String,
    },
    /// It is not there, and not all of its deletions are confirmed.
    #[error("there is no journal `{name}`, and not all that it named is deleted")]
    Missing {
        /// Its name.
        name: String,
    },
}

impl JournalError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        let missing = |source: &DatastoreError| matches!(source, DatastoreError::Missing { .. });
        matches!(self, Self::Root { source, .. } if missing(source))
    }

    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Root { source, .. } => source.hint(),
            Self::Format { .. } => {
                Some("install the runsync version that wrote it, or a newer one".to_owned())
            }
            Self::Changed { .. } | Self::Missing { .. } => Some(
                "restore the file from a backup; what it named stays where it is until then"
                    .to_owned(),
            ),
            Self::Read { .. } | Self::Torn { .. } => None,
        }
    }
}
