//! Turns claims into datastore records.

use runsync_config::root::RootName;
use runsync_manifest::name::{DatasetId, RunKey};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::failure::Failure;
use super::hidden::Hidden;
use super::{names, rows};
use crate::registry::record::WaitingArtifact;

/// A claim that waits at the path of one of the artifacts.
#[derive(Debug)]
struct Claim<'a> {
    uuid: DatasetId,
    component: String,
    artifact: &'a WaitingArtifact,
    /// Whether it says the same of the artifact as what was found.
    agrees: bool,
    /// Whether no other claim waits between the one before and this one.
    follows: bool,
}

/// Rows that are stepped over, one after the other, before the next artifact's is sought: so
/// many steps cost about as much as one search.
const STEPS_MAX: u32 = 8;

/// Claims of a run that wait from a path on; [`rows::CHECKSUM_COLUMNS`] come first.
const WAITING_FROM: &str = "SELECT adler32, md5, sha256, size, path, uuid, component
     FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path >= ?3";

/// Confirms artifacts; returns how many were waited for in that shape.
///
/// What is not waited for (yet) is passed over: a registration that has still to wait for a claim
/// relies on that it has not been confirmed.
///
/// Walks by path and changes by UUID, each sorted: in any other order every row would touch
/// another page of the largest table.
pub(super) fn confirm(
    connection: &Connection,
    run: &RunKey,
    root: &RootName,
    artifacts: &[WaitingArtifact],
) -> Result<u64, Failure> {
    let (Some(run_id), Some(root_id)) = (
        names::find_run(connection, run)?,
        names::find_root(connection, root)?,
    ) else {
        return Ok(0);
    };
    let hidden = Hidden::load(connection)?;
    if hidden.hides_all_records(run_id) {
        return Ok(0);
    }
    let claims = waiting(connection, &hidden, (run_id, root_id), artifacts)?;
    let changed = confirm_claims(connection, &claims)?;
    connection
        .prepare_cached("UPDATE run SET waiting = waiting - ?2 WHERE run_id = ?1")?
        .execute([run_id, changed])?;
    wait_no_more(connection, (run_id, root_id), &claims)?;
    let one_artifact = |a: &Claim<'_>, b: &Claim<'_>| std::ptr::eq(a.artifact, b.artifact);
    let artifacts = claims.chunk_by(one_artifact);
    let confirmed = artifacts.filter(|claims| claims.iter().any(|claim| claim.agrees));
    Ok(u64::try_from(confirmed.count()).unwrap_or(u64::MAX))
}

/// The claims that wait at the artifacts' paths, by path.
fn waiting<'a>(
    connection: &Connection,
    hidden: &Hidden,
    (run_id, root_id): (i64, i64),
    artifacts: &'a [WaitingArtifact],
) -> Result<Vec<Claim<'a>>, Failure> {
    let mut by_path: Vec<&WaitingArtifact> = artifacts.iter().collect();
    by_path.sort_by(|a, b| a.path.cmp(&b.path));
    by_path.dedup_by(|a, b| a.path == b.path);
    let mut left = by_path.as_slice();
    let shown = hidden.waiting_clause(run_id);
    let mut statement = connection.prepare_cached(&format!(
        "{WAITING_FROM} {shown} ORDER BY path, uuid, component"
    ))?;
    let mut claims: Vec<Claim<'a>> = Vec::with_capacity(by_path.len());
    'seek: while let Some(first) = left.first() {
        let mut rows = statement.query(params![run_id, root_id, first.path.as_str()])?;
        let (mut follows, mut others) = (false, 0);
        while others <= STEPS_MAX {
            let Some(row) = rows.next()? else {
                break 'seek;
            };
            let path = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
            let before = left.iter().take_while(|one| one.path.as_str() < path);
            left = left.get(before.count()..).unwrap_or_default();
            let Some(&artifact) = left.first() else {
                break 'seek;
            };
            if artifact.path.as_str() != path {
                (follows, others) = (false, others + 1);
                continue;
            }
            let said = (rows::count(row, 3)?, &rows::checksums(row)?);
            claims.push(Claim {
                uuid: DatasetId(Uuid::from_bytes(row.get(5)?)),
                component: row.get(6)?,
                artifact,
                agrees: rows::agree(said, (artifact.size, &artifact.checksums)),
                follows,
            });
            (follows, others) = (true, 0);
        }
    }
    Ok(claims)
}

/// Returns how many records it has changed.
fn confirm_claims(connection: &Connection, claims: &[Claim<'_>]) -> Result<i64, Failure> {
    let mut by_uuid: Vec<&Claim<'_>> = claims.iter().filter(|claim| claim.agrees).collect();
    by_uuid.sort_unstable_by_key(|claim| claim.uuid);
    let mut confirm = connection.prepare_cached(
        "UPDATE record SET confirmed = 1 WHERE uuid = ?1 AND component = ?2 AND confirmed = 0",
    )?;
    let mut changed = 0_i64;
    for claim in by_uuid {
        let records = confirm.execute(params![claim.uuid.0.as_bytes(), claim.component])?;
        changed += i64::from(records > 0);
    }
    Ok(changed)
}

/// Takes away the rows of all claims that were confirmed, stretch by stretch.
fn wait_no_more(
    connection: &Connection,
    (run_id, root_id): (i64, i64),
    claims: &[Claim<'_>],
) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM waiting WHERE run_id = ?1 AND root_id = ?2
             AND (path, uuid, component) >= (?3, ?4, ?5)
             AND (path, uuid, component) <= (?6, ?7, ?8)",
    )?;
    let together = |a: &Claim<'_>, b: &Claim<'_>| a.agrees && b.agrees && b.follows;
    for stretch in claims.chunk_by(together) {
        if let (Some(first), Some(last)) = (stretch.first(), stretch.last())
            && first.agrees
        {
            delete.execute(params![
                run_id,
                root_id,
                first.artifact.path.as_str(),
                first.uuid.0.as_bytes(),
                first.component,
                last.artifact.path.as_str(),
                last.uuid.0.as_bytes(),
                last.component
            ])?;
        }
    }
    Ok(())
}
