//! Keeps this process at its duty: it runs the site's loops while it holds the lease, and stands by
//! while another does.
//!
//! One worker looks at the lease. As a standby it looks a few times within the lease's duration,
//! and takes over as soon as it may; as the owner it is woken when the tenure ends, stops the loops,
//! and stands by again, in the same process. What runs of a loop's step at that moment runs to its
//! end and can write nothing: the stores were opened under the tenure that has ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use runsync_config::site::Site;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::assembly::{self, Assembly, AssemblyError, Takeover};
use crate::clock::Clock;
use crate::lease::{Held, HolderKind, Keeper, LeaseRow, Standing, Vacancy};
use crate::loops::{Duty, Loops};
use crate::poison::lock;
use crate::service;
use crate::worker::{BackOff, Driver, Next, Pulse, StepError, Wake, Worker, WorkerStatus};

/// Looks after one site for the life of this process.
#[derive(Debug)]
pub struct Steward {
    shared: Arc<Shared>,
    driver: Driver,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    duty: Duty,
    wake: Wake,
    /// The configuration that the loops are, or will be, started with.
    site: Mutex<Site>,
    /// How often that, or the keys that it names, were read again.
    reloads: AtomicU64,
    turn: Mutex<Turn>,
}

#[derive(Debug)]
struct Turn {
    keeper: Keeper,
    held: Option<Held>,
}

