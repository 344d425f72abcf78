//! Starts workers, starts them again, and stops them: the only place that spawns.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runsync_config::rucio::Schedule;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::{Activity, Next, Pulse, StepError, Wake, Worker, WorkerStatus, schedule};
use crate::clock::Clock;
use crate::error_chain::error_chain;
use crate::poison::lock;

/// The wait after a first failure: long enough not to spin, short enough for a hiccup.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait, after many failures in a row: an operator who repaired something does not
/// want to wait longer.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// How long a worker waits after failures: doubled with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// It is tried again after so long at the latest, however often it has failed.
    pub max: Duration,
    /// So much longer at most, at random: where many processes lose the same server, they do not all come
    /// back at the same moment.
    pub jitter: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            max: BACK_OFF_MAX,
            jitter: Duration::ZERO,
        }
    }
}

/// Workers that did not end their step in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot stop in time: still working: {}", .0.join(", "))]
pub struct StillRunning(pub Vec<String>);

/// Runs workers on the current tokio runtime.
#[derive(Debug)]
pub struct Driver {
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    pulses: Mutex<Vec<Pulse>>,
}

impl Driver {
    /// A driver without workers.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            pulses: Mutex::default(),
        }
    }

    /// Starts a worker; its first step comes at once. `make` is called for it, and again after a
    /// panic, because a worker that panicked may be half changed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start<M>(&self, name: impl Into<String>, wake: Wake, make: M)
    where
        M: FnMut() -> Box<dyn Worker> + Send + 'static,
    {
        self.start_within(name, wake, BackOff::default(), make);
    }

    /// As [`start`](Self::start), for a worker that waits otherwise after failures.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start_within<M>(&self, name: impl Into<String>, wake: Wake, back_off: BackOff, make: M)
    where
        M: FnMut() -> Box<dyn Worker> + Send + 'static,
    {
        let pulse = Pulse::new(
            name.into(),
            Arc::clone(&self.clock),
            self.cancel.child_token(),
        );
        self.pulses().push(pulse.clone());
        let cancel = self.cancel.child_token();
        self.tasks.spawn(async move {
            tokio::pin! { let cancelled = cancel.cancelled(); }
            let mut run = Run {
                make: Box::new(make),
                worker: None,
                pulse,
                back_off,
            };
            loop {
                let Some((back, wait)) = run.step().await else {
                    break;
                };
                run = back;
                tokio::select! {
                    biased;
                    () = &mut cancelled => break,
                    () = wait.over(&wake) => {}
                }
            }
        });
    }

    /// Calls `act` at the times of a schedule, until the workers stop. It must not block: it is there to
    /// wake.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn schedule(
        &self,
        name: String,
        schedule: &Schedule,
        act: impl Fn() + Send + Sync + 'static,
    ) {
        let (schedule, ending) = (schedule.clone(), self.cancel.child_token());
        self.tasks.spawn(async move {
            if let Err(error) = schedule::follow(&schedule, act, ending).await {
                error!(schedule = %schedule, name, error = %error_chain(&error), "schedule is not followed");
            }
        });
    }

    /// All workers, in the order they were started.
    pub fn statuses(&self) -> Vec<WorkerStatus> {
        self.pulses().iter().map(Pulse::status).collect()
    }

    /// Names of workers that should have advanced more than `patience` ago.
    pub fn stalled(&self, patience: Duration) -> Vec<String> {
        self.pulses()
            .iter()
            .filter(|pulse| pulse.is_stalled(patience))
            .map(|pulse| pulse.status().name)
            .collect()
    }

    /// Ends with the daemon: for parts that wait on their own, such as a listening socket.
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.child_token()
    }

    /// Whether the workers are to stop.
    pub fn is_stopping(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Has all workers stop, and waits for none: see [`stop`](Self::stop).
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Stops all workers: waits end at once, steps run to their end.
    ///
    /// # Errors
    ///
    /// [`StillRunning`] names those whose step goes on after `deadline`. The runtime must then be
    /// left with `shutdown_background`, or it waits for them.
    pub async fn stop(&self, deadline: Duration) -> Result<(), StillRunning> {
        self.cancel.cancel();
        self.tasks.close();
        if timeout(deadline, self.tasks.wait()).await.is_ok() {
            return Ok(());
        }
        let working = |status: &WorkerStatus| status.activity != Activity::Stopped;
        let names = self.statuses().into_iter().filter(working);
        Err(StillRunning(names.map(|status| status.name).collect()))
    }

    fn pulses(&self) -> std::sync::MutexGuard<'_, Vec<Pulse>> {
        lock(&self.pulses)
    }
}

