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
use runsync_manifest::name::{DatasetTypeName, RepositoryId, RunName};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
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
use crate::assembly::Assembly;
use crate::ledger::record::RuleEnding;
use crate::publish::PublishError;
use crate::registry::removal::Unwanted;
use crate::removal::{
    Consent, JournalRow, Phase, Plan, RemovalError, Request, Requester, Standing,
};

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

pub(super) fn requester(surface: &Surface, account: &Account) -> Requester {
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
    let plan = surface.look_up(move |_| {
        let mut plan = loops.assembly().removing.plan(&request)?;
        loops.assembly().publishing.foresee(&mut plan);
        Ok::<_, RemovalError>(plan)
    });
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
    let asking = Asking {
        account,
        what: approved.request.operation.as_str(),
        subject: subject(&approved.request),
    };
    let (asked, request) = (approved.clone(), approved.request);
    let plan = move |assembly: &Assembly| {
        let plan = assembly.removing.plan(&request)?;
        Ok(plan)
    };
    let consent = approved.consent.clone();
    let begin = move |assembly: &Assembly, removal: Uuid, by: &Requester, go_on: &mut Going| {
        let removing = &assembly.removing;
        removing.begin(removal, &asked.request, &asked.consent, by, go_on)?;
        Ok(())
    };
    set_off(&surface, asking, consent, plan, begin).await
}

/// Hears how far a removal is, and breaks it off where the process ends.
pub(super) type Going<'a> = dyn FnMut(Phase) -> ControlFlow<()> + 'a;

/// Checks a plan, and answers as soon as it is written down who asked; then begins the removal on a
/// thread, and has the loop see it through.
pub(super) async fn set_off(
    surface: &Arc<Surface>,
    asking: Asking,
    consent: Consent,
    plan: impl FnOnce(&Assembly) -> Result<Plan, Problem> + Send + 'static,
    begin: impl FnOnce(&Assembly, Uuid, &Requester, &mut Going<'_>) -> Result<(), Problem>
    + Send
    + 'static,
) -> Result<Json<Committed>, Problem> {
    let loops = surface.loops()?;
    let requester = requester(surface, &asking.account);
    let at = surface.clock.now();
    let of = Arc::clone(&loops);
    let asks = requester.clone();
    let checked = surface.look_up(move |_| {
        let plan = plan(of.assembly())?;
        plan.check(Some(&consent))?;
        plan.check_owner(&asks)?;
        let recorded = Recorded::begin(asking, &of, at)?;
        Ok::<_, Problem>((recorded, plan))
    });
    let (recorded, plan) = checked.await?;
    let removal = Uuid::new_v4();
    loops
        .assembly()
        .removing
        .announce(removal, &plan, &requester);
    let ending = surface.tasks.ending().clone();
    surface.tasks.spawn(async move {
        let work = blocking(move || {
            let go_on = &mut |_| going_on(&ending);
            match begin(loops.assembly(), removal, &requester, go_on) {
                Ok(()) => recorded.end("committed"),
                Err(problem) => recorded.end(problem.detail()),
            }
            loops.wake_removals();
        });
        // A panic is logged, and the request's outcome is written down as broken off.
        drop(work.await);
    });
    Ok(Json(Committed { removal }))
}

fn going_on(ending: &CancellationToken) -> ControlFlow<()> {
    if ending.is_cancelled() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
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

/// Parts of runs that are wanted again.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// Runs, or parts of them.
    pub parts: usize,
}

/// Parts of runs to want again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The names of the runs.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunName>,
    /// The origin of all of them, where several repositories own runs of these names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub origin: Option<RepositoryId>,
    /// Only their datasets of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dataset_type: Option<DatasetTypeName>,
}

