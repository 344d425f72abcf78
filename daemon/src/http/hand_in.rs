//! `POST /v1/manifests`: takes a manifest that an operator hands in, and tells how far it has come.
//!
//! The bytes go into a scratch file without a name, which is gone with the process; from there it is
//! what `runsync ingest FILE` does. So many may arrive at a time, and fewer are worked on: a client
//! that is slow to send keeps nobody's manifest from being taken. Once the last byte is there a
//! client that goes away ends nothing: the manifest is taken all the same, and the request's outcome
//! is written down.

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
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::body::Pieces;
use super::ndjson;
use super::openapi::{Body as BodyProblems, Gated};
use super::problem::{Problem, ProblemBody};
use super::query::Query;
use super::record::{Asking, Recorded};
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
/// Longest time without a word: a client can tell a daemon that works from one that is suspended.
const TOLD_AT_LEAST_EVERY: Duration = Duration::from_secs(10);

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
    /// It goes on, and there is nothing else to tell.
    Working,
    /// What became of it.
    Taken(Taken),
    /// The daemon cannot go on now.
    Failed(ProblemBody),
}

impl HandInEvent {
    fn is_last(&self) -> bool {
        matches!(self, Self::Taken(_) | Self::Failed(_))
    }
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
    let mut pieces = Pieces::new(
        Request::from_parts(parts, body),
        surface.site.limits.packed_bytes_max,
        surface.site.http.stall_timeout,
    )?;
    let Some(spooling) = surface.spooling() else {
        // Whoever still sends would not see the answer.
        while pieces.next().await?.is_some() {}
        return Err(Problem::full());
    };
    let spooled = spool(pieces, flow.site().scratch.clone()).await?;
    // From here on nothing waits for the client: it may go.
    let (tell, told) = mpsc::channel(TOLD_AHEAD);
    let (let_in, begun) = oneshot::channel();
    let handed_in = HandedIn {
        surface: Arc::clone(&surface),
        loops,
        flow,
        spooled,
        asked,
        tell,
    };
    surface
        .tasks
        .spawn(handed_in.take(account, spooling, let_in));
    begun
        .await
        .unwrap_or_else(|_| Err(Problem::stopping()))
        .map(|()| answer(told))
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

/// A body that is here as a whole: in a file without a name, but for its end.
struct Spooled {
    file: File,
    end: Vec<u8>,
}

impl Spooled {
    /// The file, at its beginning. Blocks.
    fn file(self) -> io::Result<File> {
        let Self { mut file, end } = self;
        file.write_all(&end)?;
        file.rewind()?;
        Ok(file)
    }
}

/// Writes the body into a file without a name. Returns as soon as its last byte is here.
async fn spool(mut pieces: Pieces, scratch: PathBuf) -> Result<Spooled, Problem> {
    let mut file = blocking(move || tempfile::tempfile_in(scratch))
        .await?
        .map_err(|error| no_scratch(&error))?;
    let mut gathered = Vec::new();
    while let Some(piece) = pieces.next().await? {
        gathered.extend_from_slice(&piece);
        if gathered.len() >= WRITE_BYTES {
            let bytes = std::mem::take(&mut gathered);
            file = blocking(move || file.write_all(&bytes).map(|()| file))
                .await?
                .map_err(|error| no_scratch(&error))?;
        }
    }
    Ok(Spooled {
        file,
        end: gathered,
    })
}

fn no_scratch(error: &io::Error) -> Problem {
    let detail = format!("cannot write a scratch file: {}", error_chain(error));
    Problem::unavailable(detail).hint("see that the state directory has room and can be written to")
}

/// A manifest that is here as a whole.
struct HandedIn {
    surface: Arc<Surface>,
    loops: Arc<Loops>,
    flow: Flow,
    spooled: Spooled,
    asked: Parameters,
    tell: mpsc::Sender<HandInEvent>,
}

impl HandedIn {
    /// Writes it down, waits for its turn and takes it, whether or not the client still listens;
    /// `let_in` is told once it is written down.
    async fn take(
        self,
        account: Account,
        spooling: OwnedSemaphorePermit,
        let_in: oneshot::Sender<Result<(), Problem>>,
    ) {
        let asking = Asking {
            account,
            what: "hand in",
            subject: self.asked.name.display().to_string(),
        };
        let (loops, at) = (Arc::clone(&self.loops), self.surface.clock.now());
        let begun = blocking(move || Recorded::begin(asking, &loops, at)).await;
        let recorded = match begun.and_then(|begun| begun.map_err(Problem::from)) {
            Ok(recorded) => recorded,
            Err(problem) => return drop(let_in.send(Err(problem))),
        };
        // A client that has gone learns what became of it from the request's outcome.
        drop(let_in.send(Ok(())));
        let turn = self.turn().await;
        drop(spooling);
        let tell = self.tell.clone();
        let last = match blocking(move || self.work(turn.as_ref(), recorded)).await {
            Ok(last) => last,
            Err(problem) => HandInEvent::Failed(problem.body()),
        };
        drop(tell.send(last).await);
    }

