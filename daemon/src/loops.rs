//! The loops of a site, and what this process is about: to run them, or to stand by.
//!
//! One daemon at a time runs the loops of a site; it alone has an [`Assembly`], which can write.
//! [`Duty`] is how the other parts of the process (the HTTP surface above all) learn which of the
//! two it is, and reach the loops where there are any. [`crate::steward`] decides it.

use std::ops::ControlFlow;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::jobs::JobName;
use runsync_config::root::RootName;
use runsync_config::site::Site;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::assembly::{Assembly, AssemblyError, ScheduledJob};
use crate::clock::Clock;
use crate::ingest::following::FollowWorker;
use crate::ingest::workers::{ConfirmWorker, ManifestWorker, Requests};
use crate::jobs::JobWorker;
use crate::lease::{Fence, Holder, LeaseRow};
use crate::poison::unpoisoned;
use crate::publish::{PublishWorker, RuleEndingWorker};
use crate::registry::removal::Operation;
use crate::removal::RemovalWorker;
use crate::sync::{Concerned, SyncDue, SyncPart, SyncWork, SyncWorker};
use crate::telemetry::{metrics, removals};
use crate::worker::{Driver, StillRunning, Wake, WorkerStatus};

/// The running loops of a site.
#[derive(Debug)]
pub struct Loops {
    assembly: Arc<Assembly>,
    driver: Driver,
    roots: Vec<RootLoops>,
    removals: Wake,
    following: Wake,
    publishing: Wake,
    syncing: Wake,
    sync_due: SyncDue,
    rules: Wake,
}

/// How the two loops of one root are told of changes.
#[derive(Debug)]
struct RootLoops {
    root: RootName,
    requests: Requests,
    manifests: Wake,
    artifacts: Wake,
}

impl Loops {
    /// Starts the loops of every root on the current tokio runtime.
    pub fn start(assembly: Arc<Assembly>, clock: Arc<dyn Clock>) -> Self {
        let driver = Driver::new(clock);
        let (removing_wake, following, publishing) = (Wake::new(), Wake::new(), Wake::new());
        let rules = Wake::new();
        let roots = assembly
            .flows
            .iter()
            .map(|flow| {
                let loops = RootLoops {
                    root: flow.root().name.clone(),
                    requests: Requests::default(),
                    manifests: Wake::new(),
                    artifacts: Wake::new(),
                };
                let (root, artifacts) = (loops.root.clone(), loops.artifacts.clone());
                assembly.adopting.tell(root, artifacts);
                metrics::expect(&loops.root);
                removals::expect_root(&loops.root);
                let wake = loops.manifests.clone();
                let others = [loops.artifacts.clone(), following.clone()];
                let (of, asked) = (flow.clone(), loops.requests.clone());
                let name = format!("manifests of {}", loops.root);
                driver.start(name, wake.clone(), move || {
                    let (wake, others) = (wake.clone(), others.clone());
                    Box::new(ManifestWorker::new(of.clone(), wake, others, asked.clone()))
                });
                let (of, wake) = (flow.clone(), loops.artifacts.clone());
                let asked = loops.requests.clone();
                let name = format!("artifacts of {}", loops.root);
                driver.start(name, wake.clone(), move || {
                    Box::new(ConfirmWorker::new(of.clone(), wake.clone(), asked.clone()))
                });
                loops
            })
            .collect();
        for operation in Operation::ALL {
            removals::expect_operation(operation.as_str());
        }
        let removing = Arc::clone(&assembly.removing);
        driver.start("removals".to_owned(), removing_wake.clone(), move || {
            Box::new(RemovalWorker::new(Arc::clone(&removing)))
        });
        let (follow, wake) = (Arc::clone(&assembly.following), removing_wake.clone());
        driver.start("following".to_owned(), following.clone(), move || {
            Box::new(FollowWorker::new(Arc::clone(&follow), wake.clone()))
        });
        if assembly.publishing.rucio().is_ok() {
            let publish = Arc::clone(&assembly.publishing);
            driver.start("publishing".to_owned(), publishing.clone(), move || {
                Box::new(PublishWorker::new(Arc::clone(&publish)))
            });
            let ending = Arc::clone(&assembly.publishing);
            driver.start("rules".to_owned(), rules.clone(), move || {
                Box::new(RuleEndingWorker::new(Arc::clone(&ending)))
            });
        }
        assembly.events.start(&driver);
        let (syncing, sync_due) = (Wake::new(), SyncDue::default());
        let concerned = Concerned {
            removals: removing_wake.clone(),
            rules: rules.clone(),
        };
        start_syncing(&driver, &assembly, (&syncing, &sync_due), concerned);
        start_jobs(&driver, &assembly);
        Self {
            assembly,
            driver,
            roots,
            removals: removing_wake,
            following,
            publishing,
            syncing,
            sync_due,
            rules,
        }
    }

