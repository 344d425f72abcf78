//! Confirms the artifacts of one root: what is looked at when.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runsync_config::root::ConfirmLevel;
use runsync_manifest::name::RunKey;

use super::findings;
use super::obsolete::Obsolete;
use super::overdue::Overdue;
use super::owed::{Owed, Stand};
use super::records::Found;
use super::schedule::Schedule;
use super::session::{self, Going, Session};
use crate::clock::later;
use crate::ingest::IngestError;
use crate::ingest::flow::Flow;
use crate::registry::record::{WaitingArtifact, WaitingRun};

/// How long a step hands on new work: then events are seen to, and runs that are new.
const STEP: Duration = Duration::from_secs(1);
/// Artifacts of a run's turn, so that the next run's comes soon.
const TURN_ARTIFACTS: usize = 8_192;
/// The same where each artifact is read.
const TURN_ARTIFACTS_READ: usize = 1_024;

/// Confirms the artifacts of one root.
#[derive(Debug)]
pub struct Confirming {
    flow: Flow,
    schedule: Schedule,
    owed: Owed,
    overdue: Overdue,
    obsolete: Obsolete,
    directories: BTreeSet<String>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confirmed {
    /// Artifacts that got their record.
    pub artifacts: u64,
    /// When to look again; `None` while nothing is waited for.
    pub next: Option<Timestamp>,
}

impl Confirming {
    /// Nothing looked at yet.
    pub fn new(flow: Flow) -> Self {
        Self {
            flow,
            schedule: Schedule::default(),
            owed: Owed::default(),
            overdue: Overdue::default(),
            obsolete: Obsolete::default(),
            directories: BTreeSet::new(),
        }
    }

    /// Directories, relative to the root, that hold artifacts waited for; as many as may be watched.
    pub fn directories(&self) -> &BTreeSet<String> {
        &self.directories
    }

