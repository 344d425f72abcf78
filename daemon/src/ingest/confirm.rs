//! Looks for the artifacts that runs wait for, and turns those it finds into records.
//!
//! The only stage that looks at artifacts. It looks by directory, often at first and then less
//! and less often, and at once where a watched directory has changed. An artifact of another
//! size or checksum stays waited for and becomes a finding once it has stopped changing.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::root::{ConfirmLevel, Root};
use runsync_manifest::checksum::{self, Wanted};
use runsync_manifest::name::{ArtifactPath, RunKey};
use serde::Serialize;
use tracing::{info, warn};

use super::IngestError;
use super::flow::Flow;
use crate::clock::later;
use crate::datastore::{Datastore, Look};
use crate::file_identity::FileIdentity;
use crate::ledger::record::{Finding, ManifestState};
use crate::registry::record::{WaitingArtifact, WaitingRun};

/// Artifacts looked at in one step of one run.
const STEP_ARTIFACTS: usize = 4_096;
/// First wait before a run's artifacts are looked at again; doubled while none are found.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest such wait. Long enough that a million waited-for files cost little, short enough that
/// an artifact whose event was lost is found within minutes.
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// How often overdue runs are looked for.
const OVERDUE_INTERVAL: Duration = Duration::from_secs(30);
/// Faulty artifacts remembered, so that one file is not read again and again.
const FAULTY_REMEMBERED: usize = 100_000;
/// Kind of the finding for an artifact whose size or checksum differs.
const CORRUPT: &str = "corrupt";
/// Kind of the finding for a run that waits past its deadline.
const OVERDUE: &str = "run_overdue";

/// Confirms the artifacts of one root.
#[derive(Debug)]
pub struct Confirming {
    flow: Flow,
    looks: HashMap<RunKey, RunLook>,
    faulty: HashMap<ArtifactPath, FileIdentity>,
    directories: BTreeSet<String>,
    overdue_checked: Option<Timestamp>,
}

