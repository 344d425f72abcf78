//! Errors on their way out: a statement's failure learns only at the trait what it was part of.

use std::io;

use crate::lease::Fenced;
use crate::registry::RegistryError;
use crate::registry::collection::CollectionError;
use crate::registry::conflict::Conflict;
use crate::sqlite::SqliteError;

/// A failure inside this backend.
#[derive(Debug)]
pub(super) enum Failure {
    /// A statement failed; the action is not known here.
    Statement(rusqlite::Error),
    /// Already what the caller gets.
    Registry(RegistryError),
    /// A manifest contradicts the registry, seen while its rows were written: they are rolled
    /// back like those of any failure, but where nothing has been committed the caller gets it in
    /// the manifest's place.
    Conflict(Box<Conflict>),
}

impl Failure {
    pub(super) fn during(self, action: &'static str) -> RegistryError {
        match self {
            Self::Statement(source) => SqliteError::during(action, source).into(),
            Self::Registry(error) => error,
            Self::Conflict(conflict) => RegistryError::Contradicted(conflict),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(source: rusqlite::Error) -> Self {
        Self::Statement(source)
    }
}

impl From<Fenced> for Failure {
    fn from(fenced: Fenced) -> Self {
        Self::Registry(fenced.into())
    }
}

impl From<io::Error> for Failure {
    /// The only input and output beside SQLite's own is the reading of staged rows.
    fn from(source: io::Error) -> Self {
        Self::Registry(RegistryError::Rows(source))
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<CollectionError> for Failure {
    fn from(error: CollectionError) -> Self {
        Self::Registry(error.into())
    }
}
