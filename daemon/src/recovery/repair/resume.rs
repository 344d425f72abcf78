//! Finishes what an earlier repair has begun, or drops it where nothing was done.

use runsync_manifest::name::ArtifactPath;

use super::RepairError;
use super::act::{TOGETHER, go_on, not_moved};
use super::changed::unchanged;
use super::flow::{RepairPhase, RepairProgress};
use super::plan::Left;
use super::report::RootRepaired;
use super::scene::Scene;
use crate::datastore::{Aside, Look, Moved, ToDelete};
use crate::ledger::repairs::{RepairAct, RepairEnd, RepairRow, WhichRepairs};
use crate::ledger::scans::{Span, after};
use crate::registry::record::{ArtifactStanding, ClaimAt};

/// What becomes of a repair that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It is done.
    Done,
    /// It comes to nothing: what it was about is found again.
    Dropped,
    /// Nothing can be said now: it stays begun.
    Later,
}

/// Settles all repairs that were begun in a root.
pub(super) fn resume(
    scene: &Scene<'_>,
    report: &mut RootRepaired,
    progress: &mut RepairProgress<'_>,
) -> Result<(), RepairError> {
    let begun = |before| {
        let begun = WhichRepairs::Begun(scene.root());
        scene.ledger().repairs(begun, before, TOGETHER)
    };
    let mut before = None;
    loop {
        if begun(before)?.is_empty() {
            return Ok(());
        }
        let turn = &scene.flow.site().registration;
        let _turn = turn.acquire(&mut || progress(RepairPhase::Waiting))?;
        // Another repair, which was waited for, may have settled them.
        let rows = begun(before)?;
        before = rows.last().map(|row| row.id);
        scene.registry().check_fence()?;
        settle_some(scene, rows, report, progress)?;
        go_on(progress(RepairPhase::Resumed))?;
    }
}

fn settle_some(
    scene: &Scene<'_>,
    mut rows: Vec<RepairRow>,
    report: &mut RootRepaired,
    progress: &mut RepairProgress<'_>,
) -> Result<(), RepairError> {
    rows.sort_by(|one, other| one.path.cmp(&other.path));
    let datastore = scene.datastore();
    let check = || {
        let checked = datastore.check_identity();
        checked.map_err(|error| scene.failed(error))
    };
    check()?;
    let paths: Vec<&ArtifactPath> = rows.iter().map(|row| &row.path).collect();
    let claims = scene.registry().claims_at(scene.root(), &paths)?;
    let spoken_for = spoken_for(scene, &paths, progress)?;
    let mut ends = Vec::with_capacity(rows.len());
    let mut moved = Vec::new();
    for ((row, claims), spoken_for) in rows.iter().zip(claims).zip(spoken_for) {
        let settled = settle(scene, row, (&claims, spoken_for), report)?;
        if settled == Settled::Done && row.act == RepairAct::Unstore && row.aside.is_some() {
            moved.push(&row.path);
        }
        let done = settled == Settled::Done;
        if settled != Settled::Later {
            ends.push(RepairEnd { id: row.id, done });
        }
    }
    recall_moved(scene, &moved)?;
    datastore.sync().map_err(|error| scene.failed(error))?;
    check()?;
    scene.ledger().end_repairs(&ends, scene.now())?;
    report.finished += ends.iter().filter(|end| end.done).count() as u64;
    Ok(())
}

/// Whether paths, sorted, are named by an open journal, or by a manifest that is not registered; or may be.
fn spoken_for(
    scene: &Scene<'_>,
    paths: &[&ArtifactPath],
    progress: &mut RepairProgress<'_>,
) -> Result<Vec<bool>, RepairError> {
    let (Some(first), Some(last)) = (paths.first(), paths.last()) else {
        return Ok(Vec::new());
    };
    let span = Span {
        from: first.to_string(),
        until: Some(after(last.as_str())),
    };
    let untouchable = scene.untouchable(&span, RepairPhase::Working, progress)?;
    let is_doubtful = untouchable.doubt().is_some();
    let mut beside = untouchable.beside()?;
    let held = paths
        .iter()
        .map(|path| Ok(beside.holds(path.as_str())? || is_doubtful));
    held.collect()
}

