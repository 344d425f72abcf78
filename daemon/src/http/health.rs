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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use runsync_manifest::signature::SigningKey;
    use uuid::Uuid;

    use super::*;
    use crate::assembly::{self, Readers};
    use crate::clock::SystemClock;
    use crate::datastore::RepositoryFile;
    use crate::steward::Steward;
    use crate::telemetry::metrics;

    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn surface(folder: &Path) -> Arc<Surface> {
        for below in ["root/runsync/manifests", "keys/trusted", "state"] {
            fs::create_dir_all(folder.join(below)).unwrap();
        }
        let registry = Uuid::from_u128(2);
        let repository = RepositoryFile {
            format: 1,
            repository: runsync_manifest::name::RepositoryId(Uuid::from_u128(1)),
            site: "A".parse().unwrap(),
            registry,
            journal_directory: None,
        };
        let bytes = serde_json::to_vec(&repository).unwrap();
        fs::write(folder.join("root/runsync/repository.json"), bytes).unwrap();
        let key = SigningKey::from_seed(&[1; 32]).to_pem().unwrap();
        let key_file = folder.join("keys/signing.pem");
        fs::write(&key_file, key.as_bytes()).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        let root = folder.join("root");
        let text = format!(
            "site.name = 'A'\n[[root]]\nname = 'main'\nurl = 'file://{}'\n",
            root.display()
        );
        let file = folder.join("site.toml");
        fs::write(&file, text).unwrap();
        let site = runsync_config::load(&file).unwrap();
        assembly::create(&site, registry).unwrap();
        let steward = Arc::new(Steward::start(&site, Arc::new(SystemClock)).unwrap());
        let readers = Readers::open(&site).unwrap();
        let metrics = metrics::install().unwrap();
        let clock = Arc::new(SystemClock);
        Arc::new(Surface::new(site, readers, steward, clock, metrics).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_that_is_merely_busy_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let surface = surface(folder.path());
        let turns = surface.take_all_turns().await;
        let (code, Json(readiness)) = readyz(State(Arc::clone(&surface))).await.unwrap();
        assert_eq!((code, readiness.ready), (StatusCode::OK, true));
        let refused = surface.look_up(|_| Ok::<_, Problem>(())).await.unwrap_err();
        assert!(refused.is_busy());
        drop(turns);
        surface.look_up(|_| Ok::<_, Problem>(())).await.unwrap();
        surface.steward.stop(service::STOP_DEADLINE).await;
    }
}
