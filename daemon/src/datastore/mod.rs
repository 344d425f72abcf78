//! A datastore root: the only part of runsync that looks at storage.
//!
//! Paths are taken relative to the root and never leave it. The existence questions of users
//! never come here; confirming arrivals, reading manifests and installing them do.
//!
//! [`local`] is a POSIX directory. [`counted`] and [`faulty`] wrap any root: one shows which calls
//! reached storage, the other lets them fail. What every root must do is in `conformance`.

pub mod error;

pub mod repository_file;

pub mod manifest_path;

pub mod journals;

pub mod walk;

pub mod aside;

pub mod local;

pub mod counted;

pub mod faulty;

#[cfg(test)]
mod conformance;

use std::fmt::{self, Debug};
use std::fs::File;
use std::io::{self, Read};

use runsync_manifest::name::{ArtifactPath, RunKey};

pub use self::aside::{Aside, Moved};
pub use self::error::{DatastoreError, RepositoryFileError, RootChange};
pub use self::journals::Journals;
pub use self::local::LocalRoot;
pub use self::manifest_path::{manifest_folder, manifest_path};
pub use self::repository_file::RepositoryFile;
pub use self::walk::{SeenFile, Sight, Walk};
use crate::file_identity::FileIdentity;

/// A file in the manifest folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Path relative to the root, such as `runsync/manifests/<origin>/<run>/1-1.manifest.jsonl`.
    pub path: String,
    /// Its state.
    pub identity: FileIdentity,
}

/// What a look at an artifact found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A regular file.
    File(FileIdentity),
    /// Nothing of that name (or a directory on the way is missing).
    Absent,
    /// Something that is not a regular file, or a symbolic link (or a file) on the way.
    Irregular,
    /// Storage did not answer: nothing is known, and above all not that the file is absent.
    Unreadable(StorageFault),
}

/// Why storage did not answer: an error number of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StorageFault(pub i32);

impl fmt::Display for StorageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&io::Error::from_raw_os_error(self.0), f)
    }
}

/// A file that is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToDelete<'a> {
    /// Where it lies.
    pub path: &'a ArtifactPath,
    /// Which file is meant: another one in its place stays.
    pub identity: FileIdentity,
}

/// What became of a file that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Deleted,
    /// Nothing of that name was there.
    Absent,
    /// Another file lies there, and stays.
    Other(FileIdentity),
    /// Something that is no regular file lies there (or is on the way), and stays.
    Irregular,
    /// Storage refused.
    Failed(StorageFault),
}

/// What came of giving a file a second name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// It has that name now.
    Made,
    /// It had that name before.
    There,
    /// Another file has that name, and keeps it.
    Other,
}

/// A root.
pub trait Datastore: Send + Sync + Debug {
    /// The root's identity as read when it was opened.
    fn repository(&self) -> &RepositoryFile;

    /// Checks that the root is still the one that was opened (a mount may have come or gone).
    fn check_identity(&self) -> Result<(), DatastoreError>;

    /// Lists the manifest folder. Temporary names (those that do not end in `.manifest.jsonl` or
    /// `.manifest.jsonl.zst`) are left out. An error in one folder does not hide the others:
    /// it is among the second part.
    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError>;

    /// The same of the folder of one run alone, and not of those below it. Errors are about that
    /// folder, what holds it, and what lies in it.
    fn list_manifests_of(
        &self,
        run: &RunKey,
    ) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        let folder = manifest_folder(run.origin, &run.name);
        let (mut files, mut errors) = self.list_manifests()?;
        files.retain(|file| manifest_path::lies_in(&folder, &file.path));
        errors.retain(|error| {
            let path = error.path();
            path.is_none_or(|path| {
                manifest_path::lies_in(&folder, path) || manifest_path::is_or_holds(path, &folder)
            })
        });
        Ok((files, errors))
    }

    /// Looks at one manifest file.
    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError>;

    /// Opens a manifest file for reading; it is a regular file below the manifest folder.
    fn open_manifest(&self, path: &str) -> Result<(File, FileIdentity), DatastoreError>;

    /// Copies a manifest into place, without clobbering: durable when it returns true;
    /// false where a file of that name is there already (whatever it holds). An error leaves
    /// either nothing or the whole file, so it can be tried again.
    fn install_manifest(&self, path: &str, from: &mut dyn Read) -> Result<bool, DatastoreError>;

    /// Deletes a manifest file, only where it is still the one that is meant. Durable after the next
    /// [`sync`](Self::sync).
    fn delete_manifest(
        &self,
        path: &str,
        identity: FileIdentity,
    ) -> Result<Deletion, DatastoreError>;

    /// Looks at artifacts that are sorted by path; neighbours in one directory share its handle.
    /// Answers in the order asked. What cannot be read is [`Look::Unreadable`] and hides no other;
    /// an error means that the root as a whole did not answer.
    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError>;

    /// Walks all of the root but `runsync/`, or what lies below one of its folders, in the bytewise order
    /// of whole paths: what comes at the path `from` or later, which need not be there.
    ///
    /// # Errors
    ///
    /// Where the root as a whole did not answer. A folder that does not is among the sights.
    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError>;

    /// The outermost folder that a path is or lies in, and that is a root of its own within this one
    /// ([`Sight::OtherRoot`]), or of which that cannot be told ([`Sight::Unlisted`]); none: it is this one's.
    fn another_about(&self, path: &ArtifactPath) -> Option<Sight>;

    /// Opens an artifact for reading; it is a regular file and no symbolic link is on its way.
    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError>;

    /// Deletes artifacts that are sorted by path, each only where it is still the file that is
    /// meant, which is looked at immediately before. Answers in the order asked. Deletions are
    /// durable after the next [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// Where the root as a whole did not answer; some may be deleted.
    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError>;

    /// Gives an artifact or a manifest a second name in the root, without clobbering: both names are of
    /// one file. Durable after the next [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// Where the file is not there, or the name cannot be given.
    fn link(&self, from: &str, to: &ArtifactPath) -> Result<Linked, DatastoreError>;

    /// Moves an artifact into the root's quarantine, only where it is still the file that is meant, which is
    /// looked at immediately before; never over another file. Durable after the next [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// Where the root as a whole did not answer, or folders of the quarantine cannot be made.
    fn set_aside(&self, artifact: ToDelete<'_>, to: &Aside) -> Result<Moved, DatastoreError>;

    /// Moves a file back from there, likewise.
    ///
    /// # Errors
    ///
    /// As [`set_aside`](Self::set_aside), for the artifact's own folders.
    fn bring_back(
        &self,
        from: &Aside,
        identity: FileIdentity,
        to: &ArtifactPath,
    ) -> Result<Moved, DatastoreError>;

    /// Looks at a file in quarantine.
    ///
    /// # Errors
    ///
    /// Where the root as a whole did not answer.
    fn look_aside(&self, at: &Aside) -> Result<Look, DatastoreError>;

    /// Makes all changes so far durable.
    fn sync(&self) -> Result<(), DatastoreError>;

    /// Its journal folder.
    fn journals(&self) -> &dyn Journals;
}
