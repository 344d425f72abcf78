//! Puts a file into place: whole and durable, or not at all, and never over another file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, fstat, fsync, linkat, mkdirat, openat, renameat_with,
    unlinkat,
};
use rustix::io::Errno;
use tracing::warn;
use uuid::Uuid;

use super::handle::{LISTABLE, failure, look_in, open_below};
use crate::datastore::{DatastoreError, Look};

/// Writes a file's content.
pub(super) type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// Written at once, in bytes: large enough that system calls do not count.
pub(super) const BLOCK_BYTES: usize = 256 << 10;
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
/// Names of the process's own open files.
const OPEN_FILES: &str = "/proc/self/fd";
const CREATE: &str = "create a temporary file for";

/// Has `fill` write a file at `path` below `root`; false where something has that name already.
///
/// The folders are synced also where the file was there: an earlier attempt may have been cut
/// off just before it synced them.
pub(super) fn install(
    root: &OwnedFd,
    path: &str,
    mode: Mode,
    fill: &mut Fill<'_>,
) -> Result<bool, DatastoreError> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folders = Folders::create(root, folder)?;
    let target = folders.innermost(root);
    let installed = match look_in(target, name) {
        Look::Absent => Temporary::create(target, path, mode)?
            .fill(path, fill)?
            .publish(name, path)?,
        Look::File(_) | Look::Irregular => false,
        Look::Unreadable(fault) => {
            let source = io::Error::from_raw_os_error(fault.0);
            return Err(io_error("look at", path, source));
        }
    };
    folders.sync(root, path)?;
    Ok(installed)
}

/// Handles of all folders from the root (left out) to the target.
pub(super) struct Folders(Vec<OwnedFd>);

impl Folders {
    pub(super) fn create(root: &OwnedFd, path: &str) -> Result<Self, DatastoreError> {
        let mut folders = Self(Vec::new());
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let parent = folders.innermost(root);
            let folder = match open_below(parent, part, LISTABLE) {
                Err(Errno::NOENT) => create(parent, part),
                done => done,
            };
            let folder = folder.map_err(|e| failure("create the folders of", path, e))?;
            folders.0.push(folder);
        }
        Ok(folders)
    }

    pub(super) fn innermost<'a>(&'a self, root: &'a OwnedFd) -> BorrowedFd<'a> {
        self.0.last().unwrap_or(root).as_fd()
    }

    fn sync(&self, root: &OwnedFd, path: &str) -> Result<(), DatastoreError> {
        for folder in self.0.iter().rev().chain([root]) {
            fsync(folder).map_err(|e| io_error("sync the folders of", path, e.into()))?;
        }
        Ok(())
    }
}

fn create(parent: BorrowedFd<'_>, part: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, part, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => open_below(parent, part, LISTABLE),
        Err(errno) => Err(errno),
    }
}

/// A file on its way to its name. It has none until then, so that the kernel removes what a killed
/// process leaves; only where the file system knows no such files it has a temporary one, which
/// goes when this is dropped.
struct Temporary<'a> {
    folder: BorrowedFd<'a>,
    name: Option<String>,
    file: File,
}

