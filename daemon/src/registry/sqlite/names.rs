//! Numbers that stand for names in rows: found, or given.

use runsync_config::root::RootName;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{DatasetTypeName, RunKey};
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::rows;

pub(super) fn find_run(connection: &Connection, run: &RunKey) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT run_id FROM run WHERE name = ?1 AND origin = ?2")?
        .query_row(params![run.name.as_str(), run.origin.0.as_bytes()], |row| {
            row.get(0)
        })
        .optional()
}

/// Sum of the sizes of a run's claims, in bytes.
pub(super) fn bytes_of_run(connection: &Connection, run_id: i64) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT bytes FROM run WHERE run_id = ?1")?
        .query_row([run_id], |row| rows::counter(row, 0))
}

pub(super) fn run(connection: &Connection, run: &RunKey) -> rusqlite::Result<i64> {
    if let Some(id) = find_run(connection, run)? {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO run (name, origin) VALUES (?1, ?2)")?
        .insert(params![run.name.as_str(), run.origin.0.as_bytes()])
}

pub(super) fn run_key(connection: &Connection, run_id: i64) -> Result<RunKey, Failure> {
    connection
        .prepare_cached("SELECT name, origin FROM run WHERE run_id = ?1")?
        .query_and_then([run_id], |row| rows::run_key(row, 0))?
        .next()
        .unwrap_or_else(|| Err(rows::damaged("run number", &run_id)))
}

pub(super) fn find_root(connection: &Connection, root: &RootName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT root_id FROM root WHERE name = ?1")?
        .query_row([root.as_str()], |row| row.get(0))
        .optional()
}

pub(super) fn root(connection: &Connection, root: &RootName) -> rusqlite::Result<i64> {
    if let Some(id) = find_root(connection, root)? {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO root (name) VALUES (?1)")?
        .insert([root.as_str()])
}

pub(super) fn formatter(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let known = connection
        .prepare_cached("SELECT formatter_id FROM formatter WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    match known {
        Some(id) => Ok(id),
        None => connection
            .prepare_cached("INSERT INTO formatter (name) VALUES (?1)")?
            .insert([name]),
    }
}

/// A dataset type as registered, with its number.
pub(super) fn find_dataset_type(
    connection: &Connection,
    name: &DatasetTypeName,
) -> Result<Option<(i64, DatasetType)>, Failure> {
    let sql = format!(
        "SELECT {}, dataset_type_id FROM dataset_type WHERE name = ?1",
        rows::TYPE_COLUMNS
    );
    connection
        .prepare_cached(&sql)?
        .query_and_then([name.as_str()], |row| {
            Ok((row.get(4)?, rows::dataset_type(row)?))
        })?
        .next()
        .transpose()
}

/// The number of a dataset type, which is registered where it is new.
pub(super) fn dataset_type(
    connection: &Connection,
    dataset_type: &DatasetType,
) -> Result<i64, Failure> {
    if let Some((id, _)) = find_dataset_type(connection, &dataset_type.name)? {
        return Ok(id);
    }
    let dimensions = sorted(&dataset_type.dimensions);
    let json = serde_json::Value::from(dimensions).to_string();
    Ok(connection
        .prepare_cached(
            "INSERT INTO dataset_type (name, dimensions, storage_class, is_calibration)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .insert(params![
            dataset_type.name.as_str(),
            json,
            dataset_type.storage_class.as_str(),
            dataset_type.is_calibration
        ])?)
}

pub(super) fn dataset_type_name(
    connection: &Connection,
    dataset_type_id: i64,
) -> Result<DatasetTypeName, Failure> {
    connection
        .prepare_cached("SELECT name FROM dataset_type WHERE dataset_type_id = ?1")?
        .query_and_then([dataset_type_id], |row| {
            rows::parse(row, 0, "dataset type name")
        })?
        .next()
        .unwrap_or_else(|| Err(rows::damaged("dataset type number", &dataset_type_id)))
}

/// Whether two definitions say the same; the order of dimensions carries no meaning.
pub(super) fn same_definition(a: &DatasetType, b: &DatasetType) -> bool {
    a.name == b.name
        && a.storage_class == b.storage_class
        && a.is_calibration == b.is_calibration
        && sorted(&a.dimensions) == sorted(&b.dimensions)
}

fn sorted(dimensions: &[String]) -> Vec<&str> {
    let mut sorted: Vec<&str> = dimensions.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted
}
