//! Passes over registered manifests whose files were touched and are the same, byte for byte.
//!
//! A restored backup, a copy or a transfer that was repeated gives a file another inode or time.
//! Its digest and its trailer tell whether it still is what was registered; then nothing in it
//! need be read, sorted or judged again. Whatever is not plainly the same goes the whole way,
//! and so does a manifest whose origin, run name or key is not trusted (any more): what was
//! registered by it stays, but its file is judged as one that arrives now.

use std::collections::HashSet;
use std::io::{self, Read};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

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
/// How long the caller's thread waits for the others without looking whether they advance.
const BEAT: Duration = Duration::from_millis(100);
/// Bytes of a file after which its reader says that it advances: slow storage delivers them well
/// within the patience of the watchdog.
const NOTICE_BYTES: usize = 4 << 20;

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
            notices: AtomicU64::new(0),
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
    /// How often threads have said that they advance.
    notices: AtomicU64,
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
        let caller = thread::current();
        let running = AtomicUsize::new(threads.saturating_sub(1));
        thread::scope(|scope| {
            let beside: Vec<_> = (1..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let same = self.read_on(&mut |_| self.goes_on());
                        running.fetch_sub(1, Ordering::SeqCst);
                        caller.unpark();
                        same
                    })
                })
                .collect();
            let mut same = self.read_on(&mut |lines| progress(Progress::Read { lines }));
            let mut heard = 0;
            // One that panicked is finished and has not said so.
            while running.load(Ordering::SeqCst) > 0
                && beside.iter().any(|thread| !thread.is_finished())
            {
                thread::park_timeout(BEAT);
                let notices = self.notices.load(Ordering::Relaxed);
                let advanced = std::mem::replace(&mut heard, notices) != notices;
                if advanced && progress(Progress::Read { lines: 0 }).is_break() {
                    self.broken_off.store(true, Ordering::Relaxed);
                }
            }
            // One that panicked has shown nothing to be the same: the flow looks at its files.
            let beside = beside.into_iter();
            same.extend(beside.flat_map(|thread| thread.join().unwrap_or_default()));
            same
        })
    }

    /// What a thread beside the caller's says as it advances.
    fn goes_on(&self) -> ControlFlow<()> {
        self.notices.fetch_add(1, Ordering::Relaxed);
        if self.broken_off.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Reads file after file of those that no thread has taken. `progress` hears of the lines of
    /// each, and of none now and then meanwhile.
    fn read_on(&self, progress: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Same {
        let mut same = Vec::new();
        let mut heard = |lines| {
            let going = progress(lines);
            if going.is_break() {
                self.broken_off.store(true, Ordering::Relaxed);
            }
            going
        };
        while !self.broken_off.load(Ordering::Relaxed)
            && let Some(row) = self.rows.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            let read = self.read(row, &mut || heard(0));
            if self.broken_off.load(Ordering::Relaxed) {
                break;
            }
            let lines = read
                .as_ref()
                .map_or(0, |(_, trailer)| trailer.counts.dataset);
            same.extend(read.map(|(identity, _)| (row.location.path.clone(), identity)));
            if heard(lines).is_break() {
                break;
            }
        }
        same
    }

    /// `None` where the file is not, or not certainly, what the row is about. Why not is for the
    /// flow to find out.
    fn read(
        &self,
        row: &ManifestRow,
        notice: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Option<(FileIdentity, Trailer)> {
        let (file, identity) = self.datastore.open_manifest(&row.location.path).ok()?;
        let noticed = Noticed {
            file,
            bytes: 0,
            notice,
        };
        let trailer = skim::trailer(noticed, self.limits).ok()?;
        let summary = row.summary.as_ref()?;
        is_same(summary, &trailer).then_some((identity, trailer))
    }
}

/// A file that says now and then that it is being read, and whose reading can be broken off.
struct Noticed<'a, R> {
    file: R,
    /// Bytes read since it was said last.
    bytes: usize,
    notice: &'a mut dyn FnMut() -> ControlFlow<()>,
}

impl<R: Read> Read for Noticed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes += count;
        if self.bytes >= NOTICE_BYTES {
            self.bytes = 0;
            if (self.notice)().is_break() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(count)
    }
}

fn is_same(summary: &ManifestSummary, trailer: &Trailer) -> bool {
    let signature = trailer.signature.as_ref();
    summary.digest == Some(trailer.sha256)
        && summary.datasets == Some(trailer.counts.dataset)
        && summary.total_bytes == Some(trailer.total_bytes)
        && summary.key_id == signature.map(|signature| signature.key_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_shows_signs_of_life_while_it_is_read_and_can_be_broken_off() {
        let read = |most: usize| {
            let mut notices = 0;
            let mut notice = || {
                notices += 1;
                if notices < most {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            };
            let mut file = Noticed {
                file: io::repeat(0).take(4 * NOTICE_BYTES as u64 + 1),
                bytes: 0,
                notice: &mut notice,
            };
            let copied = io::copy(&mut file, &mut io::sink());
            (copied.map_err(|error| error.kind()), notices)
        };
        assert_eq!(read(9), (Ok(4 * NOTICE_BYTES as u64 + 1), 4));
        assert_eq!(read(3), (Err(io::ErrorKind::ConnectionAborted), 3));
    }
}
