//! Counts what reaches storage, so that "no look-up looks at storage" can be shown.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use runsync_manifest::name::ArtifactPath;

use super::{
    Aside, Datastore, DatastoreError, Deletion, Journals, Linked, Look, ManifestFile, Moved,
    RepositoryFile, Sight, ToDelete, Walk,
};
use crate::file_identity::FileIdentity;

/// A root that counts the calls that reach it. [`repository`](Datastore::repository) never touches
/// storage and is not counted; nor are journals and second names.
#[derive(Debug)]
pub struct Counted<D> {
    root: D,
    check_identity: AtomicU64,
    list_manifests: AtomicU64,
    look_at_manifest: AtomicU64,
    open_manifest: AtomicU64,
    install_manifest: AtomicU64,
    walk: AtomicU64,
    look: AtomicU64,
    looked_at: AtomicU64,
    open: AtomicU64,
    delete: AtomicU64,
}

/// How often each method was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Calls of [`Datastore::check_identity`].
    pub check_identity: u64,
    /// Calls of [`Datastore::list_manifests`].
    pub list_manifests: u64,
    /// Calls of [`Datastore::look_at_manifest`].
    pub look_at_manifest: u64,
    /// Calls of [`Datastore::open_manifest`].
    pub open_manifest: u64,
    /// Calls of [`Datastore::install_manifest`].
    pub install_manifest: u64,
    /// Calls of [`Datastore::walk`].
    pub walk: u64,
    /// Calls of [`Datastore::look`].
    pub look: u64,
    /// Artifacts in all calls of [`Datastore::look`] together; no part of the total.
    pub looked_at: u64,
    /// Calls of [`Datastore::open`].
    pub open: u64,
    /// Calls of [`Datastore::delete`].
    pub delete: u64,
}

impl Calls {
    /// All calls together.
    pub fn total(&self) -> u64 {
        self.check_identity
            + self.list_manifests
            + self.look_at_manifest
            + self.open_manifest
            + self.install_manifest
            + self.walk
            + self.look
            + self.open
            + self.delete
    }
}

impl<D> Counted<D> {
    /// Counts the calls to `root`, from none.
    pub fn new(root: D) -> Self
    where
        D: Datastore,
    {
        Self {
            root,
            check_identity: AtomicU64::new(0),
            list_manifests: AtomicU64::new(0),
            look_at_manifest: AtomicU64::new(0),
            open_manifest: AtomicU64::new(0),
            install_manifest: AtomicU64::new(0),
            walk: AtomicU64::new(0),
            look: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
            open: AtomicU64::new(0),
            delete: AtomicU64::new(0),
        }
    }

    /// The calls so far.
    pub fn calls(&self) -> Calls {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Calls {
            check_identity: count(&self.check_identity),
            list_manifests: count(&self.list_manifests),
            look_at_manifest: count(&self.look_at_manifest),
            open_manifest: count(&self.open_manifest),
            install_manifest: count(&self.install_manifest),
            walk: count(&self.walk),
            look: count(&self.look),
            looked_at: count(&self.looked_at),
            open: count(&self.open),
            delete: count(&self.delete),
        }
    }

    /// The root itself.
    pub fn root(&self) -> &D {
        &self.root
    }
}

fn add(to: &AtomicU64, number: usize) {
    to.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl<D: Datastore> Datastore for Counted<D> {
    fn repository(&self) -> &RepositoryFile {
        self.root.repository()
    }

    fn check_identity(&self) -> Result<(), DatastoreError> {
        add(&self.check_identity, 1);
        self.root.check_identity()
    }

    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        add(&self.list_manifests, 1);
        self.root.list_manifests()
    }

    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError> {
        add(&self.look_at_manifest, 1);
        self.root.look_at_manifest(path)
    }

    fn open_manifest(&self, path: &str) -> Result<(File, FileIdentity), DatastoreError> {
        add(&self.open_manifest, 1);
        self.root.open_manifest(path)
    }

    fn install_manifest(&self, path: &str, from: &mut dyn Read) -> Result<bool, DatastoreError> {
        add(&self.install_manifest, 1);
        self.root.install_manifest(path, from)
    }

    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError> {
        add(&self.look, 1);
        add(&self.looked_at, paths.len());
        self.root.look(paths)
    }

    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError> {
        add(&self.walk, 1);
        self.root.walk(below, from)
    }

    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError> {
        add(&self.open, 1);
        self.root.open(path)
    }

    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        add(&self.delete, 1);
        self.root.delete(artifacts)
    }

    fn delete_manifest(
        &self,
        path: &str,
        identity: FileIdentity,
    ) -> Result<Deletion, DatastoreError> {
        self.root.delete_manifest(path, identity)
    }

    fn link(&self, from: &str, to: &ArtifactPath) -> Result<Linked, DatastoreError> {
        self.root.link(from, to)
    }

    fn another_about(&self, path: &ArtifactPath) -> Option<Sight> {
        self.root.another_about(path)
    }

    fn set_aside(&self, artifact: ToDelete<'_>, to: &Aside) -> Result<Moved, DatastoreError> {
        self.root.set_aside(artifact, to)
    }

    fn bring_back(
        &self,
        from: &Aside,
        identity: FileIdentity,
        to: &ArtifactPath,
    ) -> Result<Moved, DatastoreError> {
        self.root.bring_back(from, identity, to)
    }

    fn look_aside(&self, at: &Aside) -> Result<Look, DatastoreError> {
        self.root.look_aside(at)
    }

    fn sync(&self) -> Result<(), DatastoreError> {
        self.root.sync()
    }

    fn journals(&self) -> &dyn Journals {
        self.root.journals()
    }
}
