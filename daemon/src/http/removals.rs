//! `/v1/removals` and `/v1/journals`: what is being removed, and having runs removed.
//!
//! Whoever asks for a removal names the plan that they have seen. The answer comes as soon as it is
//! written down who asked; the rest is done by threads and loops that no client keeps waiting, and
//! `GET /v1/removals/{removal}` tells how it stands.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::account::Account;
use super::body::JsonBody;
use super::ndjson;
use super::openapi::{Body, Gated, Missing, Typed};
use super::problem::Problem;
use super::query::Path;
use super::record::{Asking, Recorded, perform};
use super::surface::{Surface, blocking};
use crate::removal::{Consent, JournalRow, Plan, RemovalError, Request, Requester, Standing};

/// What is to be done, by the plan that was seen.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// What is asked for.
    pub request: Request,
    /// The plan that was seen.
    pub consent: Consent,
}

/// A removal that is under way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Committed {
    /// The removal.
    pub removal: Uuid,
}

/// Whether to continue what another account has asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AsOwner {
    /// The other account's name.
    #[serde(default)]
    pub as_owner: Option<String>,
}

/// A removal in the path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WhichRemoval {
    /// The removal.
    removal: Uuid,
}

fn requester(surface: &Surface, account: &Account) -> Requester {
    Requester {
        account: account.owner(),
        uid: account.uid,
        daemon: true,
        any: surface.access().may_change_all(account),
    }
}

/// Show what a removal would do, and do nothing.
#[utoipa::path(
    post,
    path = "/v1/removals/plan",
    tag = "operate",
    operation_id = "plan_removal",
    request_body = Request,
    responses(
        (status = 200, description = "The plan.", body = Plan),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn plan(
    State(surface): State<Arc<Surface>>,
    JsonBody(request): JsonBody<Request>,
) -> Result<Json<Plan>, Problem> {
    let loops = surface.loops()?;
    let plan = surface.look_up(move |_| loops.assembly().removing.plan(&request));
    plan.await.map(Json)
}

/// Remove runs as a plan says, and with `purge` their chain.
#[utoipa::path(
    post,
    path = "/v1/removals",
    tag = "operate",
    request_body = Approved,
    responses(
        (status = 200, description = "It is under way.", body = Committed),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn remove(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(approved): JsonBody<Approved>,
) -> Result<Json<Committed>, Problem> {
    let loops = surface.loops()?;
    let removing = Arc::clone(&loops.assembly().removing);
    let requester = requester(&surface, &account);
    let asking = Asking {
        account,
        what: approved.request.operation.as_str(),
        subject: subject(&approved.request),
    };
    let at = surface.clock.now();
    let (of, asks) = (Arc::clone(&loops), requester.clone());
    let begun = surface.look_up(move |_| {
        let plan = of.assembly().removing.plan(&approved.request)?;
        plan.check(&approved.consent)?;
        plan.check_owner(&asks)?;
        let recorded = Recorded::begin(asking, &of, at)?;
        Ok::<_, Problem>((recorded, plan, approved))
    });
    let (recorded, plan, approved) = begun.await?;
    let removal = Uuid::new_v4();
    removing.announce(removal, &plan, &requester);
    let ending = surface.tasks.ending().clone();
    surface.tasks.spawn(async move {
        let work = blocking(move || {
            let go_on = &mut |_| {
                if ending.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let request = &approved.request;
            match removing.begin(removal, request, &approved.consent, &requester, go_on) {
                Ok(()) => recorded.end("committed"),
                Err(error) => recorded.end(Problem::from(error).detail()),
            }
            loops.wake_removals();
        });
        // A panic is logged, and the request's outcome is written down as broken off.
        drop(work.await);
    });
    Ok(Json(Committed { removal }))
}

fn subject(request: &Request) -> String {
    let chain = request.chain.iter().map(ToString::to_string);
    let names = chain.chain(request.runs.iter().map(ToString::to_string));
    names.collect::<Vec<_>>().join(", ")
}

/// List the removals that are committed and not done.
#[utoipa::path(
    get,
    path = "/v1/removals",
    tag = "read",
    responses(
        (status = 200, description = "A line for each removal.", content_type = "application/x-ndjson", body = Standing),
        Gated,
    )
)]
pub(super) async fn removals(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let loops = surface.loops()?;
    let standings = surface.look_up(move |_| loops.assembly().removing.under_way());
    lines(&standings.await?)
}

/// Show how a removal stands.
#[utoipa::path(
    get,
    path = "/v1/removals/{removal}",
    tag = "read",
    params(WhichRemoval),
    responses(
        (status = 200, description = "How it stands.", body = Standing),
        (status = 422, description = "The path is wrong.", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        Missing,
        Gated,
    )
)]
pub(super) async fn removal(
    State(surface): State<Arc<Surface>>,
    Path(which): Path<WhichRemoval>,
) -> Result<Json<Standing>, Problem> {
    let loops = surface.loops()?;
    let standing = surface.look_up(move |_| {
        let removing = &loops.assembly().removing;
        removing.standing(which.removal)
    });
    standing.await?.map(Json).ok_or_else(|| {
        Problem::missing(format!("there is no removal {}", which.removal))
            .hint("`GET /v1/removals` lists those under way; of those done, a daemon remembers the latest")
    })
}