impl<'a> Temporary<'a> {
    fn create(folder: BorrowedFd<'a>, path: &str, mode: Mode) -> Result<Self, DatastoreError> {
        // Without `/proc` it could not be given a name later.
        if Path::new(OPEN_FILES).is_dir() {
            let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
            match openat(folder, ".", flags, mode) {
                Ok(file) => {
                    let file = File::from(file);
                    return Ok(Self {
                        folder,
                        name: None,
                        file,
                    });
                }
                Err(Errno::NOTSUP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {}
                Err(errno) => return Err(io_error(CREATE, path, errno.into())),
            }
        }
        Self::create_named(folder, path, mode)
    }

    fn create_named(
        folder: BorrowedFd<'a>,
        path: &str,
        mode: Mode,
    ) -> Result<Self, DatastoreError> {
        let name = format!(".{}.tmp", Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(folder, &name, flags | OFlags::CLOEXEC, mode)
            .map_err(|e| io_error(CREATE, path, e.into()))?;
        let file = File::from(file);
        Ok(Self {
            folder,
            name: Some(name),
            file,
        })
    }

    /// Has its content written, durably.
    fn fill(mut self, path: &str, fill: &mut Fill<'_>) -> Result<Self, DatastoreError> {
        fill(&mut self.file).map_err(|e| io_error("write", path, e))?;
        self.file
            .sync_all()
            .map_err(|e| io_error("sync", path, e))?;
        Ok(self)
    }

    /// Gives the file its name; false where something took the name meanwhile.
    fn publish(self, name: &str, path: &str) -> Result<bool, DatastoreError> {
        match &self.name {
            None => self.link_nameless(name, path),
            Some(temporary) => self.rename(temporary, name, path),
        }
    }

    fn link_nameless(&self, name: &str, path: &str) -> Result<bool, DatastoreError> {
        let open = format!("{OPEN_FILES}/{}", self.file.as_raw_fd());
        match linkat(CWD, open, self.folder, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(io_error("link into place", path, errno.into())),
        }
    }

    fn rename(&self, temporary: &str, name: &str, path: &str) -> Result<bool, DatastoreError> {
        let renamed = renameat_with(
            self.folder,
            temporary,
            self.folder,
            name,
            RenameFlags::NOREPLACE,
        );
        match renamed {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // Network and FUSE file systems often cannot rename without clobbering.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.link(temporary, name, path),
            Err(errno) => Err(io_error("rename into place", path, errno.into())),
        }
    }

    fn link(&self, temporary: &str, name: &str, path: &str) -> Result<bool, DatastoreError> {
        let linked = linkat(self.folder, temporary, self.folder, name, AtFlags::empty());
        match linked {
            Ok(()) => Ok(true),
            // On NFS a reply may be lost and the second try meet the first one's work.
            Err(Errno::EXIST) => Ok(fstat(&self.file).is_ok_and(|status| status.st_nlink == 2)),
            Err(errno) => Err(io_error("link into place", path, errno.into())),
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        match unlinkat(self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => warn!(name, %error, "temporary file left behind"),
        }
    }
}

pub(super) fn io_error(attempt: &'static str, path: &str, source: io::Error) -> DatastoreError {
    DatastoreError::Io {
        attempt,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_dir};

    use tempfile::TempDir;

    use super::*;

    fn temporary<'a>(folder: &'a File, text: &[u8]) -> Temporary<'a> {
        let mode = Mode::from_raw_mode(0o444);
        let temporary = Temporary::create_named(folder.as_fd(), "m", mode).unwrap();
        temporary.fill("m", &mut |to| to.write_all(text)).unwrap()
    }

    fn link(temporary: &Temporary<'_>) -> bool {
        let name = temporary.name.as_deref().unwrap();
        temporary.link(name, "m", "m").unwrap()
    }

    #[test]
    fn where_files_cannot_be_nameless_a_temporary_name_is_taken_and_goes() {
        let directory = TempDir::new().unwrap();
        let folder = File::open(directory.path()).unwrap();
        assert!(temporary(&folder, b"first").publish("m", "m").unwrap());
        assert!(!temporary(&folder, b"second").publish("m", "m").unwrap());
        drop(temporary(&folder, b"third"));
        assert_eq!(std::fs::read(directory.path().join("m")).unwrap(), b"first");
        assert_eq!(read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn where_renaming_without_clobbering_is_unknown_linking_does_the_same() {
        let directory = TempDir::new().unwrap();
        let folder = File::open(directory.path()).unwrap();
        assert!(link(&temporary(&folder, b"first")));
        assert!(!link(&temporary(&folder, b"second")));
        assert_eq!(std::fs::read(directory.path().join("m")).unwrap(), b"first");
        assert_eq!(read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_whose_reply_was_lost_counts_as_ours() {
        let directory = TempDir::new().unwrap();
        let folder = File::open(directory.path()).unwrap();
        let temporary = temporary(&folder, b"m");
        assert!(link(&temporary));
        assert!(link(&temporary));
    }
}
