//! `/v1/scans`: has roots compared with their records, and tells how it goes and what came of it.
//!
//! A scan may take hours. Lines tell how far it has come; a client that goes away does not stop it, and the
//! request's outcome is written down. It stops with the daemon, and the next one goes on.

use std::io;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures_util::stream;
use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunName};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::account::Account;
use super::body::JsonBody;
use super::ndjson;
use super::openapi::{Body as BodyProblems, Gated, Typed};
use super::pages::{Cursor, list};
use super::problem::{Problem, ProblemBody};
use super::record::{Asking, Recorded};
use super::surface::{Surface, blocking};
use crate::disposition::Disposition;
use crate::jobs::GoOn;
use crate::recovery::{Checks, Limits, Order, RunScope, ScanError, ScanReport, ScanStanding};
use crate::recovery::{ScanCounts, Scanning, standings};
use crate::sync::{Syncing, ViewOrder, ViewReport};

/// How often it is told how far a scan has come: often enough for a progress bar.
const TOLD_EVERY: Duration = Duration::from_millis(500);
/// Reports that wait for a client to read them; more are told at the end.
const REPORTS_AHEAD: usize = 16;

/// What to scan, and how much that may take. Without anything: all roots, names and sizes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToScan {
    /// Only these roots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub roots: Vec<RootName>,
    /// Only what lies below this folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub prefix: Option<ArtifactPath>,
    /// Only what belongs to runs of these names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunName>,
    /// Only what belongs to runs whose first manifest was registered here then, or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_since: Option<Timestamp>,
    /// Only what belongs to runs whose first manifest was registered here earlier than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_until: Option<Timestamp>,
    /// At most so many files and records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// At most so many bytes read for checksums.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// At most so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// At most so many calls to storage in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub calls_per_second: Option<NonZeroU64>,
    /// The share of artifacts to read, from 0 to 1; those that were found amiss before are always read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<f64>,
    /// Whether to begin anew, wherever the last scan stopped.
    pub anew: bool,
    /// Whether records are compared with Rucio's replicas, and not with what lies in storage.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rucio: bool,
    /// At most so many requests to Rucio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// Roots, with their records.
    Storage(Order),
    /// Records, with Rucio's replicas.
    Rucio(ViewOrder),
}

impl From<&ViewOrder> for ToScan {
    fn from(order: &ViewOrder) -> Self {
        Self {
            roots: order.roots.clone(),
            time_ms: (order.time).map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            anew: order.anew,
            rucio: true,
            requests: order.requests,
            ..Self::default()
        }
    }
}

impl From<&Order> for ToScan {
    fn from(order: &Order) -> Self {
        let time = order.limits.time;
        Self {
            roots: order.roots.clone(),
            prefix: order.below.clone(),
            runs: order.runs.names.clone(),
            runs_since: order.runs.since,
            runs_until: order.runs.until,
            objects: order.limits.objects,
            bytes: order.limits.bytes,
            time_ms: time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            calls_per_second: order.limits.calls_per_second,
            sample: match order.checks {
                Checks::None => None,
                Checks::Sampled(share) => Some(share),
                Checks::Full => Some(1.0),
            },
            anew: order.anew,
            rucio: false,
            requests: None,
        }
    }
}

impl ToScan {
    fn wanted(self) -> Result<Wanted, Problem> {
        if !self.rucio && self.requests.is_none() {
            return Ok(Wanted::Storage(self.order()?));
        }
        let order = ViewOrder {
            roots: self.roots.clone(),
            requests: self.requests,
            time: self.time_ms.map(Duration::from_millis),
            anew: self.anew,
        };
        if self != Self::from(&order) {
            return Err(Problem::wrong(
                "what is about storage does not go with `rucio`, nor `requests` without it",
            )
            .hint("with `rucio` go `roots`, `requests`, `time_ms` and `anew`"));
        }
        Ok(Wanted::Rucio(order))
    }

