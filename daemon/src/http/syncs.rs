//! `POST /v1/syncs`: has this site compared with Rucio, and tells what came of it.
//!
//! All of a site may take minutes. Lines tell that it goes on; a client that goes away does not stop it,
//! and the request's outcome is written down.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures_util::stream;
use runsync_manifest::name::{RseName, RunName};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::account::Account;
use super::body::JsonBody;
use super::ndjson;
use super::openapi::{Body as BodyProblems, Gated, Typed};
use super::problem::{Problem, ProblemBody};
use super::record::{Asking, Recorded};
use super::surface::{Surface, blocking};
use crate::loops::Loops;
use crate::rucio::Did;
use crate::sync::{Subject, SyncError, SyncReport};

/// Longest time without a word: a client can tell a daemon that works from one that is suspended.
const TOLD_AT_LEAST_EVERY: Duration = Duration::from_secs(10);

/// What to compare with Rucio: one of these, or, where none is named, all roots that are RSEs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToSync {
    /// The runs of this name, of whichever peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub run: Option<RunName>,
    /// What a DID stands for: its scope, a colon, its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did: Option<String>,
    /// The root that is this RSE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rse: Option<RseName>,
}

impl From<&Subject> for ToSync {
    fn from(subject: &Subject) -> Self {
        let mut asked = Self::default();
        match subject {
            Subject::All => {}
            Subject::Rse(rse) => asked.rse = Some(rse.clone()),
            Subject::Run(run) => asked.run = Some(run.clone()),
            Subject::Did(did) => asked.did = Some(did.to_string()),
        }
        asked
    }
}

impl ToSync {
    fn subject(self) -> Result<Subject, Problem> {
        match (self.run, self.did, self.rse) {
            (None, None, None) => Ok(Subject::All),
            (Some(run), None, None) => Ok(Subject::Run(run)),
            (None, Some(did), None) => match did.parse::<Did>() {
                Ok(did) => Ok(Subject::Did(did)),
                Err(error) => Err(Problem::wrong(error.to_string()).hint("such as `hsc:u/a/run`")),
            },
            (None, None, Some(rse)) => Ok(Subject::Rse(rse)),
            _ => Err(
                Problem::wrong("`run`, `did` and `rse` are different things to compare")
                    .hint("name one of them, or none for all roots that are RSEs"),
            ),
        }
    }
}

/// One line of the answer. The last is `done` or `failed`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum SyncEvent {
    /// It goes on.
    Working,
    /// What was done, and found.
    Done(SyncReport),
    /// The daemon, or Rucio, cannot go on now.
    Failed(ProblemBody),
}

/// Have this site compared with what Rucio says should be here, and act on it.
///
/// Manifests that have come unannounced are registered, artifacts that have arrived are confirmed, those
/// that Rucio has deleted are forgotten, and what is late is told with Rucio's reason. Lines tell that
/// it goes on; the last one, `done` or `failed`, what came of it. A client that goes away does not stop it.
#[utoipa::path(
    post,
    path = "/v1/syncs",
    tag = "operate",
    request_body = ToSync,
    responses(
        (status = 200, description = "Lines, the last of which says what came of it.", content_type = "application/x-ndjson", body = SyncEvent),
        BodyProblems,
        Typed,
        Gated,
    )
)]
pub(super) async fn sync(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(wanted): JsonBody<ToSync>,
) -> Result<Response, Problem> {
    let subject = wanted.subject()?;
    let loops = surface.loops()?;
    loops.assembly().syncing.rucio()?;
    let asking = Asking {
        account,
        what: "sync",
        subject: subject.to_string(),
    };
    let (of, at) = (Arc::clone(&loops), surface.clock.now());
    let recorded = blocking(move || Recorded::begin(asking, &of, at)).await??;
    let (tell, told) = oneshot::channel();
    surface.tasks.spawn(async move {
        let done = blocking(move || match compare(&loops, &subject) {
            Ok(report) => {
                recorded.end("done");
                SyncEvent::Done(report)
            }
            Err(error) => {
                let problem = Problem::from(error);
                recorded.end(problem.detail());
                SyncEvent::Failed(problem.body())
            }
        });
        let last = done
            .await
            .unwrap_or_else(|problem| SyncEvent::Failed(problem.body()));
        // Whoever has gone learns it from the request's outcome.
        drop(tell.send(last));
    });
    Ok(answer(told))
}

fn compare(loops: &Arc<Loops>, subject: &Subject) -> Result<SyncReport, SyncError> {
    let syncing = &loops.assembly().syncing;
    let asked = Arc::clone(loops);
    let rucio = syncing.rucio()?.waiting(Arc::new(move || asked.go_on()));
    syncing.compare(&rucio, subject, &mut || loops.go_on())
}

/// Words until the last. An answer whose last word never comes is cut off.
fn answer(told: oneshot::Receiver<SyncEvent>) -> Response {
    let lines = stream::try_unfold(Some(told), |told| async move {
        let Some(mut told) = told else {
            return Ok(None);
        };
        let (event, rest) = match timeout(TOLD_AT_LEAST_EVERY, &mut told).await {
            Err(_) => (SyncEvent::Working, Some(told)),
            Ok(Ok(last)) => (last, None),
            Ok(Err(_)) => return Err(io::Error::other("comparing with Rucio broke off")),
        };
        let mut line = Vec::new();
        ndjson::line(&event, &mut line)?;
        Ok(Some((Bytes::from(line), rest)))
    });
    ndjson::answer(Body::from_stream(lines))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn one_thing_is_compared_or_all() {
        let subject = |json: &str| {
            let asked: ToSync = serde_json::from_str(json).unwrap();
            asked.subject()
        };
        assert_eq!(subject("{}").unwrap(), Subject::All);
        for json in [
            r#"{"run":"u/a"}"#,
            r#"{"did":"hsc:u/a"}"#,
            r#"{"rse":"B_DISK"}"#,
        ] {
            let asked = ToSync::from(&subject(json).unwrap());
            assert_eq!(serde_json::to_string(&asked).unwrap(), json);
        }
        subject(r#"{"run":"u/a","rse":"B_DISK"}"#).unwrap_err();
        subject(r#"{"did":"u/a"}"#).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_hears_that_the_daemon_lives_and_what_came_of_it() {
        let (tell, told) = oneshot::channel();
        let mut body = answer(told).into_body();
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(line, "{\"event\":\"working\"}\n");
        tell.send(SyncEvent::Done(SyncReport::default())).unwrap();
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(line.starts_with(b"{\"event\":\"done\""));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_without_its_last_word_is_cut_off() {
        let (tell, told) = oneshot::channel();
        drop(tell);
        answer(told).into_body().collect().await.unwrap_err();
    }
}