/// What becomes of a repair. Whatever else has happened since stays.
fn settle(
    scene: &Scene<'_>,
    row: &RepairRow,
    (claims, spoken_for): (&[ClaimAt], bool),
    report: &mut RootRepaired,
) -> Result<Settled, RepairError> {
    let path = &row.path;
    let is_confirmed = |claim: &ClaimAt| claim.standing == ArtifactStanding::Confirmed;
    let recorded = claims.iter().any(is_confirmed);
    let done = match row.act {
        RepairAct::Forget => !recorded,
        // Said again it changes nothing.
        RepairAct::AddReplica => false,
        RepairAct::Register => recorded && claims.iter().all(is_confirmed),
        RepairAct::Delete => look(scene, path)? == Look::Absent,
        RepairAct::Quarantine => is_aside(scene, row)?,
        RepairAct::Unstore if row.aside.is_none() => !recorded,
        // Whatever lies there by now is confirmed, or found, as any other file.
        RepairAct::Unstore if is_aside(scene, row)? && look(scene, path)? != Look::Absent => true,
        RepairAct::Unstore if is_aside(scene, row)? => {
            scene.registry().recall_at(scene.root(), &[path])?;
            // The file is moved, and stays known as moved; a record that is left is found lost by the next scan.
            let left = unchanged(scene, &[(path, row.act)])?.into_iter().flatten();
            left.for_each(|why| report.leave(left_of(row, why)));
            true
        }
        RepairAct::Unstore if recorded || claims.is_empty() => false,
        RepairAct::Unstore => {
            let is_busy = claims.iter().any(|claim| claim.busy);
            let is_behind = claims.iter().any(|claim| scene.behind.holds(&claim.run));
            if is_busy || is_behind || spoken_for {
                let why = "its file is moved aside when nothing else about it is under way";
                report.leave(left_of(row, why.to_owned()));
                return Ok(Settled::Later);
            }
            return move_aside(scene, row, report);
        }
    };
    Ok(if done {
        Settled::Done
    } else {
        Settled::Dropped
    })
}

fn left_of(row: &RepairRow, why: String) -> Left {
    Left {
        path: row.path.clone(),
        kind: row.kind,
        why,
    }
}

/// Takes back once more what was confirmed of files that are moved: whoever looked at them did so before. What lies
/// there by now is another.
fn recall_moved(scene: &Scene<'_>, moved: &[&ArtifactPath]) -> Result<(), RepairError> {
    let mut gone = Vec::new();
    for path in moved {
        if look(scene, path)? == Look::Absent {
            gone.push(*path);
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

/// The record is gone already: its file is the corrupt one still, or is left. One that cannot be moved is tried again:
/// no scan would find it.
fn move_aside(
    scene: &Scene<'_>,
    row: &RepairRow,
    report: &mut RootRepaired,
) -> Result<Settled, RepairError> {
    let (Some(aside), Some(identity)) = (aside(row), row.identity) else {
        return Ok(Settled::Dropped);
    };
    let path = &row.path;
    if scene.datastore().another_about(path).is_some() {
        let why = "its folder is a root of its own by now, or may be one";
        report.leave(left_of(row, why.to_owned()));
        return Ok(Settled::Later);
    }
    let moved = scene
        .datastore()
        .set_aside(ToDelete { path, identity }, &aside);
    let moved = moved.map_err(|error| scene.failed(error))?;
    let settled = match moved {
        Moved::Moved => Settled::Done,
        Moved::Failed(_) | Moved::Taken => Settled::Later,
        Moved::Absent | Moved::Other(_) | Moved::Irregular | Moved::Astray => Settled::Dropped,
    };
    // What is dropped is found again; nobody else tells where the other two lie.
    let is_told = matches!(moved, Moved::Failed(_) | Moved::Taken | Moved::Astray);
    if let Some(why) = not_moved(moved, aside.as_str()).filter(|_| is_told) {
        report.leave(left_of(row, why));
    }
    Ok(settled)
}

pub(super) fn aside(row: &RepairRow) -> Option<Aside> {
    row.aside.as_deref().and_then(Aside::parse)
}
