//! `/metrics`, and what is counted of every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::openapi::{self, Gated};
use super::problem::Problem;
use super::surface::Surface;
use crate::ledger::record::ManifestState;
use crate::registry::record::RunRow;
use crate::telemetry::metrics::{self, InFlight, Route};

/// The media type that Prometheus reads.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Waiting runs that are asked since when they wait, at most: each costs a look-up.
const WAITS_ASKED: usize = 1000;

/// Serve metrics for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses(
        (status = 200, description = "The metrics.", content_type = "text/plain", body = String),
        Gated,
    )
)]
pub(super) async fn metrics(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let text = surface.look_up(|surface| {
        measure_site(surface)?;
        measure_workers(surface);
        Ok::<_, Problem>(surface.metrics.render())
    });
    let mut response = text.await?.into_response();
    let kind = HeaderValue::from_static(EXPOSITION);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn measure_site(surface: &Surface) -> Result<(), Problem> {
    let (ledger, registry) = (&surface.readers.ledger, &surface.readers.registry);
    for (state, manifests) in ledger.counts()? {
        let label = Some(("state", state.to_string()));
        metrics::set(metrics::MANIFESTS, label, float(manifests));
    }
    let runs = registry.runs(None)?;
    let sum = |of: fn(&RunRow) -> u64| runs.iter().map(of).fold(0, u64::saturating_add);
    let waiting = sum(|run| u64::from(run.waiting > 0));
    let unconfirmed = sum(|run| run.waiting);
    let set =
        |name, key, of: &str, value| metrics::set(name, Some((key, of.to_owned())), float(value));
    set(metrics::RUNS, "state", "waiting", waiting);
    set(
        metrics::RUNS,
        "state",
        "complete",
        runs.len() as u64 - waiting,
    );
    set(
        metrics::ARTIFACTS,
        "state",
        "confirmed",
        sum(RunRow::confirmed),
    );
    set(metrics::ARTIFACTS, "state", "waiting", unconfirmed);
    metrics::set(metrics::DATASETS, None, float(sum(|run| run.datasets)));
    let now = surface.clock.now();
    let oldest = oldest_wait(surface, &runs)?;
    metrics::set(
        metrics::OLDEST_WAIT,
        None,
        oldest.map_or(0.0, |since| age(since, now)),
    );
    for root in &surface.site.roots {
        // Before the first sweep its age is that of the daemon.
        let swept = ledger.last_sweep(&root.name)?.unwrap_or(surface.started_at);
        let label = Some(("root", root.name.to_string()));
        metrics::set(metrics::SWEEP_AGE, label, age(swept, now));
    }
    measure_findings(surface)
}

/// Since when the run waits that waits longest.
fn oldest_wait(surface: &Surface, runs: &[RunRow]) -> Result<Option<Timestamp>, Problem> {
    let mut oldest = None;
    for run in runs.iter().filter(|run| run.waiting > 0).take(WAITS_ASKED) {
        let rows = surface.readers.ledger.of_run(&run.key)?;
        let registered = rows
            .iter()
            .filter(|row| row.state == ManifestState::Registered);
        oldest = oldest
            .into_iter()
            .chain(registered.map(|row| row.decided_at))
            .min();
    }
    Ok(oldest)
}

/// A kind that was seen once stays, at zero.
fn measure_findings(surface: &Surface) -> Result<(), Problem> {
    let mut kinds = surface.finding_kinds();
    kinds.values_mut().for_each(|count| *count = 0);
    for finding in surface.readers.ledger.findings()? {
        *kinds.entry(finding.kind).or_default() += 1;
    }
    for (kind, count) in kinds.iter() {
        metrics::set(
            metrics::FINDINGS,
            Some(("kind", kind.clone())),
            float(*count),
        );
    }
    Ok(())
}

fn measure_workers(surface: &Surface) {
    let now = surface.clock.now();
    let loops = surface.duty.loops();
    for worker in loops.map_or_else(Vec::new, |loops| loops.workers()) {
        let label = ("worker", worker.name);
        metrics::count(metrics::WORKER_STEPS, label.clone(), worker.steps);
        metrics::count(metrics::WORKER_FAILURES, label.clone(), worker.failures);
        let since = worker.last_success.unwrap_or(surface.started_at);
        metrics::set(metrics::WORKER_AGE, Some(label), age(since, now));
    }
}

fn age(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "metrics are floating-point numbers"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// Counts a request, whatever becomes of it.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let route = Route {
        method: method(request.method()),
        path: path.map_or("other", MatchedPath::as_str).to_owned(),
    };
    let in_flight = InFlight::begin();
    let begin = Instant::now();
    let response = next.run(request).await;
    route.answered(response.status().as_str(), begin.elapsed());
    drop(in_flight);
    response
}

/// The method, of which there are only so many.
fn method(method: &axum::http::Method) -> String {
    match method.as_str() {
        known @ ("GET" | "POST" | "HEAD") => known.to_owned(),
        _ => "other".to_owned(),
    }
}

/// Starts the counts of all documented answers at zero.
pub(super) fn expect_all() {
    for (path, item) in openapi::document().paths.paths {
        for (method, operation) in [("GET", item.get), ("POST", item.post)] {
            let route = Route {
                method: method.to_owned(),
                path: path.clone(),
            };
            for status in operation
                .iter()
                .flat_map(|one| one.responses.responses.keys())
            {
                route.expect(status);
            }
        }
    }
}
