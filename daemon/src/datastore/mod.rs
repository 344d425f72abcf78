//! A datastore root: the only part of runsync that looks at storage.
//!
//! Paths are taken relative to the root and never leave it. The existence questions of users
//! never come here; confirming arrivals, reading manifests and installing them do.

use std::fmt::Debug;
use std::fs::File;
use std::io::Read;

use runsync_manifest::name::{ArtifactPath, RepositoryId, SiteName};
use serde::{Deserialize, Serialize};

use crate::file_identity::FileIdentity;

/// What goes wrong with a datastore.
#[derive(Debug, thiserror::Error)]
pub enum DatastoreError {}

/// `runsync/repository.json`: which repository and registry a root belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFile {
    /// Version of this file's format, 1.
    pub format: u32,
    /// The repository.
    pub repository: RepositoryId,
    /// Its site.
    pub site: SiteName,
    /// The registry that this root is bound to.
    pub registry: uuid::Uuid,
    /// Where journals live, where that is not the root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_directory: Option<String>,
}

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
    /// Something that is not a regular file, or a symbolic link on the way.
    Irregular,
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

    /// Looks at one manifest file.
    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError>;

    /// Opens a manifest file for reading; it is a regular file below the manifest folder.
    fn open_manifest(&self, path: &str) -> Result<(File, FileIdentity), DatastoreError>;

    /// Copies a manifest into place, without clobbering: durable when it returns true;
    /// false where a file of that name is there already (whatever it holds).
    fn install_manifest(&self, path: &str, from: &mut dyn Read) -> Result<bool, DatastoreError>;

    /// Looks at artifacts that are sorted by path; neighbours in one directory share its handle.
    /// Answers in the order asked.
    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError>;

    /// Opens an artifact for reading; it is a regular file and no symbolic link is on its way.
    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError>;

    /// The URI of an artifact.
    fn uri(&self, path: &ArtifactPath) -> String;
}
