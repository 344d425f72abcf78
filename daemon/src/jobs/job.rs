//! One job: its times, what keeps it from being done twice at once, and what is written down of it.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, TryLockError};

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

/// A job that is asked for while it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job is under way")]
pub struct Running;

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
    /// not to be made up for. A mark that lies ahead was left by a clock that was wrong.
    pub(super) fn arrive(&self) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let row = self.row()?;
        let Some(row) = row else {
            return self.ledger.note_job(&JobRow::new(self.name.clone(), now));
        };
        let is_due = due::is_due(&self.at, row.mark, now);
        if row.mark > now || (is_due && self.missed == Missed::Skip) {
            info!(job = %self.name, since = %row.mark, "times that passed while nobody ran this job are skipped");
            return self.ledger.note_job(&JobRow { mark: now, ..row });
        }
        if is_due {
            info!(job = %self.name, since = %row.mark, "times that passed while nobody ran this job are made up for");
        }
        Ok(())
    }

    /// Whether one of its times has come that is not done with.
    pub(super) fn is_due(&self) -> Result<bool, LedgerError> {
        let row = self.row()?;
        Ok(row.is_some_and(|row| due::is_due(&self.at, row.mark, self.clock.now())))
    }

    /// Does work as this job, and writes down what comes of it.
    ///
    /// # Errors
    ///
    /// [`Running`] where it is under way.
    pub fn perform(
        &self,
        work: impl FnOnce(Occasion) -> Result<Ending, StepError>,
    ) -> Result<Result<Ending, StepError>, Running> {
        let _running = match self.running.try_lock() {
            Ok(running) => running,
            // It keeps nothing that a panic could have broken.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Running),
        };
        let now = self.clock.now();
        let mut row = self
            .row()
            .ok()
            .flatten()
            .unwrap_or_else(|| JobRow::new(self.name.clone(), now));
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
