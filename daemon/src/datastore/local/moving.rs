//! Moves a file into a root's quarantine or back, only where it is still the one that was meant, and never over another.
//!
//! As with deletions, one moment is left between the last look and the call that moves. What is moved then is
//! another file, which is looked at afterwards and put back where it is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::handle::{FOLDER, look_in, look_of, open_below};
use super::install::Folders;
use super::split;
use crate::datastore::{DatastoreError, Look, Moved, StorageFault};
use crate::file_identity::FileIdentity;

/// Which way a file goes: whose folder it comes from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From where anybody writes into a folder of the quarantine, where nobody else does.
    Aside,
    /// Back from there.
    Back,
}

/// A folder and a name in it.
type End<'a> = (BorrowedFd<'a>, &'a str);

/// Moves the file at `from` to `to`, whose folders are made.
pub(super) fn rename(
    root: &OwnedFd,
    (from, identity): (&str, FileIdentity),
    to: &str,
    way: Way,
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
    let (from, to) = ((source.as_fd(), name), (target, target_name));
    let moved = put(from, to, way);
    if moved != Moved::Moved {
        return Ok(moved);
    }
    let look = look_in(target, target_name);
    if look == Look::File(identity) {
        return Ok(Moved::Moved);
    }
    Ok(give_back(to, from, way, look))
}

/// Puts back what came to lie there in that one moment.
fn give_back(from: End<'_>, to: End<'_>, way: Way, look: Look) -> Moved {
    let back = match way {
        Way::Aside => Way::Back,
        Way::Back => Way::Aside,
    };
    match put(from, to, back) {
        Moved::Moved => not_moved(look),
        Moved::Absent
        | Moved::Other(_)
        | Moved::Irregular
        | Moved::Taken
        | Moved::Failed(_)
        | Moved::Astray => Moved::Astray,
    }
}

fn put(from: End<'_>, to: End<'_>, way: Way) -> Moved {
    let flags = RenameFlags::NOREPLACE;
    match renameat_with(from.0, from.1, to.0, to.1, flags) {
        Ok(()) => Moved::Moved,
        Err(Errno::EXIST) => Moved::Taken,
        Err(Errno::NOENT) => Moved::Absent,
        // Network and FUSE file systems often cannot rename without clobbering.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match way {
            Way::Aside => put_into_own(from, to),
            Way::Back => put_from_own(from, to),
        },
        Err(errno) => failed(errno),
    }
}

/// Into a folder where nobody else writes: what is not there now will not be there the next moment.
fn put_into_own(from: End<'_>, to: End<'_>) -> Moved {
    match look_in(to.0, to.1) {
        Look::Absent => {}
        Look::File(_) | Look::Irregular => return Moved::Taken,
        Look::Unreadable(fault) => return Moved::Failed(fault),
    }
    match renameat(from.0, from.1, to.0, to.1) {
        Ok(()) => Moved::Moved,
        Err(Errno::NOENT) => Moved::Absent,
        Err(errno) => failed(errno),
    }
}

/// Out of a folder where nobody else writes: the name that goes is still that of the file which has a second one.
fn put_from_own(from: End<'_>, to: End<'_>) -> Moved {
    match linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
        Ok(()) => match unlinkat(from.0, from.1, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Moved::Moved,
            Err(errno) => failed(errno),
        },
        Err(Errno::EXIST) => Moved::Taken,
        Err(Errno::NOENT) => Moved::Absent,
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use rustix::fs::{Mode, OFlags, open};

    use super::*;

    /// What a file system without `RENAME_NOREPLACE` does, which no test machine is sure to have.
    #[test]
    fn without_the_kernels_help_nothing_is_clobbered_either() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let open = open(folder, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let end = |name| (open.as_fd(), name);
        for name in ["a", "taken"] {
            let mut file = File::create_new(folder.join(name)).unwrap();
            file.write_all(name.as_bytes()).unwrap();
        }
        for put in [put_into_own, put_from_own] {
            assert_eq!(put(end("a"), end("taken")), Moved::Taken);
            assert_eq!(put(end("none"), end("free")), Moved::Absent);
            assert_eq!(put(end("a"), end("b")), Moved::Moved);
            assert_eq!(put(end("b"), end("a")), Moved::Moved);
        }
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"a");
        assert_eq!(fs::read(folder.join("taken")).unwrap(), b"taken");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    }
}
