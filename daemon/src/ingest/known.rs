//! Passes over registered manifests whose files were touched and are the same, byte for byte.
//!
//! A restored backup, a copy or a transfer that was repeated gives a file another inode or time.
//! Its digest and its trailer tell whether it still is what was registered; then nothing in it
//! need be read, sorted or judged again. Whatever is not plainly the same goes the whole way,
//! and so does a manifest whose origin, run name or key is not trusted (any more): what was
//! registered by it stays, but its file is judged as one that arrives now.

use std::collections::HashSet;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use runsync_manifest::limits::Limits;
use runsync_manifest::skim;
use runsync_manifest::trailer::Trailer;

use super::IngestError;
use super::flow::{Flow, Progress};
use super::settle::Settled;
use super::trust::Trust;
use crate::datastore::Datastore;
use crate::file_identity::FileIdentity;
use crate::ledger::record::{ManifestRow, ManifestState, ManifestSummary};

/// Most threads that read at once. Hashing keeps a core busy; storage has others to serve too.
const THREADS_MAX: usize = 4;
/// Files for each thread: fewer are read before another has started.
const FILES_PER_THREAD: usize = 16;

/// What became of files that are to be decided.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Paths of those that are what was registered; the ledger knows their files again.
    pub(super) known: HashSet<String>,
    /// The others.
    pub(super) others: Vec<Settled>,
}

impl Flow {
    /// Tells the registered manifests among `files` from those that must be decided. `progress`
    /// hears of every file read, and may break off.
    pub(super) fn pass_over_known(
        &self,
        files: Vec<Settled>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Passed, IngestError> {
        let rows = self.rows_to_compare(&files)?;
        if rows.is_empty() {
            return Ok(Passed {
                known: HashSet::new(),
                others: files,
            });
        }
        let search = Search {
            datastore: &**self.datastore(),
            limits: self.site().limits,
            rows: &rows,
            next: AtomicUsize::new(0),
            broken_off: AtomicBool::new(false),
        };
        let same = search.run(progress);
        let ledger = &self.site().ledger;
        let root = &self.root().name;
        ledger.seen_again(root, &same)?;
        if search.broken_off.load(Ordering::Relaxed) {
            return Err(IngestError::Interrupted);
        }
        let known: HashSet<String> = same.into_iter().map(|(path, _)| path).collect();
        let is_other = |file: &Settled| !known.contains(file.path());
        Ok(Passed {
            others: files.into_iter().filter(is_other).collect(),
            known,
        })
    }

    /// The rows of files that may be what was registered, as far as the ledger and today's trust
    /// can tell.
    fn rows_to_compare(&self, files: &[Settled]) -> Result<Vec<ManifestRow>, IngestError> {
        let paths: Vec<&str> = files.iter().map(Settled::path).collect();
        let mut rows = self.site().ledger.manifests_at(&self.root().name, &paths)?;
        let trust = self.site().trust();
        rows.retain(|row| {
            row.state == ManifestState::Registered
                && row
                    .summary
                    .as_ref()
                    .is_some_and(|summary| is_trusted(summary, &trust))
        });
        Ok(rows)
    }
}

/// Whether a manifest that arrived now would be taken from its origin, signed by its key.
fn is_trusted(summary: &ManifestSummary, trust: &Trust) -> bool {
    let origin = summary.run.origin;
    trust.knows(origin)
        && trust.may_own(origin, &summary.run.name)
        && summary
            .key_id
            .is_some_and(|key_id| trust.counts(origin, key_id))
}

/// Reads files on several threads.
struct Search<'a> {
    datastore: &'a dyn Datastore,
    limits: Limits,
    rows: &'a [ManifestRow],
    /// The next row to look at.
    next: AtomicUsize,
    broken_off: AtomicBool,
}

/// Where the files lie that are what was registered, and which they are.
type Same = Vec<(String, FileIdentity)>;

impl Search<'_> {
    /// Reads all files, on this thread and on some beside it; where `progress` breaks off, those
    /// that were read until then.
    fn run(&self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Same {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores
            .min(THREADS_MAX)
            .min(self.rows.len().div_ceil(FILES_PER_THREAD));
        thread::scope(|scope| {
            let beside: Vec<_> = (1..threads)
                .map(|_| scope.spawn(|| self.read_on(&mut |_| ControlFlow::Continue(()))))
                .collect();
            let mut same = self.read_on(&mut |lines| progress(Progress::Read { lines }));
            // One that panicked has shown nothing to be the same: the flow looks at its files.
            same.extend(
                beside
                    .into_iter()
                    .flat_map(|thread| thread.join().unwrap_or_default()),
            );
            same
        })
    }

    /// Reads file after file of those that no thread has taken.
    fn read_on(&self, progress: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Same {
        let mut same = Vec::new();
        while !self.broken_off.load(Ordering::Relaxed)
            && let Some(row) = self.rows.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let read = self.read(row);
            let lines = read
                .as_ref()
                .map_or(0, |(_, trailer)| trailer.counts.dataset);
            same.extend(read.map(|(identity, _)| (row.location.path.clone(), identity)));
            if progress(lines).is_break() {
                self.broken_off.store(true, Ordering::Relaxed);
            }
        }
        same
    }

    /// `None` where the file is not, or not certainly, what the row is about. Why not is for the
    /// flow to find out.
    fn read(&self, row: &ManifestRow) -> Option<(FileIdentity, Trailer)> {
        let (file, identity) = self.datastore.open_manifest(&row.location.path).ok()?;
        let trailer = skim::trailer(file, self.limits).ok()?;
        let summary = row.summary.as_ref()?;
        is_same(summary, &trailer).then_some((identity, trailer))
    }
}

fn is_same(summary: &ManifestSummary, trailer: &Trailer) -> bool {
    let signature = trailer.signature.as_ref();
    summary.digest == Some(trailer.sha256)
        && summary.datasets == Some(trailer.counts.dataset)
        && summary.total_bytes == Some(trailer.total_bytes)
        && summary.key_id == signature.map(|signature| signature.key_id)
}
