//! The loop that sees removals through: those that the daemon was asked for.
//!
//! It does the same after a crash as after a disk was full: it looks at the journals, drops those
//! that were not committed, and goes on with the others, less and less often where they fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::RemovalError;
use super::flow::{Outcome, Progress, Removing};
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::registry::removal::RemovalRow;
use crate::rucio::Rucio;
use crate::worker::{Next, Pulse, StepError, Worker};

/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(64 * 60);
/// How long after a look at what waits for Rucio the next one may be, however often Rucio says that it
/// has deleted something: a look may be at a million files.
const TOLD_PAUSE: Duration = Duration::from_secs(10);
/// How often it is asked whether anything is under way.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// Sees removals through.
#[derive(Debug)]
pub struct RemovalWorker {
    removing: Arc<Removing>,
    /// When those that failed are tried again, and the pause after that.
    failed: BTreeMap<Uuid, (Timestamp, Duration)>,
    /// Removals of commands that somebody has asked this process to continue.
    taken_over: BTreeSet<Uuid>,
    /// Those that wait for Rucio, and when that was looked at last.
    awaiting: BTreeMap<Uuid, Timestamp>,
    /// The same of what other sites could not be told.
    untold: Option<(Timestamp, Duration)>,
}

impl RemovalWorker {
    /// Nothing tried yet.
    pub fn new(removing: Arc<Removing>) -> Self {
        Self {
            removing,
            failed: BTreeMap::new(),
            taken_over: BTreeSet::new(),
            awaiting: BTreeMap::new(),
            untold: None,
        }
    }

    /// One look at all that is under way. `progress` may break off.
    ///
    /// # Errors
    ///
    /// Where the registry fails, the lease is lost, or `progress` broke off. A removal that does not go
    /// on holds up no other.
    pub fn work(&mut self, progress: &mut Progress<'_>) -> Result<(), RemovalError> {
        let rucio = self.removing.ground().rucio.clone();
        self.work_by(rucio.as_ref(), progress)
    }

    /// The same by this way to Rucio.
    ///
    /// # Errors
    ///
    /// As [`work`](Self::work).
    pub fn work_by(
        &mut self,
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        self.removing.drop_uncommitted(progress)?;
        let removals = self.removing.ground().registry.removals()?;
        self.failed
            .retain(|id, _| removals.iter().any(|removal| removal.id == *id));
        self.taken_over
            .retain(|id| removals.iter().any(|removal| removal.id == *id));
        self.awaiting
            .retain(|id, _| removals.iter().any(|removal| removal.id == *id));
        if self.removing.take_told() {
            self.look_soon();
        }
        self.tell();
        self.removing.reap(progress)?;
        self.removing.bring_back(progress)?;
        if removals.is_empty() {
            return Ok(());
        }
        let requesters = self.removing.requesters();
        for removal in &removals {
            // What a command without a daemon has left is its account's to continue.
            let asked = requesters.get(&removal.id);
            let is_ours = asked.is_none_or(|requester| requester.daemon);
            let now = self.removing.ground().clock.now();
            if self.removing.take_allowed(removal.id) {
                self.taken_over.insert(removal.id);
                self.failed.remove(&removal.id);
            }
            let is_ours = is_ours || self.taken_over.contains(&removal.id);
            if is_ours && self.is_due(removal, now) {
                self.see_through(removal.id, now, rucio, progress)?;
            }
        }
        Ok(())
    }

    /// Whether the pause after the last pass is over.
    fn is_due(&self, removal: &RemovalRow, now: Timestamp) -> bool {
        let waited = |(at, _): &(Timestamp, Duration)| *at <= now;
        self.failed.get(&removal.id).is_none_or(waited)
    }

    fn see_through(
        &mut self,
        id: Uuid,
        now: Timestamp,
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        self.awaiting.remove(&id);
        match self.removing.resume_by(id, rucio, progress) {
            Ok(Outcome {
                late_until: Some(until),
                ..
            }) => {
                self.put_off(id, now);
                // The last look comes when the time is over, and not later.
                if let Some((at, _)) = self.failed.get_mut(&id).filter(|_| until > now) {
                    *at = until.min(*at);
                }
            }
            Ok(outcome) if outcome.done => {
                info!(removal = %id, deleted = outcome.deletions.deleted, "removal seen through");
                self.failed.remove(&id);
            }
            Ok(outcome) if outcome.deletions.failed == 0 => {
                self.awaiting.insert(id, now);
                self.put_off(id, now);
            }
            Ok(outcome) => {
                let failed = outcome.deletions.failed;
                warn!(removal = %id, failed, "artifacts of a removal cannot be deleted");
                self.put_off(id, now);
            }
            Err(RemovalError::Gone { .. }) => {}
            Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
            Err(error) => {
                warn!(removal = %id, error = %error_chain(&error), "removal does not go on");
                self.put_off(id, now);
            }
        }
        Ok(())
    }

    /// What waits for Rucio is looked at soon, and from then on as if it had just begun to wait.
    fn look_soon(&mut self) {
        for (id, looked) in &self.awaiting {
            let soon = later(*looked, TOLD_PAUSE);
            if let Some((at, pause)) = self.failed.get_mut(id) {
                *at = soon.min(*at);
                *pause = FIRST_PAUSE;
            }
        }
    }

    /// Writes what other sites are to be told, where that failed not too shortly before.
    fn tell(&mut self) {
        let now = self.removing.ground().clock.now();
        if self.untold.is_some_and(|(at, _)| at > now) {
            return;
        }
        self.untold = match self.removing.tell() {
            Ok(()) => None,
            Err(error) => {
                warn!(error = %error_chain(&error), "other sites cannot be told what is removed");
                Some(put_off(self.untold, now))
            }
        };
    }

    fn put_off(&mut self, id: Uuid, now: Timestamp) {
        let next = put_off(self.failed.get(&id).copied(), now);
        self.failed.insert(id, next);
    }
}

impl Worker for RemovalWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let heard = pulse.clone();
        let waiting = Arc::new(move || heard.go_on());
        let rucio = self.removing.ground().rucio.as_ref();
        let rucio = rucio.map(|rucio| rucio.waiting(waiting));
        match self.work_by(rucio.as_ref(), &mut |_| pulse.go_on()) {
            Ok(()) => Ok(Next::Idle(Some(ASK_INTERVAL))),
            Err(error) if error.is_interruption() || error.is_fenced() => {
                debug!(%error, "step ended early");
                Ok(Next::Idle(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// When to try again, and the pause after that.
fn put_off(before: Option<(Timestamp, Duration)>, now: Timestamp) -> (Timestamp, Duration) {
    let pause = before.map_or(FIRST_PAUSE, |(_, pause)| pause);
    let next = pause.saturating_mul(2).min(LONGEST_PAUSE);
    (later(now, pause), next)
}
