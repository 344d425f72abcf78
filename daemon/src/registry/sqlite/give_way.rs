//! Lets datasets of an adopted run go over to the run that a manifest speaks for.
//!
//! Dataset, records, look-ups, tags and counters change hands in one commit, so that a reader finds a
//! dataset in the one run or in the other. A large manifest takes several commits: stopped in between,
//! it is brought again, and what went over already is passed over.

use std::ops::ControlFlow;

use runsync_manifest::name::{DatasetId, RunKey};
use rusqlite::{Connection, OptionalExtension, params};

use super::conflicts::{HELD_DATA_ID, contradictions, prepare_at_path};
use super::failure::Failure;
use super::hidden::Hidden;
use super::rows::{ABSENT, AWAITED};
use super::{names, register, rows};
use crate::registry::RegistryError;
use crate::registry::record::{GivenWay, Registration};
use crate::sqlite::Database;

/// Datasets that change hands in one commit: another writer waits well below a second.
const TOGETHER: usize = 5_000;

/// A dataset as a manifest names it.
struct Named {
    uuid: DatasetId,
    /// Number of its dataset type; none: not registered.
    dataset_type_id: Option<i64>,
    data_id: String,
}

/// Has an adopted run give way to what `registration` says.
pub(super) fn give_way(
    database: &Database,
    adopted: &RunKey,
    registration: &Registration<'_>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<GivenWay, Failure> {
    let mut given = GivenWay::default();
    let types = database.read(|connection| types_of(connection, registration))?;
    let mut claims = registration.rows.by_dataset()?;
    let mut page: Vec<Named> = Vec::with_capacity(TOGETHER);
    let mut rows = 0;
    loop {
        let claim = claims.next()?;
        if let Some(claim) = &claim {
            rows += 1;
            let is_next = page.last().is_none_or(|last| last.uuid != claim.uuid);
            if is_next {
                page.push(Named {
                    uuid: claim.uuid,
                    dataset_type_id: types.get(claim.dataset_type).copied().flatten(),
                    data_id: claim.data_id.to_owned(),
                });
            }
        }
        let ended = claim.is_none();
        if ended || page.len() >= TOGETHER {
            database.write(|begun| hand_over(begun, adopted, registration, &page, &mut given))?;
            page.clear();
            if progress(rows).is_break() {
                return Err(RegistryError::Interrupted.into());
            }
        }
        if ended {
            break;
        }
    }
    drop_contradicted(database, adopted, registration, &mut given)?;
    Ok(given)
}

fn types_of(
    connection: &Connection,
    registration: &Registration<'_>,
) -> Result<Vec<Option<i64>>, Failure> {
    let types = registration.dataset_types.iter();
    types
        .map(|dataset_type| {
            let known = names::find_dataset_type(connection, &dataset_type.name)?;
            Ok(known.map(|(id, _)| id))
        })
        .collect()
}

/// The number of the adopted run, where anything of it can go over.
fn adopted_id(connection: &Connection, adopted: &RunKey) -> Result<Option<i64>, Failure> {
    let Some(run_id) = names::find_run(connection, adopted)? else {
        return Ok(None);
    };
    // What is on its way out stays until it is out.
    Ok((!Hidden::load(connection)?.concerns(run_id)).then_some(run_id))
}

fn hand_over(
    connection: &Connection,
    adopted: &RunKey,
    registration: &Registration<'_>,
    page: &[Named],
    given: &mut GivenWay,
) -> Result<(), Failure> {
    let Some(from) = adopted_id(connection, adopted)? else {
        return Ok(());
    };
    let mut changed = false;
    for named in page {
        let Some((dataset_type_id, data_id)) = held_as(connection, from, named.uuid)? else {
            continue;
        };
        let is_same = named.dataset_type_id == Some(dataset_type_id) && named.data_id == data_id;
        let to = names::run(connection, registration.run)?;
        if is_same && may_hold(connection, to, (dataset_type_id, &data_id), named.uuid)? {
            change_hands(
                connection,
                (from, to),
                (dataset_type_id, &data_id),
                named.uuid,
            )?;
            given.moved += 1;
        } else {
            drop_dataset(connection, from, (dataset_type_id, &data_id), named.uuid)?;
            given.drop(named.uuid);
        }
        changed = true;
    }
    if changed {
        register::note_change(connection)?;
    }
    Ok(())
}

