//! What SQLite itself can do: the same rows, filled from memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use runsync::sqlite::{Schema, Unfenced};
use rusqlite::{Transaction, params};

use crate::synthetic::Row;

/// Rows per commit. Larger ones gained nothing and let the WAL grow.
const COMMIT_ROWS: usize = 100_000;

/// The registry's own tables.
const OWN: Schema = Schema {
    what: "reference",
    application_id: 0x7273_7866,
    migrations: &[include_str!(
        "../../../../daemon/src/registry/sql/0001_tables.sql"
    )],
    unmoved: None,
};

/// Two tables with their primary keys and nothing else.
const BARE: Schema = Schema {
    what: "reference",
    application_id: 0x7273_7866,
    migrations: &[
        "CREATE TABLE dataset (uuid BLOB PRIMARY KEY, run_id INTEGER,
             dataset_type_id INTEGER, data_id TEXT) WITHOUT ROWID;
         CREATE TABLE record (uuid BLOB PRIMARY KEY, path TEXT, size INTEGER,
             adler32 INTEGER) WITHOUT ROWID;",
    ],
    unmoved: None,
};

/// The run in memory, with the order of each key.
#[derive(Debug)]
pub(super) struct Rows {
    all: Vec<(Row, String)>,
    by_uuid: Vec<usize>,
    by_data_id: Vec<usize>,
    by_path: Vec<usize>,
}

impl Rows {
    /// Makes the run's rows and sorts them by each key.
    pub(super) fn new(count: u64) -> Result<Self> {
        let rows: Vec<(Row, String)> = (0..count)
            .map(|at| {
                let row = Row::new(at);
                let data_id = row.data_id();
                (row, data_id)
            })
            .collect();
        usize::try_from(count).context("more rows than this machine can hold")?;
        let ordered = |before: fn(&(Row, String), &(Row, String)) -> std::cmp::Ordering| {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_unstable_by(|a, b| match (rows.get(*a), rows.get(*b)) {
                (Some(a), Some(b)) => before(a, b),
                _ => std::cmp::Ordering::Equal,
            });
            order
        };
        Ok(Self {
            by_uuid: ordered(|a, b| a.0.uuid.cmp(&b.0.uuid)),
            by_data_id: ordered(|a, b| a.1.cmp(&b.1)),
            by_path: ordered(|a, b| a.0.path.cmp(&b.0.path)),
            all: rows,
        })
    }
}

/// Fills the registry's tables and indexes, each in its own key order; returns the time it took.
pub(super) fn own_tables(rows: &Rows, file: &Path) -> Result<Duration> {
    let database = create(file, &OWN)?;
    let start = Instant::now();
    fill(
        &database,
        rows,
        &rows.by_data_id,
        "INSERT INTO dataset_by_data_id (run_id, dataset_type_id, data_id, uuid)
         VALUES (1, 1, ?1, ?2)",
        |insert, (row, data_id)| insert.execute(params![data_id, row.uuid.as_bytes()]),
    )?;
    fill(
        &database,
        rows,
        &rows.by_uuid,
        "INSERT INTO dataset (uuid, run_id, dataset_type_id, data_id, epoch, sequence)
         VALUES (?1, 1, 1, ?2, 1, 1)",
        |insert, (row, data_id)| insert.execute(params![row.uuid.as_bytes(), data_id]),
    )?;
    fill(
        &database,
        rows,
        &rows.by_path,
        "INSERT INTO record_by_path (root_id, path, uuid, component) VALUES (1, ?1, ?2, '')",
        |insert, (row, _)| insert.execute(params![row.path, row.uuid.as_bytes()]),
    )?;
    fill(
        &database,
        rows,
        &rows.by_uuid,
        "INSERT INTO record (uuid, component, root_id, path, size, adler32, confirmed)
         VALUES (?1, '', 1, ?2, ?3, ?4, 1)",
        |insert, (row, _)| {
            insert.execute(params![
                row.uuid.as_bytes(),
                row.path,
                size(row),
                adler32(row)
            ])
        },
    )?;
    drop(database);
    Ok(start.elapsed())
}

/// Fills the two bare tables in UUID order; returns the time it took.
pub(super) fn bare_tables(rows: &Rows, file: &Path) -> Result<Duration> {
    let database = create(file, &BARE)?;
    let start = Instant::now();
    fill(
        &database,
        rows,
        &rows.by_uuid,
        "INSERT INTO dataset (uuid, run_id, dataset_type_id, data_id) VALUES (?1, 1, 1, ?2)",
        |insert, (row, data_id)| insert.execute(params![row.uuid.as_bytes(), data_id]),
    )?;
    fill(
        &database,
        rows,
        &rows.by_uuid,
        "INSERT INTO record (uuid, path, size, adler32) VALUES (?1, ?2, ?3, ?4)",
        |insert, (row, _)| {
            insert.execute(params![
                row.uuid.as_bytes(),
                row.path,
                size(row),
                adler32(row)
            ])
        },
    )?;
    drop(database);
    Ok(start.elapsed())
}

fn create(file: &Path, schema: &Schema) -> Result<Unfenced> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("cannot remove the last round's database");
            }
            _ => {}
        }
    }
    Ok(Unfenced::create(file, schema, |_| Ok(()))?)
}

/// Inserts the rows in the given order, in large commits.
fn fill(
    database: &Unfenced,
    rows: &Rows,
    order: &[usize],
    sql: &str,
    insert: impl Fn(&mut rusqlite::Statement<'_>, &(Row, String)) -> rusqlite::Result<usize>,
) -> Result<()> {
    for batch in order.chunks(COMMIT_ROWS) {
        database.write(|begun: &Transaction<'_>| -> rusqlite::Result<()> {
            let mut statement = begun.prepare_cached(sql)?;
            for row in batch.iter().filter_map(|at| rows.all.get(*at)) {
                insert(&mut statement, row)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn size(row: &Row) -> i64 {
    i64::try_from(row.size).unwrap_or(i64::MAX)
}

fn adler32(row: &Row) -> u32 {
    u32::from_be_bytes(row.adler32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_enters_every_table() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("reference.sqlite3");
        let rows = Rows::new(1_000).unwrap();
        let count = |table: &str| -> u32 {
            let database = rusqlite::Connection::open(&file).unwrap();
            let sql = format!("SELECT count(*) FROM {table}");
            database.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        own_tables(&rows, &file).unwrap();
        for table in ["dataset", "dataset_by_data_id", "record", "record_by_path"] {
            assert_eq!(count(table), 1_000, "{table}");
        }
        bare_tables(&rows, &file).unwrap();
        assert_eq!((count("dataset"), count("record")), (1_000, 1_000));
    }
}
