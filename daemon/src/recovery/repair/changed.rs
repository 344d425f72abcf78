//! Which records are as a repair wants them: the registry passes over what has changed since it was looked at.

use runsync_manifest::name::ArtifactPath;

use super::RepairError;
use super::scene::Scene;
use crate::ledger::repairs::RepairAct;
use crate::registry::record::{ArtifactStanding, ClaimAt};

/// For each artifact why its records are not all as its act wants them; none: they are.
pub(super) fn unchanged(
    scene: &Scene<'_>,
    asked: &[(&ArtifactPath, RepairAct)],
) -> Result<Vec<Option<String>>, RepairError> {
    let paths: Vec<&ArtifactPath> = asked.iter().map(|(path, _)| *path).collect();
    let claims = scene.registry().claims_at(scene.root(), &paths)?;
    let acts = asked.iter().map(|(_, act)| *act);
    let why = acts.zip(&claims).map(|(act, claims)| why(act, claims));
    Ok(why.map(|why| why.map(str::to_owned)).collect())
}

/// Why the claims at a path are not as an act wants them.
fn why(act: RepairAct, claims: &[ClaimAt]) -> Option<&'static str> {
    let is_confirmed = |claim: &ClaimAt| claim.standing == ArtifactStanding::Confirmed;
    match act {
        RepairAct::Forget | RepairAct::Unstore => claims
            .iter()
            .any(is_confirmed)
            .then_some("the registry has not taken back all of its records: something else concerns them"),
        RepairAct::AddReplica => None,
        RepairAct::Register => (claims.is_empty() || !claims.iter().all(is_confirmed))
            .then_some("the registry has not recorded it for all datasets that name it: something else concerns them"),
        RepairAct::Quarantine | RepairAct::Delete => {
            (!claims.is_empty()).then_some("a dataset names it by now")
        }
    }
}
