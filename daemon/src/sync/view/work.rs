//! Comparing with Rucio's view as a job of the schedule, within the limits that `[rucio.sync]` sets.

use std::sync::Arc;

use runsync_config::root::RootName;

use super::order::ViewOrder;
use super::report::ViewReport;
use crate::error_chain::error_chain;
use crate::jobs::{Ending, GoOn, Occasion, Work};
use crate::ledger::jobs::JobOutcome;
use crate::sync::SyncError;
use crate::sync::flow::Syncing;
use crate::sync::worker::interrupted;
use crate::worker::StepError;

/// Compares roots with Rucio's view, the next part of a pass at a time.
#[derive(Debug)]
pub struct ViewWork {
    syncing: Arc<Syncing>,
    roots: Vec<RootName>,
}

impl ViewWork {
    /// Compares these roots; all that are RSEs where none is named.
    pub fn new(syncing: Arc<Syncing>, roots: Vec<RootName>) -> Self {
        Self { syncing, roots }
    }

    fn compare(&self, go_on: &GoOn) -> Result<Vec<Result<ViewReport, SyncError>>, SyncError> {
        let rucio = self.syncing.rucio()?.waiting(Arc::clone(go_on));
        let limits = &rucio.config().sync;
        let order = ViewOrder {
            roots: self.roots.clone(),
            requests: Some(limits.requests_max),
            time: Some(limits.time_max),
            anew: false,
        };
        self.syncing.view(&rucio, &order, &mut || go_on())
    }
}

impl Work for ViewWork {
    fn run(&self, _: Occasion, go_on: &GoOn) -> Result<Ending, StepError> {
        match self.compare(go_on) {
            Err(error) if error.is_interruption() || error.is_fenced() => Ok(interrupted()),
            seen => ending(seen?),
        }
    }
}

fn ending(reports: Vec<Result<ViewReport, SyncError>>) -> Result<Ending, StepError> {
    let (mut details, mut failed, mut outcome) = (Vec::new(), Vec::new(), JobOutcome::Done);
    for report in reports {
        match report {
            Ok(report) => {
                if !report.is_well() {
                    outcome = JobOutcome::Found;
                }
                details.push(detail(&report));
            }
            Err(error) => failed.push(error_chain(&error)),
        }
    }
    if !failed.is_empty() {
        return Err([failed, details].concat().join("; ").into());
    }
    let detail = details.join("; ");
    Ok(Ending { outcome, detail })
}

fn detail(report: &ViewReport) -> String {
    let findings: u64 = report.findings.values().sum();
    let pass = if report.whole {
        "the pass is through"
    } else {
        "the pass goes on"
    };
    format!(
        "root {}: {} records and {} replicas compared, {pass}, {findings} findings",
        report.root, report.counts.records, report.counts.replicas
    )
}
