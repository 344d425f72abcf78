//! The metrics: their names, what they count, and how they are rendered for Prometheus.
//!
//! Counters of the flows are called `runsync_<flow>_<stage>_total{outcome}` and start at zero. Of the
//! manifests of a root, since the daemon began, at any time:
//!
//! ```text
//! sighted = registered + held + blocked + untrusted + quarantined + superseded + gone + left + pending
//! ```
//!
//! where `sighted` is `runsync_ingest_watch_total`, `pending` the gauge `runsync_ingest_pending`, and
//! all others outcomes of `runsync_ingest_acknowledge_total`. A manifest that is tried again, because
//! what blocked it has gone or a key has come, is sighted again, and so is one that was left undecided
//! when the loops stopped.
//!
//! A process that does not call [`install`] counts nothing.

use std::fmt;
use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use runsync_config::root::RootName;

/// Manifest files that the watch stage took up.
pub const WATCH: &str = "runsync_ingest_watch_total";
/// What became of manifests that were taken up.
pub const ACKNOWLEDGE: &str = "runsync_ingest_acknowledge_total";
/// Manifests that were taken up and are not decided.
const PENDING: &str = "runsync_ingest_pending";
/// Artifacts that were compared with what their manifests say.
pub const CONFIRM: &str = "runsync_ingest_confirm_total";
/// Events that the kernel dropped: a sweep follows.
pub const OVERFLOWS: &str = "runsync_ingest_watch_overflows_total";
/// Requests answered.
pub const REQUESTS: &str = "runsync_http_requests_total";
/// Requests that are being answered.
pub const IN_FLIGHT: &str = "runsync_http_requests_in_flight";
/// Connections that are open.
pub const CONNECTIONS: &str = "runsync_http_connections";
/// How long requests took until their answer began.
pub const REQUEST_SECONDS: &str = "runsync_http_request_seconds";
/// Manifests in the ledger.
pub const MANIFESTS: &str = "runsync_manifests";
/// Runs in the registry.
pub const RUNS: &str = "runsync_runs";
/// Datasets in the registry.
pub const DATASETS: &str = "runsync_datasets";
/// Artifacts named by registered manifests.
pub const ARTIFACTS: &str = "runsync_artifacts";
/// How long the run has waited that waits longest.
pub const OLDEST_WAIT: &str = "runsync_oldest_wait_seconds";
/// Findings that have not healed.
pub const FINDINGS: &str = "runsync_findings";
/// How long ago a sweep went through.
pub const SWEEP_AGE: &str = "runsync_sweep_age_seconds";
/// Steps of workers that went through.
pub const WORKER_STEPS: &str = "runsync_worker_steps_total";
/// Steps of workers that failed.
pub const WORKER_FAILURES: &str = "runsync_worker_failures_total";
/// How long ago a step of a worker went through.
pub const WORKER_AGE: &str = "runsync_worker_last_success_age_seconds";

/// Upper bounds of the buckets for [`REQUEST_SECONDS`]: from a look-up of one UUID to a large batch
/// on a busy machine.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// What became of a manifest that was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its datasets are known.
    Registered,
    /// Valid, and kept for a flow that acts on it.
    Held,
    /// Another manifest may let it in.
    Blocked,
    /// Its key or origin is not known here.
    Untrusted,
    /// Wrong in itself.
    Quarantined,
    /// At or below its run's floor.
    Superseded,
    /// Its file went before it was decided.
    Gone,
    /// Undecided when the loops stopped, or a worker was made anew: it is sighted again.
    Left,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Registered,
        Self::Held,
        Self::Blocked,
        Self::Untrusted,
        Self::Quarantined,
        Self::Superseded,
        Self::Gone,
        Self::Left,
    ];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Held => "held",
            Self::Blocked => "blocked",
            Self::Untrusted => "untrusted",
            Self::Quarantined => "quarantined",
            Self::Superseded => "superseded",
            Self::Gone => "gone",
            Self::Left => "left",
        }
    }
}

/// What a look at artifacts came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Artifacts {
    /// They got their datastore records.
    Confirmed,
    /// They are not what their manifests say.
    Corrupt,
}

impl Artifacts {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Corrupt => "corrupt",
        }
    }
}

/// Starts the counters of a root at zero.
pub fn expect(root: &RootName) {
    let root = root.to_string();
    for outcome in Outcome::ALL {
        counter!(ACKNOWLEDGE, "root" => root.clone(), "outcome" => outcome.as_str()).increment(0);
    }
    for outcome in [Artifacts::Confirmed, Artifacts::Corrupt] {
        counter!(CONFIRM, "root" => root.clone(), "outcome" => outcome.as_str()).increment(0);
    }
    counter!(WATCH, "root" => root.clone(), "outcome" => "sighted").increment(0);
    gauge!(PENDING, "root" => root).increment(0.0);
}

/// Counters of one root's manifests.
#[derive(Clone)]
pub struct Manifests {
    root: String,
    sighted: metrics::Counter,
    pending: metrics::Gauge,
}

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Manifests").field(&self.root).finish()
    }
}

impl Manifests {
    /// Counters of `root`, at zero where they are new.
    pub fn of(root: &RootName) -> Self {
        expect(root);
        let root = root.to_string();
        let sighted = counter!(WATCH, "root" => root.clone(), "outcome" => "sighted");
        let pending = gauge!(PENDING, "root" => root.clone());
        Self {
            root,
            sighted,
            pending,
        }
    }