/// Continue a removal now, instead of when it is tried again.
#[utoipa::path(
    post,
    path = "/v1/removals/{removal}/resume",
    tag = "operate",
    params(WhichRemoval),
    request_body = AsOwner,
    responses(
        (status = 200, description = "It is tried again.", body = Committed),
        Body,
        Typed,
        Missing,
        Gated,
    )
)]
pub(super) async fn resume(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    Path(which): Path<WhichRemoval>,
    JsonBody(as_owner): JsonBody<AsOwner>,
) -> Result<Json<Committed>, Problem> {
    let requester = requester(&surface, &account);
    let asking = Asking {
        account,
        what: "resume",
        subject: which.removal.to_string(),
    };
    let resumed = perform(&surface, asking, move |loops| {
        let removing = &loops.assembly().removing;
        removing.allow(which.removal, &requester, as_owner.as_owner.as_deref())?;
        loops.wake_removals();
        Ok::<_, RemovalError>(Committed {
            removal: which.removal,
        })
    });
    resumed.await.map(Json)
}

/// A removal that was given up.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct GivenUp {
    /// The removal.
    pub removal: Uuid,
    /// Artifacts that its journals named: those that were not deleted stay.
    pub artifacts: u64,
}

/// Give up what a removal could not delete: it stays where it is.
#[utoipa::path(
    post,
    path = "/v1/removals/{removal}/drop",
    tag = "operate",
    operation_id = "drop_journals",
    params(WhichRemoval),
    request_body = AsOwner,
    responses(
        (status = 200, description = "Its journals are gone.", body = GivenUp),
        Body,
        Typed,
        Missing,
        Gated,
    )
)]
pub(super) async fn drop_journals(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    Path(which): Path<WhichRemoval>,
    JsonBody(as_owner): JsonBody<AsOwner>,
) -> Result<Json<GivenUp>, Problem> {
    let requester = requester(&surface, &account);
    let asking = Asking {
        account,
        what: "drop journal",
        subject: which.removal.to_string(),
    };
    let dropped = perform(&surface, asking, move |loops| {
        let (removal, as_owner) = (which.removal, as_owner.as_owner.as_deref());
        let removing = &loops.assembly().removing;
        let go_on = &mut |_| ControlFlow::Continue(());
        let artifacts = removing.give_up(removal, &requester, as_owner, go_on)?;
        Ok::<_, RemovalError>(GivenUp { removal, artifacts })
    });
    dropped.await.map(Json)
}

/// List the journals in all roots.
#[utoipa::path(
    get,
    path = "/v1/journals",
    tag = "read",
    responses(
        (status = 200, description = "A line for each journal.", content_type = "application/x-ndjson", body = JournalRow),
        Gated,
    )
)]
pub(super) async fn journals(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let loops = surface.loops()?;
    let journals = surface.look_up(move |_| loops.assembly().removing.journals());
    lines(&journals.await?)
}

/// Few: each is a removal that is under way.
fn lines(rows: &[impl Serialize]) -> Result<Response, Problem> {
    let mut bytes = Vec::new();
    for row in rows {
        let written = ndjson::line(row, &mut bytes);
        written.map_err(|_| Problem::internal("a line cannot be written"))?;
    }
    Ok(ndjson::answer(bytes.into()))
}
