//! Turns claims into datastore records.

use runsync_config::root::RootName;
use runsync_manifest::name::{DatasetId, RunKey};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::failure::Failure;
use super::{names, rows};
use crate::registry::record::WaitingArtifact;

/// One claim at the path of one of the artifacts.
struct Claim {
    uuid: DatasetId,
    component: String,
    artifact: usize,
}

/// An artifact at whose path the run waits.
struct Waited<'a> {
    artifact: &'a WaitingArtifact,
    /// Whether the run waits at no path between the artifact before and this one.
    follows: bool,
    confirmed: bool,
    /// A claim at its path is still not confirmed, because it says something else.
    left: bool,
}

impl<'a> Waited<'a> {
    fn new(artifact: &'a WaitingArtifact, follows: bool) -> Self {
        Self {
            artifact,
            follows,
            confirmed: false,
            left: false,
        }
    }
}

/// Rows that are stepped over, one after the other, before the next artifact's is sought: so
/// many steps cost about as much as one search.
const STEPS_MAX: u32 = 8;

/// What a run waits for from a path on, with the claims there.
const WAITED_FROM: &str = "SELECT waiting.path, by_path.uuid, by_path.component
     FROM waiting LEFT JOIN record_by_path AS by_path
         ON by_path.path = waiting.path AND by_path.root_id = waiting.root_id
     WHERE waiting.run_id = ?1 AND waiting.root_id = ?2 AND waiting.path >= ?3
     ORDER BY waiting.path";

/// Confirms a claim where it is still waited for and says the same of the artifact.
const CONFIRM: &str = "UPDATE record SET confirmed = 1
     WHERE uuid = ?1 AND component = ?2 AND confirmed = 0 AND root_id = ?3 AND path = ?4
         AND size = ?5 AND adler32 = ?6
         AND (md5 IS NULL OR ?7 IS NULL OR md5 = ?7)
         AND (sha256 IS NULL OR ?8 IS NULL OR sha256 = ?8)
         AND EXISTS (SELECT 1 FROM dataset WHERE dataset.uuid = ?1 AND dataset.run_id = ?9)";

/// Whether a claim is still waited for.
const STILL_WAITS: &str = "SELECT 1 FROM record CROSS JOIN dataset ON dataset.uuid = record.uuid
     WHERE record.uuid = ?1 AND record.component = ?2 AND record.confirmed = 0
         AND record.root_id = ?3 AND record.path = ?4 AND dataset.run_id = ?5";

/// Confirms artifacts; returns how many were waited for in that shape.
///
/// What is not waited for (yet) is passed over: a registration that has still to wait at a path
/// relies on that nothing there has been confirmed.
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
    let (mut waited, mut claims) = waited_for(connection, (run_id, root_id), artifacts)?;
    claims.sort_unstable_by_key(|claim| claim.uuid);
    let changed = confirm_claims(connection, (run_id, root_id), &mut waited, &claims)?;
    connection
        .prepare_cached("UPDATE run SET waiting = waiting - ?2 WHERE run_id = ?1")?
        .execute([run_id, changed])?;
    wait_no_more(connection, (run_id, root_id), &waited)?;
    let confirmed = waited.iter().filter(|waited| waited.confirmed).count();
    Ok(u64::try_from(confirmed).unwrap_or(u64::MAX))
}

/// Those at whose path the run waits, by path, and the claims there.
fn waited_for<'a>(
    connection: &Connection,
    (run_id, root_id): (i64, i64),
    artifacts: &'a [WaitingArtifact],
) -> Result<(Vec<Waited<'a>>, Vec<Claim>), Failure> {
    let mut by_path: Vec<&WaitingArtifact> = artifacts.iter().collect();
    by_path.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    by_path.dedup_by(|a, b| a.path == b.path);
    let mut left = by_path.as_slice();
    let mut statement = connection.prepare_cached(WAITED_FROM)?;
    let mut waited: Vec<Waited<'a>> = Vec::with_capacity(by_path.len());
    let mut claims = Vec::with_capacity(by_path.len());
    while let Some(first) = left.first() {
        let mut rows = statement.query(params![run_id, root_id, first.path.as_str()])?;
        let (mut follows, mut others) = (false, 0);
        while others <= STEPS_MAX
            && let Some(row) = rows.next()?
        {
            let path = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let at_last = |last: &Waited<'_>| last.artifact.path.as_str() == path;
            if !waited.last().is_some_and(at_last) {
                let before = left.iter().take_while(|one| one.path.as_str() < path);
                left = left.get(before.count()..).unwrap_or_default();
                let Some((&artifact, rest)) = left.split_first() else {
                    return Ok((waited, claims));
                };
                if artifact.path.as_str() != path {
                    (follows, others) = (false, others + 1);
                    continue;
                }
                waited.push(Waited::new(artifact, follows));
                left = rest;
                (follows, others) = (true, 0);
            }
            // A path with several claims has several rows, one with none has one.
            if let Some(uuid) = row.get::<_, Option<[u8; 16]>>(1)? {
                claims.push(Claim {
                    uuid: DatasetId(Uuid::from_bytes(uuid)),
                    component: row.get(2)?,
                    artifact: waited.len() - 1,
                });
            }
        }
        if others <= STEPS_MAX {
            break;
        }
    }
    Ok((waited, claims))
}

/// Returns how many claims it has confirmed.
fn confirm_claims(
    connection: &Connection,
    (run_id, root_id): (i64, i64),
    waited: &mut [Waited<'_>],
    claims: &[Claim],
) -> Result<i64, Failure> {
    let mut confirm = connection.prepare_cached(CONFIRM)?;
    let mut still_waits = connection.prepare_cached(STILL_WAITS)?;
    let mut changed = 0_i64;
    for claim in claims {
        let Some(waited) = waited.get_mut(claim.artifact) else {
            continue;
        };
        let artifact = waited.artifact;
        let (uuid, path) = (claim.uuid.0.as_bytes(), artifact.path.as_str());
        let confirmed = confirm.execute(params![
            uuid,
            claim.component,
            root_id,
            path,
            rows::size_column(path, artifact.size)?,
            rows::adler32_column(&artifact.checksums),
            rows::md5_column(&artifact.checksums),
            rows::sha256_column(&artifact.checksums),
            run_id
        ])?;
        if confirmed > 0 {
            waited.confirmed = true;
            changed += 1;
        } else if still_waits.exists(params![uuid, claim.component, root_id, path, run_id])? {
            waited.left = true;
        }
    }
    Ok(changed)
}

/// Takes away the waiting rows of all but those that are left, stretch by stretch.
fn wait_no_more(
    connection: &Connection,
    (run_id, root_id): (i64, i64),
    waited: &[Waited<'_>],
) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path >= ?3 AND path <= ?4",
    )?;
    let together = |a: &Waited<'_>, b: &Waited<'_>| !a.left && !b.left && b.follows;
    for stretch in waited.chunk_by(together) {
        if let (Some(first), Some(last)) = (stretch.first(), stretch.last())
            && !first.left
        {
            let (first, last) = (first.artifact.path.as_str(), last.artifact.path.as_str());
            delete.execute(params![run_id, root_id, first, last])?;
        }
    }
    Ok(())
}
