//! The loop that ends the rules of removed runs.
//!
//! One look at each obligation when it is due; one that does not go on holds up no other, and is looked
//! at less and less often. Where Rucio itself is away nothing is asked.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync_manifest::name::{RseName, RunKey, Scope};
use tracing::{debug, warn};

use super::PublishError;
use super::flow::Publishing;
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::ledger::record::{RuleEnding, RuleEndingState};
use crate::rucio::Rucio;
use crate::worker::{Next, Pulse, StepError, Worker};

/// After the first look; doubled after each further one that finds nothing changed.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(64 * 60);
/// The longest pause while a removal manifest is being carried: rules at all sites wait for it.
const LONGEST_WHILE_CARRIED: Duration = Duration::from_secs(5 * 60);
/// How often the ledger is asked whether any rules are to end.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// When to look again, and the pause after that.
type Pause = (Timestamp, Duration);
/// What tells an obligation from others.
type Key = (RunKey, Scope, Option<RseName>);

/// Ends the rules of removed runs.
#[derive(Debug)]
pub struct RuleEndingWorker {
    publishing: Arc<Publishing>,
    /// When each is looked at again, and how it stood.
    looked: BTreeMap<Key, (Pause, RuleEndingState)>,
    /// When Rucio is asked again, which was away.
    away: Option<Pause>,
}

impl RuleEndingWorker {
    /// Nothing looked at yet.
    pub fn new(publishing: Arc<Publishing>) -> Self {
        Self {
            publishing,
            looked: BTreeMap::new(),
            away: None,
        }
    }

    /// One look at each that is due. `go_on` may break off.
    ///
    /// # Errors
    ///
    /// Where the ledger fails, the lease is lost, or `go_on` broke off.
    pub fn work(
        &mut self,
        rucio: &Rucio,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<(), PublishError> {
        let endings = self.publishing.ground().ledger.rule_endings()?;
        self.looked
            .retain(|key, _| endings.iter().any(|ending| key_of(ending) == *key));
        if self.publishing.take_pressed() {
            self.looked.clear();
            self.away = None;
        }
        let now = self.publishing.ground().clock.now();
        if self.away.is_some_and(|(at, _)| at > now) {
            return Ok(());
        }
        for ending in endings {
            if go_on().is_break() {
                return Err(PublishError::Interrupted);
            }
            let known = self.looked.get(&key_of(&ending));
            if known.is_some_and(|((at, _), _)| *at > now) {
                continue;
            }
            match self.publishing.end_rules(rucio, &ending) {
                Ok(None) => {
                    self.looked.remove(&key_of(&ending));
                    self.away = None;
                }
                Ok(Some(left)) => {
                    debug!(run = %left.run.name, state = %left.state, waits_for = ?left.waits_for,
                        "its rules have not all ended");
                    self.away = None;
                    self.put_off(&left, now);
                }
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                Err(error) => {
                    warn!(run = %ending.run.name, error = %error_chain(&error),
                        "its rules cannot be ended");
                    self.put_off(&ending, now);
                    if error.is_about_rucio() {
                        self.away = Some(put_off(self.away, now, LONGEST_PAUSE));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// One that has changed is looked at again soon.
    fn put_off(&mut self, ending: &RuleEnding, now: Timestamp) {
        let key = key_of(ending);
        let before = self.looked.get(&key);
        let same = before.filter(|(_, state)| *state == ending.state);
        let longest = match ending.state {
            RuleEndingState::Waiting => LONGEST_WHILE_CARRIED,
            RuleEndingState::Ending | RuleEndingState::Held => LONGEST_PAUSE,
        };
        let pause = put_off(same.map(|(pause, _)| *pause), now, longest);
        self.looked.insert(key, (pause, ending.state));
    }
}

fn key_of(ending: &RuleEnding) -> Key {
    (ending.run.clone(), ending.scope.clone(), ending.rse.clone())
}

fn put_off(before: Option<Pause>, now: Timestamp, longest: Duration) -> Pause {
    let pause = before.map_or(FIRST_PAUSE, |(_, pause)| pause);
    let next = pause.saturating_mul(2).min(longest);
    (later(now, pause), next)
}

impl Worker for RuleEndingWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let Ok(rucio) = self.publishing.rucio() else {
            return Ok(Next::Idle(None));
        };
        let heard = pulse.clone();
        let rucio = rucio.waiting(Arc::new(move || heard.go_on()));
        match self.work(&rucio, &mut || pulse.go_on()) {
            Ok(()) => Ok(Next::Idle(Some(ASK_INTERVAL))),
            Err(error) if error.is_interruption() || error.is_fenced() => {
                debug!(%error, "step ended early");
                Ok(Next::Idle(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}