    /// One was taken up.
    pub fn sighted(&self) {
        self.sighted.increment(1);
        self.pending.increment(1.0);
    }

    /// One that was taken up is so no more.
    pub fn decided(&self, outcome: Outcome) {
        self.acknowledged(outcome).increment(1);
        self.pending.decrement(1.0);
    }

    /// So many that were taken up are left as they are.
    pub fn left(&self, count: usize) {
        self.acknowledged(Outcome::Left).increment(count as u64);
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.pending.decrement(count);
    }

    fn acknowledged(&self, outcome: Outcome) -> metrics::Counter {
        counter!(ACKNOWLEDGE, "root" => self.root.clone(), "outcome" => outcome.as_str())
    }
}

/// Counts artifacts.
pub fn artifacts(root: &RootName, outcome: Artifacts, count: u64) {
    counter!(CONFIRM, "root" => root.to_string(), "outcome" => outcome.as_str()).increment(count);
}

/// Counts an overflow of the kernel's queue of events.
pub fn overflow() {
    counter!(OVERFLOWS).increment(1);
}

/// Sets a gauge without labels, or with one.
pub fn set(name: &'static str, label: Option<(&'static str, String)>, value: f64) {
    match label {
        Some((key, of)) => gauge!(name, key => of).set(value),
        None => gauge!(name).set(value),
    }
}

/// Sets a counter that is counted elsewhere.
pub fn count(name: &'static str, (key, of): (&'static str, String), value: u64) {
    counter!(name, key => of).absolute(value);
}

/// One kind of request.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method, such as `GET`.
    pub method: String,
    /// The path, as the OpenAPI document has it; `other` where there is none.
    pub path: String,
}

impl Route {
    /// Starts the count of its answers with this status at zero.
    pub fn expect(&self, status: &str) {
        self.counter(status).increment(0);
    }

    /// Counts an answer, and how long it took until it began.
    pub fn answered(&self, status: &str, took: Duration) {
        self.counter(status).increment(1);
        let (method, path) = (self.method.clone(), self.path.clone());
        histogram!(REQUEST_SECONDS, "method" => method, "route" => path).record(took);
    }

    fn counter(&self, status: &str) -> metrics::Counter {
        let (method, path) = (self.method.clone(), self.path.clone());
        counter!(REQUESTS, "method" => method, "route" => path, "status" => status.to_owned())
    }
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct InFlight(());

impl InFlight {
    /// One more.
    pub fn begin() -> Self {
        gauge!(IN_FLIGHT).increment(1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1.0);
    }
}

/// A connection that is open, until it is dropped.
#[derive(Debug)]
pub struct Connection(&'static str);

impl Connection {
    /// One more on `socket`.
    pub fn begin(socket: &'static str) -> Self {
        gauge!(CONNECTIONS, "socket" => socket).increment(1.0);
        Self(socket)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS, "socket" => self.0).decrement(1.0);
    }
}

/// Metrics that cannot be counted.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up metrics")]
pub struct MetricsError(#[from] BuildError);

/// The metrics of this process.
#[derive(Clone)]
pub struct Rendering(PrometheusHandle);

impl fmt::Debug for Rendering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rendering")
    }
}

impl Rendering {
    /// All of them, as Prometheus reads them.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Sums up what was recorded, so that it does not pile up where nobody asks.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Counts from now on, for the rest of the process.
///
/// # Errors
///
/// Where something else counts already.
pub fn install() -> Result<Rendering, MetricsError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), &BUCKETS)?
        .install_recorder()?;
    describe();
    super::removals::describe();
    super::adopting::describe();
    super::rucio::describe();
    super::events::describe();
    super::jobs::describe();
    counter!(OVERFLOWS).increment(0);
    gauge!(IN_FLIGHT).set(0.0);
    for socket in ["unix", "tcp"] {
        gauge!(CONNECTIONS, "socket" => socket).set(0.0);
    }
    Ok(Rendering(handle))
}

/// What Prometheus shows beside each name.
fn describe() {
    for (name, text) in [
        (WATCH, "Manifest files taken up."),
        (
            ACKNOWLEDGE,
            "Manifests that were taken up, by what became of them.",
        ),
        (CONFIRM, "Artifacts compared with their manifests."),
        (OVERFLOWS, "Times that the kernel dropped events."),
        (REQUESTS, "Requests answered."),
        (WORKER_STEPS, "Steps of a worker that went through."),
        (WORKER_FAILURES, "Steps of a worker that failed."),
    ] {
        describe_counter!(name, text);
    }
    for (name, text) in [
        (PENDING, "Manifests taken up and not decided."),
        (IN_FLIGHT, "Requests being answered."),
        (CONNECTIONS, "Connections that are open."),
        (MANIFESTS, "Manifests in the ledger, by state."),
        (
            RUNS,
            "Runs in the registry, by whether they wait for artifacts.",
        ),
        (DATASETS, "Datasets in the registry."),
        (
            ARTIFACTS,
            "Artifacts named by registered manifests, by whether they are confirmed.",
        ),
        (FINDINGS, "Findings that have not healed, by kind."),
    ] {
        describe_gauge!(name, text);
    }
    for (name, text) in [
        (
            OLDEST_WAIT,
            "Seconds that the run has waited that waits longest.",
        ),
        (SWEEP_AGE, "Seconds since a sweep of the root went through."),
        (
            WORKER_AGE,
            "Seconds since a step of the worker went through.",
        ),
    ] {
        describe_gauge!(name, Unit::Seconds, text);
    }
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Seconds until an answer began."
    );
}
