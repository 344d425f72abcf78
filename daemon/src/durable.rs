//! Crash-safe local writes: after a crash there is the old file or the new one, never a part.
//!
//! A file is written under a temporary name in its own folder and synced, then takes its name by
//! one rename or link, then the folder is synced. What a crash leaves behind at worst is a
//! temporary file `.tmp…`, which nothing reads.
//!
//! This is the one place of the program that writes files by name.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A local write that failed. Nothing of the new content is visible then, save where only the
/// last sync failed.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A file of that name is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {step} {}", path.display())]
    Io {
        /// What was attempted.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes a file that takes the place of the one at `path`, if there is one.
///
/// `mode` gives its permission bits, whatever the umask.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    let temporary = Temporary::write(path, bytes, mode)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place that may rename"
    )]
    std::fs::rename(&temporary.0, path).map_err(failed("rename to", path))?;
    sync_folder_of(path)
}

/// Writes a file that must not be there yet; one that is stays as it is.
///
/// `mode` gives its permission bits, whatever the umask. Of several who create the same name at
/// once, one succeeds and the others get [`WriteError::Exists`].
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    let temporary = Temporary::write(path, bytes, mode)?;
    std::fs::hard_link(&temporary.0, path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let path = path.to_owned();
            WriteError::Exists { path }
        } else {
            failed("link", path)(error)
        }
    })?;
    sync_folder_of(path)
}

/// Creates a folder and those above it that are missing, each durably. Folders that are there
/// keep their mode; new ones get `mode` less the umask.
pub fn create_folder(path: &Path, mode: u32) -> Result<(), WriteError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_folder(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(failed("create folder", path)(error)),
        Ok(()) => sync_folder_of(path),
    }
}

/// Removes a file durably; a missing one is as good.
pub fn remove(path: &Path) -> Result<(), WriteError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => sync_folder_of(path),
    }
}

/// A synced file under a name of its own, removed when dropped. Once it has been renamed there is
/// nothing left to remove.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, WriteError> {
        let temporary = Self(folder_of(path).join(temporary_name()));
        let at = &temporary.0;
        let mut options = OpenOptions::new();
        // Never wider than asked for, not even until the mode is set.
        let file = options.write(true).create_new(true).mode(mode).open(at);
        let mut file = file.map_err(failed("create", at))?;
        file.write_all(bytes).map_err(failed("write", at))?;
        let permissions = std::fs::Permissions::from_mode(mode);
        file.set_permissions(permissions)
            .map_err(failed("set the mode of", at))?;
        file.sync_all().map_err(failed("sync", at))?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; after a failure the leftover is harmless.
        drop(std::fs::remove_file(&self.0));
    }
}

fn temporary_name() -> OsString {
    format!(".tmp{}", uuid::Uuid::new_v4().simple()).into()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_folder_of(path: &Path) -> Result<(), WriteError> {
    let folder = folder_of(path);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("sync folder", folder))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"old", 0o644).unwrap();
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_file_that_is_there_is_not_clobbered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        create_new(&path, b"first", 0o600).unwrap();
        let error = create_new(&path, b"second", 0o600).unwrap_err();
        assert!(matches!(error, WriteError::Exists { .. }));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(folder.path()), ["key.pem"]);
    }

    #[test]
    fn of_many_creators_one_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        let created = std::thread::scope(|scope| {
            let create = |_| scope.spawn(|| create_new(&path, b"x", 0o644).is_ok());
            let threads: Vec<_> = (0..8).map(create).collect();
            let created = threads.into_iter().map(|thread| thread.join().unwrap());
            created.filter(|&created| created).count()
        });
        assert_eq!(created, 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = replace(&folder.path().join("no/file"), b"x", 0o644).unwrap_err();
        assert!(error.to_string().starts_with("cannot create "), "{error}");
        // A folder cannot be replaced by a file.
        fs::create_dir_all(folder.path().join("taken/by")).unwrap();
        assert!(replace(&folder.path().join("taken"), b"x", 0o644).is_err());
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn folders_are_created_with_those_above() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        create_folder(&path, 0o700).unwrap();
        create_folder(&path, 0o755).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn removing_twice_is_as_good_as_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create_new(&path, b"x", 0o644).unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(names(folder.path()).is_empty());
    }
}