    fn order(self) -> Result<Order, Problem> {
        let runs = RunScope {
            names: self.runs,
            since: self.runs_since,
            until: self.runs_until,
        };
        if self.prefix.is_some() && runs.is_limited() {
            return Err(
                Problem::wrong("`prefix` and runs are different parts of a root")
                    .hint("name a folder or runs, or neither for all of the root"),
            );
        }
        let checks = match self.sample {
            None => Checks::None,
            Some(share) if (0.0..1.0).contains(&share) => Checks::Sampled(share),
            Some(share) if (0.0..=1.0).contains(&share) => Checks::Full,
            Some(_) => return Err(Problem::wrong("`sample` is from 0 to 1")),
        };
        Ok(Order {
            roots: self.roots,
            below: self.prefix,
            runs,
            limits: Limits {
                objects: self.objects,
                bytes: self.bytes,
                time: self.time_ms.map(Duration::from_millis),
                calls_per_second: self.calls_per_second,
            },
            checks,
            anew: self.anew,
            pace: None,
        })
    }
}

/// One line of the answer. The last is `ended` or `failed`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum ScanEvent {
    /// It goes on, and the pass over the root at hand has seen this.
    Working {
        /// What it has seen.
        #[schema(value_type = Object)]
        counts: ScanCounts,
    },
    /// A root is done, as far as limits allow.
    Scanned {
        /// What came of it.
        #[schema(value_type = Object)]
        report: Box<ScanReport>,
    },
    /// The records of a root are compared with Rucio's replicas, as far as limits allow.
    Compared {
        /// What came of it.
        #[schema(value_type = Object)]
        report: Box<ViewReport>,
    },
    /// A root cannot be scanned; the others are.
    Refused {
        /// Why.
        problem: ProblemBody,
    },
    /// All roots are done.
    Ended,
    /// The daemon cannot go on now. What was found is kept, and the next scan goes on.
    Failed {
        /// Why.
        problem: ProblemBody,
    },
}

/// Have roots compared with their records.
///
/// Lines tell how far it has come, what came of each root, and that it ended. A client that goes away does not
/// stop it. One root is scanned by one scan at a time.
#[utoipa::path(
    post,
    path = "/v1/scans",
    tag = "operate",
    request_body = ToScan,
    responses(
        (status = 200, description = "Lines, the last of which says how it ended.", content_type = "application/x-ndjson", body = ScanEvent),
        BodyProblems,
        Typed,
        Gated,
    )
)]
pub(super) async fn scan(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(wanted): JsonBody<ToScan>,
) -> Result<Response, Problem> {
    let wanted = wanted.wanted()?;
    let loops = surface.loops()?;
    let asking = Asking {
        account,
        what: "scan",
        subject: wanted.subject(),
    };
    let (of, at) = (Arc::clone(&loops), surface.clock.now());
    let recorded = blocking(move || Recorded::begin(asking, &of, at)).await??;
    let (count, counts) = watch::channel(ScanCounts::default());
    let (tell, told) = mpsc::channel(REPORTS_AHEAD);
    let mut telling = Telling::new(tell.clone());
    // Clients are let go before the loops stop.
    let ending = surface.tasks.ending().clone();
    let go_on: GoOn = Arc::new(move || {
        if ending.is_cancelled() {
            ControlFlow::Break(())
        } else {
            loops.go_on()
        }
    });
    let performing = surface.loops()?;
    surface.tasks.spawn(async move {
        let done = blocking(move || match wanted {
            Wanted::Storage(order) => {
                let outcome = perform(
                    (&performing.assembly().scanning, &order),
                    (&go_on, &count),
                    &mut telling,
                );
                (telling.left, outcome)
            }
            Wanted::Rucio(order) => {
                let outcome = compare(
                    (&performing.assembly().syncing, &order),
                    &go_on,
                    &mut telling,
                );
                (telling.left, outcome)
            }
        });
        let left = match done.await {
            Ok((left, outcome)) => {
                let noted = blocking(move || recorded.end(&outcome)).await;
                // It is in the log.
                drop(noted);
                left
            }
            Err(problem) => vec![ScanEvent::Failed {
                problem: problem.body(),
            }],
        };
        for event in left {
            if tell.send(event).await.is_err() {
                // Whoever has gone learns it from the request's outcome.
                return;
            }
        }
    });
    Ok(answer(told, counts))
}

