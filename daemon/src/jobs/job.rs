//! One job: its times, what keeps it from being done twice at once, and what is written down of it.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use jiff::Timestamp;
use runsync_config::jobs::{JobKind, JobName, Missed, Schedule};
use tracing::{info, warn};

use super::due;
use crate::clock::Clock;
use crate::error_chain::error_chain;
use crate::ledger::jobs::{JobOutcome, JobRow};
use crate::ledger::{Ledger, LedgerError};
use crate::worker::StepError;

/// Asked while a job goes on; may break off.
pub type GoOn = Arc<dyn Fn() -> ControlFlow<()> + Send + Sync>;

/// How a job ended that could do its work, or was broken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub outcome: JobOutcome,
    /// What came of it, for people.
    pub detail: String,
}

/// What a job is done for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occasion {
    /// The time at which it is done again.
    pub next: Option<Timestamp>,
}

/// What a job does.
pub trait Work: Send + Sync + Debug {
    /// Does it. Whatever is done must be safe to do again.
    ///
    /// # Errors
    ///
    /// Where it cannot be done; being broken off is no error.
    fn run(&self, occasion: Occasion, go_on: &GoOn) -> Result<Ending, StepError>;
}

/// Why a job was not begun.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// It is under way.
    #[error("the job is under way")]
    Running,
    /// What was last made of it cannot be read: what is written down would count from nothing.
    #[error("cannot read what was last made of the job")]
    Ledger(#[from] LedgerError),
}

/// A job.
#[derive(Debug)]
pub struct Job {
    /// What it is called.
    pub name: JobName,
    /// What it does.
    pub kind: JobKind,
    /// When.
    pub at: Schedule,
    /// What becomes of times that passed while the daemon was down.
    pub missed: Missed,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    running: Mutex<()>,
}

impl Job {
    /// A job whose doings are kept in a ledger.
    pub fn new(
        (name, kind): (JobName, JobKind),
        (at, missed): (Schedule, Missed),
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name,
            kind,
            at,
            missed,
            ledger,
            clock,
            running: Mutex::new(()),
        }
    }

    fn row(&self) -> Result<Option<JobRow>, LedgerError> {
        let rows = self.ledger.jobs()?;
        Ok(rows.into_iter().find(|row| row.name == self.name))
    }

    /// Settles what became of its times before this daemon began: a job that is new has none, and some are
    /// not to be made up for. One that was begun and has not ended died with its process.
    pub(super) fn arrive(&self) -> Result<(), LedgerError> {
        let Some(_turn) = self.take() else {
            return Ok(());
        };
        let now = self.clock.now();
        let Some(row) = self.row()? else {
            return self.ledger.note_job(&JobRow::new(self.name.clone(), now));
        };
        let is_due = due::is_due(&self.at, row.mark, now);
        let settled = closed(row.clone(), now);
        let is_begun = settled.outcome == Some(JobOutcome::Interrupted);
        if is_due && self.missed == Missed::Skip && !is_begun {
            info!(job = %self.name, since = %row.mark, "times that passed while nobody ran this job are skipped");
            return self.ledger.note_job(&JobRow { mark: now, ..row });
        }
        if is_due {
            info!(job = %self.name, since = %row.mark, "times that passed while nobody ran this job are made up for");
        }
        if settled == row {
            return Ok(());
        }
        self.ledger.note_job(&settled)
    }

    /// Whether one of its times has come that is not done with.
    pub(super) fn is_due(&self) -> Result<bool, LedgerError> {
        let now = self.clock.now();
        let Some(row) = self.row()? else {
            return Ok(false);
        };
        if row.mark > now {
            self.set_back(now)?;
            return Ok(false);
        }
        Ok(due::is_due(&self.at, row.mark, now))
    }

    /// Takes back a mark that lies ahead: a clock that was wrong has left it, and no time would come for years.
    fn set_back(&self, now: Timestamp) -> Result<(), LedgerError> {
        let Some(_turn) = self.take() else {
            return Ok(());
        };
        let Some(row) = self.row()?.filter(|row| row.mark > now) else {
            return Ok(());
        };
        warn!(job = %self.name, until = %row.mark, "the clock was ahead when this job was done; its times count from now on");
        self.ledger.note_job(&JobRow { mark: now, ..row })
    }

    /// The turn to do it; none where it is under way.
    fn take(&self) -> Option<MutexGuard<'_, ()>> {
        match self.running.try_lock() {
            Ok(turn) => Some(turn),
            // It keeps nothing that a panic could have broken.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Does work as this job, and writes down what comes of it.
    ///
    /// # Errors
    ///
    /// Where it is under way, or the ledger does not answer.
    pub fn perform(
        &self,
        work: impl FnOnce(Occasion) -> Result<Ending, StepError>,
    ) -> Result<Result<Ending, StepError>, NotBegun> {
        let _turn = self.take().ok_or(NotBegun::Running)?;
        let now = self.clock.now();
        let row = self.row()?;
        let row = row.unwrap_or_else(|| JobRow::new(self.name.clone(), now));
        let mut row = closed(row, now);
        row.begun_at = Some(now);
        self.write(&row);
        let next = due::next(&self.at, now);
        let ended = work(Occasion { next });
        self.write(&self.after(row, &ended));
        Ok(ended)
    }

    fn after(&self, row: JobRow, ended: &Result<Ending, StepError>) -> JobRow {
        let now = self.clock.now();
        let (outcome, detail) = match ended {
            Ok(ending) => (ending.outcome, ending.detail.clone()),
            Err(error) => (JobOutcome::Failed, error_chain(&**error)),
        };
        let is_over = outcome != JobOutcome::Interrupted;
        JobRow {
            mark: if is_over { now } else { row.mark },
            // The clock may have been set back meanwhile.
            begun_at: row.begun_at.map(|begun| begun.min(now)),
            ended_at: Some(now),
            outcome: Some(outcome),
            detail: Some(detail),
            succeeded_at: if outcome.is_success() {
                Some(now)
            } else {
                row.succeeded_at
            },
            runs: row.runs + u64::from(is_over),
            failures: row.failures + u64::from(outcome == JobOutcome::Failed),
            ..row
        }
    }

    /// What cannot be written down is done all the same. Where the lease is lost nothing is, and the next
    /// holder finds the job due.
    fn write(&self, row: &JobRow) {
        match self.ledger.note_job(row) {
            Ok(()) => {}
            Err(error) if error.is_fenced() => {}
            Err(error) => {
                let error = error_chain(&error);
                warn!(job = %self.name, error, "cannot write down what came of a job");
            }
        }
    }
}

/// A row that nobody is at: where it was begun and has not ended, its process died.
fn closed(row: JobRow, now: Timestamp) -> JobRow {
    if !row.is_open() {
        return row;
    }
    JobRow {
        begun_at: row.begun_at.map(|begun| begun.min(now)),
        ended_at: Some(now),
        outcome: Some(JobOutcome::Interrupted),
        detail: Some("its process ended before it did".to_owned()),
        ..row
    }
}
