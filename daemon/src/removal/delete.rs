//! Deletes what a journal names, many at once.
//!
//! Whoever deletes asks before every hundred files whether this process may still write: no
//! transaction guards a file. What a suspended process may delete when it wakes is what it had
//! asked for before, at most so many files in each thread, each of which the journal names and the
//! next owner would delete too.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use runsync_config::root::RootName;
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::ToSchema;

use super::RemovalError;
use super::journal::{Artifact, Artifacts, Journal};
use crate::datastore::{Datastore, Deletion, StorageFault, ToDelete};
use crate::poison::{lock, unpoisoned};
use crate::registry::{Registry, RegistryError};
use crate::telemetry::removals::{self, Artifact as Counted};

/// Files that one thread deletes before it asks whether it still may.
const TOGETHER: usize = 100;
/// Threads that delete: more gain little on one disk, and a few hide a network's latency.
const THREADS: usize = 4;
/// Chunks that wait for each thread.
const CHUNKS_AHEAD: usize = 4;
/// Failures that are named in the log, of one pass over a journal.
const FAILURES_LOGGED: u64 = 10;

/// What became of the artifacts of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Deletions {
    /// Gone by this.
    pub deleted: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Were not there.
    pub absent: u64,
    /// Another file lies there than when the journal was written: it stays.
    pub other: u64,
    /// Could not be deleted; they stay in the journal.
    pub failed: u64,
    /// Were there, and are gone by Rucio's doing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reaped: u64,
    /// Rucio still has them; they stay in the journal.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Deletions {
    /// Adds another one to it.
    pub const fn add(&mut self, other: &Self) {
        self.deleted += other.deleted;
        self.bytes += other.bytes;
        self.absent += other.absent;
        self.other += other.other;
        self.failed += other.failed;
        self.reaped += other.reaped;
        self.held += other.held;
    }

    /// How many artifacts there were.
    pub const fn total(&self) -> u64 {
        self.deleted + self.absent + self.other + self.failed + self.reaped + self.held
    }

    /// Counts them.
    pub(super) fn count(&self, root: &RootName) {
        for (outcome, count) in [
            (Counted::Deleted, self.deleted),
            (Counted::Absent, self.absent),
            (Counted::Other, self.other),
            (Counted::Failed, self.failed),
            (Counted::Reaped, self.reaped),
        ] {
            removals::artifacts(root, outcome, count);
        }
        removals::deleted_bytes(root, self.bytes);
    }

    pub(super) fn note(&mut self, artifact: &Artifact, deletion: Deletion) {
        if deletion == Deletion::Deleted {
            self.bytes += artifact.identity.map_or(0, |identity| identity.size);
        }
        self.take(deletion);
    }

    /// Takes up what became of an artifact, but for its bytes.
    pub(super) const fn take(&mut self, deletion: Deletion) {
        match deletion {
            Deletion::Deleted => self.deleted += 1,
            Deletion::Absent => self.absent += 1,
            // Nothing that the journal names is there any more.
            Deletion::Other(_) | Deletion::Irregular => self.other += 1,
            Deletion::Failed(_) => self.failed += 1,
        }
    }
}

/// Deletes all that a committed journal names, and makes it durable. `progress` hears how many are
/// done and may break off.
///
/// # Errors
///
/// Where the journal or the root as a whole fail, the lease is lost, or `progress` broke off: what
/// is deleted by then stays deleted, and is found absent the next time.
pub(super) fn delete(
    journal: &Journal,
    datastore: &dyn Datastore,
    registry: &dyn Registry,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Deletions, RemovalError> {
    let root = |source| RemovalError::Root {
        root: journal.header.root.clone(),
        source,
    };
    datastore.check_identity().map_err(root)?;
    let artifacts = journal.read(datastore.journals())?;
    let deletions = Deleting {
        journal,
        datastore,
        registry,
        stop: AtomicBool::new(false),
        failures: AtomicU64::new(0),
    }
    .run(artifacts, progress)?;
    datastore.sync().map_err(root)?;
    Ok(deletions)
}

struct Deleting<'a> {
    journal: &'a Journal,
    datastore: &'a dyn Datastore,
    registry: &'a dyn Registry,
    stop: AtomicBool,
    failures: AtomicU64,
}

