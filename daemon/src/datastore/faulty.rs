//! Lets a root fail on demand, so that tests see what the flows do about it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};

use runsync_manifest::name::ArtifactPath;

use super::journals::{Fill, JOURNAL_FOLDER};
use super::{
    Aside, Datastore, DatastoreError, Deletion, Journals, Linked, Look, ManifestFile, Moved,
    RepositoryFile, Sight, StorageFault, ToDelete, Walk,
};
use crate::file_identity::FileIdentity;
use crate::poison::lock;

/// What a broken disk answers: EIO.
const BROKEN: i32 = 5;
/// What a folder answers that may not be written: EACCES.
const DENIED: i32 = 13;

/// A root that fails its next calls, or always at chosen paths, with EIO.
#[derive(Debug)]
pub struct Faulty<D> {
    root: D,
    passing: AtomicU64,
    failures: AtomicU64,
    paths: Mutex<HashSet<String>>,
    omitted: Mutex<HashSet<String>>,
    unmovable: Mutex<HashSet<String>>,
    held: Mutex<Option<(String, Arc<Barrier>)>>,
}

impl<D: Datastore> Faulty<D> {
    /// A root that does not fail yet.
    pub fn new(root: D) -> Self {
        Self {
            root,
            passing: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            paths: Mutex::default(),
            omitted: Mutex::default(),
            unmovable: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// Lets the next `calls` calls fail as a whole, whatever they ask.
    pub fn fail_next(&self, calls: u64) {
        self.fail_after(0, calls);
    }

    /// Lets `passing` calls pass and then `calls` fail as a whole.
    pub fn fail_after(&self, passing: u64, calls: u64) {
        self.passing.store(passing, Ordering::SeqCst);
        self.failures.store(calls, Ordering::SeqCst);
    }

    /// Lets every call about `path` fail, until [`heal`](Self::heal).
    pub fn fail_at(&self, path: &str) {
        self.paths().insert(path.to_owned());
    }

    /// Lets walks leave out the file at `path`, which is there all the same, until
    /// [`heal`](Self::heal): as a store whose listings lag behind does.
    pub fn omit(&self, path: &str) {
        lock(&self.omitted).insert(path.to_owned());
    }

    /// Lets nobody move the file at `path`, which can be looked at and read, until [`heal`](Self::heal): as in a
    /// folder that may not be written.
    pub fn refuse_to_move(&self, path: &str) {
        lock(&self.unmovable).insert(path.to_owned());
    }

    /// Holds up whoever looks next at the file at `path`, once it has seen it: it waits at the barrier when it has,
    /// and again before it goes on.
    pub fn hold(&self, path: &str, barrier: Arc<Barrier>) {
        *lock(&self.held) = Some((path.to_owned(), barrier));
    }

    fn hold_up(&self, paths: &[&ArtifactPath]) {
        let is_seen = |(path, _): &mut (String, _)| paths.iter().any(|one| one.as_str() == path);
        let held = lock(&self.held).take_if(is_seen);
        if let Some((_, barrier)) = held {
            barrier.wait();
            barrier.wait();
        }
    }

    /// How many failures are still to come.
    pub fn failures_left(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    /// Ends all failures.
    pub fn heal(&self) {
        self.failures.store(0, Ordering::SeqCst);
        self.paths().clear();
        lock(&self.omitted).clear();
        lock(&self.unmovable).clear();
    }

    fn paths(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.paths)
    }

    /// A journal fails with its folder, and alone.
    fn pass_journal(&self, attempt: &'static str, name: &str) -> Result<(), DatastoreError> {
        if self.paths().contains(JOURNAL_FOLDER) {
            return self.pass(attempt, JOURNAL_FOLDER);
        }
        self.pass(attempt, &format!("{JOURNAL_FOLDER}/{name}"))
    }

    fn pass(&self, attempt: &'static str, path: &str) -> Result<(), DatastoreError> {
        let next_fails = !take_one(&self.passing) && take_one(&self.failures);
        if next_fails || self.paths().contains(path) {
            return Err(DatastoreError::Io {
                attempt,
                path: path.to_owned(),
                source: io::Error::from_raw_os_error(BROKEN),
            });
        }
        Ok(())
    }
}

/// Counts down by one; false where nothing is left.
fn take_one(counter: &AtomicU64) -> bool {
    let left = |count: u64| count.checked_sub(1);
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
        .is_ok()
}

impl<D: Datastore> Datastore for Faulty<D> {
    fn repository(&self) -> &RepositoryFile {
        self.root.repository()
    }

    fn check_identity(&self) -> Result<(), DatastoreError> {
        self.pass("open", ".")?;
        self.root.check_identity()
    }

    /// Leaves out the files at the chosen paths and reports an error for each.
    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        self.pass("list", ".")?;
        let (files, mut errors) = self.root.list_manifests()?;
        let mut listed = Vec::with_capacity(files.len());
        for file in files {
            match self.pass("look at", &file.path) {
                Ok(()) => listed.push(file),
                Err(error) => errors.push(error),
            }
        }
        Ok((listed, errors))
    }

    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError> {
        self.pass("look at", path)?;
        self.root.look_at_manifest(path)
    }

    fn open_manifest(&self, path: &str) -> Result<(File, FileIdentity), DatastoreError> {
        self.pass("open", path)?;
        self.root.open_manifest(path)
    }

    fn install_manifest(&self, path: &str, from: &mut dyn Read) -> Result<bool, DatastoreError> {
        self.pass("copy", path)?;
        self.root.install_manifest(path, from)
    }

    /// Finds the chosen paths unreadable.
    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError> {
        self.pass("look at", ".")?;
        let mut looks = self.root.look(paths)?;
        self.hold_up(paths);
        let broken = self.paths();
        for (look, path) in looks.iter_mut().zip(paths) {
            if broken.contains(path.as_str()) {
                *look = Look::Unreadable(StorageFault(BROKEN));
            }
        }
        Ok(looks)
    }

    /// Cannot list the chosen folders, nor look at the chosen files.
    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError> {
        self.pass("list", ".")?;
        let walk = FaultyWalk {
            walk: self.root.walk(below, from)?,
            broken: self.paths().clone(),
            omitted: lock(&self.omitted).clone(),
            skipped: None,
        };
        Ok(Box::new(walk))
    }

    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError> {
        self.pass("open", path.as_str())?;
        self.root.open(path)
    }

    /// Deletes nothing at the chosen paths.
    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        self.pass("delete below", ".")?;
        let broken = self.paths().clone();
        let is_broken = |one: &ToDelete<'_>| broken.contains(one.path.as_str());
        let mut deletions = Vec::with_capacity(artifacts.len());
        for stretch in artifacts.chunk_by(|a, b| is_broken(a) == is_broken(b)) {
            if stretch.first().is_some_and(is_broken) {
                let failed = Deletion::Failed(StorageFault(BROKEN));
                deletions.extend(stretch.iter().map(|_| failed));
            } else {
                deletions.extend(self.root.delete(stretch)?);
            }
        }
        Ok(deletions)
    }

