//! Takes hidden rows away, so many datasets to a commit.
//!
//! A chunk is a stretch of one part's datasets by UUID. Dataset and records go in one commit: a record
//! is hidden by its run, which only the dataset's row tells. Look-ups without their dataset count for
//! nothing, so they may go before it or after. Where datasets stay, their claims become absent.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::failure::Failure;
use super::hidden::{EVERY_TYPE, OMITTED};
use super::removal::forget_done;
use super::rows::ABSENT;

/// A part whose rows may go.
#[derive(Debug)]
struct Part {
    run_id: i64,
    dataset_type_id: i64,
    removal_id: i64,
    datasets: bool,
    reaped_to: Vec<u8>,
}

/// Rows go only once nothing is left to delete: until then they keep their paths from being
/// registered by others. Journals that wait for late arrivals name nothing that is there.
const NEXT_PART: &str = "SELECT run_id, dataset_type_id, removal_id, datasets, reaped_to
     FROM hidden JOIN removal USING (removal_id)
     WHERE removal.reapable AND NOT EXISTS (SELECT 1 FROM removal_journal
         WHERE removal_journal.removal_id = removal.removal_id
             AND removal_journal.late_until IS NULL)
     LIMIT 1";

/// Reaps a chunk; false where there is nothing left to reap.
///
/// Tables whose key begins with the run lose a stretch of it where the whole run goes; the others
/// are walked in the order of their own keys.
pub(super) fn reap(connection: &Connection, most: usize) -> Result<bool, Failure> {
    let Some(part) = next_part(connection)? else {
        return Ok(false);
    };
    let rows = i64::try_from(most.max(1)).unwrap_or(i64::MAX);
    let mut gone = 0;
    if part.dataset_type_id == EVERY_TYPE {
        gone += first_waiting(connection, part.run_id, rows)?;
        if part.datasets {
            gone += first_data_ids(connection, part.run_id, rows)?;
        }
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
        .prepare_cached(NEXT_PART)?
        .query_row([], |row| {
            Ok(Part {
                run_id: row.get(0)?,
                dataset_type_id: row.get(1)?,
                removal_id: row.get(2)?,
                datasets: row.get(3)?,
                reaped_to: row.get(4)?,
            })
        })
        .optional()
}

/// Deletes the first rows of a run in `waiting`, by key.
///
/// The last of them is looked up first: compared with values, not with a query, all columns of the
/// key bound the search.
fn first_waiting(connection: &Connection, run_id: i64, rows: i64) -> rusqlite::Result<usize> {
    let last = connection
        .prepare_cached(
            "SELECT root_id, path, uuid, component FROM (
                 SELECT root_id, path, uuid, component FROM waiting WHERE run_id = ?1
                 ORDER BY root_id, path, uuid, component LIMIT ?2)
             ORDER BY root_id DESC, path DESC, uuid DESC, component DESC LIMIT 1",
        )?
        .query_row([run_id, rows], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Vec<u8>>(2)?,
                row.get::<_, String>(3)?,
            ))
        })
        .optional()?;
    let Some((root_id, path, uuid, component)) = last else {
        return Ok(0);
    };
    connection
        .prepare_cached(
            "DELETE FROM waiting WHERE run_id = ?1
                 AND (root_id, path, uuid, component) <= (?2, ?3, ?4, ?5)",
        )?
        .execute(params![run_id, root_id, path, uuid, component])
}

/// The same of the look-up by data ID.
fn first_data_ids(connection: &Connection, run_id: i64, rows: i64) -> rusqlite::Result<usize> {
    let last = connection
        .prepare_cached(
            "SELECT dataset_type_id, data_id FROM (
                 SELECT dataset_type_id, data_id FROM dataset_by_data_id WHERE run_id = ?1
                 ORDER BY dataset_type_id, data_id LIMIT ?2)
             ORDER BY dataset_type_id DESC, data_id DESC LIMIT 1",
        )?
        .query_row([run_id, rows], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((dataset_type_id, data_id)) = last else {
        return Ok(0);
    };
    connection
        .prepare_cached(
            "DELETE FROM dataset_by_data_id WHERE run_id = ?1
                 AND (dataset_type_id, data_id) <= (?2, ?3)",
        )?
        .execute(params![run_id, dataset_type_id, data_id])
}

impl Part {
    /// The datasets of a chunk, in a statement that has run, type, the UUID after which the chunk
    /// begins, and the one with which it ends.
    fn chunk(&self, joined: &str) -> String {
        if self.dataset_type_id == OMITTED {
            format!(
                "FROM omitted CROSS JOIN dataset ON dataset.uuid = omitted.uuid {joined}
                 WHERE ?2 = -1 AND omitted.run_id = ?1
                     AND omitted.uuid > ?3 AND omitted.uuid <= ?4"
            )
        } else {
            format!(
                "FROM dataset INDEXED BY dataset_by_run {joined}
                 WHERE dataset.run_id = ?1 AND ?2 IN (0, dataset.dataset_type_id)
                     AND dataset.uuid > ?3 AND dataset.uuid <= ?4"
            )
        }
    }
}