/// Where the look at one run's artifacts stands.
#[derive(Debug, Clone)]
struct RunLook {
    after: Option<ArtifactPath>,
    found: u64,
    tries: u32,
    next: Timestamp,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confirmed {
    /// Artifacts that got their record.
    pub artifacts: u64,
    /// When to look again; `None` while nothing is waited for.
    pub next: Option<Timestamp>,
}

/// What is wrong with an artifact that is there.
#[derive(Debug)]
struct Fault {
    path: ArtifactPath,
    identity: FileIdentity,
    detail: String,
}

/// What the looks at one page of artifacts came to.
#[derive(Debug, Default)]
struct Page {
    confirmed: Vec<WaitingArtifact>,
    faults: Vec<Fault>,
}

impl Confirming {
    /// Nothing looked at yet.
    pub fn new(flow: Flow) -> Self {
        Self {
            flow,
            looks: HashMap::new(),
            faulty: HashMap::new(),
            directories: BTreeSet::new(),
            overdue_checked: None,
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
        self.looks
            .retain(|run, _| runs.iter().any(|waiting| waiting.run == *run));
        if runs.is_empty() {
            self.directories.clear();
            self.faulty.clear();
        }
        self.report_overdue(&runs, now)?;
        let mut artifacts = 0;
        for waiting in &runs {
            proceed(progress)?;
            if self.look_at(&waiting.run, now).next <= now {
                artifacts += self.look_at_run(&waiting.run, now)?;
            }
        }
        let next = self.looks.values().map(|look| look.next).min();
        Ok(Confirmed { artifacts, next })
    }

    /// Looks at what is waited for in directories that have changed.
    pub fn changed(
        &mut self,
        directories: &[String],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<u64, IngestError> {
        let mut artifacts = 0;
        for waiting in self.waiting_runs()? {
            for directory in directories {
                proceed(progress)?;
                artifacts += self.look_at_directory(&waiting.run, directory)?;
            }
        }
        Ok(artifacts)
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
            proceed(progress)?;
            let page = self.page(run, after.as_deref(), STEP_ARTIFACTS)?;
            let Some(last) = page.last() else {
                return Ok(artifacts);
            };
            after = Some(last.path.as_str().to_owned());
            artifacts += self.confirm(run, &page)?;
        }
    }

    fn waiting_runs(&self) -> Result<Vec<WaitingRun>, IngestError> {
        let mut runs = self.flow.site().registry.waiting_runs()?;
        runs.retain(|waiting| waiting.root == self.flow.root().name);
        Ok(runs)
    }

    fn look_at(&mut self, run: &RunKey, now: Timestamp) -> &mut RunLook {
        self.looks.entry(run.clone()).or_insert(RunLook {
            after: None,
            found: 0,
            tries: 0,
            next: now,
        })
    }

    fn look_at_run(&mut self, run: &RunKey, now: Timestamp) -> Result<u64, IngestError> {
        let after = self.look_at(run, now).after.clone();
        let page = self.page(
            run,
            after.as_ref().map(ArtifactPath::as_str),
            STEP_ARTIFACTS,
        )?;
        let confirmed = self.confirm(run, &page)?;
        self.note_directories(&page);
        let last = page.last().map(|artifact| artifact.path.clone());
        let whole = page.len() < STEP_ARTIFACTS;
        let look = self.look_at(run, now);
        look.found += confirmed;
        look.after = last;
        if whole {
            look.tries = if look.found > 0 {
                0
            } else {
                look.tries.saturating_add(1)
            };
            look.found = 0;
            look.after = None;
            look.next = later(now, wait(look.tries));
        }
        Ok(confirmed)
    }

    fn look_at_directory(&mut self, run: &RunKey, directory: &str) -> Result<u64, IngestError> {
        let below = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        let mut confirmed = 0;
        let mut after = below.clone();
        loop {
            let mut page = self.page(run, Some(&after), STEP_ARTIFACTS)?;
            let whole = page.len() < STEP_ARTIFACTS;
            page.retain(|artifact| artifact.path.as_str().starts_with(&below));
            let Some(last) = page.last() else {
                return Ok(confirmed);
            };
            last.path.as_str().clone_into(&mut after);
            confirmed += self.confirm(run, &page)?;
            if whole {
                return Ok(confirmed);
            }
        }
    }

    fn page(
        &self,
        run: &RunKey,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WaitingArtifact>, IngestError> {
        let root = &self.flow.root().name;
        Ok(self
            .flow
            .site()
            .registry
            .waiting_artifacts(run, root, after, limit)?)
    }

    fn confirm(&mut self, run: &RunKey, page: &[WaitingArtifact]) -> Result<u64, IngestError> {
        if page.is_empty() {
            return Ok(0);
        }
        let found = self.look(page)?;
        for fault in found.faults {
            self.keep_fault(run, fault)?;
        }
        if found.confirmed.is_empty() {
            return Ok(0);
        }
        let site = self.flow.site();
        let root = &self.flow.root().name;
        let confirmed = site.registry.confirm(run, root, &found.confirmed)?;
        for artifact in &found.confirmed {
            if self.faulty.remove(&artifact.path).is_some() {
                site.ledger
                    .healed(CORRUPT, &subject(self.flow.root(), &artifact.path))?;
            }
        }
        self.tell(run, confirmed)?;
        Ok(confirmed)
    }

    fn tell(&self, run: &RunKey, confirmed: u64) -> Result<(), IngestError> {
        if let Some(row) = self.flow.site().registry.run(run)? {
            if row.waiting == 0 {
                info!(run = %run.name, datasets = row.datasets, "run complete");
            } else {
                let (waiting, claims) = (row.waiting, row.claims);
                tracing::debug!(run = %run.name, confirmed, waiting, claims, "artifacts confirmed");
            }
        }
        Ok(())
    }

    fn look(&self, page: &[WaitingArtifact]) -> Result<Page, IngestError> {
        let datastore = &**self.flow.datastore();
        let paths: Vec<&ArtifactPath> = page.iter().map(|artifact| &artifact.path).collect();
        let looks = datastore.look(&paths)?;
        let there: Vec<(&WaitingArtifact, FileIdentity)> = page
            .iter()
            .zip(looks)
            .filter_map(|(artifact, look)| match look {
                Look::File(identity) => Some((artifact, identity)),
                Look::Absent | Look::Irregular | Look::Unreadable(_) => None,
            })
            .filter(|(artifact, identity)| self.faulty.get(&artifact.path) != Some(identity))
            .collect();
        let threads = match self.flow.root().confirm {
            ConfirmLevel::Checksum => self.flow.root().confirm_threads.max(1),
            ConfirmLevel::Trust | ConfirmLevel::Size => 1,
        };
        let level = self.flow.root().confirm;
        if threads == 1 {
            return Ok(compare_all(&there, level, datastore));
        }
        Ok(compare_in_threads(&there, level, datastore, threads))
    }

    fn keep_fault(&mut self, run: &RunKey, fault: Fault) -> Result<(), IngestError> {
        let now = self.flow.site().clock.now();
        let unchanged = i128::from(fault.identity.modified_ns)
            + i128::try_from(self.flow.root().settle.as_nanos()).unwrap_or(i128::MAX);
        if unchanged > now.as_nanosecond() {
            // It may still be on its way.
            return Ok(());
        }
        let subject = subject(self.flow.root(), &fault.path);
        warn!(run = %run.name, path = %fault.path, detail = fault.detail, "artifact is not what its manifest says");
        let detail = format!("run `{}`: {}", run.name, fault.detail);
        self.find(CORRUPT, subject, detail, now)?;
        if self.faulty.len() >= FAULTY_REMEMBERED {
            self.faulty.clear();
        }
        self.faulty.insert(fault.path, fault.identity);
        Ok(())
    }

    fn find(
        &self,
        kind: &str,
        subject: String,
        detail: String,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        let kind = kind.to_owned();
        let finding = Finding {
            kind,
            subject,
            detail,
            first_seen: now,
            last_seen: now,
            times: 1,
        };
        Ok(self.flow.site().ledger.find_all(&[finding])?)
    }

    fn note_directories(&mut self, page: &[WaitingArtifact]) {
        let most = self.flow.root().watched_directories_max;
        for artifact in page {
            if self.directories.len() >= most {
                return;
            }
            let directory = artifact
                .path
                .as_str()
                .rsplit_once('/')
                .map_or("", |(head, _)| head);
            if !self.directories.contains(directory) {
                self.directories.insert(directory.to_owned());
            }
        }
    }

    fn report_overdue(&mut self, runs: &[WaitingRun], now: Timestamp) -> Result<(), IngestError> {
        if self
            .overdue_checked
            .is_some_and(|checked| later(checked, OVERDUE_INTERVAL) > now)
        {
            return Ok(());
        }
        self.overdue_checked = Some(now);
        let ledger = &self.flow.site().ledger;
        let waiting: BTreeSet<String> = runs
            .iter()
            .map(|waiting| overdue_subject(self.flow.root(), &waiting.run))
            .collect();
        for finding in ledger.findings()? {
            let ours = finding
                .subject
                .starts_with(&format!("{}:", self.flow.root().name));
            if finding.kind == OVERDUE && ours && !waiting.contains(&finding.subject) {
                ledger.healed(OVERDUE, &finding.subject)?;
            }
        }
        for waiting in runs {
            self.report_if_overdue(waiting, now)?;
        }
        Ok(())
    }

    fn report_if_overdue(&self, waiting: &WaitingRun, now: Timestamp) -> Result<(), IngestError> {
        let registered = self
            .flow
            .site()
            .ledger
            .of_run(&waiting.run)?
            .into_iter()
            .filter(|row| row.state == ManifestState::Registered)
            .map(|row| row.decided_at)
            .max();
        let deadline = self.flow.root().waiting_deadline;
        let Some(since) = registered.filter(|since| later(*since, deadline) <= now) else {
            return Ok(());
        };
        let detail = format!("waits for {} artifacts since {since}", waiting.artifacts);
        self.find(
            OVERDUE,
            overdue_subject(self.flow.root(), &waiting.run),
            detail,
            now,
        )
    }
}

fn proceed(progress: &mut dyn FnMut() -> ControlFlow<()>) -> Result<(), IngestError> {
    match progress() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(IngestError::Interrupted),
    }
}

/// An artifact that is not in the root as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Path in the root.
    pub path: ArtifactPath,
    /// What is different.
    pub detail: String,
}

/// Compares artifacts (sorted by path) with what lies in the flow's root, checksums and all.
pub fn differences(
    artifacts: &[WaitingArtifact],
    flow: &Flow,
) -> Result<Vec<Difference>, IngestError> {
    let datastore = &**flow.datastore();
    let paths: Vec<&ArtifactPath> = artifacts.iter().map(|artifact| &artifact.path).collect();
    let mut found = Vec::new();
    for (artifact, look) in artifacts.iter().zip(datastore.look(&paths)?) {
        let detail = match look {
            Look::File(identity) => compare(artifact, identity, ConfirmLevel::Checksum, datastore)
                .unwrap_or_else(|error| Some(super::error_chain(&error))),
            Look::Absent => Some("it is not there".to_owned()),
            Look::Irregular => Some("it is not a regular file".to_owned()),
            Look::Unreadable(fault) => Some(format!("it cannot be looked at: {fault}")),
        };
        let path = artifact.path.clone();
        found.extend(detail.map(|detail| Difference { path, detail }));
    }
    Ok(found)
}

fn compare_all(
    there: &[(&WaitingArtifact, FileIdentity)],
    level: ConfirmLevel,
    datastore: &dyn Datastore,
) -> Page {
    let mut page = Page::default();
    for (artifact, identity) in there {
        match compare(artifact, *identity, level, datastore) {
            Ok(None) => page.confirmed.push((*artifact).clone()),
            Ok(Some(detail)) => page.faults.push(Fault {
                path: artifact.path.clone(),
                identity: *identity,
                detail,
            }),
            Err(error) => {
                warn!(path = %artifact.path, error = %super::error_chain(&error), "artifact cannot be read");
            }
        }
    }
    page
}

fn compare_in_threads(
    there: &[(&WaitingArtifact, FileIdentity)],
    level: ConfirmLevel,
    datastore: &dyn Datastore,
    threads: usize,
) -> Page {
    let share = there.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = there
            .chunks(share)
            .map(|part| scope.spawn(move || compare_all(part, level, datastore)))
            .collect();
        let mut page = Page::default();
        for part in parts {
            // A part whose thread panicked is looked at again later, as if it were absent.
            let part = part.join().unwrap_or_default();
            page.confirmed.extend(part.confirmed);
            page.faults.extend(part.faults);
        }
        page
    })
}

