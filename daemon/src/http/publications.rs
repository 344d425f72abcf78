//! `/v1/publications`: what is, and is to be, in Rucio, and having runs published.
//!
//! Whoever orders is answered as soon as the order is written down; the loop that publishes does the
//! rest, and `GET /v1/publications` tells how far it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use runsync_manifest::error::NameError;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RunKey, RunName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::body::JsonBody;
use super::openapi::{Asked, Body, Gated, Typed};
use super::pages::{Cursor, list};
use super::problem::Problem;
use super::query::Query;
use super::record::{Asking, perform};
use super::surface::Surface;
use crate::ledger::Ledger;
use crate::ledger::record::Publication;
use crate::publish::{Compaction, PublicationPlan, Withdrawal};

/// Which publications.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichPublications {
    /// Only those of runs of this name.
    #[param(value_type = Option<String>)]
    run: Option<RunName>,
    /// Only those after this one: the run of the last line, with its origin and generation.
    #[param(value_type = Option<String>)]
    after: Option<RunName>,
    /// With `after`: the origin of the last line.
    #[param(value_type = Option<Uuid>)]
    after_origin: Option<RepositoryId>,
    /// With `after`: the generation of the last line.
    after_generation: Option<String>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

impl WhichPublications {
    fn begin(&mut self) -> Result<Cursor<(RunKey, Generation)>, Problem> {
        let after = match (
            self.after.take(),
            self.after_origin.take(),
            self.after_generation.take(),
        ) {
            (None, None, None) => None,
            (Some(name), Some(origin), Some(generation)) => {
                let generation = generation.parse().map_err(|error: NameError| {
                    Problem::wrong(error.to_string()).hint("such as `1-1`")
                })?;
                Some((RunKey { origin, name }, generation))
            }
            _ => {
                let detail =
                    "`after`, `after_origin` and `after_generation` name a publication together";
                return Err(Problem::wrong(detail)
                    .hint("take `name`, `origin` and `generation` of the last line"));
            }
        };
        Ok(Cursor::new(after, self.limit))
    }
}

/// List publications, by run and generation.
#[utoipa::path(
    get,
    path = "/v1/publications",
    tag = "read",
    params(WhichPublications),
    responses(
        (status = 200, description = "A line for each manifest that is, or is to be, in Rucio.", content_type = "application/x-ndjson", body = Publication),
        Asked,
        Gated,
    )
)]
pub(super) async fn publications(
    State(surface): State<Arc<Surface>>,
    Query(mut which): Query<WhichPublications>,
) -> Result<Response, Problem> {
    let begin = which.begin()?;
    list(surface, begin, move |surface, at| {
        let ledger = &surface.readers.ledger;
        let after = at.after().map(|(run, generation)| (run, *generation));
        let rows = match &which.run {
            None => ledger.publications_after(after, at.lines())?,
            Some(name) => of_run(&**ledger, name, after, at.lines())?,
        };
        Ok(at.page(rows, |row| (row.run.clone(), row.generation)))
    })
    .await
}

/// A page of the publications of runs of one name: all of one origin, and so of few.
fn of_run(
    ledger: &dyn Ledger,
    name: &RunName,
    after: Option<(&RunKey, Generation)>,
    limit: usize,
) -> Result<Vec<Publication>, crate::ledger::LedgerError> {
    let mut rows = Vec::new();
    let first = RunKey {
        origin: RepositoryId(uuid::Uuid::nil()),
        name: name.clone(),
    };
    let none = Generation {
        epoch: 0,
        sequence: 0,
    };
    let mut at = after.map_or((first, none), |(run, generation)| (run.clone(), generation));
    while rows.len() < limit {
        let page = ledger.publications_after(Some((&at.0, at.1)), limit - rows.len())?;
        let Some(last) = page.last() else { break };
        at = (last.run.clone(), last.generation);
        let before = rows.len();
        let whole = page.len();
        rows.extend(page.into_iter().filter(|row| row.run.name == *name));
        if rows.len() - before < whole {
            break;
        }
    }
    Ok(rows)
}

