//! The two loops of a root: one keeps at its manifests, one at its artifacts.
//!
//! Both do the same whether an event, the passing of time or an operator woke them: they look at
//! the root, the ledger and the registry, and do what is to be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info};

use super::IngestError;
use super::confirm::Confirming;
use super::flow::Flow;
use super::sweep::Arrivals;
use super::watch::{ArtifactWatch, Hints, Watcher, poll};
use crate::clock::later;
use crate::worker::{Next, Pulse, StepError, Wake, Worker};

/// How often the loops ask whether another process (an operator's command) has changed something.
/// The question is one read of one row.
const ASK_INTERVAL: Duration = Duration::from_secs(2);

/// What operators may ask of the running loops of a root, beside waking them.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    retry_untrusted: Arc<AtomicBool>,
    sweep: Arc<AtomicBool>,
    look: Arc<AtomicBool>,
}

impl Requests {
    /// Has the manifests swept and the artifacts looked for now, whatever the schedule says.
    pub fn look_now(&self) {
        self.sweep.store(true, Ordering::SeqCst);
        self.look.store(true, Ordering::SeqCst);
    }

    /// Has untrusted manifests tried again: keys or peers have changed.
    pub fn retry_untrusted(&self) {
        self.retry_untrusted.store(true, Ordering::SeqCst);
    }
}

/// Keeps at the manifests of one root.
#[derive(Debug)]
pub struct ManifestWorker {
    arrivals: Arrivals,
    watcher: Watcher,
    requests: Requests,
    others: [Wake; 2],
    next_sweep: Option<Timestamp>,
    /// Something asked for a sweep, or was not followed to its end: it must not be forgotten
    /// because the root, the ledger or the registry failed in between.
    sweep_owed: bool,
    forgotten: Option<u64>,
}

impl ManifestWorker {
    /// A worker that is woken by `wake`, and wakes the `others` when there may be artifacts to look
    /// for, and removals to follow.
    pub fn new(flow: Flow, wake: Wake, others: [Wake; 2], requests: Requests) -> Self {
        let root = flow.root();
        flow.looking().registers(&wake);
        let watcher = if root.events {
            Watcher::start(&root.directory, wake)
        } else {
            Watcher::switched_off(&root.directory)
        };
        // Keys may have been trusted while no daemon ran.
        requests.retry_untrusted();
        Self {
            arrivals: Arrivals::new(flow),
            watcher,
            requests,
            others,
            next_sweep: None,
            sweep_owed: false,
            forgotten: None,
        }
    }

    fn find_work(&mut self, now: Timestamp) -> Result<(), IngestError> {
        // Hints about a root that is not there stay until it is there again.
        self.arrivals.flow().datastore().check_identity()?;
        let forgotten = self.arrivals.flow().site().ledger.forgotten()?;
        let mut hints = self.watcher.take();
        let told = self.arrivals.flow().looking().take_manifests();
        hints.rescan |= told.all;
        hints.paths.extend(told.paths);
        let asked = self.forgotten.replace(forgotten) != Some(forgotten);
        let due = self.next_sweep.is_none_or(|next| next <= now);
        let wanted = self.requests.sweep.swap(false, Ordering::SeqCst);
        let sweep = self.sweep_owed || hints.rescan || asked || due || wanted;
        if sweep || !hints.is_empty() {
            self.sweep_owed = true;
            if sweep || !self.follow(hints)? {
                self.sweep(now)?;
            }
            self.sweep_owed = false;
        }
        self.retry_untrusted()
    }

    /// False where only a sweep can tell what became of a file.
    fn follow(&mut self, hints: Hints) -> Result<bool, IngestError> {
        let paths: Vec<String> = hints.paths.into_iter().collect();
        self.arrivals.hinted(&paths)
    }

    fn retry_untrusted(&mut self) -> Result<(), IngestError> {
        if !self.requests.retry_untrusted.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let manifests = self.arrivals.retry_untrusted().inspect_err(|_| {
            self.requests.retry_untrusted();
        })?;
        if manifests > 0 {
            info!(manifests, "untrusted manifests tried again");
        }
        Ok(())
    }

