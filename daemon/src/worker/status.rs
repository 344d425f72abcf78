//! What is known of each worker: for `runsync status` and for the watchdog.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::poison::lock;

/// What a worker is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// In a step.
    Working,
    /// Waiting for the next one.
    Idle,
    /// Waiting after an error.
    BackingOff,
    /// Stopped for good.
    Stopped,
}

/// A worker at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub activity: Activity,
    /// Steps that went through.
    pub steps: u64,
    /// Steps that failed.
    pub failures: u64,
    /// Failures since the last step that went through.
    pub failures_in_a_row: u64,
    /// When it last showed progress: a step that began or ended, or a beat within one.
    pub advanced_at: Timestamp,
    /// When a step last began.
    pub last_run: Option<Timestamp>,
    /// When a step last went through.
    pub last_success: Option<Timestamp>,
    /// When a step last failed.
    pub last_failure: Option<Timestamp>,
    /// Why, with its chain of causes; kept after the worker has recovered.
    pub last_error: Option<String>,
}

/// A worker's sign of life, shared between the worker, the driver and whoever asks.
#[derive(Debug, Clone)]
pub struct Pulse {
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug)]
struct Record {
    status: WorkerStatus,
    /// When it must have advanced again; `None` while it may wait for ever.
    due: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(name: String, clock: Arc<dyn Clock>, stopping: CancellationToken) -> Self {
        let status = WorkerStatus {
            name,
            activity: Activity::Idle,
            steps: 0,
            failures: 0,
            failures_in_a_row: 0,
            advanced_at: clock.now(),
            last_run: None,
            last_success: None,
            last_failure: None,
            last_error: None,
        };
        let due = Some(Instant::now());
        Self {
            clock,
            stopping,
            record: Arc::new(Mutex::new(Record { status, due })),
        }
    }

    /// Says that the step advances.
    pub fn beat(&self) {
        self.advance(Some(Instant::now()), |_, _| ());
    }

    /// Whether the daemon stops: a long step returns as soon as what it has done is safe.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Says that the step advances, and whether it may go on: the progress that long work reports to.
    pub fn go_on(&self) -> ControlFlow<()> {
        self.beat();
        if self.is_stopping() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    pub(super) fn began(&self) {
        self.advance(Some(Instant::now()), |status, now| {
            status.activity = Activity::Working;
            status.last_run = Some(now);
        });
    }

    pub(super) fn succeeded(&self) {
        self.advance(Some(Instant::now()), |status, now| {
            status.steps += 1;
            status.failures_in_a_row = 0;
            status.last_success = Some(now);
        });
    }

    pub(super) fn failed(&self, error: String) -> u64 {
        self.advance(Some(Instant::now()), |status, now| {
            status.failures += 1;
            status.failures_in_a_row += 1;
            status.last_failure = Some(now);
            status.last_error = Some(error);
        });
        self.record().status.failures_in_a_row
    }

    /// Waits as `activity`, at most until `until`.
    pub(super) fn waits(&self, activity: Activity, until: Option<Instant>) {
        self.advance(until, |status, _| status.activity = activity);
    }

    pub(super) fn status(&self) -> WorkerStatus {
        self.record().status.clone()
    }

    /// Whether it should have advanced more than `patience` ago.
    pub(super) fn is_stalled(&self, patience: Duration) -> bool {
        let due = self.record().due;
        due.is_some_and(|due| due.elapsed() > patience)
    }

    fn advance(&self, due: Option<Instant>, change: impl FnOnce(&mut WorkerStatus, Timestamp)) {
        let now = self.clock.now();
        let mut record = self.record();
        record.due = due;
        record.status.advanced_at = now;
        change(&mut record.status, now);
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}