/// Whether no other dataset of the run has that type and data ID.
fn may_hold(
    connection: &Connection,
    run_id: i64,
    (dataset_type_id, data_id): (i64, &str),
    uuid: DatasetId,
) -> Result<bool, Failure> {
    let held_by = connection
        .prepare_cached(HELD_DATA_ID)?
        .query_row(params![run_id, dataset_type_id, data_id], |row| {
            rows::dataset_id(row, 0)
        })
        .optional()?;
    Ok(held_by.is_none_or(|held_by| held_by == uuid))
}

/// A claim or record of a dataset that changes hands.
struct Held {
    root_id: i64,
    path: String,
    component: String,
    size: i64,
    state: i64,
}

/// What a dataset adds to its run's counters. What is absent counts for nothing.
fn counted(held: &[Held]) -> (i64, i64, i64) {
    let counting = held.iter().filter(|held| held.state != ABSENT);
    counting.fold((0, 0, 0), |(claims, waiting, bytes), held| {
        let awaited = i64::from(held.state == AWAITED);
        (claims + 1, waiting + awaited, bytes + held.size)
    })
}

fn held_of(connection: &Connection, uuid: DatasetId) -> rusqlite::Result<Vec<Held>> {
    connection
        .prepare_cached(
            "SELECT root_id, path, component, size, confirmed FROM record WHERE uuid = ?1",
        )?
        .query_map([uuid.0.as_bytes()], |row| {
            Ok(Held {
                root_id: row.get(0)?,
                path: row.get(1)?,
                component: row.get(2)?,
                size: row.get(3)?,
                state: row.get(4)?,
            })
        })?
        .collect()
}

/// Adds a dataset and what it holds to a run's counters, or takes it away (`one` is -1).
fn count(connection: &Connection, run_id: i64, one: i64, held: &[Held]) -> rusqlite::Result<()> {
    let (claims, waiting, bytes) = counted(held);
    connection
        .prepare_cached(
            "UPDATE run SET datasets = datasets + ?2, claims = claims + ?2 * ?3,
                 waiting = waiting + ?2 * ?4, bytes = bytes + ?2 * ?5
             WHERE run_id = ?1",
        )?
        .execute([run_id, one, claims, waiting, bytes])?;
    Ok(())
}

fn change_hands(
    connection: &Connection,
    (from, to): (i64, i64),
    (dataset_type_id, data_id): (i64, &str),
    uuid: DatasetId,
) -> Result<(), Failure> {
    let id = uuid.0.as_bytes();
    let held = held_of(connection, uuid)?;
    count(connection, from, -1, &held)?;
    count(connection, to, 1, &held)?;
    // By its whole key: a list of keys would be compared with every row of the run.
    let mut waits = connection.prepare_cached(
        "UPDATE waiting SET run_id = ?2 WHERE run_id = ?1 AND root_id = ?3 AND path = ?4
             AND uuid = ?5 AND component = ?6",
    )?;
    for one in held.iter().filter(|one| one.state == AWAITED) {
        waits.execute(params![from, to, one.root_id, one.path, id, one.component])?;
    }
    let run = |sql: &str| {
        connection
            .prepare_cached(sql)?
            .execute(params![from, to, id])
    };
    run("UPDATE tag SET run_id = ?2 WHERE run_id = ?1 AND uuid = ?3")?;
    // Below every generation: the manifest that names it replaces what differs, and only that.
    run("UPDATE dataset SET run_id = ?2, epoch = 0, sequence = 0 WHERE uuid = ?3 AND run_id = ?1")?;
    forget_data_id(connection, from, (dataset_type_id, data_id), uuid)?;
    // An entry whose dataset is not there holds nothing, and may lie in the way.
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO dataset_by_data_id (run_id, dataset_type_id, data_id, uuid)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![to, dataset_type_id, data_id, id])?;
    Ok(())
}

