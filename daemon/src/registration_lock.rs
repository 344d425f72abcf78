//! One registration at a time in a site, across its processes.
//!
//! Between the check for conflicts and the last batch nobody else may register, and nobody may
//! choose a generation that another is publishing. The lock is an advisory `flock` on a file in the
//! state directory: the kernel drops it when its holder dies.
//!
//! Whoever waits asks again and again instead of blocking: another's registration may take long,
//! and in the meantime a worker must show that it lives, and must be able to stop.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{self, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two tries: short beside a registration, and asking costs next to nothing.
const PAUSE: Duration = Duration::from_millis(50);

/// The lock.
#[derive(Debug)]
pub struct RegistrationLock {
    path: PathBuf,
    // `flock` belongs to the open file: threads of this process take turns here first.
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
    /// The caller broke off while another held the lock.
    #[error("interrupted while another registration went on")]
    Interrupted,
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

    /// Waits for the lock and holds it until the guard goes. `progress` is asked between tries
    /// and may break off.
    ///
    /// # Errors
    ///
    /// [`RegistrationLockError::Interrupted`] where `progress` broke off.
    pub fn acquire(
        &self,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<RegistrationGuard<'_>, RegistrationLockError> {
        loop {
            if let Some(guard) = self.try_acquire()? {
                return Ok(guard);
            }
            if progress().is_break() {
                return Err(RegistrationLockError::Interrupted);
            }
            thread::sleep(PAUSE);
        }
    }

    /// As [`acquire`](Self::acquire), for so long at most; `None` where somebody else held it all
    /// the while.
    pub fn acquire_within(
        &self,
        patience: Duration,
    ) -> Result<Option<RegistrationGuard<'_>>, RegistrationLockError> {
        let start = Instant::now();
        let mut patient = || {
            if start.elapsed() < patience {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        match self.acquire(&mut patient) {
            Ok(guard) => Ok(Some(guard)),
            Err(RegistrationLockError::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None` where another thread or process holds it.
    fn try_acquire(&self) -> Result<Option<RegistrationGuard<'_>>, RegistrationLockError> {
        let file = match self.file.try_lock() {
            Ok(file) => file,
            Err(sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(sync::TryLockError::WouldBlock) => return Ok(None),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(RegistrationGuard { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(RegistrationLockError::Lock {
                path: self.path.clone(),
                source,
            }),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn open(folder: &tempfile::TempDir) -> RegistrationLock {
        RegistrationLock::open(&folder.path().join("lock")).unwrap()
    }

    /// One thread holds `held` until another, which takes `wanted`, has said that it waits.
    fn take_turns(held: &RegistrationLock, wanted: &RegistrationLock) {
        let guard = held.acquire(&mut || ControlFlow::Break(())).unwrap();
        let (waits, waiting) = mpsc::channel();
        thread::scope(|scope| {
            let other = scope.spawn(move || {
                let mut asked = || {
                    waits.send(()).ok();
                    ControlFlow::Continue(())
                };
                wanted.acquire(&mut asked).map(drop)
            });
            waiting.recv().unwrap();
            assert!(!other.is_finished());
            drop(guard);
            other.join().unwrap().unwrap();
        });
    }

    #[test]
    fn threads_of_a_process_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let lock = open(&folder);
        take_turns(&lock, &lock);
    }

    #[test]
    fn processes_take_turns() {
        // Two open files are to `flock` what two processes are.
        let folder = tempfile::tempdir().unwrap();
        take_turns(&open(&folder), &open(&folder));
    }

    #[test]
    fn a_wait_can_be_broken_off() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, other) = (open(&folder), open(&folder));
        let _held = other.acquire(&mut || ControlFlow::Break(())).unwrap();
        let mut asked = 0;
        let mut third_time = || {
            asked += 1;
            if asked == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let broken = lock.acquire(&mut third_time);
        assert!(matches!(broken, Err(RegistrationLockError::Interrupted)));
        assert_eq!(asked, 3);
    }

    #[test]
    fn a_holder_that_panicked_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let lock = open(&folder);
        let panicked = thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = lock.acquire(&mut || ControlFlow::Break(())).unwrap();
                panic!("on purpose");
            });
            holder.join()
        });
        assert!(panicked.is_err());
        lock.acquire(&mut || ControlFlow::Break(())).unwrap();
    }
}
