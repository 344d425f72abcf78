//! `POST /v1/wake`: has the loops look for work now.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use runsync_config::root::RootName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::account::Account;
use super::body::JsonBody;
use super::openapi::{Body, Gated, Typed};
use super::problem::Problem;
use super::record::{Asking, perform};
use super::surface::Surface;

/// Which loops to wake.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WakeRequest {
    /// Those of this root; absent: all.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub root: Option<RootName>,
}

/// Which loops were woken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Woken {
    /// How many roots.
    pub roots: usize,
}

/// Have the loops look for work now.
#[utoipa::path(
    post,
    path = "/v1/wake",
    tag = "operate",
    request_body = WakeRequest,
    responses(
        (status = 200, description = "They do.", body = Woken),
        Body,
        Typed,
        Gated,
    )
)]
pub(super) async fn wake(
    State(surface): State<Arc<Surface>>,
    Extension(account): Extension<Account>,
    JsonBody(request): JsonBody<WakeRequest>,
) -> Result<Json<Woken>, Problem> {
    let root = request.root;
    let asking = Asking {
        account,
        what: "wake",
        subject: root
            .as_ref()
            .map_or_else(|| "all roots".to_owned(), ToString::to_string),
    };
    let woken = perform(&surface, asking, move |loops| {
        match loops.wake(root.as_ref()) {
            0 => Err(no_root()),
            roots => Ok(Woken { roots }),
        }
    });
    woken.await.map(Json)
}

/// 422: configuration names no such root.
pub(super) fn no_root() -> Problem {
    Problem::wrong("there is no such root").hint("`GET /v1/status` lists the roots")
}
