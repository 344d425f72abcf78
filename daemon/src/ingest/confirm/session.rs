//! Looks, reads and commits at the same time.
//!
//! ```text
//! look (the caller's thread) -> read (several threads, level checksum only) -> commit (one thread)
//! ```
//!
//! Between them lie bounded queues: whoever is too fast waits, and memory does not grow with a
//! run. The caller's thread alone shows signs of life and asks whether to go on; it never waits
//! longer than [`BEAT`] without.
//!
//! # When it is broken off
//!
//! Files that are being read are left at once. What was found right by then is committed.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use runsync_config::root::ConfirmLevel;
use runsync_manifest::name::{ArtifactPath, RunKey};

use super::brake::Brake;
use super::compare::{self, Chunk, Judged, Reader, There};
use super::findings::{self, Faulty};
use super::queue::{Put, Queue, Taken};
use super::records::{COMMIT_ARTIFACTS, Found, Records};
use super::taken_away;
use super::throttle::Throttle;
use crate::datastore::Look;
use crate::ingest::IngestError;
use crate::ingest::flow::Flow;
use crate::poison::lock;
use crate::registry::record::WaitingArtifact;

/// Asked now and then whether to go on.
pub(super) type Going<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

/// How far a look at a page of artifacts came.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Artifacts looked at.
    pub(super) count: usize,
    /// How many of them are not there, or are known to be wrong.
    pub(super) absent: usize,
    /// The last one looked at.
    pub(super) last: Option<ArtifactPath>,
    /// Whether all of the page was looked at.
    pub(super) whole: bool,
}

/// How long the caller's thread waits for others without a sign of life.
const BEAT: Duration = Duration::from_millis(100);
/// Artifacts looked at between two questions whether to go on, which a slow file system must be
/// able to answer within the patience of a watchdog.
const LOOK_ARTIFACTS: usize = 1_024;
/// Artifacts that one thread reads before it takes others: enough that handing on does not count.
const CHUNK_ARTIFACTS: usize = 64;
/// Bytes after which a chunk is full, so that threads end at about the same time.
const CHUNK_BYTES: u64 = 8 << 20;
/// Chunks that wait for each reading thread: it finds the next one while pages are fetched, and
/// few are lost where it is broken off.
const CHUNKS_AHEAD: usize = 2;

/// What the threads of a session share.
#[derive(Debug)]
pub(super) struct Session<'a> {
    flow: &'a Flow,
    throttle: &'a Throttle,
    faulty: &'a Mutex<Faulty>,
    /// What is seen from its beginning on may be committed.
    sight: taken_away::Look<'a>,
    brake: Brake,
    chunks: Queue<Chunk>,
    judged: Queue<Judged>,
    readers: AtomicUsize,
}

/// Lets `feed` look at what is waited for, and confirms what it finds while it goes on.
/// Returns when all of it is committed, also where `progress` has broken off.
pub(super) fn run(
    flow: &Flow,
    throttle: &Throttle,
    faulty: &Mutex<Faulty>,
    progress: &mut Going<'_>,
    feed: impl FnOnce(&Session<'_>, &mut Going<'_>) -> Result<(), IngestError>,
) -> Result<Found, IngestError> {
    findings::recall(faulty, flow)?;
    let session = &Session::new(flow, throttle, faulty);
    thread::scope(|scope| {
        // Where a thread panics, this one too, nobody waits for it.
        let _ended = Ended(session);
        let (tell, told) = mpsc::sync_channel(1);
        for _ in 0..session.readers.load(Ordering::SeqCst) {
            scope.spawn(|| session.read());
        }
        scope.spawn(move || tell.send(session.commit()));
        let handed_on = feed(session, progress);
        session.end(handed_on.is_ok());
        let (committed, waited) = session.wait_for(&told, progress);
        let found = committed?;
        handed_on.and(waited)?;
        Ok(found)
    })
}

impl<'a> Session<'a> {
    fn new(flow: &'a Flow, throttle: &'a Throttle, faulty: &'a Mutex<Faulty>) -> Self {
        let readers = match flow.root().confirm {
            ConfirmLevel::Checksum => flow.root().confirm_threads.max(1),
            ConfirmLevel::Trust | ConfirmLevel::Size => 0,
        };
        Self {
            flow,
            throttle,
            faulty,
            sight: flow.looking().taken_away.look(),
            brake: Brake::default(),
            chunks: Queue::new(readers * CHUNKS_AHEAD, |_| 1),
            judged: Queue::new(COMMIT_ARTIFACTS, Judged::len),
            readers: AtomicUsize::new(readers),
        }
    }

    /// Looks at artifacts of a run, by path, and hands on those that are there. After `until` it
    /// goes no further than the part that it is at, of which there is one at least.
    pub(super) fn look(
        &self,
        run: &Arc<RunKey>,
        page: Vec<WaitingArtifact>,
        until: Option<Instant>,
        progress: &mut Going<'_>,
    ) -> Result<Looked, IngestError> {
        let datastore = self.flow.datastore();
        let mut page = page.into_iter().peekable();
        let mut looked = Looked::default();
        while page.peek().is_some() {
            if looked.count > 0 && until.is_some_and(|until| Instant::now() >= until) {
                return Ok(looked);
            }
            let part = self.part(&mut page);
            self.wait(self.throttle.files(part.len()), progress)?;
            let paths: Vec<&ArtifactPath> = part.iter().map(|artifact| &artifact.path).collect();
            let looks = datastore.look(&paths)?;
            let (count, last) = (part.len(), part.last().map(|last| last.path.clone()));
            let there = self.news(part, looks);
            looked.count += count;
            looked.absent += count - there.len();
            looked.last = last;
            self.hand_on(run, there, progress)?;
        }
        looked.whole = true;
        Ok(looked)
    }

