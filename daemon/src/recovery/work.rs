//! Scanning as a job of the schedule.

use std::ops::ControlFlow;
use std::sync::Arc;

use runsync_config::jobs::{Checksum, ScanLimits};
use runsync_config::root::RootName;

use super::budget::Limits;
use super::error::ScanError;
use super::flow::Scanning;
use super::order::{Checks, Order, Pace};
use super::report::ScanReport;
use crate::error_chain::error_chain;
use crate::jobs::{Ending, GoOn, Occasion, Work};
use crate::ledger::jobs::JobOutcome;
use crate::worker::StepError;

/// Scans roots, each as far as its period and the job's limits ask for.
#[derive(Debug)]
pub struct ScanWork {
    scanning: Arc<Scanning>,
    roots: Vec<RootName>,
    limits: ScanLimits,
}

impl ScanWork {
    /// Scans these roots; all where none is named.
    pub fn new(scanning: Arc<Scanning>, roots: Vec<RootName>, limits: ScanLimits) -> Self {
        Self {
            scanning,
            roots,
            limits,
        }
    }

    fn order(&self, occasion: Occasion) -> Order {
        let limits = self.limits;
        Order {
            roots: self.roots.clone(),
            limits: Limits {
                objects: limits.objects_max,
                bytes: limits.bytes_max,
                time: limits.time_max,
                calls_per_second: limits.calls_per_second,
            },
            checks: match limits.checksum {
                Checksum::None => Checks::None,
                Checksum::Sampled => Checks::Sampled(limits.sample.share()),
                Checksum::Full => Checks::Full,
            },
            pace: Some(Pace {
                next: occasion.next,
            }),
            ..Order::default()
        }
    }
}

impl Work for ScanWork {
    fn run(&self, occasion: Occasion, go_on: &GoOn) -> Result<Ending, StepError> {
        let mut is_broken_off = false;
        let reports = self.scanning.scan(&self.order(occasion), &mut |_| {
            let going = go_on();
            is_broken_off |= going.is_break();
            going
        });
        let reports = match reports {
            Err(error) if error.is_fenced() => return Ok(interrupted()),
            reports => reports?,
        };
        if is_broken_off || go_on() == ControlFlow::Break(()) {
            return Ok(interrupted());
        }
        ending(reports)
    }
}

fn interrupted() -> Ending {
    Ending {
        outcome: JobOutcome::Interrupted,
        detail: "it was broken off, and goes on".to_owned(),
    }
}

/// What came of all roots: one that failed has the job fail, whatever came of the others.
fn ending(reports: Vec<Result<ScanReport, ScanError>>) -> Result<Ending, StepError> {
    let (mut outcome, mut details, mut failed) = (JobOutcome::Done, Vec::new(), Vec::new());
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
    if details.is_empty() && failed.is_empty() {
        details.push("nothing was due".to_owned());
    }
    if !failed.is_empty() {
        return Err([failed, details].concat().join("; ").into());
    }
    Ok(Ending {
        outcome,
        detail: details.join("; "),
    })
}

fn detail(report: &ScanReport) -> String {
    let findings: u64 = report.findings.values().sum();
    let where_to = if report.whole {
        "the pass is through"
    } else {
        "the pass goes on"
    };
    format!(
        "root {}: {} paths met, {where_to}, {findings} findings",
        report.root, report.counts.objects
    )
}
