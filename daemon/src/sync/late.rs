//! Tells of runs whose artifacts do not come, and why, by Rucio.

use jiff::Timestamp;
use runsync_manifest::name::RunKey;

use super::SyncError;
use super::report::LateRun;
use super::root::RootSync;
use crate::clock::later;
use crate::ingest::waits_since;
use crate::ledger::record::Finding;
use crate::rucio::locks::{DatasetLock, LockState};

/// Finding: artifacts of a run do not come.
pub(super) const LATE: &str = "run_late";

/// How a run's artifacts stand that are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Awaited {
    /// All of them.
    pub(super) waiting: u64,
    /// Those that Rucio says are here.
    pub(super) available: u64,
}

impl RootSync<'_, '_> {
    /// Keeps or drops the finding about a run; `locks` are those of its Rucio datasets at this root's RSE.
    pub(super) fn judge_late(
        &mut self,
        run: &RunKey,
        awaited: Awaited,
        locks: &[DatasetLock],
    ) -> Result<(), SyncError> {
        let subject = self.subject(&run.to_string());
        let reason = match awaited.waiting {
            0 => None,
            _ => self.reason(run, awaited, locks)?,
        };
        let Some(reason) = reason else {
            return Ok(self.ledger().healed(LATE, &subject)?);
        };
        let now = self.flow.site().clock.now();
        let waiting = awaited.waiting;
        self.ledger().find_all(&[Finding {
            kind: LATE.to_owned(),
            subject,
            detail: format!("waits for {waiting} artifacts: {reason}"),
            first_seen: now,
            last_seen: now,
            times: 1,
        }])?;
        self.report.late(LateRun {
            run: run.name.clone(),
            root: self.root().name.clone(),
            waiting,
            reason,
        });
        Ok(())
    }

    /// Why they do not come; none where they may still be on their way.
    fn reason(
        &mut self,
        run: &RunKey,
        awaited: Awaited,
        locks: &[DatasetLock],
    ) -> Result<Option<String>, SyncError> {
        let rse = self.rse;
        if let Some(stuck) = locks.iter().find(|lock| lock.state == LockState::Stuck) {
            self.budget.ask()?;
            let rule = self.rucio.rule(&stuck.rule_id)?;
            let error = rule.and_then(|rule| rule.error).unwrap_or_default();
            let id = &stuck.rule_id;
            let why = if error.is_empty() {
                "no reason given"
            } else {
                &error
            };
            return Ok(Some(format!("rule {id} for {rse} is stuck: {why}")));
        }
        if locks.is_empty() && awaited.available < awaited.waiting {
            return Ok(Some(format!("no rule brings the run to {rse}")));
        }
        Ok(self.overdue_since(run)?.map(|since| {
            let states: Vec<&str> = locks.iter().map(|lock| word(lock.state)).collect();
            let states = if states.is_empty() {
                "no lock".to_owned()
            } else {
                format!("locks {}", states.join(", "))
            };
            format!("since {since}; Rucio has {states} at {rse}")
        }))
    }

    /// Since when a run waits, where that is longer than the root allows.
    pub(super) fn overdue_since(&self, run: &RunKey) -> Result<Option<Timestamp>, SyncError> {
        let now = self.flow.site().clock.now();
        let is_over = |since: &Timestamp| later(*since, self.root().waiting_deadline) <= now;
        Ok(waits_since(self.ledger(), run)?.filter(is_over))
    }
}

fn word(state: LockState) -> &'static str {
    match state {
        LockState::Ok => "OK",
        LockState::Replicating => "REPLICATING",
        LockState::Stuck => "STUCK",
        LockState::Other => "of another state",
    }
}
