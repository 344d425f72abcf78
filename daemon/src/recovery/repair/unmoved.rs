//! Artifacts whose records were just taken back and whose very files could not be moved: they get their records again,
//! so that all is as it was found, and found again. In the same turn to register: nothing else is awaited yet.

use std::collections::BTreeMap;

use runsync_manifest::name::{ArtifactPath, RunKey};

use super::RepairError;
use super::scene::Scene;
use crate::datastore::Look;
use crate::file_identity::FileIdentity;
use crate::registry::record::{ArtifactStanding, ClaimAt, WaitingArtifact};

/// Records those that are still the files that were found; what is wanted no more, or of another run under way, stays.
pub(super) fn record(
    scene: &Scene<'_>,
    unmoved: &[(&ArtifactPath, FileIdentity)],
) -> Result<(), RepairError> {
    let paths: Vec<&ArtifactPath> = unmoved.iter().map(|(path, _)| *path).collect();
    if paths.is_empty() {
        return Ok(());
    }
    let (registry, root) = (scene.registry(), scene.root());
    let looks = scene.datastore().look(&paths);
    let looks = looks.map_err(|error| scene.failed(error))?;
    let claims = registry.claims_at(root, &paths)?;
    let mut awaited: BTreeMap<RunKey, Vec<WaitingArtifact>> = BTreeMap::new();
    let mut absent: Vec<WaitingArtifact> = Vec::new();
    for (((path, found), look), claims) in unmoved.iter().zip(looks).zip(claims) {
        if look != Look::File(*found) {
            continue;
        }
        for claim in &claims {
            let artifact = artifact(path, claim);
            match claim.standing {
                ArtifactStanding::Awaited => {
                    awaited.entry(claim.run.clone()).or_default().push(artifact);
                }
                ArtifactStanding::Absent => absent.push(artifact),
                ArtifactStanding::Confirmed => {}
            }
        }
    }
    for (run, artifacts) in awaited {
        registry.confirm(&run, root, &artifacts)?;
    }
    if !absent.is_empty() {
        registry.record_at(root, &absent)?;
    }
    Ok(())
}

fn artifact(path: &ArtifactPath, claim: &ClaimAt) -> WaitingArtifact {
    WaitingArtifact {
        path: path.clone(),
        size: claim.size,
        checksums: claim.checksums,
    }
}
