//! The loop that publishes what is ordered, and orders what policy wants published.
//!
//! One run a step, chosen anew each time: what an operator has ordered first, then word of what has
//! become of published runs, then the rest. A run that cannot be published holds up no other: it is tried
//! again less and less often, and why is kept with its order. Where Rucio itself is away, nothing is
//! tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::rucio::PublishPolicy;
use runsync_manifest::content::Content;
use runsync_manifest::name::RunKey;
use tracing::{debug, info, warn};

use super::PublishError;
use super::flow::{POLICY, Phase, Progress, Publishing};
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::ledger::record::{ManifestState, Publication, PublicationState};
use crate::rucio::Rucio;
use crate::worker::{Next, Pulse, StepError, Worker};

/// After the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(64 * 60);

/// When to try again, and the pause after that.
type Pause = (Timestamp, Duration);

/// What was there to publish when policy was last looked at.
type Seen = (u64, Vec<(ManifestState, u64)>);

/// Publishes what is ordered.
#[derive(Debug)]
pub struct PublishWorker {
    publishing: Arc<Publishing>,
    /// When runs that failed are tried again.
    failed: BTreeMap<RunKey, Pause>,
    /// When runs are looked at again whose older manifests could not be withdrawn.
    kept: BTreeMap<RunKey, Pause>,
    /// When Rucio is asked again, which was away.
    away: Option<Pause>,
    seen: Option<Seen>,
}

impl PublishWorker {
    /// Nothing tried yet.
    pub fn new(publishing: Arc<Publishing>) -> Self {
        Self {
            publishing,
            failed: BTreeMap::new(),
            kept: BTreeMap::new(),
            away: None,
            seen: None,
        }
    }

    /// Publishes one run, or, where none is due, withdraws what others have overtaken. True where there
    /// may be more to do now.
    ///
    /// # Errors
    ///
    /// Where registry or ledger fail, the lease is lost, or `progress` broke off. A run that does not go
    /// on holds up no other.
    pub fn work(
        &mut self,
        rucio: &Rucio,
        progress: &mut Progress<'_>,
    ) -> Result<bool, PublishError> {
        self.order_by_policy(rucio, progress)?;
        let now = self.publishing.ground().clock.now();
        if self.away.is_some_and(|(at, _)| at > now) && !self.is_pressed()? {
            return Ok(false);
        }
        let Some(run) = self.next_run(now)? else {
            self.withdraw(rucio, now)?;
            return Ok(false);
        };
        match self.publishing.publish(rucio, &run, progress) {
            Ok(()) => {
                self.failed.remove(&run);
                self.away = None;
            }
            Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
            Err(error) if error.is_about_rucio() => {
                warn!(error = %error_chain(&error), "Rucio is away: nothing is published");
                self.away = Some(put_off(self.away, now));
            }
            Err(error) => {
                warn!(run = %run.name, error = %error_chain(&error), "run is not published yet");
                let pause = put_off(self.failed.get(&run).copied(), now);
                self.failed.insert(run, pause);
            }
        }
        Ok(self.away.is_none())
    }

    /// Whether an operator has ordered something that was not tried since: somebody waits.
    fn is_pressed(&self) -> Result<bool, PublishError> {
        let ledger = &self.publishing.ground().ledger;
        let orders = ledger.publications_in(PublicationState::Ordered)?;
        let is_new = |order: &Publication| order.problem.is_none() && order.ordered_by != POLICY;
        Ok(orders.iter().any(is_new))
    }

    /// The run that comes next; none is due where there is none.
    fn next_run(&mut self, now: Timestamp) -> Result<Option<RunKey>, PublishError> {
        let ledger = &self.publishing.ground().ledger;
        let mut orders = ledger.publications_in(PublicationState::Ordered)?;
        let runs: BTreeSet<&RunKey> = orders.iter().map(|order| &order.run).collect();
        let stopped: BTreeSet<&RunKey> = orders
            .iter()
            .filter(|order| order.problem.is_some())
            .map(|order| &order.run)
            .collect();
        // A run is given up with its orders, and one that was ordered again is tried at once.
        self.failed
            .retain(|run, _| runs.contains(run) && stopped.contains(run));
        orders.sort_by_key(|order| (place(order), order.ordered_at));
        let is_due = |run: &RunKey| self.failed.get(run).is_none_or(|(at, _)| *at <= now);
        let mut waiting = BTreeSet::new();
        for order in orders {
            if !is_due(&order.run) || waiting.contains(&order.run) {
                continue;
            }
            if self.publishing.is_awaited(&order.run)? {
                waiting.insert(order.run);
                continue;
            }
            return Ok(Some(order.run));
        }
        Ok(None)
    }

