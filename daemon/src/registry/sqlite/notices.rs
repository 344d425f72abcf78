//! Removal manifests that are committed and not written yet: added in the commit of their removal,
//! so that none is lost.

use runsync_manifest::generation::Generation;
use runsync_manifest::name::ManifestId;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::failure::Failure;
use super::removal::{nanoseconds, time};
use super::{names, rows};
use crate::registry::removal::Notice;

pub(super) fn add(connection: &Connection, notice: &Notice) -> Result<(), Failure> {
    let run_id = names::run(connection, &notice.run)?;
    let Generation { epoch, sequence } = notice.generation;
    connection
        .prepare_cached(
            "INSERT INTO notice (manifest, run_id, epoch, sequence, created_at, at_once)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            notice.manifest.0.as_bytes(),
            run_id,
            epoch,
            sequence,
            nanoseconds(notice.created_at),
            notice.at_once
        ])?;
    Ok(())
}

/// Oldest first.
pub(super) fn all(connection: &Connection) -> Result<Vec<Notice>, Failure> {
    connection
        .prepare_cached(
            "SELECT manifest, run.name, run.origin, notice.epoch, notice.sequence, created_at,
                 at_once
             FROM notice JOIN run USING (run_id) ORDER BY created_at, manifest",
        )?
        .query_and_then([], |row| {
            Ok(Notice {
                manifest: ManifestId(Uuid::from_bytes(row.get(0)?)),
                run: rows::run_key(row, 1)?,
                generation: Generation {
                    epoch: row.get(3)?,
                    sequence: row.get(4)?,
                },
                created_at: time(row.get(5)?)?,
                at_once: row.get(6)?,
            })
        })?
        .collect()
}

pub(super) fn sent(connection: &Connection, manifest: ManifestId) -> Result<(), Failure> {
    connection
        .prepare_cached("DELETE FROM notice WHERE manifest = ?1")?
        .execute([manifest.0.as_bytes()])?;
    Ok(())
}
