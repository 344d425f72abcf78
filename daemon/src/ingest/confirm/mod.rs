//! Looks for the artifacts that runs wait for, and turns those it finds into records.
//!
//! The only stage that looks at artifacts. It looks by directory, often at first and then less
//! and less often, and where a watched directory has changed as soon as that directory has rested
//! from its last look. An artifact of another size or checksum stays waited for and becomes a
//! finding once it has stopped changing.

mod schedule;

mod owed;

mod compare;

mod findings;

mod overdue;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

use jiff::Timestamp;
use runsync_config::root::ConfirmLevel;
use runsync_manifest::name::{ArtifactPath, RunKey};
use tracing::{debug, info};

use self::compare::{Compared, There};
pub use self::compare::{Difference, differences};
use self::findings::Faulty;
use self::overdue::Overdue;
use self::owed::Owed;
use self::schedule::Schedule;
use super::IngestError;
use super::flow::Flow;
use crate::clock::later;
use crate::datastore::Look;
use crate::registry::record::{WaitingArtifact, WaitingRun};
use crate::telemetry::metrics::{self, Artifacts};

/// Artifacts that share a commit: few commits, because each costs a sync of the disk and the
/// same pages of the largest table again.
const COMMIT_ARTIFACTS: usize = 16_384;
/// The same where each artifact is read first: what was read is not lost by a stop.
const COMMIT_ARTIFACTS_READ: usize = 256;
/// Artifacts looked at between two questions whether to go on, which a slow file system must be
/// able to answer within the patience of a watchdog.
const LOOK_ARTIFACTS: usize = 1_024;

/// Asked now and then whether to go on.
type Going<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

/// Confirms the artifacts of one root.
#[derive(Debug)]
pub struct Confirming {
    flow: Flow,
    schedule: Schedule,
    owed: Owed,
    faulty: Faulty,
    overdue: Overdue,
    directories: BTreeSet<String>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confirmed {
    /// Artifacts that got their record.
    pub artifacts: u64,
    /// When to look again; `None` while nothing is waited for.
    pub next: Option<Timestamp>,
}

impl Confirming {
    /// Nothing looked at yet.
    pub fn new(flow: Flow) -> Self {
        Self {
            flow,
            schedule: Schedule::default(),
            owed: Owed::default(),
            faulty: Faulty::default(),
            overdue: Overdue::default(),
            directories: BTreeSet::new(),
        }
    }

    /// Directories, relative to the root, that hold artifacts waited for; as many as may be watched.
    pub fn directories(&self) -> &BTreeSet<String> {
        &self.directories
    }

