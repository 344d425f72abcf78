//! The loop that compares with Rucio by schedule, and runs that have just come to wait.
//!
//! A pass is owed at start, when the schedule says so, and where hints were lost. Between passes the loop
//! looks after runs that have come to wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::RunKey;
use tracing::{debug, info};

use super::SyncError;
use super::budget::{Budget, Progress};
use super::flow::Syncing;
use super::pass::Measure;
use super::report::SyncReport;
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::ingest::SiteParts;
use crate::ingest::waits_since;
use crate::jobs::{Ending, Job, NotBegun};
use crate::ledger::jobs::JobOutcome;
use crate::rucio::Rucio;
use crate::telemetry::rucio as telemetry;
use crate::worker::{Next, Pulse, StepError, Worker};

/// How often the loop looks for runs that have come to wait, and for hints that were lost. The question
/// is a look into two tables.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// Hints are lost where there are too many of them: passes over everything that follow from it leave
/// room between them.
const ANEW_PAUSE: Duration = Duration::from_secs(10 * 60);
/// Runs compared in one step.
const RUNS_TOGETHER: usize = 20;

/// The pause before a waiting run is compared once more; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// How often that is done; after some minutes it is left to the schedule.
const COMPARED_MOST: u32 = 5;

/// A run that waits in a root, and since when.
type Waiting = ((RootName, RunKey), Option<Timestamp>);

/// When a waiting run was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Compared {
    /// Since when it waited then.
    since: Option<Timestamp>,
    /// How often it was.
    times: u32,
    /// When it is again; none: by schedule alone.
    due: Option<Timestamp>,
}