impl Deleting<'_> {
    fn run(
        &self,
        mut artifacts: Artifacts,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Deletions, RemovalError> {
        let (hand_on, chunks) = mpsc::sync_channel::<Vec<Artifact>>(THREADS * CHUNKS_AHEAD);
        let chunks = Mutex::new(chunks);
        let total = Mutex::new(Deletions::default());
        thread::scope(|scope| {
            let work = || self.work(&chunks, &total);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            let fed = self.feed(&mut artifacts, &hand_on, &total, progress);
            drop(hand_on);
            let mut outcome = fed;
            for thread in threads {
                let ended = thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                outcome = outcome.and(ended);
            }
            outcome
        })?;
        Ok(unpoisoned(total.into_inner()))
    }

    fn feed(
        &self,
        artifacts: &mut Artifacts,
        hand_on: &mpsc::SyncSender<Vec<Artifact>>,
        total: &Mutex<Deletions>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), RemovalError> {
        loop {
            let chunk: Vec<Artifact> = artifacts.take(TOGETHER).collect::<Result<_, _>>()?;
            if chunk.is_empty() || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if hand_on.send(chunk).is_err() {
                return Ok(());
            }
            if progress(lock(total).total()).is_break() {
                self.stop.store(true, Ordering::Relaxed);
                return Err(RemovalError::Interrupted);
            }
        }
    }

    /// What one thread does. After a failure it goes on taking chunks, and does nothing about them:
    /// whoever hands them on must not wait for nobody.
    fn work(
        &self,
        chunks: &Mutex<mpsc::Receiver<Vec<Artifact>>>,
        total: &Mutex<Deletions>,
    ) -> Result<(), RemovalError> {
        let mut outcome = Ok(());
        loop {
            let chunk = lock(chunks).recv();
            let Ok(chunk) = chunk else { return outcome };
            if self.stop.load(Ordering::Relaxed) {
                continue;
            }
            match self.chunk(&chunk) {
                Ok(deleted) => {
                    deleted.count(&self.journal.header.root);
                    lock(total).add(&deleted);
                }
                Err(error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    outcome = outcome.and(Err(error));
                }
            }
        }
    }

    fn chunk(&self, chunk: &[Artifact]) -> Result<Deletions, RemovalError> {
        self.registry
            .check_fence()
            .map_err(|error: RegistryError| error)?;
        let mut deletions = Deletions::default();
        let there: Vec<&Artifact> = chunk.iter().filter(|one| one.identity.is_some()).collect();
        let absent = chunk.len() - there.len();
        deletions.absent += u64::try_from(absent).unwrap_or(u64::MAX);
        let to_delete: Vec<ToDelete<'_>> = there
            .iter()
            .filter_map(|artifact| {
                let path = &artifact.path;
                artifact
                    .identity
                    .map(|identity| ToDelete { path, identity })
            })
            .collect();
        let done = self.datastore.delete(&to_delete);
        let done = done.map_err(|source| RemovalError::Root {
            root: self.journal.header.root.clone(),
            source,
        })?;
        for (artifact, deletion) in there.into_iter().zip(done) {
            if let Deletion::Failed(fault) = deletion {
                self.tell(artifact, fault);
            }
            deletions.note(artifact, deletion);
        }
        Ok(deletions)
    }

    /// Names what cannot be deleted, for the first few of a pass.
    fn tell(&self, artifact: &Artifact, fault: StorageFault) {
        if self.failures.fetch_add(1, Ordering::Relaxed) < FAILURES_LOGGED {
            let path = &artifact.path;
            warn!(%path, error = %fault, "artifact cannot be deleted");
        }
    }
}
