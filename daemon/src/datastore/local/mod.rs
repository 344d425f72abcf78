//! A root that is a POSIX directory, reached through one handle that stays open.
//!
//! Every path is resolved below that handle (`handle`), so a root that is unmounted, moved away or
//! replaced under our feet is never confused with another: looks go on in the directory that was
//! opened, and [`Datastore::check_identity`] notices the change.

mod handle;

mod listing;

mod walk;

mod install;

mod journals;

mod deleting;

mod linking;

mod moving;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use runsync_manifest::name::{ArtifactPath, RunKey};
use rustix::fs::{Mode, OFlags, fstat, open, syncfs};

use self::handle::{FOLDER, LISTABLE, look_in, look_of, open_below, open_regular};
use self::moving::Way;
use self::walk::LocalWalk;
use super::manifest_path::check_manifest_path;
use super::repository_file::{BYTES_MAX, REPOSITORY_FILE};
use super::{
    Aside, Datastore, DatastoreError, Deletion, Journals, Linked, Look, ManifestFile, Moved,
    RepositoryFile, RootChange, Sight, ToDelete, Walk, manifest_folder,
};
use crate::file_identity::FileIdentity;

/// A manifest never changes, so nobody may write to it.
const MANIFEST_MODE: Mode = Mode::from_raw_mode(0o444);

/// A root that is a directory.
#[derive(Debug)]
pub struct LocalRoot {
    directory: PathBuf,
    handle: OwnedFd,
    repository: RepositoryFile,
}

impl LocalRoot {
    /// Opens the root at `directory`. The directory's own path may hold symbolic links, since the
    /// operator wrote it; nothing below it may.
    ///
    /// # Errors
    ///
    /// [`DatastoreError`] where the directory or its `runsync/repository.json` is missing or
    /// cannot be read; its hint says what to do.
    pub fn open(directory: &Path) -> Result<Self, DatastoreError> {
        let directory = std::path::absolute(directory).map_err(|source| DatastoreError::Open {
            root: directory.to_owned(),
            source,
        })?;
        let handle = open_directory(&directory)?;
        let repository = read_repository(&directory, &handle)?;
        Ok(Self {
            directory,
            handle,
            repository,
        })
    }

    /// The root's absolute path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn changed(&self, change: RootChange) -> DatastoreError {
        DatastoreError::RootChanged {
            root: self.directory.clone(),
            change,
        }
    }
}

impl Datastore for LocalRoot {
    fn repository(&self) -> &RepositoryFile {
        &self.repository
    }

    fn check_identity(&self) -> Result<(), DatastoreError> {
        let now = open_directory(&self.directory)?;
        let same = same_directory(&now, &self.handle).map_err(|source| DatastoreError::Open {
            root: self.directory.clone(),
            source,
        })?;
        if !same {
            return Err(self.changed(RootChange::Directory));
        }
        if read_repository(&self.directory, &now)? != self.repository {
            return Err(self.changed(RootChange::Repository));
        }
        Ok(())
    }

