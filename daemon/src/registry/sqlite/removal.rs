//! Hides parts of runs, and tells what they name.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::{Adler32, Sha256};
use runsync_manifest::generation::Generation;
use runsync_manifest::name::ArtifactPath;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::failure::Failure;
use super::hidden::{EVERY_TYPE, HIDES, OMITTED};
use super::rows::CONFIRMED;
use super::{chains, names, notices, rows, unlink, unwanted};
use crate::registry::RegistryError;
use crate::registry::removal::{
    Extent, JournalRef, NamedArtifact, Operation, Removal, RemovalRow, RunPart, Which,
};

/// A part of a run by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartIds {
    pub(super) run_id: i64,
    /// [`EVERY_TYPE`], [`OMITTED`], or a type.
    pub(super) dataset_type_id: i64,
}

/// Every artifact that parts name in a root, by path; `dataset` is what they take away, and
/// `holder` who else names it.
///
/// What stays is asked for once the rows are sorted, so that it walks the look-up by path forward;
/// `LIMIT -1` keeps the planner from asking before.
const NAMED: &str = "WITH part (run_id, dataset_type_id) AS MATERIALIZED (
     SELECT value ->> 0, value ->> 1 FROM json_each(?1)
 )
 SELECT named.path, named.size, named.uuid, named.component, named.confirmed, EXISTS (
     SELECT 1 FROM record_by_path AS by_path
     CROSS JOIN record AS other ON other.uuid = by_path.uuid
         AND other.component = by_path.component
         AND other.root_id = by_path.root_id AND other.path = by_path.path
         AND other.confirmed < 2
     CROSS JOIN dataset ON dataset.uuid = by_path.uuid
     WHERE by_path.path = named.path AND by_path.root_id = ?2 AND by_path.uuid <> named.uuid
         AND NOT EXISTS (SELECT 1 FROM part AS hidden WHERE {HIDES})
         AND NOT EXISTS (SELECT 1 FROM hidden WHERE {HIDES})
 ), named.adler32
 FROM (
     SELECT record.path, record.size, record.uuid, record.component, record.confirmed,
         record.adler32
     FROM part AS hidden
     CROSS JOIN dataset INDEXED BY dataset_by_run ON {HIDES}
     CROSS JOIN record ON record.uuid = dataset.uuid
     WHERE record.root_id = ?2
     ORDER BY record.path, record.uuid, record.component LIMIT -1
 ) AS named";

/// What a part holds, counted.
const COUNTED: &str = "WITH part (run_id, dataset_type_id) AS (VALUES (?1, ?2))
 SELECT count(DISTINCT dataset.uuid), count(record.uuid),
     count(record.uuid) - coalesce(sum(record.confirmed), 0), coalesce(sum(record.size), 0)
 FROM part AS hidden
 CROSS JOIN dataset INDEXED BY dataset_by_run ON {HIDES}
 LEFT JOIN record ON record.uuid = dataset.uuid AND record.confirmed < 2";

pub(super) fn find_part(
    connection: &Connection,
    part: &RunPart,
) -> Result<Option<PartIds>, Failure> {
    let missing = || RegistryError::RunMissing {
        run: part.run.clone(),
    };
    let run_id = names::find_run(connection, &part.run)?.ok_or_else(missing)?;
    let dataset_type_id = match &part.which {
        Which::All => Some(EVERY_TYPE),
        Which::Omitted => Some(OMITTED),
        Which::Type(name) => names::find_dataset_type(connection, name)?.map(|(id, _)| id),
    };
    Ok(dataset_type_id.map(|dataset_type_id| PartIds {
        run_id,
        dataset_type_id,
    }))
}

pub(super) fn extent(connection: &Connection, part: &RunPart) -> Result<Extent, Failure> {
    let Some(ids) = find_part(connection, part)? else {
        return Ok(Extent::default());
    };
    if ids.dataset_type_id == EVERY_TYPE {
        let read = |row: &Row<'_>| extent_row(row);
        return Ok(connection
            .prepare_cached("SELECT datasets, claims, waiting, bytes FROM run WHERE run_id = ?1")?
            .query_row([ids.run_id], read)?);
    }
    Ok(connection
        .prepare_cached(&COUNTED.replace("{HIDES}", HIDES))?
        .query_row([ids.run_id, ids.dataset_type_id], extent_row)?)
}