fn subject(order: &Order) -> String {
    let mut parts: Vec<String> = order.roots.iter().map(ToString::to_string).collect();
    if parts.is_empty() {
        parts.push("all roots".to_owned());
    }
    parts.extend(order.below.as_ref().map(|folder| format!("below {folder}")));
    parts.extend(order.runs.names.iter().map(|run| format!("run {run}")));
    parts.extend(order.runs.since.map(|at| format!("runs since {at}")));
    parts.extend(order.runs.until.map(|at| format!("runs before {at}")));
    parts.join(", ")
}

impl Wanted {
    fn subject(&self) -> String {
        match self {
            Self::Storage(order) => subject(order),
            Self::Rucio(order) => {
                let roots = Order {
                    roots: order.roots.clone(),
                    ..Order::default()
                };
                format!("Rucio's replicas, {}", subject(&roots))
            }
        }
    }
}

/// Tells what comes of roots while others are still gone through.
struct Telling {
    tell: mpsc::Sender<ScanEvent>,
    /// What could not be told yet: a client that does not read holds up no scan.
    left: Vec<ScanEvent>,
    /// What is written down of the request.
    outcome: String,
}

impl Telling {
    fn new(tell: mpsc::Sender<ScanEvent>) -> Self {
        Self {
            tell,
            left: Vec::new(),
            outcome: "done".to_owned(),
        }
    }

    fn event(&mut self, event: ScanEvent) {
        if !self.left.is_empty() {
            return self.left.push(event);
        }
        match self.tell.try_send(event) {
            // Whoever has gone learns it from the request's outcome.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(event)) => self.left.push(event),
        }
    }

    fn refused(&mut self, problem: &Problem) {
        problem.detail().clone_into(&mut self.outcome);
        let problem = problem.body();
        self.event(ScanEvent::Refused { problem });
    }

    /// The last word: it is told when the outcome is written down.
    fn end(&mut self, failed: Option<Problem>) -> String {
        self.left.push(match failed {
            None => ScanEvent::Ended,
            Some(problem) => {
                problem.detail().clone_into(&mut self.outcome);
                let problem = problem.body();
                ScanEvent::Failed { problem }
            }
        });
        std::mem::take(&mut self.outcome)
    }
}

/// Compares with Rucio's replicas, as [`perform`] does with storage; what to write down. Blocks.
fn compare(
    (syncing, order): (&Syncing, &ViewOrder),
    go_on: &GoOn,
    telling: &mut Telling,
) -> String {
    let done = syncing.rucio().and_then(|rucio| {
        let rucio = rucio.waiting(Arc::clone(go_on));
        let mut told = |report| match report {
            Ok(report) => telling.event(ScanEvent::Compared {
                report: Box::new(report),
            }),
            Err(error) => telling.refused(&Problem::from(error)),
        };
        syncing.view_each(&rucio, order, &mut told, &mut || go_on())
    });
    telling.end(done.err().map(Problem::from))
}

/// Scans, tells what comes of it, and says what to write down. Blocks.
fn perform(
    (scanning, order): (&Scanning, &Order),
    (go_on, count): (&GoOn, &watch::Sender<ScanCounts>),
    telling: &mut Telling,
) -> String {
    let mut told = |report| match report {
        Ok(report) => telling.event(ScanEvent::Scanned {
            report: Box::new(report),
        }),
        Err(error) => telling.refused(&Problem::from(error)),
    };
    let done = scanning.scan_each(order, &mut told, &mut |counts| {
        count.send_replace(*counts);
        go_on()
    });
    let failed = match done {
        Err(error) => Some(error.into()),
        Ok(()) => go_on().is_break().then(Problem::stopping),
    };
    telling.end(failed)
}

/// Lines until the last. An answer whose last line never comes is cut off.
fn answer(told: mpsc::Receiver<ScanEvent>, counts: watch::Receiver<ScanCounts>) -> Response {
    let begin = Some((told, counts));
    let lines = stream::try_unfold(begin, |state| async move {
        let Some((mut told, counts)) = state else {
            return Ok(None);
        };
        let event = match timeout(TOLD_EVERY, told.recv()).await {
            Err(_) => ScanEvent::Working {
                counts: *counts.borrow(),
            },
            Ok(Some(event)) => event,
            Ok(None) => return Err(io::Error::other("the scan broke off")),
        };
        let is_last = matches!(event, ScanEvent::Ended | ScanEvent::Failed { .. });
        let mut line = Vec::new();
        ndjson::line(&event, &mut line)?;
        let rest = (!is_last).then_some((told, counts));
        Ok(Some((Bytes::from(line), rest)))
    });
    ndjson::answer(Body::from_stream(lines))
}