/// The UUID of the last dataset of the next chunk.
fn chunk_end(connection: &Connection, part: &Part, rows: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let uuids = if part.dataset_type_id == OMITTED {
        "SELECT uuid FROM omitted WHERE run_id = ?1 AND ?2 = -1 AND uuid > ?3"
    } else {
        "SELECT uuid FROM dataset INDEXED BY dataset_by_run
         WHERE run_id = ?1 AND ?2 IN (0, dataset_type_id) AND uuid > ?3"
    };
    connection
        .prepare_cached(&format!(
            "SELECT max(uuid) FROM ({uuids} ORDER BY uuid LIMIT ?4)"
        ))?
        .query_row(
            params![part.run_id, part.dataset_type_id, part.reaped_to, rows],
            |row| row.get(0),
        )
}

fn reap_to(connection: &Connection, part: &Part, end: &[u8]) -> Result<(), Failure> {
    let chunk = params![part.run_id, part.dataset_type_id, part.reaped_to, end];
    let run = |statement: &str| connection.prepare_cached(statement)?.execute(chunk);
    let claims = part.chunk("CROSS JOIN record ON record.uuid = dataset.uuid");
    let datasets = part.chunk("");
    if part.dataset_type_id != EVERY_TYPE {
        delete_each(
            connection,
            chunk,
            &format!("SELECT record.root_id, record.path, record.uuid, record.component {claims}"),
            "DELETE FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path = ?3 AND uuid = ?4
                 AND component = ?5",
            part.run_id,
        )?;
    }
    if part.datasets {
        run(&format!(
            "DELETE FROM record_by_path WHERE (path, root_id, uuid, component) IN
                 (SELECT record.path, record.root_id, record.uuid, record.component {claims})"
        ))?;
        run(&format!(
            "DELETE FROM record WHERE uuid IN (SELECT dataset.uuid {datasets})"
        ))?;
        if part.dataset_type_id != EVERY_TYPE {
            delete_each(
                connection,
                chunk,
                &format!(
                    "SELECT dataset.dataset_type_id, dataset.data_id, dataset.uuid {datasets}"
                ),
                "DELETE FROM dataset_by_data_id WHERE run_id = ?1 AND dataset_type_id = ?2
                     AND data_id = ?3 AND uuid = ?4",
                part.run_id,
            )?;
        }
        run(&format!(
            "DELETE FROM tag WHERE run_id = ?1 AND uuid IN (SELECT dataset.uuid {datasets})"
        ))?;
        run(&format!(
            "DELETE FROM dataset WHERE uuid IN (SELECT dataset.uuid {datasets})"
        ))?;
    } else {
        run(&format!(
            "UPDATE record SET confirmed = {ABSENT} WHERE uuid IN (SELECT dataset.uuid {datasets})"
        ))?;
    }
    connection
        .prepare_cached(
            "UPDATE hidden SET reaped_to = ?3 WHERE run_id = ?1 AND dataset_type_id = ?2",
        )?
        .execute(params![part.run_id, part.dataset_type_id, end])?;
    Ok(())
}

/// Deletes rows of a run one by one, each by its whole key: a list of keys would be compared with
/// every row of the run.
fn delete_each(
    connection: &Connection,
    chunk: &[&dyn ToSql],
    keys: &str,
    delete: &str,
    run_id: i64,
) -> Result<(), Failure> {
    let mut keys = connection.prepare_cached(keys)?;
    let columns = keys.column_count();
    let mut delete = connection.prepare_cached(delete)?;
    let mut rows = keys.query(chunk)?;
    while let Some(row) = rows.next()? {
        let mut key = vec![Value::Integer(run_id)];
        for column in 0..columns {
            key.push(row.get(column)?);
        }
        delete.execute(params_from_iter(key))?;
    }
    Ok(())
}

fn end_part(connection: &Connection, part: &Part) -> Result<(), Failure> {
    connection
        .prepare_cached("DELETE FROM hidden WHERE run_id = ?1 AND dataset_type_id = ?2")?
        .execute([part.run_id, part.dataset_type_id])?;
    if part.dataset_type_id == OMITTED {
        connection
            .prepare_cached("DELETE FROM omitted WHERE run_id = ?1")?
            .execute([part.run_id])?;
    }
    if part.dataset_type_id != EVERY_TYPE {
        // What was confirmed since it was counted is not known. Claims of a manifest that is only half
        // registered count already, and do not wait yet.
        let registering = connection
            .prepare_cached("SELECT 1 FROM registering WHERE run_id = ?1")?
            .exists([part.run_id])?;
        let counted = if registering {
            "SELECT count(*) FROM dataset INDEXED BY dataset_by_run
             CROSS JOIN record ON record.uuid = dataset.uuid AND record.confirmed = 0
             WHERE dataset.run_id = ?1"
        } else {
            "SELECT count(*) FROM waiting WHERE run_id = ?1"
        };
        connection
            .prepare_cached(&format!(
                "UPDATE run SET waiting = ({counted}) WHERE run_id = ?1"
            ))?
            .execute([part.run_id])?;
    }
    forget_done(connection, part.removal_id)
}
