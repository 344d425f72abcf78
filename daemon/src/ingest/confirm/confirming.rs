//! Confirms the artifacts of one root: what is looked at when.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runsync_config::root::ConfirmLevel;
use runsync_manifest::name::RunKey;

use super::findings::Faulty;
use super::overdue::Overdue;
use super::owed::Owed;
use super::records::Found;
use super::schedule::Schedule;
use super::session::{self, Going, Session};
use super::throttle::Throttle;
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
    throttle: Throttle,
    schedule: Schedule,
    owed: Owed,
    faulty: Mutex<Faulty>,
    overdue: Overdue,
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
            throttle: Throttle::new(flow.root()),
            flow,
            schedule: Schedule::default(),
            owed: Owed::default(),
            faulty: Mutex::default(),
            overdue: Overdue::default(),
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
            let faulty = self.faulty.get_mut();
            faulty.unwrap_or_else(PoisonError::into_inner).forget_all();
        }
        self.overdue.report(&self.flow, &runs, now)?;
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

    /// Looks at all that one run waits for, whatever the schedule says.
    pub fn confirm_run(
        &mut self,
        run: &RunKey,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<u64, IngestError> {
        let (flow, run) = (&self.flow, &Arc::new(run.clone()));
        let feed = |session: &Session<'_>, progress: &mut Going<'_>| {
            look_between(flow, session, run, (None, None), progress)
        };
        let found = session::run(flow, &self.throttle, &self.faulty, progress, feed)?;
        Ok(found.values().sum())
    }

    fn waiting_runs(&self) -> Result<Vec<WaitingRun>, IngestError> {
        let mut runs = self.flow.site().registry.waiting_runs()?;
        runs.retain(|waiting| waiting.root == self.flow.root().name);
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
            let began = Instant::now();
            while began.elapsed() < STEP
                && let Some(run) = schedule.turn(now)
            {
                take_turn(flow, schedule, session, &run, progress)?;
            }
            Ok(())
        };
        let found = session::run(flow, &self.throttle, &self.faulty, progress, feed)
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
        let flow = &self.flow;
        let mut looked = Vec::new();
        let feed = |session: &Session<'_>, progress: &mut Going<'_>| {
            let start = Instant::now();
            for directory in due {
                let began = Instant::now();
                if began.duration_since(start) > STEP {
                    break;
                }
                let runs = waiting_in.get(directory).map_or(&[][..], Vec::as_slice);
                for run in runs {
                    look_at_directory(flow, session, run, directory, progress)?;
                }
                looked.push((directory, began, Instant::now()));
            }
            Ok(())
        };
        let found = session::run(flow, &self.throttle, &self.faulty, progress, feed)?;
        for (directory, began, ended) in looked {
            self.owed.looked(directory, began, ended);
        }
        Ok(found)
    }
}

fn take_turn(
    flow: &Flow,
    schedule: &mut Schedule,
    session: &Session<'_>,
    run: &Arc<RunKey>,
    progress: &mut Going<'_>,
) -> Result<(), IngestError> {
    let began = Instant::now();
    let page = page(flow, run, (schedule.after(run), None))?;
    schedule.gather(run, &page, flow.root().watched_directories_max);
    let (count, last) = (page.len(), page.last().map(|last| last.path.clone()));
    let absent = session.look(run, page, progress)?;
    schedule.looked(run, last, count < turn_artifacts(flow));
    let now = flow.site().clock.now();
    schedule.looked_in_vain(run, (absent, count), began.elapsed(), now);
    Ok(())
}

fn look_at_directory(
    flow: &Flow,
    session: &Session<'_>,
    run: &Arc<RunKey>,
    directory: &str,
    progress: &mut Going<'_>,
) -> Result<(), IngestError> {
    if directory.is_empty() {
        return look_between(flow, session, run, (None, None), progress);
    }
    // `0` is the character after `/`.
    let (after, before) = (format!("{directory}/"), format!("{directory}0"));
    look_between(flow, session, run, (Some(&after), Some(&before)), progress)
}

/// Looks at all that a run waits for between two paths.
fn look_between(
    flow: &Flow,
    session: &Session<'_>,
    run: &Arc<RunKey>,
    (after, before): (Option<&str>, Option<&str>),
    progress: &mut Going<'_>,
) -> Result<(), IngestError> {
    let mut after = after.map(str::to_owned);
    loop {
        let page = page(flow, run, (after.as_deref(), before))?;
        let whole = page.len() < turn_artifacts(flow);
        after = page.last().map(|last| last.path.as_str().to_owned());
        session.look(run, page, progress)?;
        if whole {
            return Ok(());
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
