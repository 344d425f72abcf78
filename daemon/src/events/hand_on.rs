//! The loop that gives hints that are due to whoever acts on them.
//!
//! A batch of one kind at a time. One that fails as a whole is put off, so that it does not hold up the others, and the
//! loop itself backs off, so that nobody asks a server that is away a thousand times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::events::Events;
use tracing::{debug, warn};

use super::listen::advance;
use crate::clock::{Clock, later};
use crate::ledger::hints::HintTaker;
use crate::ledger::record::{Hint, HintKind, Taken};
use crate::ledger::{Ledger, LedgerError};
use crate::worker::{Next, Pulse, StepError, Wake, Worker};

/// Hints of one batch: as many as one bulk call of Rucio takes.
const BATCH: usize = 1000;
/// How long hints are put off that could not be acted on, the first time; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);
/// How often the ledger is looked at where nothing wakes the loop: another process may have written hints.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Who acts on hints of some kinds.
#[derive(Debug, Clone)]
pub(super) struct Handing {
    /// What it is called among the loops.
    pub(super) name: &'static str,
    /// The kinds.
    pub(super) kinds: Vec<HintKind>,
    /// Who; none: nobody at this site, and they wait until they are given up.
    pub(super) taker: Option<Arc<dyn HintTaker>>,
    /// Wakes the loop.
    pub(super) wake: Wake,
}

/// Gives hints to one of those who act on them.
#[derive(Debug)]
pub(super) struct HandOnWorker {
    handing: Handing,
    ledger: Arc<dyn Ledger>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

impl HandOnWorker {
    /// The loop for `handing`.
    pub(super) fn new(
        handing: Handing,
        ledger: Arc<dyn Ledger>,
        bounds: &Events,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            handing,
            ledger,
            lifetime: bounds.hint_lifetime,
            clock,
        }
    }

    /// Gives one batch of each kind on. True where there may be more now.
    fn hand_on(&self, pulse: &Pulse) -> Result<bool, StepError> {
        let mut more = false;
        for &kind in &self.handing.kinds {
            let due = self.ledger.hints_due(kind, self.clock.now(), BATCH)?;
            if due.is_empty() {
                continue;
            }
            more |= due.len() == BATCH;
            let Some(taker) = &self.handing.taker else {
                self.settle(&due, &vec![Taken::Later(LONGEST_PAUSE); due.len()])?;
                continue;
            };
            let taken = taker.take(&due, &mut || advance(pulse));
            if pulse.is_stopping() {
                // What was done is done again: that changes nothing.
                if let Ok(taken) = taken {
                    self.settle(&due, &done_only(taken))?;
                }
                return Ok(false);
            }
            match taken {
                Ok(taken) => self.settle(&due, &taken)?,
                Err(error) => {
                    self.settle(&due, &[])?;
                    return Err(error);
                }
            }
        }
        Ok(more)
    }

    /// Drops what is done, and puts off the rest, or gives it up.
    fn settle(&self, hints: &[Hint], taken: &[Taken]) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let (mut done, mut given_up) = (Vec::new(), Vec::new());
        let mut put_off: BTreeMap<Duration, Vec<u64>> = BTreeMap::new();
        let answers = taken
            .iter()
            .copied()
            .map(Some)
            .chain(std::iter::repeat(None));
        for (hint, taken) in hints.iter().zip(answers) {
            let pause = match taken {
                Some(Taken::Done) => {
                    done.push(hint.id);
                    continue;
                }
                Some(Taken::Later(pause)) => pause,
                None => pause(hint.tries),
            };
            if self.is_too_old(hint, now) {
                given_up.push(hint.id);
            } else {
                put_off.entry(pause).or_default().push(hint.id);
            }
        }
        self.ledger.hints_done(&done)?;
        for (pause, ids) in put_off {
            self.ledger.hints_later(&ids, later(now, pause))?;
        }
        if !given_up.is_empty() {
            self.ledger.give_up_hints(&given_up)?;
            let hints = given_up.len();
            warn!(
                hints,
                "hints are given up: the next look at everything finds the same"
            );
        }
        Ok(())
    }

    /// What nothing else tells of is never too old.
    fn is_too_old(&self, hint: &Hint, now: Timestamp) -> bool {
        hint.kind != HintKind::PerFile && later(hint.heard_at, self.lifetime) <= now
    }

    /// When the loop is to look again.
    fn next(&self) -> Result<Next, LedgerError> {
        let mut next = None;
        for &kind in &self.handing.kinds {
            let due = self.ledger.next_hint_due(kind)?;
            next = next.into_iter().chain(due).min();
        }
        let Some(next) = next else {
            return Ok(Next::Idle(Some(LOOK_INTERVAL)));
        };
        Ok(
            match Duration::try_from(self.clock.now().duration_until(next)) {
                Ok(wait) if !wait.is_zero() => Next::Idle(Some(wait.min(LOOK_INTERVAL))),
                _ => Next::Again,
            },
        )
    }
}

/// What was done, up to the first that was not: the rest is left as it was.
fn done_only(taken: Vec<Taken>) -> Vec<Taken> {
    let is_done = |taken: &Taken| *taken == Taken::Done;
    taken.into_iter().take_while(is_done).collect()
}

fn pause(tries: u32) -> Duration {
    let factor = 2_u32.checked_pow(tries).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

impl Worker for HandOnWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let more = match self.hand_on(pulse) {
            Ok(more) => more,
            Err(error) => {
                let fenced = error.downcast_ref::<LedgerError>();
                if fenced.is_some_and(LedgerError::is_fenced) {
                    debug!(%error, "step ended early");
                    return Ok(Next::Idle(None));
                }
                return Err(error);
            }
        };
        if pulse.is_stopping() {
            return Ok(Next::Idle(None));
        }
        if more {
            return Ok(Next::Again);
        }
        Ok(self.next()?)
    }
}
