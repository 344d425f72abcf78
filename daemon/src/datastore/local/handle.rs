//! Opens and looks below a directory handle, and never outside it.
//!
//! The kernel resolves each path (`openat2`): no `..` above the handle, no symbolic link and no
//! link of `/proc` anywhere on the way, so nobody who can write in the root can lead us out of it,
//! not even by swapping a directory for a link while we look.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat2, statx,
};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::datastore::{DatastoreError, Look, StorageFault};
use crate::file_identity::FileIdentity;

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);
/// Enough to look at names in a directory; needs no right to list it.
pub(super) const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
/// What a directory must be opened with to be listed or synced.
pub(super) const LISTABLE: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// `NONBLOCK`, so that a pipe that someone put in the place of a file cannot hold us.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const IDENTITY: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::SIZE)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::INO);
/// How often a look-up is tried that the kernel gave up because of renames going on.
const RACES_MAX: usize = 32;

/// Opens `path` below `base`.
pub(super) fn open_below(
    base: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let mut last = Errno::AGAIN;
    for _ in 0..RACES_MAX {
        match openat2(base.as_fd(), path, flags, Mode::empty(), INSIDE) {
            Err(race @ (Errno::AGAIN | Errno::INTR)) => last = race,
            done => return done,
        }
    }
    Err(last)
}

/// Opens a regular file below `base` for reading.
pub(super) fn open_regular(
    base: impl AsFd,
    path: &str,
) -> Result<(File, FileIdentity), DatastoreError> {
    let handle = open_below(base, path, READ).map_err(|e| failure("open", path, e))?;
    let status = status(&handle).map_err(|e| failure("look at", path, e))?;
    match identity(&status) {
        Some(identity) => Ok((File::from(handle), identity)),
        None => Err(DatastoreError::Irregular {
            path: path.to_owned(),
        }),
    }
}

/// Looks at one name directly in `folder`.
pub(super) fn look_in(folder: impl AsFd, name: impl Arg) -> Look {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(folder, name, flags, IDENTITY) {
        Ok(status) => identity(&status).map_or(Look::Irregular, Look::File),
        Err(errno) => look_of(errno),
    }
}

/// What a name directly in a folder stands for.
pub(super) enum Seen {
    /// A regular file.
    File {
        /// Its state.
        identity: FileIdentity,
        /// When it last changed in any way, in nanoseconds since 1970 (UTC).
        changed_ns: i64,
    },
    /// A folder.
    Folder,
    /// Neither.
    Irregular,
    /// Nothing any more.
    Absent,
    /// Storage did not answer.
    Unreadable(StorageFault),
}

/// Looks at one name directly in `folder`, also for when it last changed.
pub(super) fn see_in(folder: impl AsFd, name: impl Arg) -> Seen {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let status = match statx(folder, name, flags, IDENTITY | StatxFlags::CTIME) {
        Ok(status) => status,
        Err(errno) => {
            return match look_of(errno) {
                Look::Absent => Seen::Absent,
                Look::Irregular | Look::File(_) => Seen::Irregular,
                Look::Unreadable(fault) => Seen::Unreadable(fault),
            };
        }
    };
    let changed_ns = nanoseconds(status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec);
    match identity(&status) {
        Some(identity) => Seen::File {
            identity,
            changed_ns,
        },
        None if FileType::from_raw_mode(status.stx_mode.into()) == FileType::Directory => {
            Seen::Folder
        }
        None => Seen::Irregular,
    }
}

/// The status of what a handle is open on.
pub(super) fn status(handle: impl AsFd) -> Result<Statx, Errno> {
    statx(handle, c"", AtFlags::EMPTY_PATH, IDENTITY)
}

/// What a look-up that failed has found.
pub(super) fn look_of(errno: Errno) -> Look {
    match errno {
        Errno::NOENT => Look::Absent,
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NXIO | Errno::ISDIR => Look::Irregular,
        other => Look::Unreadable(StorageFault(other.raw_os_error())),
    }
}

/// The error for a look-up that failed.
pub(super) fn failure(attempt: &'static str, path: &str, errno: Errno) -> DatastoreError {
    let path = path.to_owned();
    match look_of(errno) {
        Look::Absent => DatastoreError::Missing { path },
        Look::Irregular => DatastoreError::Irregular { path },
        Look::File(_) | Look::Unreadable(_) => DatastoreError::Io {
            attempt,
            path,
            source: errno.into(),
        },
    }
}

/// The identity of a regular file, `None` for anything else.
fn identity(status: &Statx) -> Option<FileIdentity> {
    let kind = FileType::from_raw_mode(status.stx_mode.into());
    (kind == FileType::RegularFile).then(|| FileIdentity {
        size: status.stx_size,
        modified_ns: nanoseconds(status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec),
        inode: status.stx_ino,
    })
}

fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds.into())
}
