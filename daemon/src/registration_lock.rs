//! One registration at a time in a site, across its processes.
//!
//! Between the check for conflicts and the last batch nobody else may register. The lock is an
//! advisory `flock` on a file in the state directory: the kernel drops it when its holder dies.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock.
#[derive(Debug)]
pub struct RegistrationLock {
    path: PathBuf,
    // `flock` belongs to the open file: threads of this process queue here first.
    file: Mutex<File>,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationLockError {
    /// The file cannot be opened.
    #[error("cannot open the lock file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refuses.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RegistrationLock {
    /// Opens (and makes) the lock file.
    pub fn open(path: &Path) -> Result<Self, RegistrationLockError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|source| RegistrationLockError::Open {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Waits for the lock and holds it until the guard goes.
    pub fn acquire(&self) -> Result<RegistrationGuard<'_>, RegistrationLockError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock().map_err(|source| RegistrationLockError::Lock {
            path: self.path.clone(),
            source,
        })?;
        Ok(RegistrationGuard { file })
    }
}

/// Holds the lock.
#[derive(Debug)]
pub struct RegistrationGuard<'a> {
    file: MutexGuard<'a, File>,
}

impl Drop for RegistrationGuard<'_> {
    fn drop(&mut self) {
        // Closing the file would unlock it too; an error here leaves nothing to do.
        drop(self.file.unlock());
    }
}
