//! Looks again at what was found, and at what is said of it now: when a plan is made, and at the moment of the act.

use std::os::unix::fs::MetadataExt;

use runsync_config::repair::{Claimed, Corrupt, Dark, Lost, SiteOnly};
use runsync_config::root::PathMapping;
use runsync_manifest::name::ArtifactPath;

use super::RepairError;
use super::flow::{RepairPhase, RepairProgress};
use super::plan::{Item, Left, Said};
use super::scene::Scene;
use crate::datastore::Look;
use crate::error_chain::error_chain;
use crate::ingest::differences;
use crate::ledger::repairs::RepairAct;
use crate::ledger::scans::{DriftFinding, DriftKind};
use crate::registry::record::{ArtifactStanding, ClaimAt, WaitingArtifact};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// At names, sizes and times.
    Plan,
    /// Files are read where an act depends on what they hold.
    Act,
}

/// What policy has done about a finding; none: nothing.
pub(super) fn act_of(scene: &Scene<'_>, finding: &DriftFinding, delete: bool) -> Option<RepairAct> {
    let policy = scene.policy;
    match finding.kind {
        DriftKind::Lost => (policy.lost == Lost::Forget).then_some(RepairAct::Forget),
        DriftKind::Corrupt => (policy.corrupt == Corrupt::Unstore).then_some(RepairAct::Unstore),
        DriftKind::SiteOnly => {
            (policy.site_only == SiteOnly::AddReplica).then_some(RepairAct::AddReplica)
        }
        DriftKind::Irregular
        | DriftKind::RucioDiffers
        | DriftKind::RucioState
        | DriftKind::RucioOnly => None,
        DriftKind::Dark if finding.claimed => {
            (policy.claimed == Claimed::Register).then_some(RepairAct::Register)
        }
        DriftKind::Dark if delete => Some(RepairAct::Delete),
        DriftKind::Dark => (policy.dark == Dark::Quarantine).then_some(RepairAct::Quarantine),
    }
}

/// What is still as it was found, and why the rest is left. Items are sorted by path.
pub(super) fn examine(
    scene: &Scene<'_>,
    items: Vec<Item>,
    depth: Depth,
    progress: &mut RepairProgress<'_>,
) -> Result<(Vec<Item>, Vec<Left>), RepairError> {
    let paths: Vec<&ArtifactPath> = items.iter().map(|item| &item.path).collect();
    let claims = scene.registry().claims_at(scene.root(), &paths)?;
    let looks = scene.datastore().look(&paths);
    let looks = looks.map_err(|error| scene.failed(error))?;
    let (mut stand, mut left) = (Vec::new(), Vec::new());
    for ((mut item, claims), look) in items.into_iter().zip(claims).zip(looks) {
        match fitness(scene, &item, &claims, look) {
            Ok(said) => {
                item.said = said;
                stand.push(item);
            }
            Err(why) => left.push(leave(&item, why)),
        }
    }
    if depth == Depth::Act {
        stand = read(scene, stand, &mut left, progress)?;
    }
    Ok((stand, left))
}

fn leave(item: &Item, why: impl Into<String>) -> Left {
    Left {
        path: item.path.clone(),
        kind: item.kind,
        why: why.into(),
    }
}

/// What runs say of an artifact that is still as it was found, or why it is left.
fn fitness(
    scene: &Scene<'_>,
    item: &Item,
    claims: &[ClaimAt],
    look: Look,
) -> Result<Option<Said>, String> {
    if claims.iter().any(|claim| claim.busy) {
        return Err(
            "a registration, a removal or a restoration that concerns it is under way".to_owned(),
        );
    }
    if claims.iter().any(|claim| scene.behind.holds(&claim.run)) {
        return Err("the registry knows less of its run than the ledger does".to_owned());
    }
    if let Look::Unreadable(fault) = look {
        return Err(format!("it cannot be looked at: {fault}"));
    }
    if scene.datastore().another_about(&item.path).is_some() {
        return Err("it lies in a folder that is a root of its own, or may be one".to_owned());
    }
    match item.act {
        RepairAct::Forget => match look {
            Look::Absent => said(claims, ArtifactStanding::Confirmed).map(Some),
            Look::File(_) => Err("a file lies there again".to_owned()),
            Look::Irregular | Look::Unreadable(_) => {
                Err("something lies there that is no file".to_owned())
            }
        },
        RepairAct::Unstore => {
            is_same(item, look)?;
            said(claims, ArtifactStanding::Confirmed).map(Some)
        }
        RepairAct::Register => {
            is_same(item, look)?;
            is_old(scene, item)?;
            if claims.iter().any(|claim| !claim.wanted) {
                return Err("its dataset is not wanted here: it was unstored".to_owned());
            }
            let said = said(claims, ArtifactStanding::Absent)?;
            if item.identity.is_some_and(|file| file.size != said.size) {
                return Err("it is not what its dataset says: its size is another".to_owned());
            }
            Ok(Some(said))
        }
        RepairAct::AddReplica => {
            let said = said(claims, ArtifactStanding::Confirmed)?;
            match look {
                Look::File(file) if file.size == said.size => Ok(Some(said)),
                Look::File(_) => Err("its file is not what its record says".to_owned()),
                Look::Absent | Look::Irregular | Look::Unreadable(_) => {
                    Err("its file is not there".to_owned())
                }
            }
        }
        RepairAct::Quarantine | RepairAct::Delete => {
            is_same(item, look)?;
            if !claims.is_empty() {
                return Err("a dataset names it by now".to_owned());
            }
            is_ours(scene, item)?;
            is_old(scene, item)?;
            Ok(None)
        }
    }
}