/// Want parts of runs again that were unstored or forgotten: their artifacts are waited for.
#[utoipa::path(
    post,
    path = "/v1/restore",
    tag = "operate",
    request_body = Wanted,
    responses(
        (status = 200, description = "They are waited for, or will be in a moment.", body = Restored),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn restore(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Json<Restored>, Problem> {
    let names = wanted.runs.iter().map(ToString::to_string);
    let asking = Asking {
        account,
        what: "restore",
        subject: names.collect::<Vec<_>>().join(", "),
    };
    let ending = surface.tasks.ending().clone();
    let restored = perform(&surface, asking, move |loops| {
        let Wanted {
            runs,
            origin,
            dataset_type,
        } = &wanted;
        let publishing = &loops.assembly().publishing;
        publishing.want_again(runs, *origin, dataset_type.is_none())?;
        let removing = &loops.assembly().removing;
        let go_on = &mut |_| going_on(&ending);
        let parts = removing.restore(runs, *origin, dataset_type.as_ref(), go_on)?;
        loops.wake_removals();
        Ok::<_, Problem>(Restored { parts })
    });
    restored.await.map(Json)
}

/// List the parts of runs whose artifacts this site does not want.
#[utoipa::path(
    get,
    path = "/v1/unwanted",
    tag = "read",
    responses(
        (status = 200, description = "A line for each part.", content_type = "application/x-ndjson", body = Unwanted),
        Gated,
    )
)]
pub(super) async fn unwanted(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let parts = surface.look_up(move |surface| surface.readers.registry.unwanted());
    lines(&parts.await?)
}

/// List the runs whose rules are to end in Rucio, and what they wait for.
#[utoipa::path(
    get,
    path = "/v1/rule-endings",
    tag = "read",
    responses(
        (status = 200, description = "A line for each run.", content_type = "application/x-ndjson", body = RuleEnding),
        Gated,
    )
)]
pub(super) async fn rule_endings(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let endings = surface.look_up(move |surface| surface.readers.ledger.rule_endings());
    lines(&endings.await?)
}

/// Runs whose rules are to end at once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToEnd {
    /// The names of the runs, of this site's own repository.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunName>,
}

/// Rules that end at once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// Runs whose rules they are.
    pub runs: usize,
}

/// End the rules of removed runs at once, wherever their removal manifests are by now.
#[utoipa::path(
    post,
    path = "/v1/rule-endings",
    tag = "operate",
    request_body = ToEnd,
    responses(
        (status = 200, description = "They are told to end in a moment.", body = Ended),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn end_rules(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(to_end): JsonBody<ToEnd>,
) -> Result<Json<Ended>, Problem> {
    let names = to_end.runs.iter().map(ToString::to_string);
    let asking = Asking {
        account,
        what: "end rules",
        subject: names.collect::<Vec<_>>().join(", "),
    };
    let ended = perform(&surface, asking, move |loops| {
        let publishing = &loops.assembly().publishing;
        let runs = publishing.end_rules_at_once(&to_end.runs)?;
        loops.wake_rules();
        Ok::<_, PublishError>(Ended { runs })
    });
    ended.await.map(Json)
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
    let ending = surface.tasks.ending().clone();
    let dropped = perform(&surface, asking, move |loops| {
        let (removal, as_owner) = (which.removal, as_owner.as_owner.as_deref());
        let removing = &loops.assembly().removing;
        let go_on = &mut |_| going_on(&ending);
        let artifacts = removing.give_up(removal, &requester, as_owner, go_on)?;
        Ok::<_, RemovalError>(GivenUp { removal, artifacts })
    });
    dropped.await.map(Json)
}

/// List the journals in all roots, and removals that are under way without one.
#[utoipa::path(
    get,
    path = "/v1/journals",
    tag = "read",
    responses(
        (status = 200, description = "A line for each journal, and each removal without one.", content_type = "application/x-ndjson", body = JournalRow),
        Gated,
    )
)]
pub(super) async fn journals(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let loops = surface.loops()?;
    let journals = surface.look_up(move |_| loops.assembly().removing.journals());
    lines(&journals.await?)
}

/// Few: each is a removal that is under way.
pub(super) fn lines(rows: &[impl Serialize]) -> Result<Response, Problem> {
    let mut bytes = Vec::new();
    for row in rows {
        let written = ndjson::line(row, &mut bytes);
        written.map_err(|_| Problem::internal("a line cannot be written"))?;
    }
    Ok(ndjson::answer(bytes.into()))
}
