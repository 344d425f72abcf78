//! Takes back that artifacts are there, and records artifacts again that were forgotten.

use std::collections::BTreeMap;

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use rusqlite::{Connection, params};

use super::at_paths::{Claim, Standings};
use super::failure::Failure;
use super::names;
use super::rows::{self, ABSENT, AWAITED, CONFIRMED};
use crate::registry::record::{ArtifactStanding, WaitingArtifact};

/// How the counters of a run change.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    claims: i64,
    waiting: i64,
    bytes: i64,
}

/// Lets confirmed claims wait again; those that are not wanted become absent.
pub(super) fn recall(
    connection: &Connection,
    root: &RootName,
    paths: &[&ArtifactPath],
) -> Result<u64, Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(0);
    };
    let mut standings = Standings::load(connection)?;
    let mut claims: Vec<(&ArtifactPath, Claim)> = Vec::new();
    for path in paths {
        let found = standings.at(root_id, path)?.into_iter();
        let confirmed =
            found.filter(|claim| claim.standing == ArtifactStanding::Confirmed && !claim.busy);
        claims.extend(confirmed.map(|claim| (*path, claim)));
    }
    claims.sort_unstable_by_key(|(_, claim)| claim.uuid);
    let mut wait = connection.prepare_cached(
        "INSERT OR IGNORE INTO waiting
             (run_id, root_id, path, uuid, component, size, adler32, md5, sha256)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut runs: BTreeMap<i64, Counters> = BTreeMap::new();
    let mut recalled = 0;
    for (path, claim) in claims {
        let to = if claim.wanted { AWAITED } else { ABSENT };
        if !turn(connection, &claim, CONFIRMED, to)? {
            continue;
        }
        recalled += 1;
        let size = rows::size_column(path.as_str(), claim.size)?;
        let counters = runs.entry(claim.run_id).or_default();
        if !claim.wanted {
            counters.claims -= 1;
            counters.bytes = counters.bytes.saturating_sub(size);
            continue;
        }
        counters.waiting += 1;
        wait.execute(params![
            claim.run_id,
            root_id,
            path.as_str(),
            claim.uuid.0.as_bytes(),
            claim.component,
            size,
            rows::adler32_column(&claim.checksums),
            rows::md5_column(&claim.checksums),
            rows::sha256_column(&claim.checksums),
        ])?;
    }
    count(connection, runs)?;
    Ok(recalled)
}

/// Confirms absent claims at paths that no other claims name.
pub(super) fn record(
    connection: &Connection,
    root: &RootName,
    artifacts: &[WaitingArtifact],
) -> Result<u64, Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(0);
    };
    let mut standings = Standings::load(connection)?;
    let mut claims: Vec<Claim> = Vec::new();
    for artifact in artifacts {
        let found = standings.at(root_id, &artifact.path)?;
        let said = (artifact.size, &artifact.checksums);
        let is_right = |claim: &Claim| {
            claim.standing == ArtifactStanding::Absent
                && claim.wanted
                && !claim.busy
                && rows::agree(said, (claim.size, &claim.checksums))
        };
        if found.iter().all(is_right) {
            claims.extend(found);
        }
    }
    claims.sort_unstable_by_key(|claim| claim.uuid);
    let mut runs: BTreeMap<i64, Counters> = BTreeMap::new();
    let mut recorded = 0;
    for claim in claims {
        if !turn(connection, &claim, ABSENT, CONFIRMED)? {
            continue;
        }
        recorded += 1;
        let counters = runs.entry(claim.run_id).or_default();
        counters.claims += 1;
        let size = i64::try_from(claim.size).unwrap_or(i64::MAX);
        counters.bytes = counters.bytes.saturating_add(size);
    }
    count(connection, runs)?;
    Ok(recorded)
}

/// Lets a claim stand otherwise; false where it does not stand as expected.
fn turn(connection: &Connection, claim: &Claim, from: i64, to: i64) -> Result<bool, Failure> {
    let changed = connection
        .prepare_cached(
            "UPDATE record SET confirmed = ?4 WHERE uuid = ?1 AND component = ?2 AND confirmed = ?3",
        )?
        .execute(params![
            claim.uuid.0.as_bytes(),
            claim.component,
            from,
            to
        ])?;
    Ok(changed > 0)
}

fn count(connection: &Connection, runs: BTreeMap<i64, Counters>) -> Result<(), Failure> {
    let mut count = connection.prepare_cached(
        "UPDATE run SET claims = max(claims + ?2, 0), waiting = max(waiting + ?3, 0),
             bytes = max(bytes + ?4, 0) WHERE run_id = ?1",
    )?;
    for (run_id, by) in runs {
        count.execute([run_id, by.claims, by.waiting, by.bytes])?;
    }
    Ok(())
}