    /// What the loops work with.
    pub fn assembly(&self) -> &Arc<Assembly> {
        &self.assembly
    }

    /// Has the loops of `root`, or of all roots, look for work now, also where no event and no
    /// schedule calls for it. Returns how many roots it woke.
    pub fn wake(&self, root: Option<&RootName>) -> usize {
        let wanted = |loops: &&RootLoops| root.is_none_or(|root| loops.root == *root);
        let woken = self.roots.iter().filter(wanted);
        woken
            .inspect(|loops| {
                loops.requests.look_now();
                loops.manifests.wake();
                loops.artifacts.wake();
            })
            .count()
    }

    /// Has the loop of removals look for work now.
    pub fn wake_removals(&self) {
        self.removals.wake();
    }

    /// Has the loop that follows origins look for work now.
    pub fn wake_following(&self) {
        self.following.wake();
    }

    /// Has the loop that publishes look for work now.
    pub fn wake_publishing(&self) {
        self.publishing.wake();
    }

    /// Has all be compared with Rucio soon.
    pub fn wake_syncing(&self) {
        self.sync_due.set();
        self.syncing.wake();
    }

    /// The job of that name, and what it does.
    pub fn job(&self, name: &JobName) -> Option<ScheduledJob> {
        let assembly = &self.assembly;
        let own = assembly.rucio_sync.iter().map(|job| ScheduledJob {
            job: Arc::clone(job),
            work: Arc::new(SyncWork::new(Arc::clone(&assembly.syncing), SyncPart::Next)),
        });
        let mut all = own.chain(assembly.jobs.iter().cloned());
        all.find(|one| one.job.name == *name)
    }

    /// Has the loop that ends the rules of removed runs look at all of them now.
    pub fn wake_rules(&self) {
        self.assembly.publishing.press();
        self.rules.wake();
    }

    /// Takes keys, peers and prefixes from a configuration that was read again, and has untrusted
    /// manifests tried again.
    ///
    /// # Errors
    ///
    /// Where a key cannot be read; then nothing has changed.
    pub fn reload(&self, site: &Site) -> Result<(), AssemblyError> {
        self.assembly.reload(site)?;
        self.retry_untrusted();
        self.following.wake();
        Ok(())
    }

    fn retry_untrusted(&self) {
        for loops in &self.roots {
            loops.requests.retry_untrusted();
            loops.manifests.wake();
        }
    }

    /// All workers, in the order they were started.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.driver.statuses()
    }

    /// Names of workers that should have advanced more than `patience` ago.
    pub fn stalled(&self, patience: Duration) -> Vec<String> {
        self.driver.stalled(patience)
    }

    /// Breaks off what is done for a client beside the workers, where these are to stop.
    pub fn go_on(&self) -> ControlFlow<()> {
        if self.driver.is_stopping() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Has all workers stop, and waits for none.
    pub fn cancel(&self) {
        self.driver.cancel();
    }

    /// Stops all workers; see [`Driver::stop`].
    ///
    /// # Errors
    ///
    /// [`StillRunning`] names those whose step goes on after `deadline`.
    pub async fn stop(&self, deadline: Duration) -> Result<(), StillRunning> {
        self.driver.stop(deadline).await
    }
}

