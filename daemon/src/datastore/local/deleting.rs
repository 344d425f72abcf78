//! Deletes files, each only where it is still the one that was meant.
//!
//! Between the last look and `unlinkat` somebody may put another file in its place: POSIX has no call
//! that compares and unlinks. The look goes through the same folder handle immediately before, so
//! that nothing but this one moment is left.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::handle::{FOLDER, look_in, look_of, open_below};
use super::split;
use crate::datastore::{Deletion, Look, StorageFault, ToDelete};
use crate::file_identity::FileIdentity;

/// Deletes artifacts that are sorted by path; answers in their order.
pub(super) fn delete(root: &OwnedFd, artifacts: &[ToDelete<'_>]) -> Vec<Deletion> {
    let mut deletions = Vec::with_capacity(artifacts.len());
    let in_one_folder =
        |a: &ToDelete<'_>, b: &ToDelete<'_>| split(a.path.as_str()).0 == split(b.path.as_str()).0;
    for group in artifacts.chunk_by(in_one_folder) {
        let folder = group.first().map_or("", |one| split(one.path.as_str()).0);
        let folder = if folder.is_empty() { "." } else { folder };
        let folder = open_below(root, folder, FOLDER);
        deletions.extend(group.iter().map(|artifact| match &folder {
            Ok(folder) => delete_one(folder, split(artifact.path.as_str()).1, artifact.identity),
            Err(errno) => not_deleted(look_of(*errno)),
        }));
    }
    deletions
}

/// Deletes the file at one path.
pub(super) fn delete_at(root: &OwnedFd, path: &str, identity: FileIdentity) -> Deletion {
    let (folder, name) = split(path);
    match open_below(root, folder, FOLDER) {
        Ok(folder) => delete_one(&folder, name, identity),
        Err(errno) => not_deleted(look_of(errno)),
    }
}

fn delete_one(folder: &OwnedFd, name: &str, identity: FileIdentity) -> Deletion {
    let look = look_in(folder.as_fd(), name);
    if look != Look::File(identity) {
        return not_deleted(look);
    }
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => Deletion::Deleted,
        Err(Errno::NOENT) => Deletion::Absent,
        Err(errno) => Deletion::Failed(StorageFault(errno.raw_os_error())),
    }
}

fn not_deleted(look: Look) -> Deletion {
    match look {
        Look::File(identity) => Deletion::Other(identity),
        Look::Absent => Deletion::Absent,
        Look::Irregular => Deletion::Irregular,
        Look::Unreadable(fault) => Deletion::Failed(fault),
    }
}
