//! Tells the operator of runs that wait for artifacts past their deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::Root;
use runsync_manifest::name::RunKey;

use crate::clock::later;
use crate::ingest::IngestError;
use crate::ingest::flow::Flow;
use crate::ledger::record::{Finding, ManifestState};
use crate::ledger::{Ledger, LedgerError};
use crate::registry::record::WaitingRun;

/// Kind of the finding.
const OVERDUE: &str = "run_overdue";
/// How often overdue runs are looked for.
const INTERVAL: Duration = Duration::from_secs(30);

/// When overdue runs were looked for last.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    checked: Option<Timestamp>,
}

impl Overdue {
    /// Keeps a finding for each overdue run of `runs`, which is all that wait in the flow's root,
    /// and drops those about others.
    pub(super) fn report(
        &mut self,
        flow: &Flow,
        runs: &[WaitingRun],
        now: Timestamp,
    ) -> Result<(), IngestError> {
        if self
            .checked
            .is_some_and(|checked| later(checked, INTERVAL) > now)
        {
            return Ok(());
        }
        self.checked = Some(now);
        heal(flow, runs)?;
        let mut findings = Vec::new();
        for waiting in runs {
            findings.extend(judge(flow, waiting, now)?);
        }
        Ok(flow.site().ledger.find_all(&findings)?)
    }
}

/// Since when a run that waits does so: its newest manifest brought what it waits for, as far as
/// anybody knows. `None` where the ledger knows none of it.
///
/// # Errors
///
/// Where the ledger does not answer.
pub fn waits_since(ledger: &dyn Ledger, run: &RunKey) -> Result<Option<Timestamp>, LedgerError> {
    let rows = ledger.of_run(run)?.into_iter();
    let registered = rows.filter(|row| row.state == ManifestState::Registered);
    Ok(registered.map(|row| row.decided_at).max())
}

fn heal(flow: &Flow, runs: &[WaitingRun]) -> Result<(), LedgerError> {
    let (root, ledger) = (flow.root(), &flow.site().ledger);
    let waiting: BTreeSet<String> = runs
        .iter()
        .map(|waiting| subject(root, &waiting.run))
        .collect();
    let ours = format!("{}:", root.name);
    let told = ledger.findings_of(OVERDUE, &ours, None, usize::MAX)?;
    let subjects = told.into_iter().map(|finding| finding.subject);
    let over: Vec<String> = subjects
        .filter(|subject| !waiting.contains(subject))
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    ledger.healed_all(OVERDUE, &over)
}

fn judge(
    flow: &Flow,
    waiting: &WaitingRun,
    now: Timestamp,
) -> Result<Option<Finding>, IngestError> {
    let registered = waits_since(&*flow.site().ledger, &waiting.run)?;
    let deadline = flow.root().waiting_deadline;
    let Some(since) = registered.filter(|since| later(*since, deadline) <= now) else {
        return Ok(None);
    };
    let row = flow.site().registry.run(&waiting.run)?;
    let artifacts = row.map_or(0, |row| row.waiting);
    Ok(Some(Finding {
        kind: OVERDUE.to_owned(),
        subject: subject(flow.root(), &waiting.run),
        detail: format!(
            "waits for {artifacts} artifacts, and its newest manifest was registered at {since:.0}"
        ),
        first_seen: now,
        last_seen: now,
        times: 1,
    }))
}

fn subject(root: &Root, run: &RunKey) -> String {
    format!("{}:{run}", root.name)
}
