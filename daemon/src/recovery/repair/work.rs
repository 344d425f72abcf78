//! Repairing as a job of the schedule: what policy allows, within its limits, and nobody is asked.

use std::sync::Arc;

use runsync_config::root::RootName;

use super::flow::Repairing;
use super::report::RootRepaired;
use super::{RepairError, RepairProgress};
use crate::jobs::{Ending, GoOn, Occasion, Work};
use crate::ledger::jobs::JobOutcome;
use crate::worker::StepError;

/// Whose repairs they are, in the history.
const ACCOUNT: &str = "schedule";

/// Repairs roots by policy.
#[derive(Debug)]
pub struct RepairWork {
    repairing: Arc<Repairing>,
    roots: Vec<RootName>,
}

impl RepairWork {
    /// Repairs these roots; all where none is named.
    pub fn new(repairing: Arc<Repairing>, roots: Vec<RootName>) -> Self {
        Self { repairing, roots }
    }

    fn repair(&self, progress: &mut RepairProgress<'_>) -> Result<Vec<RootRepaired>, RepairError> {
        if self.roots.is_empty() {
            return self.repairing.by_policy(None, ACCOUNT, progress);
        }
        let mut reports = Vec::new();
        for root in &self.roots {
            reports.extend(self.repairing.by_policy(Some(root), ACCOUNT, progress)?);
        }
        Ok(reports)
    }
}

impl Work for RepairWork {
    fn run(&self, _: Occasion, go_on: &GoOn) -> Result<Ending, StepError> {
        match self.repair(&mut |_| go_on()) {
            Err(error) if error.is_interruption() || error.is_fenced() => Ok(Ending {
                outcome: JobOutcome::Interrupted,
                detail: "it was broken off, and the next one finishes what was begun".to_owned(),
            }),
            repaired => ending(&repaired?),
        }
    }
}

fn ending(roots: &[RootRepaired]) -> Result<Ending, StepError> {
    let detail: Vec<String> = roots.iter().map(detail).collect();
    let detail = detail.join("; ");
    if roots.iter().any(RootRepaired::has_failed) {
        return Err(detail.into());
    }
    let is_well = roots.iter().all(RootRepaired::is_well);
    Ok(Ending {
        outcome: if is_well {
            JobOutcome::Done
        } else {
            JobOutcome::Found
        },
        detail,
    })
}

fn detail(root: &RootRepaired) -> String {
    let name = &root.root;
    if let Some(stopped) = &root.stopped {
        return format!("root {name}: stopped: {stopped}");
    }
    if let Some(refused) = &root.refused {
        let finished = match root.finished {
            0 => String::new(),
            finished => format!("; {finished} artifacts of an earlier repair finished"),
        };
        return format!(
            "root {name}: nothing is repaired: {refused}{finished}{}",
            first_left(root)
        );
    }
    let counts = [
        (root.unripe, "not seen long enough"),
        (root.reported, "only reported"),
        (root.left, "left"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, what)| format!(", {count} {what}"))
        .collect();
    format!(
        "root {name}: {} repaired{}{}{}",
        root.repaired(),
        declared(root),
        counts.concat(),
        first_left(root)
    )
}

/// The first that is left for another reason than time and policy.
fn first_left(root: &RootRepaired) -> String {
    root.left_named
        .first()
        .map_or_else(String::new, |left| format!("; {}: {}", left.path, left.why))
}

fn declared(root: &RootRepaired) -> String {
    if root.suspicious == 0 {
        return match root.declared {
            0 => String::new(),
            declared => format!(", {declared} declared to Rucio"),
        };
    }
    format!(
        ", {} declared to Rucio ({} as suspicious alone: `[repair] declare`, or the account, says no more)",
        root.declared, root.suspicious
    )
}