/// Starts the loop that compares this site with Rucio, and its schedule, where that can be.
fn start_syncing(
    driver: &Driver,
    assembly: &Assembly,
    (wake, due): (&Wake, &SyncDue),
    concerned: Concerned,
) {
    let syncing = &assembly.syncing;
    let Some(job) = &assembly.rucio_sync else {
        return;
    };
    if syncing.roots(None).is_err() {
        return;
    }
    syncing.concerns(concerned);
    let (of, is_due, noted) = (Arc::clone(syncing), due.clone(), Arc::clone(job));
    driver.start("syncing".to_owned(), wake.clone(), move || {
        let (of, noted) = (Arc::clone(&of), Arc::clone(&noted));
        Box::new(SyncWorker::new(of, is_due.clone(), noted))
    });
    let (wake, due) = (wake.clone(), due.clone());
    driver.schedule(job.name.to_string(), &job.at, move || {
        due.set();
        wake.wake();
    });
}

/// Starts a loop for each job of the schedule: so none waits for another, and none is under way twice.
fn start_jobs(driver: &Driver, assembly: &Assembly) {
    for ScheduledJob { job, work } in &assembly.jobs {
        let wake = Wake::new();
        let (of, does) = (Arc::clone(job), Arc::clone(work));
        driver.start(format!("job {}", job.name), wake.clone(), move || {
            Box::new(JobWorker::new(Arc::clone(&of), Arc::clone(&does)))
        });
        driver.schedule(job.name.to_string(), &job.at, move || wake.wake());
    }
}

/// Which part a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It runs the loops.
    Owner,
    /// It answers reads, and takes over when it may.
    #[default]
    Standby,
}

/// What a process is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct DutyStatus {
    /// Its part.
    pub role: Role,
    /// The highest fencing number that it has seen.
    #[schema(value_type = u64)]
    pub fence: Fence,
    /// Since when that is so; `None` while it has not looked at the lease.
    pub since: Option<Timestamp>,
    /// Who holds the lease: an owner itself. `None` where a standby has not seen who does.
    pub holder: Option<Holder>,
}

/// Whether this process runs the loops; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Duty(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    loops: Option<Arc<Loops>>,
    status: DutyStatus,
}

impl Duty {
    /// Stands by: runs no loops.
    pub fn standby() -> Self {
        Self::default()
    }

    /// The loops, where this process runs them.
    pub fn loops(&self) -> Option<Arc<Loops>> {
        self.read().loops.clone()
    }

    /// What this process is about.
    pub fn status(&self) -> DutyStatus {
        self.read().status.clone()
    }

    /// Runs these loops from now on, as the holder that `lease` names.
    pub fn own(&self, loops: Arc<Loops>, lease: LeaseRow, now: Timestamp) {
        let role = Role::Owner;
        self.change(Some(loops), |_| Self::as_of(role, lease, now));
    }

    /// Stands by from now on: the lease is another's.
    pub fn stand_by(&self, lease: LeaseRow, now: Timestamp) {
        let role = Role::Standby;
        self.change(None, |_| Self::as_of(role, lease, now));
    }

    /// Stands by from now on, and does not know whose the lease is.
    pub fn stand_by_for_unknown(&self, now: Timestamp) {
        self.change(None, |before| DutyStatus {
            role: Role::Standby,
            fence: before.fence,
            since: Some(now),
            holder: None,
        });
    }

    fn as_of(role: Role, lease: LeaseRow, now: Timestamp) -> DutyStatus {
        DutyStatus {
            role,
            fence: lease.fence,
            since: Some(now),
            holder: lease.holder,
        }
    }

    fn change(&self, loops: Option<Arc<Loops>>, status: impl FnOnce(&DutyStatus) -> DutyStatus) {
        let mut state = unpoisoned(self.0.write());
        state.status = status(&state.status);
        state.loops = loops;
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        unpoisoned(self.0.read())
    }
}
