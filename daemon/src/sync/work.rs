//! Comparing with Rucio as a job of the schedule.

use std::sync::Arc;

use runsync_manifest::name::RseName;

use super::error::SyncError;
use super::flow::Syncing;
use super::report::SyncReport;
use super::subject::Subject;
use super::worker::interrupted;
use crate::jobs::{Ending, GoOn, Occasion, Work};
use crate::ledger::jobs::JobOutcome;
use crate::worker::StepError;

/// What of this site is compared with Rucio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncPart {
    /// The next part of a pass over all roots, within the limits that `[rucio.sync]` sets.
    Next,
    /// All of these RSEs; of all roots that Rucio knows where none is named.
    Whole(Vec<RseName>),
}

/// Compares with Rucio.
#[derive(Debug)]
pub struct SyncWork {
    syncing: Arc<Syncing>,
    part: SyncPart,
}

impl SyncWork {
    /// Compares this.
    pub fn new(syncing: Arc<Syncing>, part: SyncPart) -> Self {
        Self { syncing, part }
    }

    fn compare(&self, go_on: &GoOn) -> Result<Ending, SyncError> {
        let rucio = self.syncing.rucio()?.waiting(Arc::clone(go_on));
        let progress = &mut || go_on();
        let rses = match &self.part {
            SyncPart::Next => return self.syncing.part(&rucio, progress),
            SyncPart::Whole(rses) => rses,
        };
        if rses.is_empty() {
            let report = self.syncing.compare(&rucio, &Subject::All, progress)?;
            return Ok(report.ending());
        }
        let mut endings = Vec::new();
        for rse in rses {
            let subject = Subject::Rse(rse.clone());
            let report = self.syncing.compare(&rucio, &subject, progress)?;
            endings.push((rse, report.ending()));
        }
        Ok(all_of(&endings))
    }
}

/// Several endings as one.
fn all_of(endings: &[(&RseName, Ending)]) -> Ending {
    let found = |(_, ending): &(&RseName, Ending)| ending.outcome == JobOutcome::Found;
    let details = endings
        .iter()
        .map(|(rse, ending)| format!("{rse}: {}", ending.detail));
    Ending {
        outcome: if endings.iter().any(found) {
            JobOutcome::Found
        } else {
            JobOutcome::Done
        },
        detail: details.collect::<Vec<_>>().join("; "),
    }
}

impl Work for SyncWork {
    fn run(&self, _: Occasion, go_on: &GoOn) -> Result<Ending, StepError> {
        match self.compare(go_on) {
            Err(error) if error.is_interruption() || error.is_fenced() => Ok(interrupted()),
            ended => Ok(ended?),
        }
    }
}

impl SyncReport {
    /// What came of it, as a job tells it.
    pub(super) fn ending(&self) -> Ending {
        let (runs, late) = (self.runs, self.late.len());
        let detail = format!(
            "{runs} runs compared, {late} late, {} not as they should be",
            self.wrong
        );
        Ending {
            outcome: if self.is_well() {
                JobOutcome::Done
            } else {
                JobOutcome::Found
            },
            detail,
        }
    }
}
