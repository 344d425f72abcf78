//! What goes wrong with a SQLite file.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::Access;

use crate::disposition::Disposition;
use crate::lease::Fenced;

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
    /// The operating system keeps SQLite from the file.
    #[error("cannot open the {what} `{}`", path.display())]
    Unreachable {
        /// What the file is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    /// The file must be migrated, and something is under way that this would cut off.
    #[error(
        "the {what} `{}` must be migrated, and {count} {work} are not done with",
        path.display()
    )]
    UnderWay {
        /// What the file is.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// How many.
        count: i64,
        /// Of what, in the plural.
        work: &'static str,
    },
    /// Another process has kept the file locked for too long.
    #[error("cannot {action}: another process keeps the database locked")]
    Locked {
        /// What was attempted.
        action: &'static str,
        /// As SQLite says it.
        source: rusqlite::Error,
    },
    /// The lease is another process's by now.
    #[error(transparent)]
    Fenced(#[from] Fenced),
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

    /// Why `path` cannot be opened. SQLite itself tells a file that is not there from one that may
    /// not be read by no more than "unable to open": the operating system is asked again.
    pub(super) fn opening(
        what: &'static str,
        path: &Path,
        access: Access,
    ) -> impl Fn(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let path = path.clone();
            let busy = matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            );
            if busy {
                let action = "open the database";
                return Self::Locked { action, source };
            }
            let refused = rustix::fs::access(&path, access).err();
            match refused.filter(|_| source.sqlite_error_code() == Some(ErrorCode::CannotOpen)) {
                Some(errno) => Self::Unreachable {
                    what,
                    path,
                    source: errno.into(),
                },
                None => Self::Open { what, path, source },
            }
        }
    }

    /// Whether another process keeps the file locked.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { source, .. } | Self::Create { source, .. } => {
                if source.kind() == io::ErrorKind::PermissionDenied {
                    Some("run as the user that runs the daemon, who owns the state directory")
                } else {
                    Some(
                        "see that its file system is mounted; `runsync init` makes it for a new site, and a backup brings back a lost one",
                    )
                }
            }
            Self::Exists { .. } | Self::WrongApplication { .. } => {
                Some("correct the file's name in the configuration, or move the other file away")
            }
            Self::NewerSchema { .. } => {
                Some("install the release of runsync that wrote it, or a newer one")
            }
            Self::OlderSchema { .. } => Some("start the daemon once: it migrates the file"),
            Self::UnderWay { .. } => Some(
                "install the release again that was here before, and let it finish them or give them up; then this one migrates the file",
            ),
            Self::Locked { .. } => Some("wait for the other process to end, and try again"),
            Self::Open { .. } | Self::Statement { .. } | Self::Fenced(_) => None,
        }
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable { source, .. } => {
                if source.kind() == io::ErrorKind::PermissionDenied {
                    Disposition::Stop
                } else {
                    Disposition::Retry
                }
            }
            Self::Create { .. }
            | Self::Exists { .. }
            | Self::WrongApplication { .. }
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::UnderWay { .. } => Disposition::Stop,
            Self::Locked { .. } | Self::Fenced(_) => Disposition::Retry,
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