    /// Withdraws manifests whose place others have taken, wherever these have arrived.
    fn withdraw(&mut self, rucio: &Rucio, now: Timestamp) -> Result<(), PublishError> {
        let overtaken = self.publishing.ground().ledger.overtaken()?;
        self.kept.retain(|run, _| overtaken.contains(run));
        for run in overtaken {
            if self.kept.get(&run).is_some_and(|(at, _)| *at > now) {
                continue;
            }
            match self.publishing.withdraw(rucio, &run) {
                Ok(withdrawal) if withdrawal.left == 0 => {
                    self.kept.remove(&run);
                    let withdrawn = withdrawal.withdrawn;
                    info!(run = %run.name, withdrawn, "older manifests withdrawn");
                    continue;
                }
                Ok(withdrawal) => {
                    debug!(run = %run.name, waits_for = ?withdrawal.waits_for, "older manifests stay");
                }
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                Err(error) => {
                    warn!(run = %run.name, error = %error_chain(&error), "older manifests stay");
                    if error.is_about_rucio() {
                        self.away = Some(put_off(self.away, now));
                        return Ok(());
                    }
                }
            }
            let pause = put_off(self.kept.get(&run).copied(), now);
            self.kept.insert(run, pause);
        }
        Ok(())
    }

    /// Looks for what policy wants published, where anything has changed.
    fn order_by_policy(
        &mut self,
        rucio: &Rucio,
        progress: &mut Progress<'_>,
    ) -> Result<(), PublishError> {
        let ground = self.publishing.ground();
        // The ledger hears of a manifest after the registry.
        let seen = (ground.registry.changes()?, ground.ledger.counts()?);
        if self.seen.as_ref() == Some(&seen) {
            return Ok(());
        }
        let all = rucio.config().publish.runs == PublishPolicy::Confirmed;
        self.publishing
            .order_by_policy(all, &mut || progress(Phase::Reading(0)))?;
        self.seen = Some(seen);
        Ok(())
    }
}

/// What comes first: an operator's order, word of what has become of a run, the rest.
fn place(order: &Publication) -> (bool, bool) {
    let is_word = order.content != Content::Additions;
    (order.ordered_by == POLICY, !is_word)
}

fn put_off(before: Option<Pause>, now: Timestamp) -> Pause {
    let pause = before.map_or(FIRST_PAUSE, |(_, pause)| pause);
    let next = pause.saturating_mul(2).min(LONGEST_PAUSE);
    (later(now, pause), next)
}

impl Worker for PublishWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let Ok(rucio) = self.publishing.rucio() else {
            return Ok(Next::Idle(None));
        };
        let heard = pulse.clone();
        let rucio = rucio.waiting(Arc::new(move || heard.go_on()));
        let interval = rucio.config().publish.interval;
        match self.work(&rucio, &mut |_| pulse.go_on()) {
            Ok(true) => Ok(Next::Again),
            Ok(false) => Ok(Next::Idle(Some(interval))),
            Err(error) if error.is_interruption() || error.is_fenced() => {
                debug!(%error, "step ended early");
                Ok(Next::Idle(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::order::new_order;
    use runsync_manifest::generation::Generation;
    use runsync_manifest::name::RepositoryId;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let now = Timestamp::UNIX_EPOCH;
        let mut pause = None;
        let mut waits = Vec::new();
        for _ in 0..9 {
            let (at, next) = put_off(pause, now);
            waits.push(at.as_second());
            pause = Some((at, next));
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3840, 3840]);
    }

    #[test]
    fn what_operators_order_comes_first_and_word_of_runs_before_their_data() {
        let order = |by, content| {
            let run = RunKey {
                origin: RepositoryId(uuid::Uuid::nil()),
                name: "u/a".parse().unwrap(),
            };
            let root = "main".parse().unwrap();
            let (by, now) = (by, Timestamp::UNIX_EPOCH);
            new_order(&run, (Generation::FIRST, content), root, (by, now))
        };
        let mut orders = [
            order(POLICY, Content::Additions),
            order(POLICY, Content::Removal),
            order("alice", Content::Additions),
            order("alice", Content::Snapshot),
        ];
        orders.sort_by_key(place);
        let sorted = orders.map(|order| (order.ordered_by, order.content));
        let expected = [
            ("alice", Content::Snapshot),
            ("alice", Content::Additions),
            (POLICY, Content::Removal),
            (POLICY, Content::Additions),
        ];
        assert_eq!(
            sorted,
            expected.map(|(by, content)| (by.to_owned(), content))
        );
    }
}