    /// The flow of the root.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Looks at what is waited for, in turns of a bounded number of artifacts of each run whose
    /// time has come, for about a second. `progress` is asked all the while and may break off.
    pub fn step(
        &mut self,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Confirmed, IngestError> {
        let now = self.flow.site().clock.now();
        let runs = self.waiting_runs()?;
        self.schedule.keep(&runs, now);
        if runs.is_empty() {
            findings::forget(&self.flow.looking().faulty);
        }
        self.overdue.report(&self.flow, &runs, now)?;
        self.obsolete.drop_findings(&self.flow, &runs, now)?;
        let found = self.take_turns(now, progress)?;
        let most = self.flow.root().watched_directories_max;
        self.directories = self.schedule.folders(most);
        Ok(Confirmed {
            artifacts: found.values().sum(),
            next: self.schedule.next(),
        })
    }

    /// Looks at what is waited for in directories that have changed, now or when they were named
    /// before, for about a second. One that was looked at just now is put off: `next` says until
    /// when, and then this is to be called again, with whatever directories.
    pub fn changed(
        &mut self,
        directories: &[String],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Confirmed, IngestError> {
        self.owed.add(directories);
        let due = self.owed.due(Instant::now());
        let found = if due.is_empty() {
            Found::new()
        } else {
            self.look_at_directories(&due, progress)?
        };
        let wait = self.owed.wait(Instant::now());
        let next = wait.map(|wait| later(self.flow.site().clock.now(), wait));
        Ok(Confirmed {
            artifacts: found.values().sum(),
            next,
        })
    }

    /// Has every waiting run's turn come at the next [`step`](Self::step).
    pub fn look_now(&mut self, now: Timestamp) {
        self.schedule.look_now(now);
    }

    /// Looks at all that one run waits for, whatever the schedule says; at none of it where Rucio's word
    /// is what confirms it.
    pub fn confirm_run(
        &mut self,
        run: &RunKey,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<u64, IngestError> {
        if self.flow.takes_rucios_word(run) {
            return Ok(0);
        }
        let (flow, run) = (&self.flow, &Arc::new(run.clone()));
        let feed = |session: &Session<'_>, progress: &mut Going<'_>| {
            look_between(flow, session, run, (None, None), None, progress).map(drop)
        };
        let looking = flow.looking();
        let found = session::run(flow, &looking.throttle, &looking.faulty, progress, feed)?;
        Ok(found.values().sum())
    }

    fn waiting_runs(&self) -> Result<Vec<WaitingRun>, IngestError> {
        let mut runs = self.flow.site().registry.waiting_runs()?;
        runs.retain(|waiting| {
            waiting.root == self.flow.root().name && !self.flow.takes_rucios_word(&waiting.run)
        });
        Ok(runs)
    }

    fn take_turns(
        &mut self,
        now: Timestamp,
        progress: &mut Going<'_>,
    ) -> Result<Found, IngestError> {
        if self.schedule.is_idle(now) {
            return Ok(Found::new());
        }
        let (flow, schedule) = (&self.flow, &mut self.schedule);
        let feed = |session: &Session<'_>, progress: &mut Going<'_>| {
            let until = Instant::now() + STEP;
            while Instant::now() < until
                && let Some(run) = schedule.turn(now)
            {
                take_turn(flow, schedule, session, &run, until, progress)?;
            }
            Ok(())
        };
        let looking = flow.looking();
        let found = session::run(flow, &looking.throttle, &looking.faulty, progress, feed)
            .inspect_err(|_| self.schedule.rewind())?;
        self.schedule.settle(&found, self.flow.site().clock.now());
        Ok(found)
    }

    fn look_at_directories(
        &mut self,
        due: &[String],
        progress: &mut Going<'_>,
    ) -> Result<Found, IngestError> {
        let waiting_in = self.schedule.waiting_in(due);
        let (flow, owed) = (&self.flow, &self.owed);
        let mut looked = Vec::new();
        let feed = |session: &Session<'_>, progress: &mut Going<'_>| {
            let until = Instant::now() + STEP;
            for directory in due {
                let began = Instant::now();
                if began >= until {
                    break;
                }
                let runs = waiting_in.get(directory).map_or(&[][..], Vec::as_slice);
                let place = (directory.as_str(), owed.stand(directory));
                let stand = look_at_directory(flow, session, runs, place, until, progress)?;
                looked.push((directory, stand, began, Instant::now()));
            }
            Ok(())
        };
        let looking = flow.looking();
        let found = session::run(flow, &looking.throttle, &looking.faulty, progress, feed)?;
        for (directory, stand, began, ended) in looked {
            self.owed.looked(directory, stand, began, ended);
        }
        Ok(found)
    }
}

fn take_turn(
    flow: &Flow,
    schedule: &mut Schedule,
    session: &Session<'_>,
    run: &Arc<RunKey>,
    until: Instant,
    progress: &mut Going<'_>,
) -> Result<(), IngestError> {
    let began = Instant::now();
    let page = page(flow, run, (schedule.after(run), None))?;
    schedule.gather(run, &page, flow.root().watched_directories_max);
    let is_last = page.len() < turn_artifacts(flow);
    let looked = session.look(run, page, Some(until), progress)?;
    schedule.looked(run, looked.last, is_last && looked.whole);
    let now = flow.site().clock.now();
    let in_vain = (looked.absent, looked.count);
    schedule.looked_in_vain(run, in_vain, began.elapsed(), now);
    Ok(())
}

/// Looks at what `runs`, in their order, wait for in a directory, from `stand` on. Returns where it
/// stands at `until`; `None` where it is through.
fn look_at_directory(
    flow: &Flow,
    session: &Session<'_>,
    runs: &[Arc<RunKey>],
    (directory, stand): (&str, Option<&Stand>),
    until: Instant,
    progress: &mut Going<'_>,
) -> Result<Option<Stand>, IngestError> {
    // `0` is the character after `/`.
    let (first, before) = (format!("{directory}/"), format!("{directory}0"));
    let (first, before) = match directory {
        "" => (None, None),
        _ => (Some(first.as_str()), Some(before.as_str())),
    };
    let is_through = |run: &&Arc<RunKey>| stand.is_some_and(|stand| **run < stand.run);
    for run in runs.iter().skip_while(is_through) {
        let here = stand.filter(|stand| stand.run == *run);
        let after = here.map(|stand| stand.after.as_str()).or(first);
        let reached = look_between(flow, session, run, (after, before), Some(until), progress)?;
        if let Some(after) = reached {
            let run = Arc::clone(run);
            return Ok(Some(Stand { run, after }));
        }
    }
    Ok(None)
}

/// Looks at all that a run waits for between two paths. Returns the path that it has come to at
/// `until`; `None` where it is through.
fn look_between(
    flow: &Flow,
    session: &Session<'_>,
    run: &Arc<RunKey>,
    (after, before): (Option<&str>, Option<&str>),
    until: Option<Instant>,
    progress: &mut Going<'_>,
) -> Result<Option<String>, IngestError> {
    let mut after = after.map(str::to_owned);
    loop {
        let page = page(flow, run, (after.as_deref(), before))?;
        let is_last = page.len() < turn_artifacts(flow);
        let looked = session.look(run, page, until, progress)?;
        if is_last && looked.whole {
            return Ok(None);
        }
        after = looked.last.map(|last| last.as_str().to_owned());
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(after);
        }
    }
}

fn turn_artifacts(flow: &Flow) -> usize {
    match flow.root().confirm {
        ConfirmLevel::Checksum => TURN_ARTIFACTS_READ,
        ConfirmLevel::Trust | ConfirmLevel::Size => TURN_ARTIFACTS,
    }
}

fn page(
    flow: &Flow,
    run: &RunKey,
    between: (Option<&str>, Option<&str>),
) -> Result<Vec<WaitingArtifact>, IngestError> {
    let (root, registry) = (&flow.root().name, &flow.site().registry);
    Ok(registry.waiting_artifacts(run, root, between, turn_artifacts(flow))?)
}
