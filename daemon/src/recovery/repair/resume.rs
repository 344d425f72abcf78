//! Finishes what an earlier repair has begun, or drops it where nothing was done.

use runsync_manifest::name::ArtifactPath;

use super::RepairError;
use super::act::{TOGETHER, go_on};
use super::changed::unchanged;
use super::flow::{RepairPhase, RepairProgress};
use super::plan::Left;
use super::report::RootRepaired;
use super::scene::Scene;
use crate::datastore::{Aside, Look, Moved, ToDelete};
use crate::ledger::repairs::{RepairAct, RepairEnd, RepairRow, WhichRepairs};
use crate::registry::record::{ArtifactStanding, ClaimAt};

/// Settles all repairs that were begun in a root.
pub(super) fn resume(
    scene: &Scene<'_>,
    report: &mut RootRepaired,
    progress: &mut RepairProgress<'_>,
) -> Result<(), RepairError> {
    let begun = || {
        let begun = WhichRepairs::Begun(scene.root());
        scene.ledger().repairs(begun, None, TOGETHER)
    };
    loop {
        if begun()?.is_empty() {
            return Ok(());
        }
        let turn = &scene.flow.site().registration;
        let _turn = turn.acquire(&mut || progress(RepairPhase::Waiting))?;
        // Another repair, which was waited for, may have settled them.
        let rows = begun()?;
        scene.registry().check_fence()?;
        let checked = scene.datastore().check_identity();
        checked.map_err(|error| scene.failed(error))?;
        let mut ends = Vec::with_capacity(rows.len());
        for row in &rows {
            let done = settle(scene, row, report)?;
            ends.push(RepairEnd { id: row.id, done });
        }
        recall_moved(scene, &rows, &ends)?;
        let datastore = scene.datastore();
        datastore.sync().map_err(|error| scene.failed(error))?;
        let checked = datastore.check_identity();
        checked.map_err(|error| scene.failed(error))?;
        scene.ledger().end_repairs(&ends, scene.now())?;
        report.finished += ends.iter().filter(|end| end.done).count() as u64;
        go_on(progress(RepairPhase::Resumed))?;
    }
}

/// Whether a repair is done, or can be finished now. Whatever else has happened since stays.
fn settle(
    scene: &Scene<'_>,
    row: &RepairRow,
    report: &mut RootRepaired,
) -> Result<bool, RepairError> {
    let path = &row.path;
    let claims = scene.registry().claims_at(scene.root(), &[path])?;
    let claims = claims.into_iter().next().unwrap_or_default();
    let is_confirmed = |claim: &ClaimAt| claim.standing == ArtifactStanding::Confirmed;
    let recorded = claims.iter().any(is_confirmed);
    match row.act {
        RepairAct::Forget => Ok(!recorded),
        // Said again it changes nothing.
        RepairAct::AddReplica => Ok(false),
        RepairAct::Register => Ok(recorded && claims.iter().all(is_confirmed)),
        RepairAct::Delete => Ok(look(scene, path)? == Look::Absent),
        RepairAct::Quarantine => is_aside(scene, row),
        RepairAct::Unstore if row.aside.is_none() => Ok(!recorded),
        // Whatever lies there by now is confirmed, or found, as any other file.
        RepairAct::Unstore if is_aside(scene, row)? && look(scene, path)? != Look::Absent => {
            Ok(true)
        }
        RepairAct::Unstore if is_aside(scene, row)? => {
            scene.registry().recall_at(scene.root(), &[path])?;
            // The file is moved, and stays known as moved; a record that is left is found lost by the next scan.
            let left = unchanged(scene, &[(path, row.act)])?.into_iter().flatten();
            left.for_each(|why| {
                report.leave(Left {
                    path: path.clone(),
                    kind: row.kind,
                    why,
                });
            });
            Ok(true)
        }
        RepairAct::Unstore => {
            let is_busy = claims.iter().any(|claim| claim.busy);
            let is_behind = claims.iter().any(|claim| scene.behind.holds(&claim.run));
            if recorded || is_busy || is_behind || claims.is_empty() {
                return Ok(false);
            }
            move_aside(scene, row)
        }
    }
}

/// Takes back once more what was confirmed of files that are moved: whoever looked at them did so before. What lies
/// there by now is another.
fn recall_moved(
    scene: &Scene<'_>,
    rows: &[RepairRow],
    ends: &[RepairEnd],
) -> Result<(), RepairError> {
    let moved = rows
        .iter()
        .zip(ends)
        .filter(|(row, end)| row.act == RepairAct::Unstore && row.aside.is_some() && end.done);
    let mut gone = Vec::new();
    for (row, _) in moved {
        if look(scene, &row.path)? == Look::Absent {
            gone.push(&row.path);
        }
    }
    if !gone.is_empty() {
        let looking = scene.flow.looking();
        looking.forget_sight_of(gone.iter().copied());
        scene.registry().recall_at(scene.root(), &gone)?;
    }
    Ok(())
}

fn look(scene: &Scene<'_>, path: &ArtifactPath) -> Result<Look, RepairError> {
    let looks = scene.datastore().look(&[path]);
    let looks = looks.map_err(|error| scene.failed(error))?;
    Ok(looks.into_iter().next().unwrap_or(Look::Absent))
}

fn is_aside(scene: &Scene<'_>, row: &RepairRow) -> Result<bool, RepairError> {
    let (Some(aside), Some(identity)) = (aside(row), row.identity) else {
        return Ok(false);
    };
    let look = scene.datastore().look_aside(&aside);
    Ok(look.map_err(|error| scene.failed(error))? == Look::File(identity))
}

/// The record is gone already: its file is the corrupt one still, or is left.
fn move_aside(scene: &Scene<'_>, row: &RepairRow) -> Result<bool, RepairError> {
    let (Some(aside), Some(identity)) = (aside(row), row.identity) else {
        return Ok(false);
    };
    let path = &row.path;
    if scene.datastore().another_about(path).is_some() {
        return Ok(false);
    }
    let moved = scene
        .datastore()
        .set_aside(ToDelete { path, identity }, &aside);
    let moved = moved.map_err(|error| scene.failed(error))?;
    Ok(moved == Moved::Moved)
}

pub(super) fn aside(row: &RepairRow) -> Option<Aside> {
    row.aside.as_deref().and_then(Aside::parse)
}
