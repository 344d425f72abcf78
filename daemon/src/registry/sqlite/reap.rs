//! Takes hidden rows away, so many datasets to a commit.
//!
//! A chunk is a stretch of one run's datasets by UUID. Dataset and records go in one commit: a record
//! is hidden by its run, which only the dataset's row tells. Look-ups without their dataset count for
//! nothing, so they may go before it or after.

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::hidden::EVERY_TYPE;
use super::removal::forget_done;

/// A part whose rows may go.
#[derive(Debug)]
struct Part {
    run_id: i64,
    dataset_type_id: i64,
    removal_id: i64,
    reaped_to: Vec<u8>,
}

/// The datasets of a chunk, in a statement that has run, type, the UUID after which the chunk
/// begins, and the one with which it ends.
const CHUNK: &str = "FROM dataset INDEXED BY dataset_by_run
     WHERE dataset.run_id = ?1 AND ?2 IN (0, dataset.dataset_type_id)
         AND dataset.uuid > ?3 AND dataset.uuid <= ?4";

/// Rows of a run up to one of them, in a table whose key begins with the run: run, how many.
const FIRST_WAITING: &str =
    "DELETE FROM waiting WHERE run_id = ?1 AND (root_id, path, uuid, component) <=
     (SELECT root_id, path, uuid, component FROM (
         SELECT root_id, path, uuid, component FROM waiting WHERE run_id = ?1
         ORDER BY root_id, path, uuid, component LIMIT ?2)
      ORDER BY root_id DESC, path DESC, uuid DESC, component DESC LIMIT 1)";
/// The same of the look-up by data ID.
const FIRST_DATA_IDS: &str =
    "DELETE FROM dataset_by_data_id WHERE run_id = ?1 AND (dataset_type_id, data_id) <=
     (SELECT dataset_type_id, data_id FROM (
         SELECT dataset_type_id, data_id FROM dataset_by_data_id WHERE run_id = ?1
         ORDER BY dataset_type_id, data_id LIMIT ?2)
      ORDER BY dataset_type_id DESC, data_id DESC LIMIT 1)";

/// Reaps a chunk; false where there is nothing left to reap.
///
/// Tables whose key begins with the run lose a stretch of it; the others are walked in the order of
/// their own keys.
pub(super) fn reap(connection: &Connection, most: usize) -> Result<bool, Failure> {
    let Some(part) = next_part(connection)? else {
        return Ok(false);
    };
    let rows = i64::try_from(most.max(1)).unwrap_or(i64::MAX);
    let stretches: &[&str] = match part.dataset_type_id {
        EVERY_TYPE => &[FIRST_WAITING, FIRST_DATA_IDS],
        _ => &[],
    };
    let mut gone = 0;
    for stretch in stretches {
        let mut statement = connection.prepare_cached(stretch)?;
        gone += statement.execute([part.run_id, rows])?;
    }
    match chunk_end(connection, &part, rows)? {
        Some(end) => reap_to(connection, &part, &end)?,
        None if gone == 0 => end_part(connection, &part)?,
        None => {}
    }
    Ok(true)
}

fn next_part(connection: &Connection) -> rusqlite::Result<Option<Part>> {
    connection
        .prepare_cached(
            "SELECT run_id, dataset_type_id, removal_id, reaped_to
             FROM hidden JOIN removal USING (removal_id) WHERE removal.reapable LIMIT 1",
        )?
        .query_row([], |row| {
            Ok(Part {
                run_id: row.get(0)?,
                dataset_type_id: row.get(1)?,
                removal_id: row.get(2)?,
                reaped_to: row.get(3)?,
            })
        })
        .optional()
}

/// The UUID of the last dataset of the next chunk.
fn chunk_end(connection: &Connection, part: &Part, rows: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached(
            "SELECT max(uuid) FROM (SELECT uuid FROM dataset INDEXED BY dataset_by_run
                 WHERE run_id = ?1 AND ?2 IN (0, dataset_type_id) AND uuid > ?3
                 ORDER BY uuid LIMIT ?4)",
        )?
        .query_row(
            params![part.run_id, part.dataset_type_id, part.reaped_to, rows],
            |row| row.get(0),
        )
}

fn reap_to(connection: &Connection, part: &Part, end: &[u8]) -> Result<(), Failure> {
    let chunk = params![part.run_id, part.dataset_type_id, part.reaped_to, end];
    let joined = CHUNK.replace(
        "INDEXED BY dataset_by_run",
        "INDEXED BY dataset_by_run CROSS JOIN record ON record.uuid = dataset.uuid",
    );
    for statement in [
        format!(
            "DELETE FROM record_by_path WHERE (path, root_id, uuid, component) IN
                 (SELECT record.path, record.root_id, record.uuid, record.component {joined})"
        ),
        format!("DELETE FROM record WHERE uuid IN (SELECT dataset.uuid {CHUNK})"),
        // Before the datasets, which tell the types.
        "DELETE FROM tag WHERE run_id = ?1 AND uuid > ?3 AND uuid <= ?4 AND (?2 = 0 OR ?2 =
             (SELECT dataset_type_id FROM dataset WHERE dataset.uuid = tag.uuid))"
            .to_owned(),
        format!("DELETE FROM dataset WHERE uuid IN (SELECT dataset.uuid {CHUNK})"),
    ] {
        connection.prepare_cached(&statement)?.execute(chunk)?;
    }
    connection
        .prepare_cached(
            "UPDATE hidden SET reaped_to = ?3 WHERE run_id = ?1 AND dataset_type_id = ?2",
        )?
        .execute(params![part.run_id, part.dataset_type_id, end])?;
    Ok(())
}

fn end_part(connection: &Connection, part: &Part) -> Result<(), Failure> {
    connection
        .prepare_cached("DELETE FROM hidden WHERE run_id = ?1 AND dataset_type_id = ?2")?
        .execute([part.run_id, part.dataset_type_id])?;
    forget_done(connection, part.removal_id)
}
