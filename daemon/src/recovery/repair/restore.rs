//! Brings files back from quarantine.

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use serde::Serialize;

use super::RepairError;
use super::act::not_moved;
use super::resume::aside;
use super::scene::Scene;
use crate::datastore::Look;
use crate::ledger::repairs::{RepairAct, RepairRow, WhichRepairs};
use crate::registry::record::{ArtifactStanding, ClaimAt};

/// Repairs read together.
const PAGE: usize = 1_000;

/// What came of bringing a file back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restoration {
    /// The root.
    pub root: RootName,
    /// Where it lay before.
    pub path: ArtifactPath,
    /// Where it was set aside.
    pub aside: String,
    /// Why it is not back; none: it is.
    pub failed: Option<String>,
}

/// Brings back what lay at a path, the newest of what was set aside from there; none where there is nothing.
pub(super) fn bring_back(
    scene: &Scene<'_>,
    path: &ArtifactPath,
) -> Result<Option<Restoration>, RepairError> {
    let Some(row) = newest(scene, path)? else {
        return Ok(None);
    };
    let (Some(from), Some(identity)) = (aside(&row), row.identity) else {
        return Ok(None);
    };
    let _turn =
        (scene.flow.site().registration).acquire(&mut || std::ops::ControlFlow::Continue(()))?;
    scene.registry().check_fence()?;
    let datastore = scene.datastore();
    let checked = datastore.check_identity();
    checked.map_err(|error| scene.failed(error))?;
    if row.act == RepairAct::Unstore && is_named(scene, path)? {
        return Err(RepairError::Corrupt {
            path: path.clone(),
            aside: from.to_string(),
        });
    }
    let moved = datastore.bring_back(&from, identity, path);
    let mut failed = not_moved(moved.map_err(|error| scene.failed(error))?, path.as_str());
    // It may have been brought back and not noted.
    if failed.is_some() && is_back(scene, path, identity)? {
        failed = None;
    }
    datastore.sync().map_err(|error| scene.failed(error))?;
    if failed.is_none() {
        scene.ledger().note_restored(row.id, scene.now())?;
    }
    Ok(Some(Restoration {
        root: row.root,
        path: row.path,
        aside: from.to_string(),
        failed,
    }))
}

/// Whether a dataset waits there for another file than what was taken away, or has it already.
fn is_named(scene: &Scene<'_>, path: &ArtifactPath) -> Result<bool, RepairError> {
    let claims = scene.registry().claims_at(scene.root(), &[path])?;
    let is_wanted = |claim: &ClaimAt| claim.standing != ArtifactStanding::Absent;
    Ok(claims.iter().flatten().any(is_wanted))
}

fn is_back(
    scene: &Scene<'_>,
    path: &ArtifactPath,
    identity: crate::file_identity::FileIdentity,
) -> Result<bool, RepairError> {
    let looks = scene.datastore().look(&[path]);
    let looks = looks.map_err(|error| scene.failed(error))?;
    Ok(looks.first() == Some(&Look::File(identity)))
}

fn newest(scene: &Scene<'_>, path: &ArtifactPath) -> Result<Option<RepairRow>, RepairError> {
    let mut before = None;
    loop {
        let page = (scene.ledger()).repairs(WhichRepairs::Aside, before, PAGE)?;
        let is_last = page.len() < PAGE;
        before = page.last().map(|row| row.id);
        let is_it = |row: &RepairRow| row.root == *scene.root() && row.path == *path;
        let found = page.into_iter().find(is_it);
        if found.is_some() || is_last {
            return Ok(found);
        }
    }
}
