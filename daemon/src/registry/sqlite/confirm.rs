//! Turns claims into datastore records.

use runsync_config::root::RootName;
use runsync_manifest::name::{DatasetId, RunKey};
use rusqlite::{Connection, params};

use super::failure::Failure;
use super::{names, rows};
use crate::registry::record::WaitingArtifact;

/// One claim at the path of one of the artifacts.
struct Claim {
    uuid: DatasetId,
    component: String,
    artifact: usize,
}

/// What became of one artifact.
#[derive(Clone, Copy, Default)]
struct Outcome {
    confirmed: bool,
    /// A claim at its path is still not confirmed, because it says something else.
    left: bool,
}

/// Confirms artifacts; returns how many were waited for in that shape.
///
/// What is not waited for (yet) is passed over: a registration that has still to wait at a path
/// relies on that nothing there has been confirmed.
///
/// Looks up by path and changes by UUID, each sorted: in any other order every row would touch
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
    let by_path = waited_for(connection, (run_id, root_id), artifacts)?;
    let mut claims = claims_at(connection, root_id, &by_path)?;
    claims.sort_unstable_by_key(|claim| claim.uuid);
    let outcomes = confirm_claims(connection, (run_id, root_id), &by_path, &claims)?;
    let mut done = connection
        .prepare_cached("DELETE FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path = ?3")?;
    let mut confirmed = 0;
    for (artifact, outcome) in by_path.iter().zip(outcomes) {
        if outcome.confirmed {
            confirmed += 1;
        }
        if !outcome.left {
            done.execute(params![run_id, root_id, artifact.path.as_str()])?;
        }
    }
    Ok(confirmed)
}

/// Those at whose path the run waits, by path.
fn waited_for<'a>(
    connection: &Connection,
    (run_id, root_id): (i64, i64),
    artifacts: &'a [WaitingArtifact],
) -> Result<Vec<&'a WaitingArtifact>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path = ?3")?;
    let mut by_path: Vec<&WaitingArtifact> = artifacts.iter().collect();
    by_path.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let mut waited_for = Vec::with_capacity(by_path.len());
    for artifact in by_path {
        if statement.exists(params![run_id, root_id, artifact.path.as_str()])? {
            waited_for.push(artifact);
        }
    }
    Ok(waited_for)
}

fn claims_at(
    connection: &Connection,
    root_id: i64,
    artifacts: &[&WaitingArtifact],
) -> Result<Vec<Claim>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT uuid, component FROM record_by_path WHERE root_id = ?1 AND path = ?2",
    )?;
    let mut claims = Vec::with_capacity(artifacts.len());
    for (artifact, waiting) in artifacts.iter().enumerate() {
        let mut found = statement.query(params![root_id, waiting.path.as_str()])?;
        while let Some(row) = found.next()? {
            claims.push(Claim {
                uuid: rows::dataset_id(row, 0)?,
                component: row.get(1)?,
                artifact,
            });
        }
    }
    Ok(claims)
}

fn confirm_claims(
    connection: &Connection,
    (run_id, root_id): (i64, i64),
    artifacts: &[&WaitingArtifact],
    claims: &[Claim],
) -> Result<Vec<Outcome>, Failure> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT {}, record.size FROM record CROSS JOIN dataset ON dataset.uuid = record.uuid
         WHERE record.uuid = ?1 AND record.component = ?2 AND record.confirmed = 0
             AND record.root_id = ?3 AND record.path = ?4 AND dataset.run_id = ?5",
        rows::CHECKSUM_COLUMNS
    ))?;
    let mut set = connection
        .prepare_cached("UPDATE record SET confirmed = 1 WHERE uuid = ?1 AND component = ?2")?;
    let mut outcomes = vec![Outcome::default(); artifacts.len()];
    let mut changed = 0_i64;
    for claim in claims {
        let (Some(waiting), Some(outcome)) = (
            artifacts.get(claim.artifact),
            outcomes.get_mut(claim.artifact),
        ) else {
            continue;
        };
        let uuid = claim.uuid.0.as_bytes();
        let mut found = find.query(params![
            uuid,
            claim.component,
            root_id,
            waiting.path.as_str(),
            run_id
        ])?;
        let Some(row) = found.next()? else { continue };
        let claimed = (rows::count(row, 3)?, &rows::checksums(row)?);
        if rows::agree(claimed, (waiting.size, &waiting.checksums)) {
            set.execute(params![uuid, claim.component])?;
            outcome.confirmed = true;
            changed += 1;
        } else {
            outcome.left = true;
        }
    }
    connection
        .prepare_cached("UPDATE run SET waiting = waiting - ?2 WHERE run_id = ?1")?
        .execute([run_id, changed])?;
    Ok(outcomes)
}
