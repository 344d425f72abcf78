//! Collects what was found right, and commits it to the registry in large parts.
//!
//! A commit costs a sync of the disk and writes each page of the largest table anew in which it
//! changes a row, so few large ones cost less than many small ones. But what was read is lost by a
//! crash until it is committed, and an artifact should have its record within a moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runsync_manifest::name::RunKey;
use tracing::{debug, info};

use super::findings::{self, Faulty};
use super::taken_away::Look;
use crate::ingest::IngestError;
use crate::ingest::flow::Flow;
use crate::registry::record::WaitingArtifact;
use crate::telemetry::metrics::{self, Artifacts};

/// Most artifacts of a commit: more gain little, and another writer would wait for longer than a
/// second.
pub(super) const COMMIT_ARTIFACTS: usize = 65_536;
/// How long artifacts are collected before they are committed, at least.
const COLLECT: Duration = Duration::from_millis(25);
/// They are collected so many times as long as the last commit took: commits then take at most a
/// third of the time where reading is what takes long.
const COLLECT_FACTOR: u32 = 2;

/// How many artifacts of each run got their record.
pub(super) type Found = BTreeMap<Arc<RunKey>, u64>;

/// What was found right and has no record yet.
#[derive(Debug)]
pub(super) struct Records<'a> {
    flow: &'a Flow,
    faulty: &'a Mutex<Faulty>,
    look: &'a Look<'a>,
    runs: BTreeMap<Arc<RunKey>, Vec<WaitingArtifact>>,
    artifacts: usize,
    due: Option<Instant>,
    last_took: Duration,
    found: Found,
}

impl<'a> Records<'a> {
    /// Collects what `look` sees.
    pub(super) fn new(flow: &'a Flow, faulty: &'a Mutex<Faulty>, look: &'a Look<'a>) -> Self {
        Self {
            flow,
            faulty,
            look,
            runs: BTreeMap::new(),
            artifacts: 0,
            due: None,
            last_took: Duration::ZERO,
            found: Found::new(),
        }
    }

    /// Takes artifacts of a run, and commits where it is time.
    pub(super) fn add(
        &mut self,
        run: Arc<RunKey>,
        artifacts: Vec<WaitingArtifact>,
    ) -> Result<(), IngestError> {
        if artifacts.is_empty() {
            return Ok(());
        }
        let collect = self.last_took.saturating_mul(COLLECT_FACTOR).max(COLLECT);
        self.due.get_or_insert_with(|| Instant::now() + collect);
        self.artifacts += artifacts.len();
        self.runs.entry(run).or_default().extend(artifacts);
        if self.artifacts >= COMMIT_ARTIFACTS {
            return self.commit();
        }
        self.commit_where_due()
    }

    /// When to commit whatever there is; `None` where there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Commits where it is time.
    pub(super) fn commit_where_due(&mut self) -> Result<(), IngestError> {
        match self.due {
            Some(due) if due <= Instant::now() => self.commit(),
            Some(_) | None => Ok(()),
        }
    }

    /// Commits the rest, and tells of all.
    pub(super) fn finish(mut self) -> Result<Found, IngestError> {
        self.commit()?;
        Ok(self.found)
    }

    fn commit(&mut self) -> Result<(), IngestError> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let mut runs = std::mem::take(&mut self.runs);
        (self.artifacts, self.due) = (0, None);
        let taken_away = self.look.taken_away();
        for artifacts in runs.values_mut() {
            artifacts.retain(|artifact| !taken_away.holds(&artifact.path));
        }
        findings::heal(self.faulty, self.flow, runs.values().flatten())?;
        let found: Vec<_> = runs.iter().map(|(run, of)| (&**run, &**of)).collect();
        let registry = &self.flow.site().registry;
        let counts = registry.confirm_all(&self.flow.root().name, &found)?;
        drop(taken_away);
        for (run, count) in runs.into_keys().zip(counts) {
            metrics::artifacts(&self.flow.root().name, Artifacts::Confirmed, count);
            self.tell(&run, count)?;
            *self.found.entry(run).or_default() += count;
        }
        self.last_took = began.elapsed();
        Ok(())
    }

    fn tell(&self, run: &RunKey, confirmed: u64) -> Result<(), IngestError> {
        if let Some(row) = self.flow.site().registry.run(run)? {
            if row.waiting == 0 {
                info!(run = %run.name, datasets = row.datasets, "run complete");
            } else {
                let (waiting, claims) = (row.waiting, row.claims);
                debug!(run = %run.name, confirmed, waiting, claims, "artifacts confirmed");
            }
        }
        Ok(())
    }
}