fn forget_data_id(
    connection: &Connection,
    run_id: i64,
    (dataset_type_id, data_id): (i64, &str),
    uuid: DatasetId,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM dataset_by_data_id
             WHERE run_id = ?1 AND dataset_type_id = ?2 AND data_id = ?3 AND uuid = ?4",
        )?
        .execute(params![run_id, dataset_type_id, data_id, uuid.0.as_bytes()])?;
    Ok(())
}

/// Takes a dataset out of the registry. Its artifact stays where it is.
fn drop_dataset(
    connection: &Connection,
    run_id: i64,
    (dataset_type_id, data_id): (i64, &str),
    uuid: DatasetId,
) -> Result<(), Failure> {
    let id = uuid.0.as_bytes();
    let held = held_of(connection, uuid)?;
    count(connection, run_id, -1, &held)?;
    let mut waits = connection.prepare_cached(
        "DELETE FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path = ?3 AND uuid = ?4
             AND component = ?5",
    )?;
    let mut by_path = connection.prepare_cached(
        "DELETE FROM record_by_path WHERE path = ?1 AND root_id = ?2 AND uuid = ?3
             AND component = ?4",
    )?;
    for one in &held {
        waits.execute(params![run_id, one.root_id, one.path, id, one.component])?;
        by_path.execute(params![one.path, one.root_id, id, one.component])?;
    }
    connection
        .prepare_cached("DELETE FROM record WHERE uuid = ?1")?
        .execute([id])?;
    forget_data_id(connection, run_id, (dataset_type_id, data_id), uuid)?;
    connection
        .prepare_cached("DELETE FROM tag WHERE run_id = ?1 AND uuid = ?2")?
        .execute(params![run_id, id])?;
    connection
        .prepare_cached("DELETE FROM dataset WHERE uuid = ?1")?
        .execute([id])?;
    Ok(())
}

/// Type and data ID of a dataset, where the run holds it.
fn held_as(
    connection: &Connection,
    run_id: i64,
    uuid: DatasetId,
) -> rusqlite::Result<Option<(i64, String)>> {
    connection
        .prepare_cached(
            "SELECT dataset_type_id, data_id FROM dataset WHERE uuid = ?1 AND run_id = ?2",
        )?
        .query_row(params![uuid.0.as_bytes(), run_id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
}

/// Drops datasets of the adopted run that hold other artifacts at paths which the manifest claims.
fn drop_contradicted(
    database: &Database,
    adopted: &RunKey,
    registration: &Registration<'_>,
    given: &mut GivenWay,
) -> Result<(), Failure> {
    let contradicted = database.read(|connection| {
        let (Some(run_id), Some(root_id)) = (
            adopted_id(connection, adopted)?,
            names::find_root(connection, registration.root)?,
        ) else {
            return Ok(Vec::new());
        };
        let mut at_path = prepare_at_path(connection)?;
        let mut found = Vec::new();
        let mut claims = registration.rows.by_path()?;
        while let Some(claim) = claims.next()? {
            let artifact = (claim.size, &claim.checksums);
            for holder in contradictions(&mut at_path, root_id, claim.path, artifact)? {
                if holder.uuid != claim.uuid && held_as(connection, run_id, holder.uuid)?.is_some()
                {
                    found.push(holder.uuid);
                }
            }
        }
        Ok::<_, Failure>(found)
    })?;
    for page in contradicted.chunks(TOGETHER) {
        database.write(|begun| {
            let Some(run_id) = adopted_id(begun, adopted)? else {
                return Ok(());
            };
            for uuid in page {
                if let Some((dataset_type_id, data_id)) = held_as(begun, run_id, *uuid)? {
                    drop_dataset(begun, run_id, (dataset_type_id, &data_id), *uuid)?;
                    given.drop(*uuid);
                }
            }
            register::note_change(begun)
        })?;
    }
    Ok(())
}