fn extent_row(row: &Row<'_>) -> rusqlite::Result<Extent> {
    Ok(Extent {
        datasets: rows::counter(row, 0)?,
        claims: rows::counter(row, 1)?,
        waiting: rows::counter(row, 2)?,
        bytes: rows::counter(row, 3)?,
    })
}

pub(super) fn artifacts_of(
    connection: &Connection,
    parts: &[RunPart],
    root: &RootName,
    each: &mut dyn FnMut(NamedArtifact) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(());
    };
    let mut numbers = Vec::with_capacity(parts.len());
    for part in parts {
        let ids = find_part(connection, part)?;
        numbers.extend(ids.map(|ids| [ids.run_id, ids.dataset_type_id]));
    }
    let numbers: serde_json::Value = numbers.into_iter().map(Vec::from).collect();
    let numbers = numbers.to_string();
    let mut statement = connection.prepare_cached(&NAMED.replace("{HIDES}", HIDES))?;
    let mut found = statement.query(params![numbers, root_id])?;
    let mut last: Option<NamedArtifact> = None;
    while let Some(row) = found.next()? {
        let path = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if last.as_ref().is_none_or(|last| last.path.as_str() != path) {
            let next = named_artifact(row, path)?;
            if let Some(done) = last.replace(next)
                && each(done).is_break()
            {
                return Err(RegistryError::Interrupted.into());
            }
        }
        if let Some(last) = &mut last {
            last.datasets.push((rows::dataset_id(row, 2)?, row.get(3)?));
            last.confirmed |= row.get::<_, i64>(4)? == CONFIRMED;
            last.shared |= row.get::<_, bool>(5)?;
        }
    }
    match last.map(each) {
        Some(ControlFlow::Break(())) => Err(RegistryError::Interrupted.into()),
        Some(ControlFlow::Continue(())) | None => Ok(()),
    }
}

fn named_artifact(row: &Row<'_>, path: &str) -> Result<NamedArtifact, Failure> {
    Ok(NamedArtifact {
        path: rows::path(path.to_owned())?,
        size: rows::count(row, 1)?,
        adler32: Adler32(row.get::<_, u32>(6)?.to_be_bytes()),
        datasets: Vec::with_capacity(1),
        confirmed: false,
        shared: false,
    })
}

/// Commits a removal; true where it was not committed already.
pub(super) fn remove(connection: &Connection, removal: &Removal<'_>) -> Result<bool, Failure> {
    let id = removal.id.as_bytes();
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO removal (removal, operation, account, committed_at, reapable)
             VALUES (?1, ?2, ?3, ?4, 0)",
        )?
        .execute(params![
            id,
            removal.operation.as_str(),
            removal.account,
            nanoseconds(removal.at)
        ])?;
    if added == 0 {
        return Ok(false);
    }
    unwanted::check_settled(connection)?;
    let removal_id = connection.last_insert_rowid();
    for journal in removal.journals {
        connection
            .prepare_cached(
                "INSERT INTO removal_journal (removal_id, root_id, digest) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![
                removal_id,
                names::root(connection, &journal.root)?,
                journal.digest.0
            ])?;
    }
    if let Some(chain) = &removal.chain {
        unlink::of_removal(connection, chain, removal.parts)?;
    }
    for (part, extent) in removal.parts {
        hide(connection, (removal_id, removal), part, extent)?;
    }
    for (run, floor) in removal.floors {
        let run_id = names::run(connection, run)?;
        raise_floor(connection, run_id, *floor)?;
        if removal.operation.is_of_origin() {
            raise_followed(connection, run_id, *floor)?;
        }
        if removal.operation == Operation::DropCopy {
            // What is of the floor's own generation goes, too.
            raise_followed(connection, run_id, floor.next().unwrap_or(*floor))?;
        }
    }
    for notice in removal.notices {
        notices::add(connection, notice)?;
    }
    Ok(true)
}