    /// The flow of the root.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Looks at what is waited for, a bounded number of artifacts of each run whose time has come.
    /// `progress` is asked between pages and may break off.
    pub fn step(
        &mut self,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Confirmed, IngestError> {
        let now = self.flow.site().clock.now();
        let runs = self.waiting_runs()?;
        self.schedule.keep(&runs, now);
        if runs.is_empty() {
            self.faulty.forget_all();
        }
        self.overdue.report(&self.flow, &runs, now)?;
        let mut artifacts = 0;
        for waiting in &runs {
            proceed(progress)?;
            if self.schedule.is_due(&waiting.run, now) {
                artifacts += self.look_at_run(&waiting.run, now, progress)?;
            }
        }
        let most = self.flow.root().watched_directories_max;
        self.directories = self.schedule.folders(most);
        let next = self.schedule.next();
        Ok(Confirmed { artifacts, next })
    }

    /// Looks at what is waited for in directories that have changed, now or when they were named
    /// before. One that was looked at just now is put off: `next` says until when, and then this
    /// is to be called again, with whatever directories.
    pub fn changed(
        &mut self,
        directories: &[String],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Confirmed, IngestError> {
        self.owed.add(directories);
        let due = self.owed.due(Instant::now());
        let mut artifacts = 0;
        if !due.is_empty() {
            let runs = self.waiting_runs()?;
            for directory in due {
                let began = Instant::now();
                for waiting in &runs {
                    proceed(progress)?;
                    artifacts += self.look_at_directory(&waiting.run, &directory, progress)?;
                }
                self.owed.looked(&directory, began, Instant::now());
            }
        }
        let wait = self.owed.wait(Instant::now());
        let next = wait.map(|wait| later(self.flow.site().clock.now(), wait));
        Ok(Confirmed { artifacts, next })
    }

    /// Looks at all that one run waits for, whatever the schedule says.
    pub fn confirm_run(
        &mut self,
        run: &RunKey,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<u64, IngestError> {
        let mut artifacts = 0;
        let mut after: Option<String> = None;
        loop {
            let page = self.page(run, after.as_deref())?;
            let Some(last) = page.last() else {
                return Ok(artifacts);
            };
            after = Some(last.path.as_str().to_owned());
            artifacts += self.confirm(run, &page, progress)?;
        }
    }

    fn waiting_runs(&self) -> Result<Vec<WaitingRun>, IngestError> {
        let mut runs = self.flow.site().registry.waiting_runs()?;
        runs.retain(|waiting| waiting.root == self.flow.root().name);
        Ok(runs)
    }

    fn look_at_run(
        &mut self,
        run: &RunKey,
        now: Timestamp,
        progress: &mut Going<'_>,
    ) -> Result<u64, IngestError> {
        let page = self.page(run, self.schedule.after(run))?;
        let confirmed = self.confirm(run, &page, progress)?;
        let whole = page.len() < self.page_artifacts();
        let most = self.flow.root().watched_directories_max;
        self.schedule.gather(run, &page, most);
        self.schedule.looked(run, &page, confirmed, whole, now);
        Ok(confirmed)
    }

    fn look_at_directory(
        &mut self,
        run: &RunKey,
        directory: &str,
        progress: &mut Going<'_>,
    ) -> Result<u64, IngestError> {
        let below = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        let mut confirmed = 0;
        let mut after = below.clone();
        loop {
            let mut page = self.page(run, Some(&after))?;
            let whole = page.len() < self.page_artifacts();
            page.retain(|artifact| artifact.path.as_str().starts_with(&below));
            let Some(last) = page.last() else {
                return Ok(confirmed);
            };
            last.path.as_str().clone_into(&mut after);
            confirmed += self.confirm(run, &page, progress)?;
            if whole {
                return Ok(confirmed);
            }
        }
    }

    fn page_artifacts(&self) -> usize {
        match self.flow.root().confirm {
            ConfirmLevel::Checksum => COMMIT_ARTIFACTS_READ,
            ConfirmLevel::Trust | ConfirmLevel::Size => COMMIT_ARTIFACTS,
        }
    }

    fn page(&self, run: &RunKey, after: Option<&str>) -> Result<Vec<WaitingArtifact>, IngestError> {
        let root = &self.flow.root().name;
        let registry = &self.flow.site().registry;
        Ok(registry.waiting_artifacts(run, root, after, self.page_artifacts())?)
    }

    /// Records those of a page that are there and right, in one commit.
    fn confirm(
        &mut self,
        run: &RunKey,
        page: &[WaitingArtifact],
        progress: &mut Going<'_>,
    ) -> Result<u64, IngestError> {
        let Compared { confirmed, faults } = self.look(page, progress)?;
        self.faulty.found(&self.flow, run, faults)?;
        if confirmed.is_empty() {
            return Ok(0);
        }
        let registry = &self.flow.site().registry;
        let count = registry.confirm(run, &self.flow.root().name, &confirmed)?;
        metrics::artifacts(&self.flow.root().name, Artifacts::Confirmed, count);
        self.faulty.healed(&self.flow, &confirmed)?;
        self.tell(run, count)?;
        Ok(count)
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

    fn look(
        &self,
        page: &[WaitingArtifact],
        progress: &mut Going<'_>,
    ) -> Result<Compared, IngestError> {
        let datastore = &**self.flow.datastore();
        let mut there: Vec<There<'_>> = Vec::new();
        for part in page.chunks(LOOK_ARTIFACTS) {
            proceed(progress)?;
            let paths: Vec<&ArtifactPath> = part.iter().map(|artifact| &artifact.path).collect();
            for (artifact, look) in part.iter().zip(datastore.look(&paths)?) {
                match look {
                    Look::File(identity) if !self.faulty.knows(&artifact.path, identity) => {
                        there.push((artifact, identity));
                    }
                    Look::File(_) | Look::Absent | Look::Irregular | Look::Unreadable(_) => {}
                }
            }
        }
        compare::compare_all(&there, self.flow.root(), datastore, progress)
    }
}

fn proceed(progress: &mut Going<'_>) -> Result<(), IngestError> {
    match progress() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(IngestError::Interrupted),
    }
}
