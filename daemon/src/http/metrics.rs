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
use super::status::{count_runs, syncs};
use super::surface::Surface;
use crate::ingest::confirm::waits_since;
use crate::jobs::statuses;
use crate::lease::Fence;
use crate::ledger::record::RuleEndingState;
use crate::ledger::scans::{DriftFilter, Span};
use crate::recovery::root_scans;
use crate::registry::record::RunRow;
use crate::telemetry::metrics::{self, InFlight, Route};
use crate::telemetry::{events, jobs, removals, rucio};

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
    let counts = count_runs(&runs);
    let waiting = counts.claims.saturating_sub(counts.confirmed);
    for (name, of, value) in [
        (metrics::RUNS, "waiting", counts.waiting),
        (metrics::RUNS, "complete", counts.complete),
        (metrics::RUNS, "removed", counts.removed),
        (metrics::ARTIFACTS, "confirmed", counts.confirmed),
        (metrics::ARTIFACTS, "waiting", waiting),
    ] {
        metrics::set(name, Some(("state", of.to_owned())), float(value));
    }
    metrics::set(metrics::DATASETS, None, float(counts.datasets));
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
    measure_removals(surface)?;
    measure_publications(surface)?;
    measure_hints(surface)?;
    measure_syncs(surface)?;
    measure_jobs(surface)?;
    measure_scans(surface)?;
    measure_findings(surface)
}

/// Before a job first succeeded its age is that of the daemon.
fn measure_jobs(surface: &Surface) -> Result<(), Problem> {
    let now = surface.clock.now();
    for job in statuses(&surface.site, &*surface.readers.ledger, now)? {
        let label = || ("job", job.name.to_string());
        let succeeded = job.succeeded_at.unwrap_or(surface.started_at);
        metrics::set(jobs::AGE, Some(label()), age(succeeded, now));
        metrics::set(
            jobs::OVERDUE,
            Some(label()),
            f64::from(u8::from(job.overdue)),
        );
        metrics::count(jobs::RUNS, label(), job.runs);
        metrics::count(jobs::FAILURES, label(), job.failures);
    }
    Ok(())
}

fn measure_scans(surface: &Surface) -> Result<(), Problem> {
    let (ledger, now) = (&surface.readers.ledger, surface.clock.now());
    let all = DriftFilter {
        root: None,
        kind: None,
        side: None,
        span: Span::all(),
        ignored: false,
    };
    for (kind, count) in ledger.drift_counts(&all)? {
        let label = Some(("kind", kind.to_string()));
        metrics::set(jobs::DRIFT, label, float(count));
    }
    for scan in root_scans(&surface.site.roots, &**ledger, now)? {
        let label = || Some(("root", scan.root.to_string()));
        if let Some(since) = scan.seen_since {
            metrics::set(jobs::SEEN_AGE, label(), age(since, now));
        }
        metrics::set(jobs::BEHIND, label(), f64::from(u8::from(scan.behind)));
    }
    Ok(())
}

fn measure_removals(surface: &Surface) -> Result<(), Problem> {
    let under_way = surface.readers.registry.removals()?;
    metrics::set(removals::UNDER_WAY, None, float(under_way.len() as u64));
    for root in &surface.site.roots {
        let journals = under_way.iter().flat_map(|removal| &removal.journals);
        let open = journals.filter(|journal| journal.root == root.name).count();
        let label = Some(("root", root.name.to_string()));
        metrics::set(removals::JOURNALS, label, float(open as u64));
    }
    Ok(())
}

fn measure_publications(surface: &Surface) -> Result<(), Problem> {
    let ledger = &surface.readers.ledger;
    let (ordered, stopped) = ledger.publication_counts()?;
    metrics::set(rucio::ORDERED, None, float(ordered));
    metrics::set(rucio::STOPPED, None, float(stopped));
    let endings = ledger.rule_endings()?;
    for state in RuleEndingState::ALL {
        let count = endings.iter().filter(|one| one.state == state).count();
        let label = Some(("state", state.as_str().to_owned()));
        metrics::set(rucio::RULE_ENDINGS, label, float(count as u64));
    }
    Ok(())
}

