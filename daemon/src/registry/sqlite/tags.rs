//! Tags: which datasets are in a tagged collection.

use runsync_manifest::name::{CollectionName, DatasetId, DatasetTypeName, RunName};
use rusqlite::{Connection, OptionalExtension, params};

use super::collections::{self, Found};
use super::failure::Failure;
use super::hidden::{HIDES, Hidden};
use super::{names, rows};
use crate::registry::collection::{Actor, CollectionError, Datasets, Kind};

/// A tagged dataset in run ?2 of the type and data ID of dataset ?3, another one.
const TWIN: &str = "SELECT other.uuid FROM dataset
     JOIN dataset_by_data_id AS other ON other.run_id = ?2
         AND other.dataset_type_id = dataset.dataset_type_id AND other.data_id = dataset.data_id
     JOIN tag ON tag.collection_id = ?1 AND tag.run_id = ?2 AND tag.uuid = other.uuid
     WHERE dataset.uuid = ?3 AND other.uuid <> ?3";

/// Datasets of a collection that are in run ?3 and have a twin in run ?2.
const TWINS: &str = "SELECT mine.uuid, other.uuid FROM tag AS mine
     CROSS JOIN dataset ON dataset.uuid = mine.uuid
     CROSS JOIN dataset_by_data_id AS other ON other.run_id = ?2
         AND other.dataset_type_id = dataset.dataset_type_id AND other.data_id = dataset.data_id
     CROSS JOIN tag ON tag.collection_id = ?1 AND tag.run_id = ?2 AND tag.uuid = other.uuid
     WHERE mine.collection_id = ?1 AND mine.run_id = ?3";

/// What tags are counted by: next to always nothing is hidden, and then no tag is looked into.
fn shown(connection: &Connection) -> Result<String, Failure> {
    if Hidden::load(connection)?.is_empty() {
        return Ok("TRUE".to_owned());
    }
    Ok(format!(
        "NOT EXISTS (SELECT 1 FROM dataset JOIN hidden ON hidden.datasets AND {HIDES} \
         WHERE dataset.uuid = tag.uuid)"
    ))
}

pub(super) fn count(connection: &Connection, id: i64) -> Result<u64, Failure> {
    let shown = shown(connection)?;
    connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM tag WHERE collection_id = ?1 AND {shown}"
        ))?
        .query_row([id], |row| Ok(rows::count(row, 0)))?
}

/// Tags on the datasets of a run.
pub(super) fn count_of_run(connection: &Connection, run_id: i64) -> Result<u64, Failure> {
    let shown = shown(connection)?;
    connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM tag WHERE run_id = ?1 AND {shown}"
        ))?
        .query_row([run_id], |row| Ok(rows::count(row, 0)))?
}

pub(super) fn associate(
    connection: &Connection,
    name: &CollectionName,
    datasets: &Datasets,
    by: &Actor,
) -> Result<u64, Failure> {
    let id = collections::existing_or_new(connection, name, Kind::Tagged, by)?;
    match datasets {
        Datasets::Uuids(uuids) => {
            let hidden = Hidden::load(connection)?;
            let runs = runs_of(connection, id)?;
            let mut tagging = Tagging { name, id, runs };
            let mut added = 0;
            for &uuid in uuids {
                added += tagging.add(connection, &hidden, uuid)?;
            }
            Ok(added)
        }
        Datasets::OfRun { run, dataset_type } => {
            let run_id = run_number(connection, run)?;
            let added = add_run(connection, id, run_id, dataset_type.as_ref())?;
            check_run(connection, (name, id), run_id)?;
            Ok(added)
        }
    }
}

/// Datasets on their way into a collection.
struct Tagging<'n> {
    name: &'n CollectionName,
    id: i64,
    /// Runs of which it has datasets.
    runs: Vec<i64>,
}

impl Tagging<'_> {
    fn add(
        &mut self,
        connection: &Connection,
        hidden: &Hidden,
        uuid: DatasetId,
    ) -> Result<u64, Failure> {
        let run_id = run_of(connection, hidden, uuid)?;
        self.check(connection, hidden, uuid)?;
        if !self.runs.contains(&run_id) {
            self.runs.push(run_id);
        }
        let added = connection
            .prepare_cached(
                "INSERT OR IGNORE INTO tag (collection_id, run_id, uuid) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![self.id, run_id, uuid.0.as_bytes()])?;
        Ok(added as u64)
    }

    fn check(
        &self,
        connection: &Connection,
        hidden: &Hidden,
        uuid: DatasetId,
    ) -> Result<(), Failure> {
        let mut statement = connection.prepare_cached(TWIN)?;
        for run in &self.runs {
            let twin = statement
                .query_row(params![self.id, run, uuid.0.as_bytes()], |row| {
                    rows::dataset_id(row, 0)
                })
                .optional()?;
            if let Some(tagged) = twin
                && !hidden.hides_dataset(connection, tagged)?
            {
                let name = self.name.clone();
                return Err(CollectionError::Twin { name, tagged, uuid }.into());
            }
        }
        Ok(())
    }
}