    fn delete_manifest(
        &self,
        path: &str,
        identity: FileIdentity,
    ) -> Result<Deletion, DatastoreError> {
        self.pass("delete", path)?;
        self.root.delete_manifest(path, identity)
    }

    fn link(&self, from: &str, to: &ArtifactPath) -> Result<Linked, DatastoreError> {
        self.pass("link", to.as_str())?;
        self.root.link(from, to)
    }

    fn another_about(&self, path: &ArtifactPath) -> Option<Sight> {
        self.root.another_about(path)
    }

    fn set_aside(&self, artifact: ToDelete<'_>, to: &Aside) -> Result<Moved, DatastoreError> {
        self.pass("move", artifact.path.as_str())?;
        if lock(&self.unmovable).contains(artifact.path.as_str()) {
            return Ok(Moved::Failed(StorageFault(DENIED)));
        }
        self.root.set_aside(artifact, to)
    }

    fn bring_back(
        &self,
        from: &Aside,
        identity: FileIdentity,
        to: &ArtifactPath,
    ) -> Result<Moved, DatastoreError> {
        self.pass("move", to.as_str())?;
        self.root.bring_back(from, identity, to)
    }

    fn look_aside(&self, at: &Aside) -> Result<Look, DatastoreError> {
        self.pass("look at", at.as_str())?;
        self.root.look_aside(at)
    }

    fn sync(&self) -> Result<(), DatastoreError> {
        self.pass("sync", ".")?;
        self.root.sync()
    }

    fn journals(&self) -> &dyn Journals {
        self
    }
}

impl<D: Datastore> Journals for Faulty<D> {
    fn list(&self) -> Result<Vec<String>, DatastoreError> {
        self.pass("list", JOURNAL_FOLDER)?;
        self.root.journals().list()
    }

    fn create(&self, name: &str, fill: &mut Fill<'_>) -> Result<(), DatastoreError> {
        self.pass("create", JOURNAL_FOLDER)?;
        self.root.journals().create(name, fill)
    }

    fn open_journal(&self, name: &str) -> Result<File, DatastoreError> {
        self.pass_journal("open", name)?;
        self.root.journals().open_journal(name)
    }

    fn append(&self, name: &str, line: &str) -> Result<(), DatastoreError> {
        self.pass_journal("write to", name)?;
        self.root.journals().append(name, line)
    }

    fn remove(&self, name: &str) -> Result<(), DatastoreError> {
        self.pass_journal("remove", name)?;
        self.root.journals().remove(name)
    }
}

/// A walk of a root that fails.
struct FaultyWalk<'w> {
    walk: Box<dyn Walk + 'w>,
    broken: HashSet<String>,
    omitted: HashSet<String>,
    /// The folder that was told as not listed last, with its `/`.
    skipped: Option<String>,
}

impl FaultyWalk<'_> {
    /// The outermost of the chosen folders that a path lies in.
    fn folder_of(&self, path: &str) -> Option<String> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        let folders = ends.filter_map(|end| path.get(..end));
        let mut broken = folders.filter(|folder| self.broken.contains(*folder));
        broken.next().map(str::to_owned)
    }

    /// What is seen at a path that lies in none of them.
    fn seen(&self, sight: Sight, path: &str) -> Sight {
        if let (Sight::File(file), true) = (&sight, self.broken.contains(path)) {
            return Sight::Unreadable(file.path.clone(), StorageFault(BROKEN));
        }
        sight
    }

    fn is_skipped(&self, path: &str) -> bool {
        let skipped = self.skipped.as_deref();
        skipped.is_some_and(|folder| path.starts_with(folder))
    }
}

impl Walk for FaultyWalk<'_> {
    fn next(&mut self) -> Option<Sight> {
        loop {
            let sight = self.walk.next()?;
            let Some(path) = sight.key() else {
                return Some(sight);
            };
            if self.omitted.contains(&path) || self.is_skipped(&path) {
                continue;
            }
            let Some(folder) = self.folder_of(&path) else {
                return Some(self.seen(sight, &path));
            };
            self.skipped = Some(format!("{folder}/"));
            return Some(Sight::Unlisted(folder.parse().ok(), StorageFault(BROKEN)));
        }
    }

    fn calls(&self) -> u64 {
        self.walk.calls()
    }
}