/// What all claims at a path say together, where they stand so and agree.
fn said(claims: &[ClaimAt], standing: ArtifactStanding) -> Result<Said, String> {
    let Some(first) = claims.first() else {
        return Err("no dataset names it any more".to_owned());
    };
    let mut said = Said {
        size: first.size,
        checksums: first.checksums,
        runs: Vec::new(),
    };
    for claim in claims {
        if claim.standing != standing {
            return Err("its record has changed since it was found".to_owned());
        }
        let sums = &mut said.checksums;
        let agree = claim.size == said.size && claim.checksums.adler32 == sums.adler32;
        if !agree {
            return Err("datasets do not agree on what it is".to_owned());
        }
        sums.md5 = sums.md5.or(claim.checksums.md5);
        sums.sha256 = sums.sha256.or(claim.checksums.sha256);
        if !said.runs.contains(&claim.run) {
            said.runs.push(claim.run.clone());
        }
    }
    Ok(said)
}

fn is_same(item: &Item, look: Look) -> Result<(), String> {
    match (look, item.identity) {
        (Look::File(now), Some(found)) if now == found => Ok(()),
        (Look::Absent, _) => Err("it is gone".to_owned()),
        (Look::File(_) | Look::Irregular | Look::Unreadable(_), _) => {
            Err("it is not the file that was found: it was replaced or changed".to_owned())
        }
    }
}

/// Whether nobody else can have a word in it.
fn is_ours(scene: &Scene<'_>, item: &Item) -> Result<(), String> {
    let root = scene.flow.root();
    if root.rse.is_some() || root.path_mapping != PathMapping::Identity {
        return Err("the root is an RSE, and the file may be Rucio's".to_owned());
    }
    if item.act == RepairAct::Delete && !root.scan_deletes {
        return Err(
            "files may not be deleted here: the root does not say `scan_deletes = true`".to_owned(),
        );
    }
    Ok(())
}

/// Whether nothing has changed about the file for long: by its own status, through a handle of the very file.
fn is_old(scene: &Scene<'_>, item: &Item) -> Result<(), String> {
    let opened = scene.datastore().open(&item.path);
    let (file, now) = opened.map_err(|error| error_chain(&error))?;
    if Some(now) != item.identity {
        return Err("it is not the file that was found: it was replaced or changed".to_owned());
    }
    let status = file
        .metadata()
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    let changed_ns = status
        .ctime()
        .saturating_mul(1_000_000_000)
        .saturating_add(status.ctime_nsec());
    if scene.is_old(changed_ns, scene.policy.dark_age) {
        return Ok(());
    }
    let age = humantime::format_duration(scene.policy.dark_age);
    Err(format!(
        "it has not been as it is for {age} (`[repair] dark_age`)"
    ))
}

/// Whether what is done about an item depends on what its file holds.
pub(super) fn is_read(item: &Item) -> bool {
    match item.act {
        RepairAct::Register | RepairAct::Unstore | RepairAct::AddReplica => true,
        RepairAct::Forget | RepairAct::Quarantine | RepairAct::Delete => false,
    }
}

/// Reads those whose act depends on what they hold.
fn read(
    scene: &Scene<'_>,
    items: Vec<Item>,
    left: &mut Vec<Left>,
    progress: &mut RepairProgress<'_>,
) -> Result<Vec<Item>, RepairError> {
    let to_read = items.iter().filter(|item| is_read(item));
    let artifacts: Vec<WaitingArtifact> = to_read.filter_map(artifact).collect();
    let found = differences(&artifacts, scene.flow, &mut || {
        progress(RepairPhase::Working)
    })?;
    let mut stand = Vec::with_capacity(items.len());
    for item in items {
        let difference = found.iter().find(|one| one.path == item.path);
        let why = match (item.act, difference) {
            (RepairAct::Register, Some(one)) => {
                Some(format!("it is not what its dataset says: {}", one.detail))
            }
            (RepairAct::AddReplica, Some(one)) => Some(format!(
                "its file is not what its record says: {}",
                one.detail
            )),
            (RepairAct::Unstore, None) => Some("it is right".to_owned()),
            (RepairAct::Unstore, Some(one)) if !one.is_certain => Some(one.detail.clone()),
            (
                RepairAct::Forget
                | RepairAct::Register
                | RepairAct::Unstore
                | RepairAct::AddReplica
                | RepairAct::Quarantine
                | RepairAct::Delete,
                _,
            ) => None,
        };
        match why {
            Some(why) => left.push(leave(&item, why)),
            None => stand.push(item),
        }
    }
    Ok(stand)
}

/// An artifact as runs say it should be.
pub(super) fn artifact(item: &Item) -> Option<WaitingArtifact> {
    item.said.as_ref().map(|said| WaitingArtifact {
        path: item.path.clone(),
        size: said.size,
        checksums: said.checksums,
    })
}
