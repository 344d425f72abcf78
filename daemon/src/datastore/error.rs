//! Every way a datastore root fails.

use std::io;
use std::path::PathBuf;

/// What goes wrong with a datastore.
#[derive(Debug, thiserror::Error)]
pub enum DatastoreError {
    /// The root's directory does not exist.
    #[error("datastore root `{}` is not there", root.display())]
    RootMissing {
        /// The root.
        root: PathBuf,
    },
    /// The root's directory exists, but no `init` has been there (or nothing is mounted on it).
    #[error("datastore root `{}` has no `runsync/repository.json`", root.display())]
    NotInitialised {
        /// The root.
        root: PathBuf,
    },
    /// The root's directory exists and cannot be opened.
    #[error("cannot open datastore root `{}`", root.display())]
    Open {
        /// The root.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `runsync/repository.json` cannot be understood.
    #[error("cannot use `runsync/repository.json` of datastore root `{}`", root.display())]
    RepositoryFile {
        /// The root.
        root: PathBuf,
        /// Why.
        source: RepositoryFileError,
    },
    /// The root's path leads to another directory or another repository than when it was opened.
    #[error("datastore root `{}` is not the one that was opened: {change}", root.display())]
    RootChanged {
        /// The root.
        root: PathBuf,
        /// What is different.
        change: RootChange,
    },
    /// Nothing has this name.
    #[error("`{path}` is not there")]
    Missing {
        /// Relative to the root.
        path: String,
    },
    /// The name leads to something that is never read.
    #[error("`{path}` is not a regular file, or a symbolic link is on its way")]
    Irregular {
        /// Relative to the root.
        path: String,
    },
    /// A path that no manifest may have.
    #[error("path `{}` of a manifest {reason}", path.escape_debug())]
    PathRefused {
        /// As asked for or as found.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A name that no journal may have.
    #[error("`{}` is no name of a journal", name.escape_debug())]
    JournalName {
        /// As asked for.
        name: String,
    },
    /// The operating system refused.
    #[error("cannot {attempt} `{path}`")]
    Io {
        /// What was attempted, such as `list`.
        attempt: &'static str,
        /// Relative to the root.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What differs where a root has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootChange {
    /// Another directory stands at the path: a mount came or went, or it was moved.
    #[error("another directory stands at its path")]
    Directory,
    /// The same directory names another repository, site or registry.
    #[error("its `runsync/repository.json` has changed")]
    Repository,
}

/// What is wrong with the text of a `repository.json`.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryFileError {
    /// Larger than any that runsync writes.
    #[error("it is larger than {} bytes", super::repository_file::BYTES_MAX)]
    TooLarge,
    /// Written by a newer runsync.
    #[error(
        "its format is {found}, and this version reads format {}",
        super::repository_file::FORMAT
    )]
    Format {
        /// The format that it names.
        found: u64,
    },
    /// Not the JSON that is expected.
    #[error("it is not valid")]
    Json(#[from] serde_json::Error),
}

impl DatastoreError {
    /// The path below the root that it is about; `None` where it is about the root itself.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Missing { path }
            | Self::Irregular { path }
            | Self::PathRefused { path, .. }
            | Self::Io { path, .. } => Some(path),
            Self::RootMissing { .. }
            | Self::NotInitialised { .. }
            | Self::Open { .. }
            | Self::RepositoryFile { .. }
            | Self::JournalName { .. }
            | Self::RootChanged { .. } => None,
        }
    }

    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::RootMissing { root } | Self::NotInitialised { root } => Some(format!(
                "see that the storage is mounted; a root that is new needs `runsync init {} --site NAME`",
                root.display()
            )),
            Self::RepositoryFile {
                source: RepositoryFileError::Format { .. },
                ..
            } => Some("install the runsync version that wrote it, or a newer one".to_owned()),
            Self::RepositoryFile { .. } => Some(
                "restore `runsync/repository.json` from a backup; do not write a new one, or the root gets a new identity"
                    .to_owned(),
            ),
            Self::RootChanged { .. } => Some(
                "mount the storage that was there; if the change is meant, restart runsync"
                    .to_owned(),
            ),
            Self::Irregular { .. } => {
                Some("put a regular file in its place; links are never followed".to_owned())
            }
            Self::Open { .. }
            | Self::Missing { .. }
            | Self::PathRefused { .. }
            | Self::JournalName { .. }
            | Self::Io { .. } => {
                None
            }
        }
    }
}