/// Why an artifact cannot be compared now.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Open(#[from] crate::datastore::DatastoreError),
    #[error("cannot read the artifact")]
    Read(#[from] std::io::Error),
}

/// `None` where the artifact is what its manifest says, else what differs.
fn compare(
    artifact: &WaitingArtifact,
    identity: FileIdentity,
    level: ConfirmLevel,
    datastore: &dyn Datastore,
) -> Result<Option<String>, CompareError> {
    if identity.size != artifact.size {
        let (expected, found) = (artifact.size, identity.size);
        return Ok(Some(format!(
            "its size is {found} bytes, expected {expected}"
        )));
    }
    if level != ConfirmLevel::Checksum {
        return Ok(None);
    }
    let (file, _) = datastore.open(&artifact.path)?;
    let expected = &artifact.checksums;
    let wanted = Wanted {
        md5: expected.md5.is_some(),
        sha256: expected.sha256.is_some(),
    };
    let (size, found) = checksum::checksum(file, wanted)?;
    if size != artifact.size {
        return Ok(Some(format!(
            "it ends after {size} bytes, expected {}",
            artifact.size
        )));
    }
    Ok((found != *expected).then(|| {
        format!(
            "its adler32 is {}, expected {}{}",
            found.adler32,
            expected.adler32,
            if found.adler32 == expected.adler32 {
                " (md5 or sha256 differ)"
            } else {
                ""
            }
        )
    }))
}

fn subject(root: &Root, path: &ArtifactPath) -> String {
    format!("{}:{path}", root.name)
}

fn overdue_subject(root: &Root, run: &RunKey) -> String {
    format!("{}:{run}", root.name)
}

fn wait(tries: u32) -> Duration {
    RETRY_FIRST
        .saturating_mul(2_u32.saturating_pow(tries))
        .min(RETRY_LONGEST)
}
