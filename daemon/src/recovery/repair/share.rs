//! How much of a root is amiss: where it is more than a share, storage is what is wrong, and not the files.

use super::RepairError;
use super::plan::RootPlan;
use super::scene::Scene;
use crate::ledger::scans::{DriftFilter, DriftKind, DriftSide, Span, after};
use crate::recovery::standing::ScanStanding;
use crate::registry::record::{ArtifactAt, ArtifactStanding};

/// Records read together.
const PAGE: usize = 4_096;

/// What to do where records have no file.
const STORAGE: &str = "see that the storage is all there";
/// What to do where the last scan has not seen enough.
const UNSEEN: &str = "see that the storage can all be read, and scan anew (`runsync scan --anew`)";
/// What to do where files have no record.
const DARK: &str = "see that it is the right storage; what was unstored and is there again, `runsync restore` has wanted again";

/// Counts what is recorded and what is amiss in all of a root, whatever part of it is repaired; why nothing may be
/// repaired, where that is too much.
pub(super) fn refusal(
    scene: &Scene<'_>,
    plan: &mut RootPlan,
) -> Result<Option<String>, RepairError> {
    let counts = scene.ledger().drift_counts(&DriftFilter {
        root: Some(scene.root().clone()),
        kind: None,
        side: Some(DriftSide::Datastore),
        span: Span::all(),
        ignored: true,
    })?;
    for (kind, count) in counts {
        match kind {
            DriftKind::Dark => plan.dark += count,
            DriftKind::Lost | DriftKind::Corrupt | DriftKind::Irregular => plan.amiss += count,
            // Of the other sides none was counted.
            DriftKind::SiteOnly
            | DriftKind::RucioDiffers
            | DriftKind::RucioState
            | DriftKind::RucioOnly => {}
        }
    }
    plan.unseen = unseen(scene)?;
    if plan.amiss + plan.dark + plan.unseen == 0 {
        return Ok(None);
    }
    plan.records = records(scene)?;
    let most = scene.policy.share_max;
    let parts = [
        (
            plan.amiss,
            "records are lost, corrupt or irregular",
            STORAGE,
        ),
        (plan.dark, "files are dark", DARK),
        (
            plan.unseen,
            "records or files could not be looked at by the last scan",
            UNSEEN,
        ),
    ];
    let exceeded = parts
        .into_iter()
        .find(|(count, ..)| most.is_exceeded_by(*count, plan.records));
    Ok(exceeded.map(|(count, what, hint)| {
        format!(
            "{count} {what}, beside {} records in all, which is more than the share {most} (`[repair] share_max`; those that are left out of lists count as well): {hint}",
            plan.records
        )
    }))
}

/// How much of a root could not be looked at, by the pass that last went through, or by the one that is under way.
fn unseen(scene: &Scene<'_>) -> Result<u64, RepairError> {
    let row = scene.ledger().scan(scene.root(), "")?;
    Ok(row.map_or(0, |row| ScanStanding::from(row).unseen))
}

/// Artifacts that are recorded in a root.
pub(super) fn records(scene: &Scene<'_>) -> Result<u64, RepairError> {
    if let Some(count) = scene.records.get() {
        return Ok(*count);
    }
    let count = count(scene)?;
    Ok(*scene.records.get_or_init(|| count))
}

fn count(scene: &Scene<'_>) -> Result<u64, RepairError> {
    let (mut count, mut from) = (0, String::new());
    loop {
        let page = (scene.registry()).artifacts_between(scene.root(), &from, None, PAGE)?;
        let is_confirmed = |one: &&ArtifactAt| one.standing == ArtifactStanding::Confirmed;
        count += page.iter().filter(is_confirmed).count() as u64;
        match page.last() {
            Some(last) if page.len() == PAGE => {
                from = after(last.path.as_str());
            }
            Some(_) | None => return Ok(count),
        }
    }
}