/// Hides a part. Counters of a whole run are known at once; those of another part were counted
/// before, and what waits is counted anew when it is reaped: it may be confirmed meanwhile.
fn hide(
    connection: &Connection,
    (removal_id, removal): (i64, &Removal<'_>),
    part: &RunPart,
    extent: &Extent,
) -> Result<(), Failure> {
    let Some(ids) = find_part(connection, part)? else {
        return Ok(());
    };
    let PartIds {
        run_id,
        dataset_type_id,
    } = ids;
    // Two removals at once of parts of one run would each reap what the other counts.
    if is_under_way(connection, run_id)? {
        let run = part.run.clone();
        return Err(RegistryError::RemovalUnderWay { run }.into());
    }
    let datasets = removal.operation.takes_datasets();
    connection
        .prepare_cached(
            "INSERT INTO hidden (run_id, dataset_type_id, removal_id, datasets, reaped_to)
             VALUES (?1, ?2, ?3, ?4, x'')",
        )?
        .execute(params![run_id, dataset_type_id, removal_id, datasets])?;
    count_away(connection, run_id, part, extent, datasets)?;
    match removal.operation {
        Operation::Unstore => unwanted::add(connection, ids, removal)?,
        operation if operation.takes_datasets() && dataset_type_id == EVERY_TYPE => {
            unwanted::drop_all(connection, run_id)?;
        }
        Operation::RemoveRuns
        | Operation::DropCopy
        | Operation::Purge
        | Operation::Cleanup
        | Operation::Follow
        | Operation::Forget => {}
    }
    if datasets && dataset_type_id == EVERY_TYPE {
        chains::lose_run(connection, run_id)?;
    }
    if datasets {
        let floor = removal.floors.iter().find(|(run, _)| *run == part.run);
        stop_registering(connection, run_id, floor.map(|(_, floor)| *floor))?;
    }
    Ok(())
}

fn is_under_way(connection: &Connection, run_id: i64) -> Result<bool, Failure> {
    let hidden = connection
        .prepare_cached("SELECT 1 FROM hidden WHERE run_id = ?1")?
        .exists([run_id])?;
    Ok(hidden)
}

fn count_away(
    connection: &Connection,
    run_id: i64,
    part: &RunPart,
    extent: &Extent,
    datasets: bool,
) -> Result<(), Failure> {
    let Extent {
        datasets: count,
        claims,
        waiting,
        bytes,
    } = match &part.which {
        Which::All => Extent::EVERYTHING,
        Which::Type(_) | Which::Omitted => *extent,
    };
    let less = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "UPDATE run SET datasets = max(datasets - ?2, 0), claims = max(claims - ?3, 0),
                 waiting = max(waiting - ?4, 0), bytes = max(bytes - ?5, 0)
             WHERE run_id = ?1",
        )?
        .execute(params![
            run_id,
            less(if datasets { count } else { 0 }),
            less(claims),
            less(waiting),
            less(bytes)
        ])?;
    Ok(())
}

/// What was interrupted must not go on where rows are missing by then; a manifest above the floor
/// may.
fn stop_registering(
    connection: &Connection,
    run_id: i64,
    floor: Option<Generation>,
) -> Result<(), Failure> {
    let (epoch, sequence) =
        floor.map_or((u32::MAX, u32::MAX), |floor| (floor.epoch, floor.sequence));
    connection
        .prepare_cached(
            "DELETE FROM registering WHERE run_id = ?1 AND (epoch, sequence) <= (?2, ?3)",
        )?
        .execute(params![run_id, epoch, sequence])?;
    Ok(())
}

pub(super) fn raise_followed(
    connection: &Connection,
    run_id: i64,
    generation: Generation,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE run SET followed_epoch = ?2, followed_sequence = ?3 WHERE run_id = ?1
                 AND (followed_epoch IS NULL
                     OR (followed_epoch, followed_sequence) < (?2, ?3))",
        )?
        .execute(params![run_id, generation.epoch, generation.sequence])?;
    Ok(())
}

pub(super) fn raise_floor(
    connection: &Connection,
    run_id: i64,
    floor: Generation,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE run SET floor_epoch = ?2, floor_sequence = ?3 WHERE run_id = ?1
                 AND (floor_epoch IS NULL OR (floor_epoch, floor_sequence) < (?2, ?3))",
        )?
        .execute(params![run_id, floor.epoch, floor.sequence])?;
    Ok(())
}

pub(super) fn removals(connection: &Connection) -> Result<Vec<RemovalRow>, Failure> {
    let mut found = BTreeMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT removal_id, removal, operation, account, committed_at, reapable FROM removal",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        found.insert(row.get::<_, i64>(0)?, removal_row(row)?);
    }
    let mut statement = connection.prepare_cached(
        "SELECT hidden.removal_id, run.name, run.origin, hidden.dataset_type_id, dataset_type.name
         FROM hidden JOIN run USING (run_id)
         LEFT JOIN dataset_type ON dataset_type.dataset_type_id = hidden.dataset_type_id
         ORDER BY run.name, run.origin, dataset_type.name",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let part = RunPart {
            run: rows::run_key(row, 1)?,
            which: match row.get(3)? {
                EVERY_TYPE => Which::All,
                OMITTED => Which::Omitted,
                _ => Which::Type(rows::parse(row, 4, "dataset type name")?),
            },
        };
        if let Some(removal) = found.get_mut(&row.get(0)?) {
            removal.parts.push(part);
        }
    }
    let mut statement = connection.prepare_cached(
        "SELECT removal_id, root.name, digest, late_until
         FROM removal_journal JOIN root USING (root_id)
         ORDER BY root.name",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(removal) = found.get_mut(&row.get(0)?) {
            removal.journals.push(JournalRef {
                root: rows::parse(row, 1, "root name")?,
                digest: Sha256(row.get(2)?),
                late_until: row.get::<_, Option<i64>>(3)?.map(time).transpose()?,
            });
        }
    }
    Ok(found.into_values().collect())
}