    /// What is looked at before anything else is asked: where each artifact is read, no more than
    /// one thread takes at a time.
    fn part(&self, page: &mut impl Iterator<Item = WaitingArtifact>) -> Vec<WaitingArtifact> {
        let (most, bytes) = match self.flow.root().confirm {
            ConfirmLevel::Checksum => (CHUNK_ARTIFACTS, CHUNK_BYTES),
            ConfirmLevel::Trust | ConfirmLevel::Size => (LOOK_ARTIFACTS, u64::MAX),
        };
        let most = self.throttle.files_at_once(most);
        let (mut part, mut taken) = (Vec::new(), 0_u64);
        while part.len() < most
            && taken < bytes
            && let Some(artifact) = page.next()
        {
            taken = taken.saturating_add(artifact.size);
            part.push(artifact);
        }
        part
    }

    /// Those that are there, but for files that are known to be wrong.
    fn news(&self, artifacts: Vec<WaitingArtifact>, looks: Vec<Look>) -> Vec<There> {
        let faulty = self.faulty();
        let looks = artifacts.into_iter().zip(looks);
        let there = looks.filter_map(|(artifact, look)| match look {
            Look::File(identity) if !faulty.knows(&artifact.path, identity) => {
                Some((artifact, identity))
            }
            Look::File(_) | Look::Absent | Look::Irregular | Look::Unreadable(_) => None,
        });
        there.collect()
    }

    fn hand_on(
        &self,
        run: &Arc<RunKey>,
        there: Vec<There>,
        progress: &mut Going<'_>,
    ) -> Result<(), IngestError> {
        if there.is_empty() {
            return Ok(());
        }
        let run = Arc::clone(run);
        let chunk = Chunk { run, there };
        match self.flow.root().confirm {
            ConfirmLevel::Checksum => put(&self.chunks, chunk, progress),
            ConfirmLevel::Trust | ConfirmLevel::Size => {
                put(&self.judged, compare::sizes(chunk), progress)
            }
        }
    }

    /// Waits for the throttle.
    fn wait(&self, mut time: Duration, progress: &mut Going<'_>) -> Result<(), IngestError> {
        loop {
            proceed(progress)?;
            if self.brake.is_pulled() {
                return Err(IngestError::Interrupted);
            }
            if time.is_zero() {
                return Ok(());
            }
            let part = time.min(BEAT);
            self.brake.wait(part);
            time = time.saturating_sub(part);
        }
    }

    /// What a reading thread does.
    fn read(&self) {
        let _done = Done(self);
        let datastore = &**self.flow.datastore();
        let mut reader = Reader::new(datastore, self.throttle, &self.brake);
        while let Taken::One(chunk) = self.chunks.take(None) {
            let mut judged = reader.read(chunk);
            loop {
                match self.judged.put(judged, BEAT) {
                    Put::Done => break,
                    Put::Full(back) => judged = back,
                    Put::Closed => return,
                }
            }
        }
    }

    /// What the committing thread does.
    fn commit(&self) -> Result<Found, IngestError> {
        let committing = Committing(self);
        let mut records = Records::new(self.flow, self.faulty, &self.sight);
        loop {
            match self.judged.take(records.due()) {
                Taken::One(judged) => {
                    findings::tell(self.faulty, self.flow, &judged.run, judged.faults)?;
                    records.add(judged.run, judged.confirmed)?;
                }
                Taken::Late => records.commit_where_due()?,
                Taken::Closed => break,
            }
        }
        let found = records.finish()?;
        drop(committing);
        Ok(found)
    }

    /// Nothing more is handed on; where that is not all, what is under way is left.
    fn end(&self, all: bool) {
        if !all {
            self.brake.pull();
            self.chunks.abandon();
        }
        self.chunks.close();
        if self.readers.load(Ordering::SeqCst) == 0 {
            self.judged.close();
        }
    }

    /// Waits until everything is committed. The second part says that `progress` broke off
    /// meanwhile.
    fn wait_for(
        &self,
        told: &mpsc::Receiver<Result<Found, IngestError>>,
        progress: &mut Going<'_>,
    ) -> (Result<Found, IngestError>, Result<(), IngestError>) {
        let mut waited = Ok(());
        loop {
            match told.recv_timeout(BEAT) {
                Ok(committed) => return (committed, waited),
                // It has panicked, and so does the scope.
                Err(RecvTimeoutError::Disconnected) => return (Ok(Found::new()), waited),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if waited.is_ok() {
                waited = proceed(progress);
                if waited.is_err() {
                    self.end(false);
                }
            }
        }
    }

    fn faulty(&self) -> MutexGuard<'_, Faulty> {
        lock(self.faulty)
    }
}

fn put<T>(queue: &Queue<T>, mut item: T, progress: &mut Going<'_>) -> Result<(), IngestError> {
    loop {
        match queue.put(item, BEAT) {
            Put::Done => return Ok(()),
            Put::Full(back) => item = back,
            // The committing thread has failed and says why.
            Put::Closed => return Err(IngestError::Interrupted),
        }
        proceed(progress)?;
    }
}

pub(super) fn proceed(progress: &mut Going<'_>) -> Result<(), IngestError> {
    match progress() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(IngestError::Interrupted),
    }
}

/// Ends a session in any case.
struct Ended<'a>(&'a Session<'a>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.end(false);
    }
}

/// A reading thread; the last one closes what follows.
struct Done<'a>(&'a Session<'a>);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(false);
        }
        if self.0.readers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.judged.close();
        }
    }
}

/// The committing thread; where it is at its end, nobody else has anything to do.
struct Committing<'a>(&'a Session<'a>);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.judged.abandon();
        self.0.end(false);
    }
}