impl Steward {
    /// Takes the lease where it is to be had, and runs the loops; else stands by.
    /// From then on a worker keeps at it.
    ///
    /// # Errors
    ///
    /// Where the lease cannot be looked at; and where this process could run the loops, but not
    /// open what they work with.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(site: &Site, clock: Arc<dyn Clock>) -> Result<Self, AssemblyError> {
        let keeper = assembly::keeper(site)?;
        let shared = Arc::new(Shared {
            duty: Duty::standby(),
            wake: Wake::new(),
            site: Mutex::new(site.clone()),
            reloads: AtomicU64::new(0),
            turn: Mutex::new(Turn { keeper, held: None }),
            clock: Arc::clone(&clock),
        });
        shared.look(&mut shared.turn())?;
        let driver = Driver::new(clock);
        let works = Arc::clone(&shared);
        // A takeover comes in time also after errors.
        let back_off = BackOff {
            max: assembly::patience(site),
            ..BackOff::default()
        };
        driver.start_within("lease", shared.wake.clone(), back_off, move || {
            Box::new(LeaseWorker(Arc::clone(&works)))
        });
        Ok(Self { shared, driver })
    }

    /// What this process is about; others may keep it.
    pub fn duty(&self) -> &Duty {
        &self.shared.duty
    }

    /// What the service manager is to show.
    pub fn status_text(&self) -> String {
        self.shared.status_text()
    }

    /// Takes keys, peers and prefixes from a configuration that was read again: for the loops that
    /// run, and for those that a takeover starts later.
    ///
    /// # Errors
    ///
    /// Where a key cannot be read; then nothing has changed.
    pub fn reload(&self, new: &Site) -> Result<(), AssemblyError> {
        assembly::signing_key(new)?;
        // Before the loops are asked for: a takeover shows its loops first, and then looks here.
        self.shared.take_over_from(new);
        match self.shared.duty.loops() {
            Some(loops) => loops.reload(new),
            None => Ok(()),
        }
    }

    /// Names of workers that should have advanced more than `patience` ago.
    pub fn stalled(&self, patience: Duration) -> Vec<String> {
        let mut stalled = self.driver.stalled(patience);
        if let Some(loops) = self.shared.duty.loops() {
            stalled.extend(loops.stalled(patience));
        }
        stalled
    }

    /// All workers: the one that looks after the lease, and those of the loops that run.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let mut workers = self.driver.statuses();
        if let Some(loops) = self.shared.duty.loops() {
            workers.extend(loops.workers());
        }
        workers
    }

    /// Stops everything, and gives the lease back. Where a step goes on after `deadline`, the lease
    /// is left to be taken over once this process has ended.
    pub async fn stop(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        self.driver.cancel();
        if let Some(loops) = self.shared.duty.loops() {
            loops.cancel();
        }
        if let Err(error) = self.driver.stop(deadline).await {
            warn!(%error, "stopped while looking after the lease");
        }
        // Asked again: a takeover may have been under way.
        let loops = self.shared.duty.loops();
        let now = self.shared.clock.now();
        self.shared.duty.stand_by_for_unknown(now);
        let left = until.saturating_duration_since(Instant::now());
        let stopped = match loops {
            Some(loops) => loops.stop(left).await,
            None => Ok(()),
        };
        let held = self.shared.held_where_nobody_is_at_it();
        match (stopped, held) {
            (Ok(()), held) => drop(held),
            (Err(error), held) => {
                warn!(%error, "stopped while working; the work goes on at the next start");
                if let Some(held) = held {
                    held.abandon();
                }
            }
        }
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        lock(&self.turn)
    }

    /// What is held, unless a step goes on that looks after it: it ends with the process.
    fn held_where_nobody_is_at_it(&self) -> Option<Held> {
        match self.turn.try_lock() {
            Ok(mut turn) => turn.held.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().held.take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes from a configuration what may change while the process runs.
    fn take_over_from(&self, new: &Site) {
        let mut site = self.site();
        site.peers.clone_from(&new.peers);
        site.run_prefixes.clone_from(&new.run_prefixes);
        self.reloads.fetch_add(1, Ordering::SeqCst);
    }

    fn site(&self) -> MutexGuard<'_, Site> {
        lock(&self.site)
    }

    fn status_text(&self) -> String {
        let status = self.duty.status();
        match status.holder {
            Some(_) if self.duty.loops().is_some() => "serving".to_owned(),
            Some(holder) => format!("standing by: {holder} holds the lease"),
            None => "standing by".to_owned(),
        }
    }

    /// Sees that the process does what it must, given the lease as it is now.
    fn step(&self) -> Result<Next, AssemblyError> {
        let mut turn = self.turn();
        let lost = |held: &mut Held| held.tenure().ended().is_some();
        if let Some(held) = turn.held.take_if(lost) {
            self.step_down(held);
        }
        if turn.held.is_some() {
            return Ok(Next::Idle(None));
        }
        self.look(&mut turn)
    }

    /// Looks at the lease as a standby, and takes it where it may be taken.
    fn look(&self, turn: &mut Turn) -> Result<Next, AssemblyError> {
        match turn.keeper.look()? {
            Standing::Held(row, wait) => {
                self.stand_by(*row);
                Ok(Next::Idle(Some(wait)))
            }
            Standing::Vacant(vacancy) => match self.take(turn, &vacancy) {
                Ok(true) => Ok(Next::Idle(None)),
                Ok(false) => Ok(Next::Again),
                Err(error) if error.is_busy() => {
                    let wait = assembly::patience(&self.site());
                    warn!(%error, retry_in = ?wait, "cannot take the lease over yet");
                    Ok(Next::Idle(Some(wait)))
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Claims the lease and starts the loops. False where another process was quicker.
    fn take(&self, turn: &mut Turn, vacancy: &Vacancy) -> Result<bool, AssemblyError> {
        let reloads = self.reloads.load(Ordering::SeqCst);
        let site = self.site().clone();
        let takeover = Takeover {
            keeper: &turn.keeper,
            vacancy,
            kind: HolderKind::Daemon,
            clock: &*self.clock,
        };
        let wake = self.wake.clone();
        let taken = assembly::take(
            &site,
            takeover,
            move || wake.wake(),
            |tenure| Assembly::open(&site, tenure, Arc::clone(&self.clock)),
        )?;
        let Some((held, assembly)) = taken else {
            return Ok(false);
        };
        let fence = held.tenure().fence();
        let repository = assembly.repository;
        let loops = Arc::new(Loops::start(Arc::new(assembly), Arc::clone(&self.clock)));
        let row = LeaseRow {
            fence,
            beat: 0,
            holder: Some(held.holder().clone()),
        };
        self.duty.own(Arc::clone(&loops), row, self.clock.now());
        turn.held = Some(held);
        info!(site = %site.name, %repository, roots = site.roots.len(), %fence, "runsync serves");
        service::show_status(&self.status_text());
        if self.reloads.load(Ordering::SeqCst) != reloads {
            // The configuration was read again in the meantime.
            let site = self.site().clone();
            loops.reload(&site)?;
        }
        Ok(true)
    }

    fn stand_by(&self, row: LeaseRow) {
        let before = self.duty.status();
        if before.fence == row.fence && before.holder == row.holder {
            return;
        }
        if let Some(holder) = &row.holder {
            info!(%holder, fence = %row.fence, "standing by");
        }
        self.duty.stand_by(row, self.clock.now());
        service::show_status(&self.status_text());
    }

    /// Stops the loops of a tenure that has ended.
    fn step_down(&self, held: Held) {
        let fence = held.tenure().fence();
        let why = held.tenure().ended();
        warn!(%fence, why = why.map(tracing::field::display), "lease lost; this process stands by");
        let loops = self.duty.loops();
        self.duty.stand_by_for_unknown(self.clock.now());
        service::show_status(&self.status_text());
        if let Some(loops) = loops
            && let Err(error) = Handle::current().block_on(loops.stop(service::STOP_DEADLINE))
        {
            warn!(%error, "a step of the lost tenure goes on, and can write nothing");
        }
        drop(held);
    }
}

struct LeaseWorker(Arc<Shared>);

impl Worker for LeaseWorker {
    fn step(&mut self, _: &Pulse) -> Result<Next, StepError> {
        Ok(self.0.step()?)
    }
}