fn removal_row(row: &Row<'_>) -> Result<RemovalRow, Failure> {
    let at = time(row.get(4)?)?;
    Ok(RemovalRow {
        id: Uuid::from_bytes(row.get(1)?),
        operation: rows::parse(row, 2, "operation")?,
        account: row.get(3)?,
        at,
        parts: Vec::new(),
        journals: Vec::new(),
        reapable: row.get(5)?,
    })
}

pub(super) fn may_reap(connection: &Connection, removal: Uuid) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE removal SET reapable = 1 WHERE removal = ?1")?
        .execute([removal.as_bytes()])?;
    Ok(())
}

pub(super) fn journal_closed(
    connection: &Connection,
    removal: Uuid,
    root: &RootName,
) -> Result<(), Failure> {
    let removal_id: Option<i64> = connection
        .prepare_cached("SELECT removal_id FROM removal WHERE removal = ?1")?
        .query_row([removal.as_bytes()], |row| row.get(0))
        .optional()?;
    let (Some(removal_id), Some(root_id)) = (removal_id, names::find_root(connection, root)?)
    else {
        return Ok(());
    };
    connection
        .prepare_cached("DELETE FROM removal_journal WHERE removal_id = ?1 AND root_id = ?2")?
        .execute([removal_id, root_id])?;
    forget_done(connection, removal_id)
}

/// Forgets a removal that has neither journals nor rows to reap.
pub(super) fn forget_done(connection: &Connection, removal_id: i64) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "DELETE FROM removal WHERE removal_id = ?1
                 AND NOT EXISTS (SELECT 1 FROM removal_journal WHERE removal_id = ?1)
                 AND NOT EXISTS (SELECT 1 FROM hidden WHERE removal_id = ?1)",
        )?
        .execute([removal_id])?;
    Ok(())
}

/// Notes that the journal of a removal in a root stays open for what may still arrive.
pub(super) fn wait_for_late(
    connection: &Connection,
    removal: Uuid,
    root: &RootName,
    until: Timestamp,
) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE removal_journal SET late_until = ?3
             WHERE removal_id = (SELECT removal_id FROM removal WHERE removal = ?1)
                 AND root_id = (SELECT root_id FROM root WHERE name = ?2)",
        )?
        .execute(params![
            removal.as_bytes(),
            root.as_str(),
            nanoseconds(until)
        ])?;
    Ok(())
}

/// Of paths in a root those that some dataset's record names, or waits for.
pub(super) fn claimed(
    connection: &Connection,
    root: &RootName,
    paths: &[&ArtifactPath],
) -> Result<Vec<bool>, Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(vec![false; paths.len()]);
    };
    let mut claimed = connection.prepare_cached(
        "SELECT 1 FROM record_by_path AS by_path
         CROSS JOIN record ON record.uuid = by_path.uuid
             AND record.component = by_path.component
             AND record.root_id = by_path.root_id AND record.path = by_path.path
         CROSS JOIN dataset ON dataset.uuid = record.uuid
         WHERE by_path.path = ?1 AND by_path.root_id = ?2 AND (record.confirmed < 2
             OR EXISTS (SELECT 1 FROM restoring WHERE restoring.run_id = dataset.run_id))",
    )?;
    let is_claimed = |path: &&ArtifactPath| claimed.exists(params![path.as_str(), root_id]);
    Ok(paths
        .iter()
        .map(is_claimed)
        .collect::<Result<_, rusqlite::Error>>()?)
}

pub(super) fn time(nanoseconds: i64) -> Result<Timestamp, Failure> {
    Timestamp::from_nanosecond(nanoseconds.into()).map_err(|_| rows::damaged("time", &nanoseconds))
}

/// As the column has it.
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}
