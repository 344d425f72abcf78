//! A file that the holder of the lease keeps locked while it lives and holds.
//!
//! The lock is an advisory `flock`, which the kernel drops with its process, however that ended. Each
//! claim has a file of its own in the state directory, made and locked before the lease's row names
//! it. So a named file that can be locked means that its holder is gone; nothing else is concluded
//! from these files, and one may be removed at any time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tracing::debug;
use uuid::Uuid;

use super::table::LeaseError;

/// Where the lock files lie: the state directory.
#[derive(Debug, Clone)]
pub struct LockFolder(PathBuf);

/// A lock file, locked by this process.
#[derive(Debug)]
pub struct HolderLock {
    id: Uuid,
    path: PathBuf,
    locked: File,
}

/// What a lock file tells of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderState {
    /// It lives, though it may be stopped.
    Alive,
    /// It is gone, or has given up.
    Gone,
    /// There is no telling.
    Unknown,
}

impl LockFolder {
    /// The lock files in a folder.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Makes a new one and locks it.
    pub(super) fn lock(&self) -> Result<HolderLock, LeaseError> {
        loop {
            let id = Uuid::new_v4();
            let path = self.path(id);
            let made = File::options().write(true).create_new(true).open(&path);
            match made.and_then(|file| lock_made(&path, file)) {
                Ok(Some(locked)) => return Ok(HolderLock { id, path, locked }),
                // Another holder has tidied it away before it was locked.
                Ok(None) => {}
                Err(source) => return Err(LeaseError::Lock { path, source }),
            }
        }
    }

    /// Whether the holder that locked `id` lives.
    pub(super) fn state(&self, id: Uuid) -> HolderState {
        // Shared: those who ask keep no other from asking.
        let probed = File::open(self.path(id)).map(|file| file.try_lock_shared());
        match probed {
            Ok(Ok(())) => HolderState::Gone,
            Ok(Err(TryLockError::WouldBlock)) => HolderState::Alive,
            Ok(Err(TryLockError::Error(_))) | Err(_) => HolderState::Unknown,
        }
    }

    /// Removes the files of holders that are gone.
    pub(super) fn tidy(&self) {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) => {
                debug!(%error, folder = %self.0.display(), "cannot look for old lock files");
                return;
            }
        };
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(id_of);
            if let Some(id) = id
                && self.state(id) == HolderState::Gone
            {
                remove(&self.path(id));
            }
        }
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.0.join(format!("lease-{id}.lock"))
    }
}

impl HolderLock {
    /// Names it.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Keeps it locked for as long as this process lives.
    pub(super) fn leave(self) {
        std::mem::forget(self.locked);
    }

    /// Unlocks it and removes it: nothing names it any more.
    pub(super) fn remove(self) {
        remove(&self.path);
    }
}

/// Locks a file that this process has just made. Others may be asking whether its holder is gone,
/// and are waited for; `None` where one of them has removed it.
fn lock_made(path: &Path, file: File) -> io::Result<Option<File>> {
    file.lock()?;
    let (locked, found) = (file.metadata()?, fs::metadata(path));
    match found {
        Ok(found) if found.ino() == locked.ino() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn id_of(name: &str) -> Option<Uuid> {
    let id = name.strip_prefix("lease-")?.strip_suffix(".lock")?;
    id.parse().ok()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            debug!(%error, path = %path.display(), "a lock file stays for a later holder to remove");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn a_holder_is_alive_until_its_lock_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let locks = LockFolder::new(folder.path());
        let held = locks.lock().unwrap();
        let id = held.id();
        assert_eq!(locks.state(id), HolderState::Alive);
        drop(held);
        assert_eq!(locks.state(id), HolderState::Gone);
        let missing = Uuid::from_u128(1);
        assert_eq!(locks.state(missing), HolderState::Unknown);
    }

    #[test]
    fn whoever_asks_about_a_file_that_is_not_locked_yet_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        let made = File::create_new(&path).unwrap();
        let asks = File::open(&path).unwrap();
        asks.try_lock_shared().unwrap();
        std::thread::scope(|scope| {
            let locking = scope.spawn(|| lock_made(&path, made));
            drop(asks);
            assert!(locking.join().unwrap().unwrap().is_some());
        });
    }

    #[test]
    fn a_file_that_was_tidied_away_before_it_was_locked_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease");
        let made = File::create_new(&path).unwrap();
        remove(&path);
        assert!(lock_made(&path, made).unwrap().is_none());
        let made = File::create_new(&path).unwrap();
        remove(&path);
        let _another = File::create_new(&path).unwrap();
        assert!(lock_made(&path, made).unwrap().is_none());
    }

    #[test]
    fn only_files_of_those_who_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let locks = LockFolder::new(folder.path());
        let (held, gone, given_back) = (
            locks.lock().unwrap(),
            locks.lock().unwrap(),
            locks.lock().unwrap(),
        );
        drop(gone);
        given_back.remove();
        File::create(folder.path().join("lease-notes.lock")).unwrap();
        assert_eq!(files(&folder), 3);
        locks.tidy();
        assert_eq!(files(&folder), 2);
        assert_eq!(locks.state(held.id()), HolderState::Alive);
    }
}
