//! What goes wrong with a SQLite file.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::disposition::Disposition;

/// What goes wrong with a SQLite file.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// The file cannot be created.
    #[error("cannot create the {what} `{}`", path.display())]
    Create {
        /// What the file is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a file already.
    #[error("cannot create the {what} `{}`: there is such a file already", path.display())]
    Exists {
        /// What the file is.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The file cannot be opened.
    #[error("cannot open the {what} `{}`", path.display())]
    Open {
        /// What the file is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is another program's, or another file of ours.
    #[error("`{}` is not a runsync {what}", path.display())]
    WrongApplication {
        /// What the file should be.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// A later release has written the file.
    #[error(
        "the {what} `{}` has schema version {found}, but this release knows only {known}",
        path.display()
    )]
    NewerSchema {
        /// What the file is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The highest version known here.
        known: usize,
    },
    /// The file is opened for reading only but must be migrated first.
    #[error(
        "the {what} `{}` has schema version {found} and must first be opened for writing, which brings it to {known}",
        path.display()
    )]
    OlderSchema {
        /// What the file is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The version needed.
        known: usize,
    },
    /// Another process has kept the file locked for too long.
    #[error("cannot {action}: another process keeps the database locked")]
    Locked {
        /// What was attempted.
        action: &'static str,
        /// As SQLite says it.
        source: rusqlite::Error,
    },
    /// A statement failed.
    #[error("cannot {action}")]
    Statement {
        /// What was attempted.
        action: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

impl SqliteError {
    /// The error of a statement, by what was attempted.
    pub fn during(action: &'static str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Locked { action, source }
            }
            _ => Self::Statement { action, source },
        }
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Create { .. }
            | Self::Exists { .. }
            | Self::WrongApplication { .. }
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. } => Disposition::Stop,
            Self::Locked { .. } => Disposition::Retry,
            Self::Open { source, .. } | Self::Statement { source, .. } => {
                match source.sqlite_error_code() {
                    Some(
                        ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::ReadOnly
                        | ErrorCode::PermissionDenied,
                    ) => Disposition::Stop,
                    _ => Disposition::Retry,
                }
            }
        }
    }
}
