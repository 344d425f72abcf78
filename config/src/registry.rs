//! Which registry the site uses.

use std::path::PathBuf;

use serde::Serialize;

/// The registry behind the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "backend", rename_all = "lowercase")]
pub enum RegistryBackend {
    /// The embedded one: an SQLite file.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
}
