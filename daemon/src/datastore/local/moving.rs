//! Moves a file within its root, only where it is still the one that was meant, and never over another.
//!
//! As with deletions, one moment is left between the last look and the call that moves. What is moved then is
//! another file, which is looked at afterwards and put back where it is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::handle::{FOLDER, look_in, look_of, open_below};
use super::install::Folders;
use super::split;
use crate::datastore::{DatastoreError, Look, Moved, StorageFault};
use crate::file_identity::FileIdentity;

/// Moves the file at `from` to `to`, whose folders are made.
pub(super) fn rename(
    root: &OwnedFd,
    (from, identity): (&str, FileIdentity),
    to: &str,
) -> Result<Moved, DatastoreError> {
    let (folder, name) = split(from);
    let folder = if folder.is_empty() { "." } else { folder };
    let source = match open_below(root, folder, FOLDER) {
        Ok(source) => source,
        Err(errno) => return Ok(not_moved(look_of(errno))),
    };
    // Before folders are made for nothing.
    let look = look_in(source.as_fd(), name);
    if look != Look::File(identity) {
        return Ok(not_moved(look));
    }
    let (target_folder, target_name) = split(to);
    let folders = Folders::create(root, target_folder)?;
    let target = folders.innermost(root);
    let look = look_in(source.as_fd(), name);
    if look != Look::File(identity) {
        return Ok(not_moved(look));
    }
    let ends = [(source.as_fd(), name), (target, target_name)];
    let moved = put(ends);
    if moved != Moved::Moved {
        return Ok(moved);
    }
    // What was put there in that one moment goes back.
    let look = look_in(target, target_name);
    if look == Look::File(identity) {
        return Ok(Moved::Moved);
    }
    let [from, to] = ends;
    put([to, from]);
    Ok(not_moved(look))
}

fn put([(source, name), (target, target_name)]: [(BorrowedFd<'_>, &str); 2]) -> Moved {
    let flags = RenameFlags::NOREPLACE;
    match renameat_with(source, name, target, target_name, flags) {
        Ok(()) => Moved::Moved,
        Err(Errno::EXIST) => Moved::Taken,
        Err(Errno::NOENT) => Moved::Absent,
        // Network and FUSE file systems often cannot rename without clobbering.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match linkat(source, name, target, target_name, AtFlags::empty()) {
                Ok(()) => match unlinkat(source, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => Moved::Moved,
                    Err(errno) => failed(errno),
                },
                Err(Errno::EXIST) => Moved::Taken,
                Err(errno) => failed(errno),
            }
        }
        Err(errno) => failed(errno),
    }
}

fn failed(errno: Errno) -> Moved {
    Moved::Failed(StorageFault(errno.raw_os_error()))
}

fn not_moved(look: Look) -> Moved {
    match look {
        Look::File(identity) => Moved::Other(identity),
        Look::Absent => Moved::Absent,
        Look::Irregular => Moved::Irregular,
        Look::Unreadable(fault) => Moved::Failed(fault),
    }
}
