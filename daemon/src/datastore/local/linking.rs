//! Gives a file a second name in its root, and never takes a name from another file.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, linkat, statat};
use rustix::io::Errno;

use super::handle::{FOLDER, failure, look_in, open_below};
use super::install::{Folders, io_error};
use super::split;
use crate::datastore::{DatastoreError, Linked, Look};

/// Links the regular file at `from` to `to`, whose folders are made.
pub(super) fn link(root: &OwnedFd, from: &str, to: &str) -> Result<Linked, DatastoreError> {
    let (folder, name) = split(from);
    let folder = if folder.is_empty() { "." } else { folder };
    let source = open_below(root, folder, FOLDER).map_err(|e| failure("open", from, e))?;
    match look_in(source.as_fd(), name) {
        Look::File(_) => {}
        Look::Absent => return Err(failure("link", from, Errno::NOENT)),
        Look::Irregular => return Err(failure("link", from, Errno::LOOP)),
        Look::Unreadable(fault) => {
            let error = std::io::Error::from_raw_os_error(fault.0);
            return Err(io_error("look at", from, error));
        }
    }
    let (target_folder, target_name) = split(to);
    let folders = Folders::create(root, target_folder)?;
    let target = folders.innermost(root);
    match linkat(&source, name, target, target_name, AtFlags::empty()) {
        Ok(()) => Ok(Linked::Made),
        Err(Errno::EXIST) => {
            let identity = |folder, name| {
                let status = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
                status.map(|status| (status.st_dev, status.st_ino))
            };
            let there = identity(target, target_name).map_err(|e| failure("look at", to, e))?;
            let ours = identity(source.as_fd(), name).map_err(|e| failure("look at", from, e))?;
            Ok(if there == ours {
                Linked::There
            } else {
                Linked::Other
            })
        }
        Err(errno) => Err(io_error("link", to, errno.into())),
    }
}
