//! `/v1/collections…`: what people have made of runs and datasets, and changing it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use runsync_manifest::name::{CollectionName, RepositoryId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::account::Account;
use super::body::JsonBody;
use super::openapi::{Asked, Body, Gated, Missing, Typed};
use super::pages::{Cursor, list};
use super::problem::Problem;
use super::query::{Path, Query};
use super::record::{Asking, perform};
use super::surface::Surface;
use crate::registry::RegistryError;
use crate::registry::collection::{
    Actor, Change, Collection, CollectionError, CollectionPlan, CollectionRow,
};

/// After every repository: where a client names no origin, it has seen all of that name.
const LAST_ORIGIN: RepositoryId = RepositoryId(Uuid::max());
/// Before every repository: what is no run has none.
const NO_ORIGIN: RepositoryId = RepositoryId(Uuid::nil());

/// Which collections.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichCollections {
    /// Only this one and those below it, such as `u/alice`.
    prefix: Option<String>,
    /// Hidden ones, too.
    #[serde(default)]
    #[param(default = false)]
    all: bool,
    /// Only those after this one: the name of the last line.
    after: Option<String>,
    /// With `after`: the origin of the last line, where that is a run whose name several have.
    #[param(value_type = Option<Uuid>)]
    after_origin: Option<RepositoryId>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

/// A collection in the path.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WhichCollection {
    /// The collection's name, with `/` written as `%2F`.
    #[param(value_type = String)]
    collection: CollectionName,
}

/// What a change has come to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Tags that are new or gone; places that a chain has now; flags that were not so before.
    pub count: u64,
}

/// Collections to remove.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Collections {
    /// Their names.
    #[schema(value_type = Vec<String>)]
    pub names: Vec<CollectionName>,
}

/// Collections to remove, by the plan that was seen.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unlinking {
    /// Their names.
    #[schema(value_type = Vec<String>)]
    pub names: Vec<CollectionName>,
    /// The number of the plan: nothing is done where it would be another by now.
    pub plan: String,
}

/// List runs and collections, by name.
#[utoipa::path(
    get,
    path = "/v1/collections",
    tag = "read",
    params(WhichCollections),
    responses(
        (status = 200, description = "A line for each.", content_type = "application/x-ndjson", body = CollectionRow),
        Asked,
        Gated,
    )
)]
pub(super) async fn collections(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichCollections>,
) -> Result<Response, Problem> {
    let origin = which.after_origin.unwrap_or(LAST_ORIGIN);
    let begin = Cursor::new(which.after.map(|name| (name, origin)), which.limit);
    list(surface, begin, move |surface, at| {
        let prefix = which.prefix.as_deref();
        let after = at.after().map(|(name, origin)| (name.as_str(), *origin));
        let registry = &surface.readers.registry;
        let rows = registry.collections_after(prefix, which.all, after, at.lines())?;
        Ok(at.page(rows, |row| {
            (row.name.to_string(), row.origin.unwrap_or(NO_ORIGIN))
        }))
    })
    .await
}

/// Show one run or collection; of a chain its places, in order.
#[utoipa::path(
    get,
    path = "/v1/collections/{collection}",
    tag = "read",
    params(WhichCollection),
    responses(
        (status = 200, description = "The collection.", body = Collection),
        Missing,
        Asked,
        Gated,
    )
)]
pub(super) async fn collection(
    State(surface): State<Arc<Surface>>,
    Path(WhichCollection { collection: name }): Path<WhichCollection>,
) -> Result<Json<Collection>, Problem> {
    let found = surface.look_up(move |surface| {
        let found = surface.readers.registry.collection(&name)?;
        found.ok_or_else(|| Problem::from(CollectionError::Missing { name }))
    });
    found.await.map(Json)
}

/// Change a collection: its members, its tags, or whether lists leave it out.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}",
    tag = "operate",
    operation_id = "change_collection",
    params(WhichCollection),
    request_body = Change,
    responses(
        (status = 200, description = "It is changed.", body = Changed),
        Body,
        Typed,
        Missing,
        Gated,
    )
)]
pub(super) async fn change(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    Path(WhichCollection { collection: name }): Path<WhichCollection>,
    JsonBody(change): JsonBody<Change>,
) -> Result<Json<Changed>, Problem> {
    let actor = actor(&surface, &account);
    let asking = Asking {
        account,
        what: change.as_str(),
        subject: name.to_string(),
    };
    let changed = perform(&surface, asking, move |loops| {
        let registry = &loops.assembly().parts.registry;
        let count = registry.change_collection(&name, &change, &actor)?;
        Ok::<_, RegistryError>(Changed { count })
    });
    changed.await.map(Json)
}

fn actor(surface: &Surface, account: &Account) -> Actor {
    Actor {
        account: account.owner(),
        any: surface.access().may_change_all(account),
    }
}

/// Show what removing collections would do, and do nothing.
#[utoipa::path(
    post,
    path = "/v1/remove-collections/plan",
    tag = "operate",
    operation_id = "plan_collections",
    request_body = Collections,
    responses(
        (status = 200, description = "The plan.", body = CollectionPlan),
        Body,
        Typed,
        Missing,
        Gated,
    )
)]
pub(super) async fn plan(
    State(surface): State<Arc<Surface>>,
    JsonBody(Collections { names }): JsonBody<Collections>,
) -> Result<Json<CollectionPlan>, Problem> {
    let plan = surface.look_up(move |surface| surface.readers.registry.plan_collections(&names));
    plan.await.map(Json)
}

/// Remove collections as a plan says; no dataset goes.
#[utoipa::path(
    post,
    path = "/v1/remove-collections",
    tag = "operate",
    operation_id = "remove_collections",
    request_body = Unlinking,
    responses(
        (status = 200, description = "They are gone.", body = Changed),
        Body,
        Typed,
        Missing,
        Gated,
    )
)]
pub(super) async fn remove(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(Unlinking { names, plan }): JsonBody<Unlinking>,
) -> Result<Json<Changed>, Problem> {
    let actor = actor(&surface, &account);
    let subject = names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let asking = Asking {
        account,
        what: "remove-collections",
        subject: subject.join(", "),
    };
    let count = names.iter().collect::<BTreeSet<_>>().len() as u64;
    let removed = perform(&surface, asking, move |loops| {
        let registry = &loops.assembly().parts.registry;
        registry.remove_collections(&names, &plan, &actor)?;
        Ok::<_, RegistryError>(Changed { count })
    });
    removed.await.map(Json)
}
