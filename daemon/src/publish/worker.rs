//! The loop that publishes what is ordered, and orders what policy wants published.
//!
//! A run that cannot be published holds up no other: it is tried again less and less often, and why is
//! kept with its order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::rucio::PublishPolicy;
use runsync_manifest::name::RunKey;
use tracing::{debug, info, warn};

use super::PublishError;
use super::flow::{Progress, Publishing};
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::ledger::record::PublicationState;
use crate::rucio::Rucio;
use crate::worker::{Next, Pulse, StepError, Worker};

/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(64 * 60);

/// Publishes what is ordered.
#[derive(Debug)]
pub struct PublishWorker {
    publishing: Arc<Publishing>,
    /// When runs that failed are tried again, and the pause after that.
    failed: BTreeMap<RunKey, (Timestamp, Duration)>,
    /// What the registry said of its changes when policy was last looked at.
    seen: Option<u64>,
}

impl PublishWorker {
    /// Nothing tried yet.
    pub fn new(publishing: Arc<Publishing>) -> Self {
        Self {
            publishing,
            failed: BTreeMap::new(),
            seen: None,
        }
    }

    /// One look at all that is to be published.
    ///
    /// # Errors
    ///
    /// Where registry or ledger fail, the lease is lost, or `progress` broke off. A run that does not go
    /// on holds up no other.
    pub fn work(&mut self, rucio: &Rucio, progress: &mut Progress<'_>) -> Result<(), PublishError> {
        self.order_by_policy(rucio)?;
        let ledger = &self.publishing.ground().ledger;
        let mut runs: Vec<RunKey> = Vec::new();
        for order in ledger.publications_in(PublicationState::Ordered)? {
            // A new order forgets the failures before it.
            if order.problem.is_none() {
                self.failed.remove(&order.run);
            }
            if !runs.contains(&order.run) {
                runs.push(order.run);
            }
        }
        self.failed.retain(|run, _| runs.contains(run));
        for run in runs {
            let now = self.publishing.ground().clock.now();
            if self.failed.get(&run).is_some_and(|(at, _)| *at > now) {
                continue;
            }
            match self.publishing.publish(rucio, &run, progress) {
                Ok(()) => {
                    self.failed.remove(&run);
                }
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                Err(error) => {
                    warn!(run = %run.name, error = %error_chain(&error), "run is not published yet");
                    let pause = self
                        .failed
                        .get(&run)
                        .map_or(FIRST_PAUSE, |(_, pause)| *pause);
                    let next = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    self.failed.insert(run, (later(now, pause), next));
                }
            }
        }
        self.withdraw(rucio)
    }

    /// Withdraws manifests whose place others have taken, wherever these have arrived.
    fn withdraw(&self, rucio: &Rucio) -> Result<(), PublishError> {
        for run in self.publishing.ground().ledger.overtaken()? {
            match self.publishing.withdraw(rucio, &run) {
                Ok(withdrawal) if withdrawal.left == 0 => {
                    info!(run = %run.name, withdrawn = withdrawal.withdrawn, "older manifests withdrawn");
                }
                Ok(withdrawal) => {
                    debug!(run = %run.name, waits_for = ?withdrawal.waits_for, "older manifests stay");
                }
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                Err(error) => {
                    warn!(run = %run.name, error = %error_chain(&error), "older manifests stay");
                }
            }
        }
        Ok(())
    }

    /// Looks for what policy wants published, where anything has changed.
    fn order_by_policy(&mut self, rucio: &Rucio) -> Result<(), PublishError> {
        let changes = self.publishing.ground().registry.changes()?;
        if self.seen == Some(changes) {
            return Ok(());
        }
        let all = rucio.config().publish.runs == PublishPolicy::Confirmed;
        self.publishing.order_by_policy(all)?;
        self.seen = Some(changes);
        Ok(())
    }
}

impl Worker for PublishWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let Ok(rucio) = self.publishing.rucio() else {
            return Ok(Next::Idle(None));
        };
        let heard = pulse.clone();
        let rucio = rucio.waiting(Arc::new(move || advance(&heard)));
        let interval = rucio.config().publish.interval;
        match self.work(&rucio, &mut |_| advance(pulse)) {
            Ok(()) => Ok(Next::Idle(Some(interval))),
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
