//! Parts of runs that this site does not want, and how they come back.
//!
//! A claim of such a part is registered like any other, waits for nothing and counts for nothing.
//! Restoring a part lets its claims wait again, so many datasets to a commit.

use std::collections::HashSet;

use runsync_manifest::name::RunKey;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::hidden::EVERY_TYPE;
use super::names;
use super::removal::{PartIds, find_part, nanoseconds, time};
use super::rows::{self, AWAITED};
use crate::registry::RegistryError;
use crate::registry::removal::{Removal, RunPart, Unwanted};

/// The dataset types of a run that are not wanted.
#[derive(Debug, Default)]
pub(super) struct UnwantedTypes(HashSet<i64>);

impl UnwantedTypes {
    pub(super) fn of(connection: &Connection, run_id: i64) -> Result<Self, Failure> {
        let types = connection
            .prepare_cached("SELECT dataset_type_id FROM unwanted WHERE run_id = ?1")?
            .query_map([run_id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(Self(types))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn holds(&self, dataset_type_id: i64) -> bool {
        self.0.contains(&EVERY_TYPE) || self.0.contains(&dataset_type_id)
    }
}

pub(super) fn add(
    connection: &Connection,
    part: PartIds,
    removal: &Removal<'_>,
) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO unwanted (run_id, dataset_type_id, account, since)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            part.run_id,
            part.dataset_type_id,
            removal.account,
            nanoseconds(removal.at)
        ])?;
    Ok(())
}

/// Forgets what was not wanted of a run that is removed whole: what comes again is wanted.
pub(super) fn drop_all(connection: &Connection, run_id: i64) -> Result<(), Failure> {
    connection
        .prepare_cached("DELETE FROM unwanted WHERE run_id = ?1")?
        .execute([run_id])?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Unwanted>, Failure> {
    connection
        .prepare_cached(
            "SELECT run.name, run.origin, unwanted.dataset_type_id, dataset_type.name,
                 unwanted.account, unwanted.since
             FROM unwanted JOIN run USING (run_id)
             LEFT JOIN dataset_type USING (dataset_type_id)
             ORDER BY run.name, run.origin, dataset_type.name",
        )?
        .query_and_then([], |row| {
            Ok(Unwanted {
                run: rows::run_key(row, 0)?,
                dataset_type: match row.get(2)? {
                    EVERY_TYPE => None,
                    _ => Some(rows::parse(row, 3, "dataset type name")?),
                },
                account: row.get(4)?,
                since: time(row.get(5)?)?,
            })
        })?
        .collect()
}

/// The run that is being restored, if any is: nothing is removed meanwhile, because a path that it
/// claims may be another's to delete.
pub(super) fn check_settled(connection: &Connection) -> Result<(), Failure> {
    let restoring = connection
        .prepare_cached("SELECT run_id FROM restoring LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match restoring {
        None => Ok(()),
        Some(run_id) => {
            let run = names::run_key(connection, run_id)?;
            Err(RegistryError::Restoring { run }.into())
        }
    }
}

/// Checks that no removal is under way, which may have journaled a path that is claimed again.
fn check_quiet(connection: &Connection) -> Result<(), Failure> {
    let hidden = connection
        .prepare_cached("SELECT run_id FROM hidden LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match hidden {
        None => Ok(()),
        Some(run_id) => {
            let run = names::run_key(connection, run_id)?;
            Err(RegistryError::RemovalUnderWay { run }.into())
        }
    }
}

/// Wants parts again. A whole run takes its types along; a type of a run that is not wanted whole
/// cannot come alone.
pub(super) fn restore(connection: &Connection, parts: &[RunPart]) -> Result<(), Failure> {
    check_quiet(connection)?;
    for part in parts {
        let Some(ids) = find_part(connection, part)? else {
            continue;
        };
        let PartIds {
            run_id,
            dataset_type_id,
        } = ids;
        connection
            .prepare_cached(
                "DELETE FROM unwanted WHERE run_id = ?1 AND ?2 IN (0, dataset_type_id)",
            )?
            .execute([run_id, dataset_type_id])?;
        if UnwantedTypes::of(connection, run_id)?.holds(dataset_type_id) {
            let run = part.run.clone();
            return Err(RegistryError::UnwantedWhole { run }.into());
        }
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO restoring (run_id, dataset_type_id, restored_to)
                 VALUES (?1, ?2, x'')",
            )?
            .execute([run_id, dataset_type_id])?;
    }
    Ok(())
}

