//! The Unix socket: one daemon at a time listens on it.
//!
//! A socket's file outlives a daemon that crashed, so the file says nothing. A lock beside it does:
//! whoever holds that may replace the file. The kernel drops the lock with the process.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tracing::warn;

use super::error::ListenError;

/// Anyone may connect: who it is decides what it may do.
const SOCKET_MODE: u32 = 0o666;

/// The listening socket. Its file goes with it.
#[derive(Debug)]
pub(super) struct UnixSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    _lock: File,
}

impl UnixSocket {
    /// Listens at `path`, in place of a socket whose daemon has gone.
    pub(super) fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |doing| {
            move |source| ListenError::Unix {
                doing,
                path: path.to_owned(),
                source,
            }
        };
        let lock = lock(path)?;
        remove(path)?;
        let listener = UnixListener::bind(path).map_err(failed("listen on"))?;
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed("open"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// Makes room for a socket. What else may lie there is somebody's.
fn remove(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Unix {
        doing: "replace",
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed),
        Ok(_) => Err(ListenError::NoSocket {
            path: path.to_owned(),
        }),
    }
}

fn lock(socket: &Path) -> Result<File, ListenError> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = |source| ListenError::Unix {
        doing: "lock",
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ListenError::InUse {
            path: socket.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_open_to_all_held_by_one_and_gone_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runsync.sock");
        let held = UnixSocket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let second = UnixSocket::bind(&path).unwrap_err();
        assert!(matches!(second, ListenError::InUse { .. }), "{second}");
        drop(held);
        assert!(!path.try_exists().unwrap());
    }

    #[tokio::test]
    async fn a_socket_that_a_crash_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runsync.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        UnixSocket::bind(&path).unwrap();
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    async fn what_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.sqlite");
        fs::write(&path, "precious").unwrap();
        let refused = UnixSocket::bind(&path).unwrap_err();
        assert!(matches!(refused, ListenError::NoSocket { .. }), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        UnixSocket::bind(&link).unwrap_err();
        assert!(link.is_symlink());
    }
}