/// The run of a dataset that readers see.
fn run_of(connection: &Connection, hidden: &Hidden, uuid: DatasetId) -> Result<i64, Failure> {
    let run_id = connection
        .prepare_cached("SELECT run_id FROM dataset WHERE uuid = ?1")?
        .query_row([uuid.0.as_bytes()], |row| row.get(0))
        .optional()?;
    let is_going = !hidden.is_empty() && hidden.hides_dataset(connection, uuid)?;
    run_id
        .filter(|_| !is_going)
        .ok_or_else(|| CollectionError::NoDataset { uuid }.into())
}

/// Runs of which a collection has datasets: looks once for each.
fn runs_of(connection: &Connection, id: i64) -> Result<Vec<i64>, Failure> {
    let mut next = connection
        .prepare_cached("SELECT min(run_id) FROM tag WHERE collection_id = ?1 AND run_id > ?2")?;
    let mut runs = Vec::new();
    let mut last = 0;
    while let Some(run_id) = next.query_row([id, last], |row| row.get::<_, Option<i64>>(0))? {
        runs.push(run_id);
        last = run_id;
    }
    Ok(runs)
}

fn run_number(connection: &Connection, run: &RunName) -> Result<i64, Failure> {
    let name = CollectionName::from(run.clone());
    let Found { id, row } = collections::get(connection, &name)?;
    match row.kind {
        Kind::Run => Ok(id),
        Kind::Tagged | Kind::Chained => Err(collections::other_kind(&name, row.kind, Kind::Run)),
    }
}

fn add_run(
    connection: &Connection,
    id: i64,
    run_id: i64,
    dataset_type: Option<&DatasetTypeName>,
) -> Result<u64, Failure> {
    let Some(type_id) = type_number(connection, dataset_type)? else {
        return Ok(0);
    };
    let shown = Hidden::load(connection)?.datasets_clause(run_id);
    let added = connection
        .prepare_cached(&format!(
            "INSERT OR IGNORE INTO tag (collection_id, run_id, uuid)
             SELECT ?1, run_id, uuid FROM dataset INDEXED BY dataset_by_run
             WHERE run_id = ?2 AND ?3 IN (0, dataset_type_id) {shown} ORDER BY uuid"
        ))?
        .execute([id, run_id, type_id])?;
    Ok(added as u64)
}

/// The number of a dataset type, 0 for all; none where nothing has that type.
fn type_number(
    connection: &Connection,
    dataset_type: Option<&DatasetTypeName>,
) -> Result<Option<i64>, Failure> {
    match dataset_type {
        None => Ok(Some(0)),
        Some(name) => Ok(names::find_dataset_type(connection, name)?.map(|(id, _)| id)),
    }
}

/// Checks that no other run of a collection has a twin of a dataset of this one.
fn check_run(
    connection: &Connection,
    (name, id): (&CollectionName, i64),
    run_id: i64,
) -> Result<(), Failure> {
    let hidden = Hidden::load(connection)?;
    let mut statement = connection.prepare_cached(TWINS)?;
    for other in runs_of(connection, id)? {
        if other == run_id || hidden.hides_datasets(other) {
            continue;
        }
        let mut twins = statement.query([id, other, run_id])?;
        while let Some(row) = twins.next()? {
            let (uuid, tagged) = (rows::dataset_id(row, 0)?, rows::dataset_id(row, 1)?);
            if !hidden.hides_dataset(connection, tagged)? {
                let name = name.clone();
                return Err(CollectionError::Twin { name, tagged, uuid }.into());
            }
        }
    }
    Ok(())
}

pub(super) fn disassociate(
    connection: &Connection,
    name: &CollectionName,
    datasets: &Datasets,
    by: &Actor,
) -> Result<u64, Failure> {
    let id = collections::existing(connection, name, Kind::Tagged, by)?;
    match datasets {
        Datasets::Uuids(uuids) => {
            let mut delete = connection.prepare_cached(
                "DELETE FROM tag WHERE collection_id = ?1 AND uuid = ?2 AND run_id =
                     (SELECT dataset.run_id FROM dataset WHERE dataset.uuid = ?2)",
            )?;
            let mut gone = 0;
            for uuid in uuids {
                gone += delete.execute(params![id, uuid.0.as_bytes()])? as u64;
            }
            Ok(gone)
        }
        Datasets::OfRun { run, dataset_type } => {
            let run_id = run_number(connection, run)?;
            remove_run(connection, id, run_id, dataset_type.as_ref())
        }
    }
}

fn remove_run(
    connection: &Connection,
    id: i64,
    run_id: i64,
    dataset_type: Option<&DatasetTypeName>,
) -> Result<u64, Failure> {
    let Some(type_id) = type_number(connection, dataset_type)? else {
        return Ok(0);
    };
    let gone = connection
        .prepare_cached(
            "DELETE FROM tag WHERE collection_id = ?1 AND run_id = ?2 AND (?3 = 0 OR ?3 =
                 (SELECT dataset_type_id FROM dataset WHERE dataset.uuid = tag.uuid))",
        )?
        .execute([id, run_id, type_id])?;
    Ok(gone as u64)
}
