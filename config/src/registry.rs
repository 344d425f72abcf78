//! Which registry the site uses.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::raw::Section;

/// The registry behind the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "backend", rename_all = "lowercase")]
pub enum RegistryBackend {
    /// The embedded one: an `SQLite` file.
    Sqlite {
        /// The file.
        file: PathBuf,
    },
}

impl RegistryBackend {
    /// Reads `[registry]`; paths are relative to `base`.
    pub(crate) fn read(mut section: Section<'_, '_>, base: &Path, state_directory: &Path) -> Self {
        let backend = section.or("backend", "sqlite".to_owned());
        if backend != "sqlite" {
            section.report(
                "backend",
                "must be `sqlite`, the one backend of this version",
            );
        }
        let file: Option<PathBuf> = section.optional("file");
        section.finish();
        Self::Sqlite {
            file: file.map_or_else(
                || state_directory.join("registry.sqlite3"),
                |file| base.join(file),
            ),
        }
    }
}
