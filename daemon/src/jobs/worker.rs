//! The loop that does one job when it is due.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::job::{GoOn, Job, NotBegun, Work};
use crate::error_chain::error_chain;
use crate::ledger::jobs::JobOutcome;
use crate::worker::{Next, Pulse, StepError, Worker};

/// How often the loop looks whether the job is due, whoever wakes it: a time that passed while the machine was
/// suspended is found by this.
const ASK_INTERVAL: Duration = Duration::from_secs(60);

/// Does one job when it is due.
#[derive(Debug)]
pub struct JobWorker {
    job: Arc<Job>,
    work: Arc<dyn Work>,
    has_arrived: bool,
}

impl JobWorker {
    /// Does this job.
    pub fn new(job: Arc<Job>, work: Arc<dyn Work>) -> Self {
        Self {
            job,
            work,
            has_arrived: false,
        }
    }

    /// Does the job where it is due. True where it was done.
    ///
    /// # Errors
    ///
    /// Where the ledger does not answer. A job that fails is no error: that is written down, and it waits for its
    /// next time.
    pub fn work(&mut self, go_on: &GoOn) -> Result<bool, StepError> {
        if !self.has_arrived {
            self.job.arrive()?;
            self.has_arrived = true;
        }
        if !self.job.is_due()? || go_on().is_break() {
            return Ok(false);
        }
        match self.job.perform(|occasion| self.work.run(occasion, go_on)) {
            Err(NotBegun::Running) => return Ok(false),
            Err(NotBegun::Ledger(error)) => return Err(error.into()),
            Ok(Ok(ending)) => self.tell(ending.outcome, &ending.detail),
            Ok(Err(error)) => {
                let error = error_chain(&*error);
                warn!(job = %self.job.name, error, "job failed");
            }
        }
        Ok(true)
    }

    fn tell(&self, outcome: JobOutcome, detail: &str) {
        info!(job = %self.job.name, %outcome, detail, "job ended");
    }
}

impl Worker for JobWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let heard = pulse.clone();
        let go_on: GoOn = Arc::new(move || heard.go_on());
        self.work(&go_on)?;
        Ok(Next::Idle(Some(ASK_INTERVAL)))
    }
}