impl From<ScanError> for Problem {
    fn from(error: ScanError) -> Self {
        if error.is_fenced() {
            return Self::stopping();
        }
        let hint = error.hint();
        let problem = if error.is_refusal() {
            Self::wrong(error.to_string())
        } else if error.is_busy() {
            Self::unavailable(error.to_string())
        } else {
            return Self::below(&error, Disposition::Retry, hint);
        };
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

/// A scan at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScanShown {
    /// How far it has come.
    #[serde(flatten)]
    pub standing: ScanStanding,
    /// Whether the daemon that answers is scanning that root now.
    pub scanning: bool,
}

/// List how far scans have come: of each root, and of each part of one that was ever scanned by itself.
#[utoipa::path(
    get,
    path = "/v1/scans",
    tag = "read",
    responses(
        (status = 200, description = "A line for each root and part.", content_type = "application/x-ndjson", body = ScanShown),
        Gated,
    )
)]
pub(super) async fn scans(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    list(surface, Cursor::new(None::<usize>, None), |surface, _| {
        let loops = surface.steward.duty().loops();
        let busy = loops.map_or_else(Vec::new, |loops| loops.assembly().scanning.under_way());
        let all = standings(&*surface.readers.ledger)?.into_iter();
        let shown = all.map(|standing| ScanShown {
            scanning: busy.contains(&standing.root),
            standing,
        });
        Ok((shown.collect(), None))
    })
    .await
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn what_is_asked_for_is_what_is_scanned() {
        let order = |json: &str| serde_json::from_str::<ToScan>(json).unwrap().order();
        let all = order("{}").unwrap();
        assert_eq!(all, Order::default());
        let json = r#"{"roots":["main"],"runs":["u/a"],"runs_since":"2026-11-01T00:00:00Z","objects":7,"time_ms":1500,"calls_per_second":3,"sample":0.5,"anew":true}"#;
        let asked = order(json).unwrap();
        assert_eq!(serde_json::to_string(&ToScan::from(&asked)).unwrap(), json);
        let wanted = |json: &str| serde_json::from_str::<ToScan>(json).unwrap().wanted();
        let json = r#"{"roots":["main"],"time_ms":1500,"anew":true,"rucio":true,"requests":7}"#;
        let Wanted::Rucio(asked) = wanted(json).unwrap() else {
            unreachable!("Rucio is asked for");
        };
        assert_eq!(serde_json::to_string(&ToScan::from(&asked)).unwrap(), json);
        assert_eq!(wanted("{}").unwrap(), Wanted::Storage(Order::default()));
        wanted(r#"{"rucio":true,"sample":1}"#).unwrap_err();
        wanted(r#"{"requests":7}"#).unwrap_err();
        let full = order(r#"{"sample":1}"#).unwrap();
        assert_eq!(full.checks, Checks::Full);
        order(r#"{"sample":1.5}"#).unwrap_err();
        order(r#"{"prefix":"u","runs":["u/a"]}"#).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_hears_how_far_it_has_come_and_how_it_ended() {
        let (count, counts) = watch::channel(ScanCounts::default());
        let (tell, told) = mpsc::channel(1);
        let mut body = answer(told, counts).into_body();
        count.send_replace(ScanCounts {
            files: 7,
            ..ScanCounts::default()
        });
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let event: ScanEvent = serde_json::from_slice(&line).unwrap();
        assert!(matches!(event, ScanEvent::Working { counts } if counts.files == 7));
        tell.send(ScanEvent::Ended).await.unwrap();
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(line, "{\"event\":\"ended\"}\n");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_without_its_last_line_is_cut_off() {
        let (_count, counts) = watch::channel(ScanCounts::default());
        let (tell, told) = mpsc::channel(1);
        drop(tell);
        answer(told, counts)
            .into_body()
            .collect()
            .await
            .unwrap_err();
    }
}
