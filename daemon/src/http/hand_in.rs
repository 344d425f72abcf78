//! `POST /v1/manifests`: takes a manifest that an operator hands in, and tells how far it has come.
//!
//! The bytes go into a scratch file without a name, which is gone with the process; from there it is
//! what `runsync ingest FILE` does. A client that goes away ends nothing: the manifest is taken all
//! the same, and the request's outcome is written down.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::response::Response;
use futures_util::stream;
use runsync_config::root::RootName;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::body::Pieces;
use super::ndjson;
use super::openapi::{Body as BodyProblems, Gated};
use super::problem::{Problem, ProblemBody};
use super::query::Query;
use super::record::Recorded;
use super::surface::{Surface, blocking};
use super::wake::no_root;
use crate::ingest::error_chain;
use crate::ingest::flow::{Flow, Progress};
use crate::ingest::hand_in::{self, Step, Taken, place};
use crate::loops::Loops;

/// Bytes gathered before they are written to the scratch file.
const WRITE_BYTES: usize = 1 << 20;
/// Least time between two words on how far it has come.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// Words that wait for a client to take them; further ones are dropped, but for the last.
const TOLD_AHEAD: usize = 16;

/// How to take it.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// The root that its paths are relative to; needed where there are several.
    #[param(value_type = Option<String>)]
    root: Option<RootName>,
    /// Whether to take a manifest of this site's own repository although it carries no signature.
    #[serde(default)]
    #[param(default = false)]
    unsigned: bool,
    /// What the client calls it; said back in the answer.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    name: PathBuf,
}

/// One line of the answer. The last is `taken` or `failed`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum HandInEvent {
    /// Lines of the manifest read.
    Read {
        /// So many.
        lines: u64,
    },
    /// Another manifest is being registered; it is waited for.
    Waiting,
    /// Rows compared with the registry.
    Compared {
        /// So many.
        rows: u64,
    },
    /// Rows registered.
    Registered {
        /// So many.
        rows: u64,
        /// Of so many.
        of: u64,
    },
    /// Its artifacts are being looked for.
    Confirming,
    /// What became of it.
    Taken(Taken),
    /// The daemon cannot go on now.
    Failed(ProblemBody),
}

impl From<Step> for HandInEvent {
    fn from(step: Step) -> Self {
        match step {
            Step::Flow(Progress::Read { lines }) => Self::Read { lines },
            Step::Flow(Progress::Waiting) => Self::Waiting,
            Step::Flow(Progress::Compared { rows }) => Self::Compared { rows },
            Step::Flow(Progress::Registered { rows, of }) => Self::Registered { rows, of },
            Step::Confirming => Self::Confirming,
        }
    }
}

/// Hand a manifest in: it is checked, copied into the root, registered, and its artifacts confirmed.
///
/// The body is the manifest's bytes, plain or packed, at most `packed_bytes_max`. Lines tell how far
/// it has come; the last one, `taken` or `failed`, what became of it. A client that goes away does not
/// stop it.
#[utoipa::path(
    post,
    path = "/v1/manifests",
    tag = "operate",
    operation_id = "hand_in",
    params(Parameters),
    request_body(description = "The manifest.", content_type = "application/octet-stream", content = Vec<u8>),
    responses(
        (status = 200, description = "Lines on how far it has come.", content_type = "application/x-ndjson", body = HandInEvent),
        BodyProblems,
        Gated,
    )
)]
pub(super) async fn hand_in(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Query(asked) = Query::<Parameters>::from_request_parts(&mut parts, &surface).await?;
    let loops = surface.loops()?;
    let flow = flow(&loops, asked.root.as_ref())?.clone();
    let in_hand = surface.hand_in()?;
    let pieces = Pieces::new(
        Request::from_parts(parts, body),
        surface.site.limits.packed_bytes_max,
        surface.site.http.stall_timeout,
    )?;
    let file = spool(pieces, flow.site().scratch.clone()).await?;
    let subject = asked.name.display().to_string();
    let recorded = Recorded::begin(&surface, &loops, account, "hand in", subject).await?;
    let (tell, told) = mpsc::channel(TOLD_AHEAD);
    let teller = Teller {
        tell,
        last: None,
        stopping: surface.tasks.ending().clone(),
    };
    surface.tasks.spawn(async move {
        let work = move || {
            let _in_hand = in_hand;
            take(file, &flow, &asked, recorded, teller);
            loops.wake(Some(&flow.root().name));
        };
        // A panic is told by the last line that is missing.
        drop(blocking(work).await);
    });
    Ok(answer(told))
}

