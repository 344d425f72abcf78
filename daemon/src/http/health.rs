//! `/healthz` and `/readyz`: whether this daemon is alive, and whether it answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::openapi::Open;
use super::problem::Problem;
use super::surface::Surface;
use crate::loops::Role;
use crate::service;

/// Whether the daemon is alive.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether every worker advances.
    pub healthy: bool,
    /// Names of those that do not.
    pub stalled: Vec<String>,
}

/// Whether the daemon answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether registry and ledger can be read.
    pub ready: bool,
    /// What it is about.
    pub role: Role,
}

/// Tell whether every worker advances.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    security(()),
    responses(
        (status = 200, description = "All do.", body = Health),
        (status = 503, description = "One does not: the daemon should be restarted.", body = Health),
        Open,
    )
)]
pub(super) async fn healthz(State(surface): State<Arc<Surface>>) -> (StatusCode, Json<Health>) {
    let stalled = surface.steward.stalled(service::PATIENCE);
    let healthy = stalled.is_empty();
    (status(healthy), Json(Health { healthy, stalled }))
}

/// Tell whether registry and ledger can be read, and whether this daemon runs the loops.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    security(()),
    responses(
        (status = 200, description = "They can.", body = Readiness),
        (status = 503, description = "They cannot.", body = Readiness),
        Open,
    )
)]
pub(super) async fn readyz(
    State(surface): State<Arc<Surface>>,
) -> Result<(StatusCode, Json<Readiness>), Problem> {
    let role = surface.steward.duty().status().role;
    let looked = surface.probe(|surface| {
        surface.readers.registry.changes()?;
        surface.readers.ledger.forgotten()?;
        Ok::<_, Problem>(())
    });
    let ready = match looked.await {
        // What has too much to do can still be read.
        Err(problem) if problem.is_busy() => return Err(problem),
        looked => looked.is_ok(),
    };
    Ok((status(ready), Json(Readiness { ready, role })))
}

fn status(well: bool) -> StatusCode {
    if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