/// Lets the claims of the next datasets of what is being restored wait again; false where nothing
/// is being restored.
pub(super) fn bring_back(connection: &Connection, most: usize) -> Result<bool, Failure> {
    let next = connection
        .prepare_cached("SELECT run_id, dataset_type_id, restored_to FROM restoring LIMIT 1")?
        .query_row([], |row| {
            let part = PartIds {
                run_id: row.get(0)?,
                dataset_type_id: row.get(1)?,
            };
            Ok((part, row.get::<_, Vec<u8>>(2)?))
        })
        .optional()?;
    let Some((part, from)) = next else {
        return Ok(false);
    };
    let rows = i64::try_from(most.max(1)).unwrap_or(i64::MAX);
    let end: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT max(uuid) FROM (SELECT uuid FROM dataset INDEXED BY dataset_by_run
                 WHERE run_id = ?1 AND ?2 IN (0, dataset_type_id) AND uuid > ?3
                 ORDER BY uuid LIMIT ?4)",
        )?
        .query_row(
            params![part.run_id, part.dataset_type_id, from, rows],
            |row| row.get(0),
        )?;
    match end {
        Some(end) => bring_back_to(connection, part, (&from, &end))?,
        None => {
            connection
                .prepare_cached("DELETE FROM restoring WHERE run_id = ?1 AND dataset_type_id = ?2")?
                .execute([part.run_id, part.dataset_type_id])?;
        }
    }
    Ok(true)
}

pub(super) fn has_absent(connection: &Connection, run: &RunKey) -> Result<bool, Failure> {
    let Some(run_id) = names::find_run(connection, run)? else {
        return Ok(false);
    };
    let found = connection
        .prepare_cached(
            "SELECT 1 FROM dataset INDEXED BY dataset_by_run
             CROSS JOIN record ON record.uuid = dataset.uuid AND record.confirmed = 2
             WHERE dataset.run_id = ?1 LIMIT 1",
        )?
        .exists([run_id])?;
    Ok(found)
}

/// The absent claims of a stretch of datasets.
const STRETCH: &str = "FROM dataset INDEXED BY dataset_by_run
     CROSS JOIN record ON record.uuid = dataset.uuid AND record.confirmed = 2
     WHERE dataset.run_id = ?1 AND ?2 IN (0, dataset.dataset_type_id)
         AND dataset.uuid > ?3 AND dataset.uuid <= ?4";

fn bring_back_to(
    connection: &Connection,
    part: PartIds,
    (from, end): (&[u8], &[u8]),
) -> Result<(), Failure> {
    let stretch = params![part.run_id, part.dataset_type_id, from, end];
    let (claims, bytes): (i64, i64) = connection
        .prepare_cached(&format!(
            "SELECT count(*), coalesce(sum(record.size), 0) {STRETCH}"
        ))?
        .query_row(stretch, |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached(&format!(
            "INSERT OR IGNORE INTO waiting
                 (run_id, root_id, path, uuid, component, size, adler32, md5, sha256)
             SELECT ?1, record.root_id, record.path, record.uuid, record.component, record.size,
                 record.adler32, record.md5, record.sha256 {STRETCH}"
        ))?
        .execute(stretch)?;
    connection
        .prepare_cached(&format!(
            "UPDATE record SET confirmed = {AWAITED} WHERE confirmed = 2
                 AND uuid IN (SELECT dataset.uuid {STRETCH})"
        ))?
        .execute(stretch)?;
    connection
        .prepare_cached(
            "UPDATE run SET claims = claims + ?2, waiting = waiting + ?2, bytes = bytes + ?3
             WHERE run_id = ?1",
        )?
        .execute([part.run_id, claims, bytes])?;
    connection
        .prepare_cached(
            "UPDATE restoring SET restored_to = ?3 WHERE run_id = ?1 AND dataset_type_id = ?2",
        )?
        .execute(params![part.run_id, part.dataset_type_id, end])?;
    Ok(())
}