    fn sweep(&mut self, now: Timestamp) -> Result<(), IngestError> {
        self.watcher.mend();
        let swept = self.arrivals.sweep()?;
        let root = &self.arrivals.flow().root().name;
        if swept.new > 0 {
            info!(%root, files = swept.files, new = swept.new, "manifest folder swept");
        }
        let degraded = self.watcher.degraded();
        let mut interval = poll::sweep_interval(self.arrivals.sweep_interval(), degraded.as_ref());
        if swept.unreadable > 0 {
            // No event tells that a folder can be read again.
            interval = interval.min(poll::POLL_INTERVAL);
        }
        self.next_sweep = Some(later(now, interval));
        Ok(())
    }
}

impl Worker for ManifestWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let now = self.arrivals.flow().site().clock.now();
        let stepped = self
            .find_work(now)
            .and_then(|()| self.arrivals.step(&mut |_| pulse.go_on()));
        let stepped = match stepped {
            Err(error) => return stopped_or_failed(error),
            Ok(stepped) => stepped,
        };
        if stepped.decided > 0 {
            self.others.iter().for_each(Wake::wake);
        }
        let next = [stepped.next, self.next_sweep].into_iter().flatten().min();
        Ok(wait_until(next, now))
    }
}

/// Keeps at the artifacts of one root.
#[derive(Debug)]
pub struct ConfirmWorker {
    confirming: Confirming,
    watch: Option<ArtifactWatch>,
    requests: Requests,
    registry_seen: Option<u64>,
    next: Option<Timestamp>,
    /// When a directory that changed may be looked at again.
    owed: Option<Timestamp>,
}

impl ConfirmWorker {
    /// A worker that is woken by `wake`.
    pub fn new(flow: Flow, wake: Wake, requests: Requests) -> Self {
        let root = flow.root();
        flow.looking().confirms(&wake);
        let watch = root
            .events
            .then(|| ArtifactWatch::start(&root.directory, root.watched_directories_max, wake));
        Self {
            confirming: Confirming::new(flow),
            watch,
            requests,
            registry_seen: None,
            next: None,
            owed: None,
        }
    }

    fn work(&mut self, pulse: &Pulse, now: Timestamp) -> Result<(), IngestError> {
        let dirty = self.watch.as_ref().map(ArtifactWatch::take_dirty);
        let mut dirty = dirty.unwrap_or_default();
        let told = self.confirming.flow().looking().take_folders();
        dirty.extend(told.paths);
        if told.all {
            self.requests.look.store(true, Ordering::SeqCst);
        }
        let looked = self.confirming.changed(&dirty, &mut || pulse.go_on())?;
        self.owed = looked.next;
        let registry = Arc::clone(&self.confirming.flow().site().registry);
        if self.requests.look.swap(false, Ordering::SeqCst) {
            self.confirming.look_now(now);
            self.next = Some(now);
        }
        let due = self.next.is_some_and(|next| next <= now);
        // Asked before the look: what is registered meanwhile counts as unseen.
        let changes = registry.changes()?;
        if due || self.registry_seen != Some(changes) {
            self.next = self.confirming.step(&mut || pulse.go_on())?.next;
            if let Some(watch) = &self.watch {
                watch.wanted(self.confirming.directories().iter().cloned());
            }
            self.registry_seen = Some(changes);
        }
        Ok(())
    }
}

impl Worker for ConfirmWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let now = self.confirming.flow().site().clock.now();
        // Absence is no news about artifacts while the root itself is not there.
        self.confirming.flow().datastore().check_identity()?;
        match self.work(pulse, now) {
            Err(error) => stopped_or_failed(error),
            Ok(()) => Ok(wait_until(
                [self.next, self.owed].into_iter().flatten().min(),
                now,
            )),
        }
    }
}

/// A step that was broken off, or whose process has lost the lease, did not fail: there is nothing
/// to try again, and whoever stops the loops says why.
fn stopped_or_failed(error: IngestError) -> Result<Next, StepError> {
    if error.is_interruption() || error.is_fenced() {
        debug!(%error, "step ended early");
        return Ok(Next::Idle(None));
    }
    Err(error.into())
}

fn wait_until(next: Option<Timestamp>, now: Timestamp) -> Next {
    let Some(next) = next else {
        return Next::Idle(Some(ASK_INTERVAL));
    };
    match Duration::try_from(now.duration_until(next)) {
        Ok(wait) if !wait.is_zero() => Next::Idle(Some(wait.min(ASK_INTERVAL))),
        _ => Next::Again,
    }
}