    fn list_manifests_of(
        &self,
        run: &RunKey,
    ) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        let folder = manifest_folder(run.origin, &run.name);
        listing::list_folder(&self.handle, &folder)
    }

    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        listing::list(&self.handle)
    }

    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError> {
        refuse_other_paths(path)?;
        Ok(look_at_group(&self.handle, &[path])
            .next()
            .unwrap_or(Look::Absent))
    }

    fn open_manifest(&self, path: &str) -> Result<(File, FileIdentity), DatastoreError> {
        refuse_other_paths(path)?;
        open_regular(&self.handle, path)
    }

    fn install_manifest(&self, path: &str, from: &mut dyn Read) -> Result<bool, DatastoreError> {
        refuse_other_paths(path)?;
        install::install(&self.handle, path, MANIFEST_MODE, &mut |to| {
            let mut from = BufReader::with_capacity(install::BLOCK_BYTES, &mut *from);
            io::copy(&mut from, to).map(drop)
        })
    }

    fn delete_manifest(
        &self,
        path: &str,
        identity: FileIdentity,
    ) -> Result<Deletion, DatastoreError> {
        refuse_other_paths(path)?;
        Ok(deleting::delete_at(&self.handle, path, identity))
    }

    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError> {
        let mut looks = Vec::with_capacity(paths.len());
        for group in paths.chunk_by(|a, b| split(a.as_str()).0 == split(b.as_str()).0) {
            looks.extend(look_at_group(&self.handle, group));
        }
        Ok(looks)
    }

    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError> {
        let walk = LocalWalk::begin(&self.handle, below, from);
        Ok(Box::new(walk))
    }

    fn another_about(&self, path: &ArtifactPath) -> Option<Sight> {
        walk::another_about(&self.handle, path.as_str())
    }

    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError> {
        open_regular(&self.handle, path.as_str())
    }

    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        Ok(deleting::delete(&self.handle, artifacts))
    }

    fn link(&self, from: &str, to: &ArtifactPath) -> Result<Linked, DatastoreError> {
        linking::link(&self.handle, from, to.as_str())
    }

    fn set_aside(&self, artifact: ToDelete<'_>, to: &Aside) -> Result<Moved, DatastoreError> {
        let from = artifact.path.as_str();
        moving::rename(
            &self.handle,
            (from, artifact.identity),
            to.as_str(),
            Way::Aside,
        )
    }

    fn bring_back(
        &self,
        from: &Aside,
        identity: FileIdentity,
        to: &ArtifactPath,
    ) -> Result<Moved, DatastoreError> {
        moving::rename(
            &self.handle,
            (from.as_str(), identity),
            to.as_str(),
            Way::Back,
        )
    }

    fn look_aside(&self, at: &Aside) -> Result<Look, DatastoreError> {
        let paths = [at.as_str()];
        let mut looks = look_at_group(&self.handle, &paths);
        Ok(looks.next().unwrap_or(Look::Absent))
    }

    /// One call for all folders; it also waits for what others have written to the file system.
    fn sync(&self) -> Result<(), DatastoreError> {
        syncfs(&self.handle).map_err(|errno| install::io_error("sync", ".", errno.into()))
    }

    fn journals(&self) -> &dyn Journals {
        self
    }
}

/// Looks at paths that all lie in one folder, name by name: about 1,000,000 names a second, hit or
/// miss. Listing the folder first gains at most half of that where all are missing, and loses
/// without limit where the folder holds more than was asked for.
fn look_at_group<P: AsRef<str>>(root: &OwnedFd, paths: &[P]) -> impl Iterator<Item = Look> {
    let folder = paths.first().map_or("", |path| split(path.as_ref()).0);
    let folder = if folder.is_empty() { "." } else { folder };
    let folder = open_below(root, folder, FOLDER);
    paths.iter().map(move |path| match &folder {
        Ok(folder) => look_in(folder, split(path.as_ref()).1),
        Err(errno) => look_of(*errno),
    })
}

/// Folder and name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn refuse_other_paths(path: &str) -> Result<(), DatastoreError> {
    check_manifest_path(path).map_err(|reason| DatastoreError::PathRefused {
        path: path.to_owned(),
        reason,
    })
}

fn open_directory(directory: &Path) -> Result<OwnedFd, DatastoreError> {
    let root = || directory.to_owned();
    open(directory, LISTABLE | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NOENT => DatastoreError::RootMissing { root: root() },
        other => DatastoreError::Open {
            root: root(),
            source: other.into(),
        },
    })
}

fn same_directory(a: impl AsFd, b: impl AsFd) -> io::Result<bool> {
    let (a, b) = (fstat(a)?, fstat(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn read_repository(directory: &Path, handle: &OwnedFd) -> Result<RepositoryFile, DatastoreError> {
    let root = || directory.to_owned();
    let (file, _) = match open_regular(handle, REPOSITORY_FILE) {
        Err(DatastoreError::Missing { .. }) => {
            return Err(DatastoreError::NotInitialised { root: root() });
        }
        outcome => outcome?,
    };
    let mut text = Vec::new();
    let most = u64::try_from(BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    file.take(most)
        .read_to_end(&mut text)
        .map_err(|source| DatastoreError::Io {
            attempt: "read",
            path: REPOSITORY_FILE.to_owned(),
            source,
        })?;
    RepositoryFile::parse(&text).map_err(|source| DatastoreError::RepositoryFile {
        root: root(),
        source,
    })
}