fn measure_hints(surface: &Surface) -> Result<(), Problem> {
    let ledger = &surface.readers.ledger;
    for (kind, waiting) in ledger.hint_counts()? {
        let label = Some(("kind", kind.to_string()));
        metrics::set(events::WAITING, label, float(waiting));
    }
    metrics::set(events::LOST, None, float(ledger.hints_lost()?));
    Ok(())
}

/// Before the first pass its age is that of the daemon.
fn measure_syncs(surface: &Surface) -> Result<(), Problem> {
    let now = surface.clock.now();
    for sync in syncs(&surface.site, &surface.readers)? {
        let at = sync.finished_at.unwrap_or(surface.started_at);
        let label = Some(("root", sync.root.to_string()));
        metrics::set(rucio::SYNC_AGE, label, age(at, now));
    }
    Ok(())
}

/// Since when the run waits that waits longest.
fn oldest_wait(surface: &Surface, runs: &[RunRow]) -> Result<Option<Timestamp>, Problem> {
    let mut oldest = None;
    for run in runs.iter().filter(|run| run.waiting > 0).take(WAITS_ASKED) {
        let since = waits_since(&*surface.readers.ledger, &run.key)?;
        oldest = oldest.into_iter().chain(since).min();
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

/// Loops that were started again count from zero; what they add up to does not. Where none run,
/// nothing has an age.
fn measure_workers(surface: &Surface) {
    let now = surface.clock.now();
    let duty = surface.steward.duty();
    let fence = duty.status().fence;
    let running = duty.loops().map_or_else(Vec::new, |loops| loops.workers());
    let mut tallies = surface.tallies();
    for worker in surface.steward.workers() {
        let of_loops = running.iter().any(|one| one.name == worker.name);
        let tally = tallies.entry(worker.name).or_default();
        let start = of_loops.then_some(fence);
        tally.steps.see(start, worker.steps);
        tally.failures.see(start, worker.failures);
    }
    for (name, tally) in tallies.iter() {
        let label = || ("worker", name.clone());
        metrics::count(metrics::WORKER_STEPS, label(), tally.steps.total());
        metrics::count(metrics::WORKER_FAILURES, label(), tally.failures.total());
        if tally.steps.is_of_loops() {
            let worker = running.iter().find(|worker| worker.name == *name);
            let since = worker.map(|worker| worker.last_success.unwrap_or(surface.started_at));
            let age = since.map_or(0.0, |since| age(since, now));
            metrics::set(metrics::WORKER_AGE, Some(label()), age);
        }
    }
}

/// What a worker's counts add up to, however often it was started.
#[derive(Debug, Default)]
pub(super) struct Tally {
    steps: Count,
    failures: Count,
}

#[derive(Debug, Default)]
struct Count {
    /// Under which fencing number it counts now; none: for as long as the process.
    start: Option<Fence>,
    /// What it came to before that.
    before: u64,
    now: u64,
}

impl Count {
    fn see(&mut self, start: Option<Fence>, count: u64) {
        if self.start != start || count < self.now {
            self.before = self.total();
            self.start = start;
        }
        self.now = count;
    }

    fn total(&self) -> u64 {
        self.before.saturating_add(self.now)
    }

    fn is_of_loops(&self) -> bool {
        self.start.is_some()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_loops_that_start_again_go_on() {
        let fence = |number: u64| serde_json::from_value(number.into()).ok();
        let mut count = Count::default();
        let mut seen = |start, now| {
            count.see(start, now);
            count.total()
        };
        assert_eq!(seen(fence(1), 10), 10);
        assert_eq!(seen(fence(1), 12), 12);
        assert_eq!(seen(fence(2), 3), 15);
        assert_eq!(seen(fence(3), 7), 22);
        assert_eq!(seen(fence(3), 1), 23);
    }
}
