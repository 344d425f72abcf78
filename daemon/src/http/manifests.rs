//! `/v1/manifests` and `/v1/requests`: what the ledger holds, and what may be done with manifests
//! that were set aside.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::Response;
use jiff::Timestamp;
use runsync_config::root::RootName;
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
use crate::clock::Clock;
use crate::ingest::quarantine;
use crate::ledger::record::{Location, ManifestRow, ManifestState, RequestRow};
use crate::ledger::{Ledger, LedgerError};

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
    /// Only those after this one: `decided_at` of the last line, with its root and its path.
    #[param(value_type = Option<String>, format = DateTime)]
    after: Option<Timestamp>,
    /// With `after`: the root of the last line.
    #[param(value_type = Option<String>)]
    after_root: Option<RootName>,
    /// With `after`: the path of the last line.
    after_path: Option<String>,
    /// At most so many.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

impl WhichManifests {
    fn begin(&mut self) -> Result<Cursor<(Timestamp, Location)>, Problem> {
        let after = match (self.after, self.after_root.take(), self.after_path.take()) {
            (None, None, None) => None,
            (Some(at), Some(root), Some(path)) => Some((at, Location { root, path })),
            _ => {
                let detail = "`after`, `after_root` and `after_path` name a manifest together";
                return Err(Problem::wrong(detail)
                    .hint("take `decided_at`, `root` and `path` of the last line"));
            }
        };
        Ok(Cursor::new(after, self.limit))
    }
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
    Query(mut which): Query<WhichManifests>,
) -> Result<Response, Problem> {
    let begin = which.begin()?;
    list(surface, begin, move |surface, at| {
        let (state, root) = (which.state, which.root.as_ref());
        let after = at.after().map(|(at, location)| (*at, location));
        let ledger = &surface.readers.ledger;
        let rows = ledger.manifests_after(state, root, after, at.lines())?;
        Ok(at.page(rows, |row| (row.decided_at, row.location.clone())))
    })
    .await
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
    let begin = Cursor::new(which.before, which.limit);
    list(surface, begin, move |surface, at| {
        let rows = surface
            .readers
            .ledger
            .requests(at.after().copied(), at.lines())?;
        Ok(at.page(rows, |row| row.id))
    })
    .await
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
        Typed,
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
        Typed,
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
    let asking = Asking {
        account,
        what,
        subject: subject(&asked.locations),
    };
    let acted = perform(surface, asking, move |loops| {
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

/// All of them: nothing else remembers which manifests were dropped by whom.
fn subject(locations: &[Location]) -> String {
    if locations.is_empty() {
        return "no manifest".to_owned();
    }
    let all = locations
        .iter()
        .map(|at| format!("{}:{}", at.root, at.path));
    all.collect::<Vec<_>>().join(", ")
}
