//! The loop that sees removals through: those that the daemon was asked for.
//!
//! It does the same after a crash as after a disk was full: it looks at the journals, drops those
//! that were not committed, and goes on with the others, less and less often where they fail.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::RemovalError;
use super::flow::{Phase, Removing};
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::worker::{Next, Pulse, StepError, Worker};

/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(64 * 60);
/// How often it is asked whether anything is under way.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// Sees removals through.
#[derive(Debug)]
pub struct RemovalWorker {
    removing: Arc<Removing>,
    /// When those that failed are tried again, and the pause after that.
    failed: BTreeMap<Uuid, (Timestamp, Duration)>,
}

impl RemovalWorker {
    /// Nothing tried yet.
    pub fn new(removing: Arc<Removing>) -> Self {
        Self {
            removing,
            failed: BTreeMap::new(),
        }
    }

    fn work(&mut self, pulse: &Pulse) -> Result<(), RemovalError> {
        let progress = &mut |_: Phase| advance(pulse);
        self.removing.drop_uncommitted(progress)?;
        let removals = self.removing.registry.removals()?;
        self.failed
            .retain(|id, _| removals.iter().any(|removal| removal.id == *id));
        if removals.is_empty() {
            return Ok(());
        }
        let requesters = self.removing.requesters()?;
        for removal in &removals {
            // What a command without a daemon has left is its account's to continue.
            let asked = requesters.get(&removal.id);
            let is_ours = asked.is_none_or(|requester| requester.daemon);
            let now = self.removing.clock.now();
            let is_due = self
                .failed
                .get(&removal.id)
                .is_none_or(|(at, _)| *at <= now);
            if self.removing.take_allowed(removal.id) || is_ours && is_due {
                self.see_through(removal.id, now, pulse)?;
            }
        }
        self.removing.reap(progress)
    }

    fn see_through(&mut self, id: Uuid, now: Timestamp, pulse: &Pulse) -> Result<(), RemovalError> {
        match self.removing.resume(id, &mut |_| advance(pulse)) {
            Ok(outcome) if outcome.done => {
                info!(removal = %id, deleted = outcome.deletions.deleted, "removal seen through");
                self.failed.remove(&id);
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

    fn put_off(&mut self, id: Uuid, now: Timestamp) {
        let pause = self
            .failed
            .get(&id)
            .map_or(FIRST_PAUSE, |(_, pause)| *pause);
        let next = pause.saturating_mul(2).min(LONGEST_PAUSE);
        self.failed.insert(id, (later(now, pause), next));
    }
}

impl Worker for RemovalWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        match self.work(pulse) {
            Ok(()) => Ok(Next::Idle(Some(ASK_INTERVAL))),
            Err(error) if error.is_interruption() || error.is_fenced() => {
                debug!(%error, "step ended early");
                Ok(Next::Idle(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Shows that the step advances, and breaks it off when the daemon stops.
fn advance(pulse: &Pulse) -> ControlFlow<()> {
    pulse.beat();
    if pulse.is_stopping() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
