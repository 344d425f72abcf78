//! What both watches share: an inotify instance, and what its errors and events mean.

use std::fs;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{Config, ErrorKind, EventHandler, EventKind, RecommendedWatcher, Watcher as _};
use rustix::io::Errno;

use super::poll::{Degraded, untrusted};
use crate::telemetry::metrics;

/// Starts an inotify instance for a root, where that makes sense.
pub(super) fn start(
    root: &Path,
    handler: impl EventHandler,
) -> Result<RecommendedWatcher, Degraded> {
    match untrusted(root) {
        Ok(None) => {}
        Ok(Some(reason)) => return Err(reason),
        Err(errno) => return Err(Degraded::Failed(errno.to_string())),
    }
    let config = Config::default().with_follow_symlinks(false);
    RecommendedWatcher::new(handler, config).map_err(|error| degraded(&error))
}

/// What an error means for the root.
pub(super) fn degraded(error: &notify::Error) -> Degraded {
    match &error.kind {
        ErrorKind::MaxFilesWatch => Degraded::WatchLimit,
        ErrorKind::Io(io) if io.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            Degraded::InstanceLimit
        }
        ErrorKind::Io(_)
        | ErrorKind::Generic(_)
        | ErrorKind::PathNotFound
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_) => Degraded::Failed(error.to_string()),
    }
}

/// Whether an error only says that a directory is gone again.
pub(super) fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(io) => io.kind() == std::io::ErrorKind::NotFound,
        ErrorKind::Generic(_) | ErrorKind::InvalidConfig(_) | ErrorKind::MaxFilesWatch => false,
    }
}

/// What an event says.
#[derive(Debug)]
pub(super) enum Change {
    /// Something may have come, gone, or been written to its end at these paths.
    /// Each may be a folder or a file where the flag says so, or where it is not known.
    At { paths: Vec<PathBuf>, folder: bool },
    /// Events were lost.
    Lost,
    /// No concern of ours: somebody reads (we do, ourselves), or is still writing.
    Nothing,
}

/// Sorts an event.
pub(super) fn change(event: notify::Event) -> Change {
    if event.need_rescan() {
        metrics::overflow();
        return Change::Lost;
    }
    let folder = match event.kind {
        EventKind::Create(CreateKind::File)
        | EventKind::Remove(RemoveKind::File)
        | EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
            true
        }
        EventKind::Access(_) | EventKind::Modify(_) => return Change::Nothing,
        EventKind::Any | EventKind::Other => return Change::Lost,
    };
    Change::At {
        paths: event.paths,
        folder,
    }
}

/// Whether a path leads to a folder, and not to a link to one: a watch would follow it.
pub(super) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|status| status.is_dir())
}
