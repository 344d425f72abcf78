//! `/v1/asked-removals`: what origins have removed and is still here, and an operator's word on it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use runsync_manifest::name::ManifestId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::account::Account;
use super::body::JsonBody;
use super::openapi::{Body, Gated, Missing, Typed};
use super::problem::Problem;
use super::query::Path;
use super::record::{Asking, perform};
use super::removals::{Committed, lines, set_off};
use super::surface::Surface;
use crate::ingest::following::{Asked, FollowError};
use crate::removal::{Consent, Plan};

/// A manifest in the path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WhichManifest {
    /// The manifest.
    #[param(value_type = Uuid)]
    manifest: ManifestId,
}

/// List what origins have removed and is still here.
#[utoipa::path(
    get,
    path = "/v1/asked-removals",
    tag = "read",
    responses(
        (status = 200, description = "A line for each manifest.", content_type = "application/x-ndjson", body = Asked),
        Gated,
    )
)]
pub(super) async fn asked(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let loops = surface.loops()?;
    let asked = surface.look_up(move |_| loops.assembly().following.list());
    lines(&asked.await?)
}

/// Show what following an origin would do, and do nothing.
#[utoipa::path(
    post,
    path = "/v1/asked-removals/{manifest}/plan",
    tag = "operate",
    operation_id = "plan_asked_removal",
    params(WhichManifest),
    responses(
        (status = 200, description = "The plan.", body = Plan),
        (status = 422, description = "The path is wrong.", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        Missing,
        Gated,
    )
)]
pub(super) async fn plan(
    State(surface): State<Arc<Surface>>,
    Path(which): Path<WhichManifest>,
) -> Result<Json<Plan>, Problem> {
    let loops = surface.loops()?;
    let plan = surface.look_up(move |_| {
        let mut plan = loops.assembly().following.plan(which.manifest)?;
        loops.assembly().publishing.foresee(&mut plan);
        Ok::<_, FollowError>(plan)
    });
    plan.await.map(Json)
}

/// Follow an origin as a plan says.
#[utoipa::path(
    post,
    path = "/v1/asked-removals/{manifest}/confirm",
    tag = "operate",
    params(WhichManifest),
    request_body = Consent,
    responses(
        (status = 200, description = "It is under way.", body = Committed),
        Body,
        Typed,
        Missing,
        Gated,
    )
)]
pub(super) async fn confirm(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    Path(which): Path<WhichManifest>,
    JsonBody(consent): JsonBody<Consent>,
) -> Result<Json<Committed>, Problem> {
    let asking = Asking {
        account,
        what: "confirm removal",
        subject: which.manifest.to_string(),
    };
    let given = consent.clone();
    set_off(
        &surface,
        asking,
        consent,
        move |assembly| Ok(assembly.following.plan(which.manifest)?),
        move |assembly, removal, by, go_on| {
            let following = &assembly.following;
            Ok(following.confirm(removal, which.manifest, &given, by, go_on)?)
        },
    )
    .await
}

/// Keep what an origin has removed.
#[utoipa::path(
    post,
    path = "/v1/asked-removals/{manifest}/refuse",
    tag = "operate",
    params(WhichManifest),
    responses(
        (status = 200, description = "It stays.", body = Asked),
        (status = 422, description = "The path is wrong.", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        Missing,
        Gated,
    )
)]
pub(super) async fn refuse(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    Path(which): Path<WhichManifest>,
) -> Result<Json<Asked>, Problem> {
    let by = account.to_string();
    let asking = Asking {
        account,
        what: "refuse removal",
        subject: which.manifest.to_string(),
    };
    let refused = perform(&surface, asking, move |loops| {
        let following = &loops.assembly().following;
        following.refuse(which.manifest, &by)
    });
    refused.await.map(Json)
}