impl Compared {
    /// It is compared now. Where another manifest of it has come since, it begins anew.
    fn next(before: Option<Self>, since: Option<Timestamp>, now: Timestamp) -> Self {
        let times = before.filter(|before| before.since == since);
        let times = times.map_or(0, |before| before.times) + 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(16));
        Self {
            since,
            times,
            due: (times < COMPARED_MOST).then(|| later(now, pause)),
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

/// What is due, whoever says so.
#[derive(Debug, Clone)]
pub struct SyncDue(Arc<AtomicBool>);

impl Default for SyncDue {
    /// At start all is.
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl SyncDue {
    /// A pass is due.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

/// Compares with Rucio.
#[derive(Debug)]
pub struct SyncWorker {
    syncing: Arc<Syncing>,
    due: SyncDue,
    /// What passes are written down as.
    job: Arc<Job>,
    /// Hints that had been lost when it was asked last.
    lost: Option<u64>,
    /// Whether more have been lost since a pass over everything began.
    owes_everything: bool,
    /// When such a pass began last.
    begun_anew: Option<Timestamp>,
    /// Waiting runs that were compared.
    compared: BTreeMap<(RootName, RunKey), Compared>,
    changes: Option<u64>,
}

impl SyncWorker {
    /// Nothing compared yet.
    pub fn new(syncing: Arc<Syncing>, due: SyncDue, job: Arc<Job>) -> Self {
        Self {
            syncing,
            due,
            job,
            lost: None,
            owes_everything: false,
            begun_anew: None,
            compared: BTreeMap::new(),
            changes: None,
        }
    }

    /// Does a pass where one is due, else compares runs that have come to wait. True where there may be more
    /// to do now.
    ///
    /// # Errors
    ///
    /// Where Rucio, or this site, do not answer, or `progress` broke off.
    pub fn work(&mut self, rucio: &Rucio, progress: &mut Progress<'_>) -> Result<bool, SyncError> {
        if !self.is_due()? {
            return self.compare_waiting(rucio, progress);
        }
        match self.pass(rucio, progress) {
            Ok(()) => Ok(true),
            Err(error) if error.is_interruption() || error.is_fenced() => Err(error),
            // What holds up the pass holds up no run that waits.
            Err(error) => {
                self.compare_waiting(rucio, progress)?;
                Err(error)
            }
        }
    }

    fn is_due(&mut self) -> Result<bool, SyncError> {
        let Some(flow) = self.syncing.ground.flows.first() else {
            return Ok(false);
        };
        let lost = flow.site().ledger.hints_lost()?;
        self.owes_everything |= self.lost.is_some_and(|before| before != lost);
        self.lost = Some(lost);
        let now = flow.site().clock.now();
        let is_time = self.begun_anew.is_none_or(|begun| {
            Duration::try_from(now.duration_since(begun)).is_ok_and(|since| since >= ANEW_PAUSE)
        });
        if self.owes_everything && is_time {
            self.syncing.begin_anew()?;
            self.owes_everything = false;
            self.begun_anew = Some(now);
            return Ok(true);
        }
        Ok(self.due.take())
    }

    /// Does a pass as a job. One that is under way by an operator's word is this one.
    fn pass(&mut self, rucio: &Rucio, progress: &mut Progress<'_>) -> Result<(), SyncError> {
        let (job, mut failed) = (Arc::clone(&self.job), None);
        let ended = job.perform(|_| match self.syncing.part(rucio, progress) {
            Ok(ending) => Ok(ending),
            Err(error) if error.is_interruption() || error.is_fenced() => {
                failed = Some(error);
                Ok(interrupted())
            }
            Err(error) => {
                let told = error_chain(&error);
                failed = Some(error);
                Err(told.into())
            }
        });
        match (ended, failed) {
            (Err(NotBegun::Running), _) | (Ok(_), None) => Ok(()),
            (Err(NotBegun::Ledger(error)), _) => {
                self.due.set();
                Err(error.into())
            }
            (Ok(_), Some(error)) => {
                self.due.set();
                Err(error)
            }
        }
    }

    /// Compares runs that wait: when they begin to, and a few times after that. Messages about their files
    /// may have come before their manifests, and before Rucio called the files available.
    fn compare_waiting(
        &mut self,
        rucio: &Rucio,
        progress: &mut Progress<'_>,
    ) -> Result<bool, SyncError> {
        let Some(flow) = self.syncing.ground.flows.first() else {
            return Ok(false);
        };
        let site = Arc::clone(flow.site());
        let (changes, now) = (site.registry.changes()?, site.clock.now());
        let has_changed = self.changes != Some(changes);
        if !has_changed && !self.compared.values().any(|one| one.is_due(now)) {
            return Ok(false);
        }
        let due = self.waiting_runs(&site, now)?;
        let is_last = due.len() <= RUNS_TOGETHER;
        let syncing = Arc::clone(&self.syncing);
        for (key, since) in due.into_iter().take(RUNS_TOGETHER) {
            let (root, run) = &key;
            let roots = syncing.roots(None)?;
            let found = roots
                .into_iter()
                .find(|(flow, _)| flow.root().name == *root);
            if let (Some(at), Some(row)) = (found, site.registry.run(run)?) {
                let (mut report, mut budget) = (SyncReport::default(), Budget::open(progress));
                syncing.at(at, (rucio, &mut budget), &mut report, |root| {
                    root.runs(&[row], false)
                })?;
            }
            let before = self.compared.remove(&key);
            self.compared
                .insert(key, Compared::next(before, since, now));
        }
        if is_last {
            self.changes = Some(changes);
        }
        Ok(!is_last)
    }

    /// Waiting runs of others that are to be compared now, and since when they wait.
    fn waiting_runs(
        &mut self,
        site: &SiteParts,
        now: Timestamp,
    ) -> Result<Vec<Waiting>, SyncError> {
        let ours = self.syncing.ground.repository;
        let mut standing = BTreeMap::new();
        let waiting = site.registry.waiting_runs()?;
        for waiting in waiting.into_iter().filter(|one| one.run.origin != ours) {
            let since = waits_since(&*site.ledger, &waiting.run)?;
            standing.insert((waiting.root, waiting.run), since);
        }
        self.compared.retain(|key, _| standing.contains_key(key));
        let is_due = |(key, since): &Waiting| match self.compared.get(key) {
            Some(one) => one.since != *since || one.is_due(now),
            None => true,
        };
        Ok(standing.into_iter().filter(is_due).collect())
    }
}

/// How a pass ends that was broken off.
pub(super) fn interrupted() -> Ending {
    Ending {
        outcome: JobOutcome::Interrupted,
        detail: "it was broken off, and goes on".to_owned(),
    }
}

impl Syncing {
    /// The next part of a pass over all roots, within the limits that configuration sets.
    pub(super) fn part(
        &self,
        rucio: &Rucio,
        progress: &mut Progress<'_>,
    ) -> Result<Ending, SyncError> {
        let measure = Measure::Part(&rucio.config().sync);
        let report = self
            .pass(rucio, None, measure, progress)
            .inspect_err(|_| telemetry::synced(false))?;
        telemetry::synced(true);
        let SyncReport {
            whole,
            requests,
            runs,
            manifests,
            confirmed,
            forgotten,
            ..
        } = report;
        let late = report.late.len();
        if report.has_changed() {
            info!(
                whole,
                requests, runs, manifests, confirmed, forgotten, late, "compared with Rucio"
            );
        } else {
            debug!(whole, requests, runs, late, "compared with Rucio");
        }
        Ok(report.ending())
    }
}

impl Worker for SyncWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let syncing = Arc::clone(&self.syncing);
        let Ok(rucio) = syncing.rucio() else {
            return Ok(Next::Idle(None));
        };
        let heard = pulse.clone();
        let rucio = rucio.waiting(Arc::new(move || heard.go_on()));
        match self.work(&rucio, &mut || pulse.go_on()) {
            Ok(true) => Ok(Next::Again),
            Ok(false) => Ok(Next::Idle(Some(ASK_INTERVAL))),
            Err(error) if error.is_interruption() || error.is_fenced() => {
                debug!(%error, "step ended early");
                Ok(Next::Idle(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_run_is_compared_less_and_less_often_until_its_next_manifest() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (mut compared, mut now) = (None, at(0));
        let mut dues = Vec::new();
        for _ in 0..COMPARED_MOST {
            let next = Compared::next(compared, Some(at(0)), now);
            if let Some(due) = next.due {
                assert!(!next.is_due(now) && next.is_due(due));
                now = due;
            }
            dues.push(next.due.map(Timestamp::as_second));
            compared = Some(next);
        }
        assert_eq!(dues, [Some(15), Some(45), Some(105), Some(225), None]);
        let anew = Compared::next(compared, Some(at(300)), at(300));
        assert_eq!(anew.due, Some(at(315)));
    }
}
