//! `/v1/schedule`: the jobs of the site, when they are done, and doing one now.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures_util::stream;
use runsync_config::jobs::JobName;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::ndjson;
use super::openapi::{Asked, Gated, Missing};
use super::pages::{Cursor, list};
use super::problem::{Problem, ProblemBody};
use super::query::Path;
use super::record::{Asking, Recorded};
use super::surface::{Surface, blocking};
use crate::error_chain::error_chain;
use crate::jobs::{GoOn, JobStatus, NotBegun, statuses};
use crate::ledger::jobs::JobOutcome;
use crate::loops::Loops;

/// Longest time without a word: a client can tell a daemon that works from one that is suspended.
const TOLD_AT_LEAST_EVERY: Duration = Duration::from_secs(10);

/// List all jobs: that of `[rucio.sync]` and those of `[[schedule]]`, when each is done next, and what was last
/// made of it.
#[utoipa::path(
    get,
    path = "/v1/schedule",
    tag = "read",
    responses(
        (status = 200, description = "A line for each job.", content_type = "application/x-ndjson", body = JobStatus),
        Gated,
    )
)]
pub(super) async fn schedule(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    list(surface, Cursor::new(None::<usize>, None), |surface, _| {
        let (site, now) = (&surface.site, surface.clock.now());
        Ok((statuses(site, &*surface.readers.ledger, now)?, None))
    })
    .await
}

/// A job in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WhichJob {
    /// Its name.
    name: String,
}

/// One line of the answer. The last is `ended` or `failed`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum JobEvent {
    /// It goes on.
    Working,
    /// It ended.
    Ended {
        /// How.
        outcome: JobOutcome,
        /// What came of it.
        detail: String,
    },
    /// It failed.
    Failed {
        /// Why.
        problem: ProblemBody,
    },
}

/// Do a job now, whenever its next time is.
///
/// Lines tell that it goes on; the last one, `ended` or `failed`, what came of it. A client that goes away does
/// not stop it.
#[utoipa::path(
    post,
    path = "/v1/schedule/{name}/run",
    tag = "operate",
    operation_id = "run_job",
    params(WhichJob),
    responses(
        (status = 200, description = "Lines, the last of which says what came of it.", content_type = "application/x-ndjson", body = JobEvent),
        Asked,
        Missing,
        Gated,
    )
)]
pub(super) async fn run(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    Path(which): Path<WhichJob>,
) -> Result<Response, Problem> {
    let missing = || {
        Problem::missing(format!("there is no job `{}`", which.name))
            .hint("`runsync schedule list` shows all jobs; a new one needs a restart of the daemon")
    };
    let name: JobName = which.name.parse().map_err(|_| missing())?;
    let loops = surface.loops()?;
    loops.job(&name).ok_or_else(missing)?;
    let asking = Asking {
        account,
        what: "run job",
        subject: name.to_string(),
    };
    let (of, at) = (Arc::clone(&loops), surface.clock.now());
    let recorded = blocking(move || Recorded::begin(asking, &of, at)).await??;
    let (tell, told) = oneshot::channel();
    // Clients are let go before the loops stop.
    let (ending, asked) = (surface.tasks.ending().clone(), Arc::clone(&loops));
    let go_on: GoOn = Arc::new(move || {
        if ending.is_cancelled() {
            ControlFlow::Break(())
        } else {
            asked.go_on()
        }
    });
    surface.tasks.spawn(async move {
        let done = blocking(move || {
            let event = perform(&loops, &name, &go_on);
            recorded.end(match &event {
                JobEvent::Working => "done",
                JobEvent::Ended { outcome, .. } => outcome.as_str(),
                JobEvent::Failed { problem } => &problem.detail,
            });
            event
        });
        let last = done.await.unwrap_or_else(|problem| failed(&problem));
        // Whoever has gone learns it from the request's outcome.
        drop(tell.send(last));
    });
    Ok(answer(told))
}

fn perform(loops: &Loops, name: &JobName, go_on: &GoOn) -> JobEvent {
    let Some(scheduled) = loops.job(name) else {
        return failed(&Problem::stopping());
    };
    let job = &scheduled.job;
    match job.perform(|occasion| scheduled.work.run(occasion, go_on)) {
        Ok(Ok(ending)) => JobEvent::Ended {
            outcome: ending.outcome,
            detail: ending.detail,
        },
        Ok(Err(error)) => {
            let problem =
                Problem::unavailable(format!("job `{name}` failed: {}", error_chain(&*error)));
            failed(&problem.hint("see the log; it is done again at its next time"))
        }
        Err(NotBegun::Ledger(error)) => {
            let error = error_chain(&error);
            let problem =
                Problem::unavailable(format!("job `{name}` was not begun: the ledger: {error}"));
            failed(&problem.hint("see the log; it is done at its next time"))
        }
        Err(NotBegun::Running) => {
            let problem = Problem::unavailable(format!("job `{name}` is under way already"));
            failed(&problem.hint("`runsync schedule list` shows since when"))
        }
    }
}

fn failed(problem: &Problem) -> JobEvent {
    let problem = problem.body();
    JobEvent::Failed { problem }
}

/// Words until the last. An answer whose last word never comes is cut off.
fn answer(told: oneshot::Receiver<JobEvent>) -> Response {
    let lines = stream::try_unfold(Some(told), |told| async move {
        let Some(mut told) = told else {
            return Ok(None);
        };
        let (event, rest) = match timeout(TOLD_AT_LEAST_EVERY, &mut told).await {
            Err(_) => (JobEvent::Working, Some(told)),
            Ok(Ok(last)) => (last, None),
            Ok(Err(_)) => return Err(io::Error::other("the job broke off")),
        };
        let mut line = Vec::new();
        ndjson::line(&event, &mut line)?;
        Ok(Some((Bytes::from(line), rest)))
    });
    ndjson::answer(Body::from_stream(lines))
}