/// Runs to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToPublish {
    /// The runs: of this site's own.
    #[schema(value_type = Vec<String>, min_items = 1)]
    pub runs: Vec<RunName>,
}

impl ToPublish {
    fn check(&self) -> Result<(), Problem> {
        if self.runs.is_empty() {
            return Err(Problem::wrong("`runs` names none").hint("name at least one run"));
        }
        Ok(())
    }
}

/// What was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ordered {
    /// All publications of the runs, also those that were there before.
    pub publications: Vec<Publication>,
}

/// Show what publishing runs would do, and do nothing.
#[utoipa::path(
    post,
    path = "/v1/publications/plan",
    tag = "operate",
    operation_id = "plan_publications",
    request_body = ToPublish,
    responses(
        (status = 200, description = "The plan.", body = PublicationPlan),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn plan(
    State(surface): State<Arc<Surface>>,
    JsonBody(wanted): JsonBody<ToPublish>,
) -> Result<Json<PublicationPlan>, Problem> {
    wanted.check()?;
    let loops = surface.loops()?;
    let plan = surface.look_up(move |_| {
        let publishing = &loops.assembly().publishing;
        publishing.plan(&wanted.runs, &mut || loops.go_on())
    });
    plan.await.map(Json)
}

/// A run whose manifests are to be compacted, or withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToCompact {
    /// The run: of this site's own.
    #[schema(value_type = String)]
    pub run: RunName,
}

/// Write one snapshot in the place of a run's manifests, and have it published.
#[utoipa::path(
    post,
    path = "/v1/compactions",
    tag = "operate",
    operation_id = "compact",
    request_body = ToCompact,
    responses(
        (status = 200, description = "The snapshot is written, and its publication ordered.", body = Compaction),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn compact(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(wanted): JsonBody<ToCompact>,
) -> Result<Json<Compaction>, Problem> {
    let by = account.to_string();
    let asking = Asking {
        account,
        what: "compact",
        subject: wanted.run.to_string(),
    };
    let compacted = perform(&surface, asking, move |loops| {
        let publishing = &loops.assembly().publishing;
        let compacted = publishing.compact(&wanted.run, &by, &mut || loops.go_on());
        loops.wake(None);
        loops.wake_publishing();
        compacted
    });
    compacted.await.map(Json)
}

/// Let Rucio delete a run's manifests whose place a snapshot or a removal has taken, wherever that
/// has arrived.
#[utoipa::path(
    post,
    path = "/v1/withdrawals",
    tag = "operate",
    operation_id = "withdraw",
    request_body = ToCompact,
    responses(
        (status = 200, description = "What is withdrawn, and what is still waited for.", body = Withdrawal),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn withdraw(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(wanted): JsonBody<ToCompact>,
) -> Result<Json<Withdrawal>, Problem> {
    let asking = Asking {
        account,
        what: "withdraw",
        subject: wanted.run.to_string(),
    };
    let asked = surface.loops()?;
    let withdrawn = perform(&surface, asking, move |loops| {
        let publishing = &loops.assembly().publishing;
        let run = publishing.own(&wanted.run);
        let rucio = publishing.rucio()?;
        publishing.withdraw(&rucio.waiting(Arc::new(move || asked.go_on())), &run)
    });
    withdrawn.await.map(Json)
}

/// Have runs published.
#[utoipa::path(
    post,
    path = "/v1/publications",
    tag = "operate",
    operation_id = "publish",
    request_body = ToPublish,
    responses(
        (status = 200, description = "It is ordered.", body = Ordered),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn publish(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(wanted): JsonBody<ToPublish>,
) -> Result<Json<Ordered>, Problem> {
    wanted.check()?;
    let by = account.to_string();
    let names: Vec<&str> = wanted.runs.iter().map(RunName::as_str).collect();
    let asking = Asking {
        account,
        what: "publish",
        subject: names.join(", "),
    };
    let ordered = perform(&surface, asking, move |loops| {
        let ordered = loops.assembly().publishing.order(&wanted.runs, &by);
        loops.wake_publishing();
        ordered
    });
    let publications = ordered.await?;
    Ok(Json(Ordered { publications }))
}