/// Tasks that serve clients: they come and go, none is started again, and all of them end together.
///
/// They are told to end by a [token](Tasks::ending), at which each finishes what it is at; those
/// that take too long are dropped. Clones are the same group.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    ending: CancellationToken,
    dropping: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// A group without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let dropping = self.dropping.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = dropping.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Cancelled when the tasks are to end.
    pub fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Has the tasks end, and drops those that have not after `deadline`. Returns how many those
    /// were.
    pub async fn stop(&self, deadline: Duration) -> usize {
        self.ending.cancel();
        self.tracker.close();
        if timeout(deadline, self.tracker.wait()).await.is_ok() {
            return 0;
        }
        let dropped = self.tracker.len();
        self.dropping.cancel();
        self.tracker.wait().await;
        dropped
    }
}

/// A worker and what it takes to make it anew.
struct Run {
    make: Box<dyn FnMut() -> Box<dyn Worker> + Send>,
    worker: Option<Box<dyn Worker>>,
    pulse: Pulse,
    back_off: BackOff,
}

/// How a wait ends.
enum Wait {
    Not,
    Woken,
    WokenOrAt(Instant),
    At(Instant),
}

impl Wait {
    async fn over(self, wake: &Wake) {
        match self {
            Self::Not => {}
            Self::Woken => wake.woken().await,
            Self::WokenOrAt(until) => tokio::select! {
                () = wake.woken() => {}
                () = sleep_until(until) => {}
            },
            Self::At(until) => sleep_until(until).await,
        }
    }
}

impl Run {
    /// Takes one step; `None` where the runtime ended under it.
    async fn step(mut self) -> Option<(Self, Wait)> {
        let joined = tokio::task::spawn_blocking(move || {
            self.pulse.began();
            let wait = match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(Ok(next)) => self.went_through(next),
                Ok(Err(error)) => self.failed(&error_chain(&*error)),
                Err(panic) => {
                    self.worker = None;
                    self.failed(&format!("panicked: {}", message(&*panic)))
                }
            };
            (self, wait)
        });
        joined.await.ok()
    }

    fn work(&mut self) -> Result<Next, StepError> {
        let worker = self.worker.get_or_insert_with(|| (self.make)());
        worker.step(&self.pulse)
    }

    fn went_through(&self, next: Next) -> Wait {
        let status = self.pulse.status();
        if status.failures_in_a_row > 0 {
            info!(worker = %status.name, failures = status.failures_in_a_row, "worker recovered");
        }
        self.pulse.succeeded();
        let (wait, until) = match next {
            Next::Again => return Wait::Not,
            Next::Idle(None) => (Wait::Woken, None),
            Next::Idle(Some(period)) => {
                let until = Instant::now() + period;
                (Wait::WokenOrAt(until), Some(until))
            }
        };
        self.pulse.waits(Activity::Idle, until);
        wait
    }

    /// A wake-up does not cut the wait short: what just failed would fail again at each event.
    fn failed(&self, reason: &str) -> Wait {
        let failures = self.pulse.failed(reason.to_owned());
        let jitter = self.back_off.jitter.mul_f64(fastrand::f64());
        let period = back_off(failures).min(self.back_off.max) + jitter;
        let name = self.pulse.status().name;
        if self.worker.is_some() {
            warn!(worker = %name, failures, retry_in = ?period, error = reason, "worker failed");
        } else {
            error!(worker = %name, failures, retry_in = ?period, error = reason, "worker panicked");
        }
        let until = Instant::now() + period;
        self.pulse.waits(Activity::BackingOff, Some(until));
        Wait::At(until)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.pulse.waits(Activity::Stopped, None);
    }
}

fn back_off(failures: u64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    BACK_OFF_MIN.saturating_mul(factor).min(BACK_OFF_MAX)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
