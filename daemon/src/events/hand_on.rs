//! The loop that gives hints that are due to whoever acts on them.
//!
//! A batch of one kind at a time. One that fails as a whole is put off, so that it does not hold up the others, and the
//! loop itself backs off, so that nobody asks a server that is away a thousand times.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::events::Events;
use tracing::{debug, warn};

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

    /// Gives one batch of each kind on; `progress` may break it off. True where there may be more now.
    fn hand_on(&self, progress: &mut dyn FnMut() -> ControlFlow<()>) -> Result<bool, StepError> {
        let (mut more, mut failed) = (false, None);
        for &kind in &self.handing.kinds {
            let due = self.ledger.hints_due(kind, self.clock.now(), BATCH)?;
            if due.is_empty() {
                continue;
            }
            more |= due.len() == BATCH;
            let Some(who) = &self.handing.taker else {
                self.settle(&due, &vec![Taken::Later(LONGEST_PAUSE); due.len()])?;
                continue;
            };
            let taken = who.take(&due, progress);
            if progress().is_break() {
                // The rest is left as it was, and due at once.
                if let Ok(taken) = taken {
                    self.ledger.hints_done(&done(&due, &taken))?;
                }
                return Ok(false);
            }
            match taken {
                Ok(taken) => self.settle(&due, &taken)?,
                // Hints of one kind hold up those of no other.
                Err(error) => {
                    self.settle(&due, &[])?;
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            None => Ok(more),
            Some(error) => Err(error),
        }
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

/// Numbers of those that were done.
fn done(hints: &[Hint], taken: &[Taken]) -> Vec<u64> {
    let answered = hints.iter().zip(taken);
    let done = answered.filter(|(_, taken)| **taken == Taken::Done);
    done.map(|(hint, _)| hint.id).collect()
}

fn pause(tries: u32) -> Duration {
    let factor = 2_u32.checked_pow(tries).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

impl Worker for HandOnWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let more = match self.hand_on(&mut || pulse.go_on()) {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::ManualClock;
    use crate::lease::{Fence, Tenure};
    use crate::ledger::SqliteLedger;
    use crate::ledger::hints::TakeError;
    use crate::ledger::record::NewHint;

    type Answer = Result<Vec<Taken>, TakeError>;

    /// Answers as a test says, and remembers what it was given.
    #[derive(Debug, Default)]
    struct Scripted {
        answers: Mutex<Vec<Answer>>,
        given: Mutex<Vec<Vec<String>>>,
    }

    impl HintTaker for Scripted {
        fn take(
            &self,
            hints: &[Hint],
            _progress: &mut dyn FnMut() -> ControlFlow<()>,
        ) -> Result<Vec<Taken>, TakeError> {
            assert!(hints.iter().all(|hint| hint.kind == hints[0].kind));
            let names = hints.iter().map(|hint| hint.name.clone());
            self.given.lock().unwrap().push(names.collect());
            self.answers.lock().unwrap().remove(0)
        }
    }

    struct Scene {
        ledger: Arc<dyn Ledger>,
        clock: Arc<ManualClock>,
        taker: Arc<Scripted>,
        worker: HandOnWorker,
        _folder: tempfile::TempDir,
    }

    impl Scene {
        fn new(kinds: &[HintKind], is_taken: bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("ledger.sqlite");
            SqliteLedger::create(&file).unwrap();
            let tenure = Tenure::begin(Fence::stored(1), || ());
            let ledger = SqliteLedger::open(&file, &tenure, Duration::ZERO).unwrap();
            let ledger: Arc<dyn Ledger> = Arc::new(ledger);
            let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
            let taker = Arc::new(Scripted::default());
            let handing = Handing {
                name: "hints",
                kinds: kinds.to_vec(),
                taker: is_taken.then(|| Arc::clone(&taker) as _),
                wake: Wake::new(),
            };
            let bounds = Events::default();
            let at = Arc::clone(&clock);
            let worker = HandOnWorker::new(handing, Arc::clone(&ledger), &bounds, at);
            Self {
                ledger,
                clock,
                taker,
                worker,
                _folder: folder,
            }
        }

        fn note(&self, kind: HintKind, names: &[&str]) {
            let hints: Vec<NewHint> = names
                .iter()
                .map(|name| NewHint {
                    kind,
                    rse: Some("SITE_B".parse().unwrap()),
                    scope: "cms".to_owned(),
                    name: (*name).to_owned(),
                    detail: None,
                    heard_at: self.clock.now(),
                })
                .collect();
            self.ledger.note_hints(&hints).unwrap();
        }

        /// What is given on in a step that is answered so.
        fn step(&self, answers: Vec<Answer>) -> (Vec<Vec<String>>, Result<bool, StepError>) {
            *self.taker.answers.lock().unwrap() = answers;
            let stepped = self.worker.hand_on(&mut || ControlFlow::Continue(()));
            (
                std::mem::take(&mut self.taker.given.lock().unwrap()),
                stepped,
            )
        }

        fn waiting(&self) -> Vec<(String, u32)> {
            let hints = self.ledger.hints_after(None, 0, usize::MAX).unwrap();
            hints
                .into_iter()
                .map(|hint| (hint.name, hint.tries))
                .collect()
        }

        fn pass(&self, seconds: u64) {
            self.clock.advance(Duration::from_secs(seconds));
        }
    }

    fn named(name: &str, tries: u32) -> (String, u32) {
        (name.to_owned(), tries)
    }

    #[test]
    fn what_is_done_is_dropped_and_the_rest_comes_again_when_it_is_due() {
        let scene = Scene::new(&[HintKind::Arrived, HintKind::Deleted], true);
        scene.note(HintKind::Arrived, &["a", "b", "c"]);
        scene.note(HintKind::Deleted, &["d"]);
        let later = Taken::Later(Duration::from_secs(60));
        // The answer about `c` is missing: it is tried again soon.
        let answers = vec![Ok(vec![Taken::Done, later]), Ok(vec![Taken::Done])];
        let (given, stepped) = scene.step(answers);
        assert_eq!(given, [vec!["a", "b", "c"], vec!["d"]]);
        assert!(!stepped.unwrap());
        assert_eq!(scene.waiting(), [named("b", 1), named("c", 1)]);
        assert_eq!(scene.step(vec![]).0, Vec::<Vec<String>>::new());
        let Next::Idle(Some(wait)) = scene.worker.next().unwrap() else {
            panic!("it waits")
        };
        assert_eq!(wait, FIRST_PAUSE);
        scene.pass(5);
        assert_eq!(scene.step(vec![Ok(vec![Taken::Done])]).0, [["c"]]);
        scene.pass(55);
        assert_eq!(scene.step(vec![Ok(vec![Taken::Done])]).0, [["b"]]);
        assert_eq!(scene.waiting(), []);
    }

    #[test]
    fn what_cannot_be_looked_at_is_kept_and_put_off_ever_longer() {
        let scene = Scene::new(&[HintKind::Arrived], true);
        scene.note(HintKind::Arrived, &["a"]);
        for (tries, pause) in [5, 10, 20, 40, 80, 160, 320, 600, 600]
            .into_iter()
            .enumerate()
        {
            let (given, stepped) = scene.step(vec![Err("Rucio is away".into())]);
            assert_eq!(given, [["a"]], "at try {tries}");
            assert_eq!(stepped.unwrap_err().to_string(), "Rucio is away");
            scene.pass(pause - 1);
            assert_eq!(scene.step(vec![]).0.len(), 0, "before {pause} s are over");
            scene.pass(1);
        }
        assert_eq!(scene.ledger.hints_lost().unwrap(), 0);
        // Heard again, it is due at once.
        scene.step(vec![Err("Rucio is away".into())]).1.unwrap_err();
        scene.note(HintKind::Arrived, &["a"]);
        assert_eq!(scene.step(vec![Ok(vec![Taken::Done])]).0, [["a"]]);
    }

    #[test]
    fn hints_that_come_to_nothing_in_time_are_given_up_but_those_that_nothing_else_tells_of() {
        use HintKind::{Arrived, PerFile};
        for is_taken in [true, false] {
            let scene = Scene::new(&[Arrived, PerFile], is_taken);
            scene.note(Arrived, &["a"]);
            scene.note(PerFile, &["b"]);
            scene.pass(24 * 60 * 60);
            let later = || Ok(vec![Taken::Later(Duration::ZERO)]);
            scene.step(vec![later(), later()]).1.unwrap();
            assert_eq!(scene.waiting(), [named("b", 1)], "taken: {is_taken}");
            assert_eq!(scene.ledger.hints_lost().unwrap(), 1);
        }
    }

    #[test]
    fn a_daemon_that_stops_keeps_what_was_not_come_to_as_it_was() {
        let scene = Scene::new(&[HintKind::Arrived, HintKind::Deleted], true);
        scene.note(HintKind::Arrived, &["a", "b"]);
        scene.note(HintKind::Deleted, &["c"]);
        let answer = Ok(vec![Taken::Done, Taken::Later(Duration::ZERO)]);
        *scene.taker.answers.lock().unwrap() = vec![answer];
        let stepped = scene.worker.hand_on(&mut || ControlFlow::Break(()));
        assert!(!stepped.unwrap());
        assert_eq!(scene.waiting(), [named("b", 0), named("c", 0)]);
    }
}