fn flow<'l>(loops: &'l Loops, root: Option<&RootName>) -> Result<&'l Flow, Problem> {
    let flows = &loops.assembly().flows;
    match (root, flows.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Problem::wrong("cannot tell which root the manifest is for")
            .hint("name it with `?root=NAME`")),
        (Some(name), all) => all
            .iter()
            .find(|flow| flow.root().name == *name)
            .ok_or_else(no_root),
    }
}

/// Writes the body into a file without a name.
async fn spool(mut pieces: Pieces, scratch: PathBuf) -> Result<File, Problem> {
    let mut file = blocking(move || tempfile::tempfile_in(scratch))
        .await?
        .map_err(|error| no_scratch(&error))?;
    let mut gathered = Vec::new();
    loop {
        let piece = pieces.next().await?;
        let end = piece.is_none();
        gathered.extend_from_slice(&piece.unwrap_or_default());
        if end || gathered.len() >= WRITE_BYTES {
            let bytes = std::mem::take(&mut gathered);
            file = blocking(move || {
                file.write_all(&bytes)?;
                if end {
                    file.rewind()?;
                }
                Ok(file)
            })
            .await?
            .map_err(|error: io::Error| no_scratch(&error))?;
        }
        if end {
            return Ok(file);
        }
    }
}

fn no_scratch(error: &io::Error) -> Problem {
    let detail = format!("cannot write a scratch file: {}", error_chain(error));
    Problem::unavailable(detail).hint("see that the state directory has room and can be written to")
}

/// Tells the client, as far as it listens.
struct Teller {
    tell: mpsc::Sender<HandInEvent>,
    last: Option<Instant>,
    stopping: CancellationToken,
}

impl Teller {
    /// Tells how far it has come, now and then. Breaks off when the daemon stops.
    fn on(&mut self, step: Step) -> ControlFlow<()> {
        if self.stopping.is_cancelled() {
            return ControlFlow::Break(());
        }
        if self.last.is_none_or(|last| last.elapsed() >= TOLD_EVERY) {
            self.last = Some(Instant::now());
            // Nobody listens, or not yet: the next word says more.
            drop(self.tell.try_send(step.into()));
        }
        ControlFlow::Continue(())
    }
}

fn take(mut file: File, flow: &Flow, asked: &Parameters, recorded: Recorded, mut teller: Teller) {
    let name: &Path = &asked.name;
    let taken = match place::copy(&mut file, flow, asked.unsigned) {
        Ok(path) => hand_in::take(name, path, flow, asked.unsigned, &mut |step| {
            teller.on(step)
        }),
        Err(refused) => Ok(Taken::refused(name, &refused)),
    };
    let last = match taken {
        Ok(taken) => {
            recorded.end(&match &taken.reason {
                Some(reason) => format!("{}: {reason}", taken.state),
                None => taken.state.clone(),
            });
            HandInEvent::Taken(taken)
        }
        Err(error) => {
            let problem = Problem::from(error);
            recorded.end(problem.detail());
            HandInEvent::Failed(problem.body())
        }
    };
    // A client that has gone learns it from the request's outcome.
    drop(teller.tell.blocking_send(last));
}

fn answer(told: mpsc::Receiver<HandInEvent>) -> Response {
    let lines = stream::unfold(told, |mut told| async move {
        let event = told.recv().await?;
        let mut line = Vec::new();
        let line = ndjson::line(&event, &mut line).map(|()| Bytes::from(line));
        Some((line, told))
    });
    ndjson::answer(Body::from_stream(lines))
}
