//! `/v1/manifests` and `/v1/requests`: what the ledger holds, and what may be done with manifests
//! that were set aside.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use runsync_config::root::RootName;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::body::JsonBody;
use super::ndjson;
use super::openapi::{Asked, Body, Gated};
use super::problem::Problem;
use super::query::Query;
use super::record::Recorded;
use super::surface::Surface;
use crate::clock::Clock;
use crate::ingest::quarantine;
use crate::ledger::record::{Location, ManifestRow, ManifestState, RequestRow};
use crate::ledger::{Ledger, LedgerError};

/// Requests listed unless asked for otherwise.
const REQUESTS: usize = 1000;

/// Which manifests.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichManifests {
    /// Only those in this state.
    state: Option<ManifestState>,
    /// Only those in this root.
    #[param(value_type = Option<String>)]
    root: Option<RootName>,
}

/// List manifests, the oldest decision first.
#[utoipa::path(
    get,
    path = "/v1/manifests",
    tag = "read",
    params(WhichManifests),
    responses(
        (status = 200, description = "A line for each manifest.", content_type = "application/x-ndjson", body = ManifestRow),
        Asked,
        Gated,
    )
)]
pub(super) async fn manifests(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichManifests>,
) -> Result<Response, Problem> {
    let rows = surface.look_up(move |surface| {
        let mut rows = surface.readers.ledger.manifests(which.state)?;
        rows.retain(|row| {
            which
                .root
                .as_ref()
                .is_none_or(|root| row.location.root == *root)
        });
        Ok::<_, Problem>(rows)
    });
    Ok(ndjson::rows(rows.await?))
}

/// Which requests.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichRequests {
    /// Only those before this one: the number of the last line.
    before: Option<u64>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

/// List what operators asked for, newest first.
#[utoipa::path(
    get,
    path = "/v1/requests",
    tag = "read",
    params(WhichRequests),
    responses(
        (status = 200, description = "A line for each request.", content_type = "application/x-ndjson", body = RequestRow),
        Asked,
        Gated,
    )
)]
pub(super) async fn requests(
    State(surface): State<Arc<Surface>>,
    Query(which): Query<WhichRequests>,
) -> Result<Response, Problem> {
    let limit = which.limit.unwrap_or(REQUESTS);
    let rows = surface.look_up(move |surface| surface.readers.ledger.requests(which.before, limit));
    Ok(ndjson::rows(rows.await?))
}

/// Manifests in quarantine.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Locations {
    /// Where they lie.
    pub locations: Vec<Location>,
}

/// Manifests with which something was done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ActedOn {
    /// Where they lie; those that were not in quarantine (any more) are missing.
    pub locations: Vec<Location>,
}

/// Have manifests in quarantine read again, now that what was wrong is put right.
#[utoipa::path(
    post,
    path = "/v1/manifests/retry",
    tag = "operate",
    request_body = Locations,
    responses(
        (status = 200, description = "They will be.", body = ActedOn),
        Body,
        Gated,
    )
)]
pub(super) async fn retry(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(asked): JsonBody<Locations>,
) -> Result<Json<ActedOn>, Problem> {
    act(&surface, account, "retry", asked, |ledger, at, _| {
        quarantine::retry(ledger, at)
    })
    .await
}

/// Take manifests off the list of those in quarantine for good. Their files stay.
#[utoipa::path(
    post,
    path = "/v1/manifests/drop",
    tag = "operate",
    request_body = Locations,
    responses(
        (status = 200, description = "They are.", body = ActedOn),
        Body,
        Gated,
    )
)]
pub(super) async fn drop(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(asked): JsonBody<Locations>,
) -> Result<Json<ActedOn>, Problem> {
    act(&surface, account, "drop", asked, |ledger, at, clock| {
        quarantine::drop(ledger, at, clock.now())
    })
    .await
}

type Act = fn(&dyn Ledger, &Location, &dyn Clock) -> Result<bool, LedgerError>;

async fn act(
    surface: &Arc<Surface>,
    account: Account,
    what: &'static str,
    asked: Locations,
    act: Act,
) -> Result<Json<ActedOn>, Problem> {
    let loops = surface.loops()?;
    let subject = subject(&asked.locations);
    let recorded = Recorded::begin(surface, &loops, account, what, subject).await?;
    let acted = recorded.run(move || {
        let parts = &loops.assembly().parts;
        let mut locations = Vec::new();
        for at in asked.locations {
            if act(&*parts.ledger, &at, &*parts.clock)? {
                locations.push(at);
            }
        }
        loops.wake(None);
        Ok::<_, LedgerError>(ActedOn { locations })
    });
    acted.await.map(Json)
}

fn subject(locations: &[Location]) -> String {
    match locations {
        [] => "no manifest".to_owned(),
        [one] => one.path.clone(),
        [one, others @ ..] => format!("{} and {} more", one.path, others.len()),
    }
}
