//! Measures the artifacts of a draft: size and checksums, in one pass over each.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use runsync_manifest::checksum::{Checksums, Wanted, checksum};
use runsync_manifest::name::ArtifactPath;

use super::draft::Draft;
use super::error::CreateError;
use crate::datastore::{Datastore, Look};

/// How many artifacts are looked for at once: neighbours share a directory.
const LOOK_BATCH: usize = 1000;

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Measuring {
    /// Which checksums beside Adler-32.
    pub wanted: Wanted,
    /// Threads that read; about one for each core serves a local disk best.
    pub threads: NonZeroUsize,
}

/// How far measuring has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Artifacts done.
    pub artifacts: u64,
    /// Artifacts in all.
    pub artifacts_total: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Measures every artifact of `draft` that lies in `datastore`.
///
/// All are looked for first, so that a missing one is told before hours are spent on
/// the others. `progress` is called after each artifact, from any thread.
///
/// # Errors
///
/// The first artifact that is missing, not a regular file, or unreadable.
pub fn measure(
    draft: &mut Draft,
    datastore: &dyn Datastore,
    measuring: Measuring,
    progress: &(dyn Fn(Measured) + Sync),
) -> Result<(), CreateError> {
    let mut order: Vec<usize> = (0..draft.claims.len()).collect();
    order.sort_by(|a, b| path_of(draft, *a).cmp(&path_of(draft, *b)));
    let mut paths: Vec<ArtifactPath> = order
        .iter()
        .filter_map(|index| path_of(draft, *index).cloned())
        .collect();
    paths.dedup();
    look_for(&paths, datastore)?;
    let results = Pass::new(&paths, datastore, measuring, progress).run()?;
    let mut found = paths.iter().zip(results).peekable();
    for index in order {
        let Some(claim) = draft.claims.get_mut(index) else {
            continue;
        };
        while found.next_if(|(path, _)| **path < claim.path).is_some() {}
        claim.measured = found.peek().and_then(|(_, result)| *result);
    }
    Ok(())
}

fn path_of(draft: &Draft, index: usize) -> Option<&ArtifactPath> {
    draft.claims.get(index).map(|claim| &claim.path)
}

fn look_for(paths: &[ArtifactPath], datastore: &dyn Datastore) -> Result<(), CreateError> {
    let mut absent = 0;
    let mut first_absent = None;
    for batch in paths.chunks(LOOK_BATCH) {
        let Some(first) = batch.first() else {
            continue;
        };
        let asked: Vec<_> = batch.iter().collect();
        let looks = datastore.look(&asked).map_err(|source| CreateError::Look {
            count: batch.len(),
            first: first.clone(),
            source,
        })?;
        for (path, look) in batch.iter().zip(looks) {
            match look {
                Look::File(_) => {}
                Look::Absent => {
                    absent += 1;
                    first_absent.get_or_insert_with(|| path.clone());
                }
                Look::Irregular => return Err(CreateError::Irregular { path: path.clone() }),
                Look::Unreadable(fault) => {
                    let source = std::io::Error::from_raw_os_error(fault.0);
                    return Err(CreateError::Artifact {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
    }
    match first_absent {
        Some(first) => Err(CreateError::Absent {
            count: absent,
            first,
        }),
        None => Ok(()),
    }
}

/// One measuring of sorted, distinct paths by several threads.
struct Pass<'a> {
    paths: &'a [ArtifactPath],
    datastore: &'a dyn Datastore,
    wanted: Wanted,
    threads: NonZeroUsize,
    progress: &'a (dyn Fn(Measured) + Sync),
    /// The next path that nobody has taken.
    next: AtomicUsize,
    /// Set by the first thread that fails.
    failed: AtomicBool,
    artifacts: AtomicU64,
    bytes: AtomicU64,
}

type Sums = (u64, Checksums);

impl<'a> Pass<'a> {
    fn new(
        paths: &'a [ArtifactPath],
        datastore: &'a dyn Datastore,
        measuring: Measuring,
        progress: &'a (dyn Fn(Measured) + Sync),
    ) -> Self {
        Self {
            paths,
            datastore,
            wanted: measuring.wanted,
            threads: measuring.threads,
            progress,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            artifacts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn run(&self) -> Result<Vec<Option<Sums>>, CreateError> {
        let mut all = vec![None; self.paths.len()];
        let outcomes = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.get())
                .map(|_| scope.spawn(|| self.work()))
                .collect();
            threads
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(outcome) => outcome,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect::<Vec<_>>()
        });
        for outcome in outcomes {
            for (index, sums) in outcome? {
                if let Some(slot) = all.get_mut(index) {
                    *slot = Some(sums);
                }
            }
        }
        Ok(all)
    }

    fn work(&self) -> Result<Vec<(usize, Sums)>, CreateError> {
        let mut done = Vec::new();
        while !self.failed.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = self.paths.get(index) else {
                break;
            };
            let sums = self
                .measure_one(path)
                .inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
            done.push((index, sums));
            let artifacts = self.artifacts.fetch_add(1, Ordering::Relaxed) + 1;
            let bytes = self.bytes.fetch_add(sums.0, Ordering::Relaxed) + sums.0;
            (self.progress)(Measured {
                artifacts,
                artifacts_total: self.paths.len() as u64,
                bytes,
            });
        }
        Ok(done)
    }

    fn measure_one(&self, path: &ArtifactPath) -> Result<Sums, CreateError> {
        let (file, identity) = self
            .datastore
            .open(path)
            .map_err(|source| CreateError::Open {
                path: path.clone(),
                source,
            })?;
        let (size, checksums) =
            checksum(file, self.wanted).map_err(|source| CreateError::Artifact {
                path: path.clone(),
                source,
            })?;
        if size != identity.size {
            return Err(CreateError::Changed {
                path: path.clone(),
                before: identity.size,
                after: size,
            });
        }
        Ok((size, checksums))
    }
}
