//! Runs the flow over one file in the root.

use std::ops::ControlFlow;
use std::path::Path;

use runsync_config::root::ConfirmLevel;

use super::place::Refused;
use super::taken::{Confirmed, Taken};
use crate::ingest::IngestError;
use crate::ingest::confirm::Confirming;
use crate::ingest::flow::{Decision, Flow, Progress, Undecided};
use crate::ingest::settle::{Fault, Settled};
use crate::ledger::record::{ManifestRow, ManifestState};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The flow goes on.
    Flow(Progress),
    /// Its artifacts are looked for.
    Confirming,
}

/// Decides the file at `path` of the root, and confirms its artifacts that are there. `name` is what
/// the caller calls it. `progress` may break off: what is committed stays.
///
/// # Errors
///
/// What no file can go without does not answer, or `progress` broke off.
pub fn take(
    name: &Path,
    path: String,
    flow: &Flow,
    unsigned: bool,
    progress: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Taken, IngestError> {
    let settled = Settled::by_operator(path, flow.site().clock.now());
    let mut decisions = flow.decide(vec![settled], unsigned, &mut |at| progress(Step::Flow(at)))?;
    match decisions.pop() {
        Some(Decision::Decided(row)) => decided(name, &row, flow, progress),
        Some(Decision::Undecided(undecided)) => undecided_yet(name, &undecided, flow),
        Some(Decision::Gone(_)) | None => Ok(Taken::refused(name, &Refused::gone())),
    }
}

fn decided(
    name: &Path,
    row: &ManifestRow,
    flow: &Flow,
    progress: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Taken, IngestError> {
    let run = row.summary.as_ref().map(|summary| &summary.run);
    let (ManifestState::Registered, Some(run)) = (row.state, run) else {
        return Ok(Taken::new(name, row, None));
    };
    if flow.root().confirm != ConfirmLevel::Trust {
        Confirming::new(flow.clone()).confirm_run(run, &mut || progress(Step::Confirming))?;
    }
    let confirmed = flow.site().registry.run(run)?.map(|run| Confirmed {
        confirmed: run.confirmed(),
        of: run.claims,
    });
    Ok(Taken::new(name, row, confirmed))
}

/// A file that the daemon would still wait for.
fn undecided_yet(name: &Path, undecided: &Undecided, flow: &Flow) -> Result<Taken, IngestError> {
    let state = match undecided.fault {
        Fault::Wrong => return Ok(Taken::new(name, &flow.quarantine(undecided)?, None)),
        Fault::Cut => "incomplete",
        Fault::Unreadable => "unreadable",
    };
    Ok(Taken::refused(
        name,
        &Refused::reading(state, &undecided.error),
    ))
}