    /// Its turn to be worked on; none where the daemon stops before.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if let Some(turn) = self.surface.hand_in_now() {
            return Some(turn);
        }
        // The channel is empty.
        drop(self.tell.try_send(HandInEvent::Waiting));
        self.surface.hand_in().await
    }

    /// Takes it, or breaks off where its turn never came.
    fn work(self, turn: Option<&OwnedSemaphorePermit>, recorded: Recorded) -> HandInEvent {
        let (loops, root) = (Arc::clone(&self.loops), self.flow.root().name.clone());
        let done = match turn {
            Some(_) => self.run(),
            None => Err(Problem::stopping()),
        };
        match done {
            Ok(taken) => {
                recorded.end(&outcome(&taken));
                loops.wake(Some(&root));
                HandInEvent::Taken(taken)
            }
            Err(problem) => {
                recorded.end(problem.detail());
                HandInEvent::Failed(problem.body())
            }
        }
    }

    fn run(self) -> Result<Taken, Problem> {
        let Self {
            surface,
            flow,
            spooled,
            asked,
            tell,
            ..
        } = self;
        let mut file = spooled.file().map_err(|error| no_scratch(&error))?;
        let mut teller = Teller {
            tell,
            last: None,
            stopping: surface.tasks.ending().clone(),
        };
        let (name, unsigned): (&Path, bool) = (&asked.name, asked.unsigned);
        match place::copy(&mut file, &flow, unsigned) {
            Ok(path) => Ok(hand_in::take(name, path, &flow, unsigned, &mut |step| {
                teller.on(step)
            })?),
            Err(refused) => Ok(Taken::refused(name, &refused)),
        }
    }
}

/// What became of it, for the list of requests: which manifest of which run it was, and why it was
/// not registered.
fn outcome(taken: &Taken) -> String {
    let known = [
        taken.path.clone(),
        taken.run.as_ref().map(|run| format!("run {run}")),
        taken
            .generation
            .map(|generation| format!("generation {generation}")),
    ];
    let known: Vec<_> = known.into_iter().flatten().collect();
    let parts = [
        Some(taken.state.clone()),
        (!known.is_empty()).then(|| known.join(", ")),
        taken.reason.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
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

/// The words as lines. An answer whose last word never comes is cut off.
fn answer(told: mpsc::Receiver<HandInEvent>) -> Response {
    let lines = stream::try_unfold(Some(told), |told| async move {
        let Some(mut told) = told else {
            return Ok(None);
        };
        let event = match timeout(TOLD_AT_LEAST_EVERY, told.recv()).await {
            Err(_) => HandInEvent::Working,
            Ok(Some(event)) => event,
            Ok(None) => return Err(io::Error::other("the work on the manifest broke off")),
        };
        let mut line = Vec::new();
        ndjson::line(&event, &mut line)?;
        let rest = (!event.is_last()).then_some(told);
        Ok(Some((Bytes::from(line), rest)))
    });
    ndjson::answer(Body::from_stream(lines))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn told(events: Vec<HandInEvent>) -> Option<String> {
        let (tell, told) = mpsc::channel(TOLD_AHEAD);
        for event in events {
            tell.try_send(event).unwrap();
        }
        drop(tell);
        let body = answer(told).into_body().collect().await.ok()?;
        Some(String::from_utf8(body.to_bytes().into()).unwrap())
    }

    #[tokio::test]
    async fn an_answer_without_its_last_word_is_cut_off() {
        assert_eq!(told(vec![HandInEvent::Waiting]).await, None);
        let last = HandInEvent::Failed(Problem::stopping().body());
        let whole = told(vec![HandInEvent::Waiting, last]).await.unwrap();
        assert_eq!(whole.lines().count(), 2, "{whole}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_hears_now_and_then_that_the_daemon_lives() {
        let (tell, told) = mpsc::channel(TOLD_AHEAD);
        let mut body = answer(told).into_body();
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(line, "{\"event\":\"working\"}\n");
        drop(tell);
        body.frame().await.unwrap().unwrap_err();
    }
}
