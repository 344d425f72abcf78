//! Messages that could not be read.

use rusqlite::{Connection, Row, params};

use super::rows::{self, Failure};
use crate::ledger::record::{NewPoison, Poison};

const COLUMNS: &str = "id, source, at, reason, size, body";

pub(super) fn note(
    connection: &Connection,
    messages: &[NewPoison],
    keep: u64,
) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO poison (source, at, reason, size, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for message in messages {
        insert.execute(params![
            message.source,
            rows::time_column(message.at),
            message.reason,
            message.size.cast_signed(),
            message.body
        ])?;
    }
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let last_dropped = connection.last_insert_rowid().saturating_sub(keep);
    connection.execute("DELETE FROM poison WHERE id <= ?1", [last_dropped])?;
    Ok(())
}

pub(super) fn before(
    connection: &Connection,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Poison>, Failure> {
    let before = before.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM poison WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
        ))?
        .query_and_then([before, limit], poison)?
        .collect()
}

pub(super) fn count(connection: &Connection) -> Result<u64, Failure> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM poison")?
        .query_row([], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

pub(super) fn one(connection: &Connection, id: u64) -> Result<Option<Poison>, Failure> {
    let Ok(id) = i64::try_from(id) else {
        return Ok(None);
    };
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM poison WHERE id = ?1"))?
        .query_and_then([id], poison)?
        .next()
        .transpose()
}

pub(super) fn forget(connection: &Connection, id: Option<u64>) -> Result<u64, Failure> {
    let id = id.map(|id| i64::try_from(id).unwrap_or(-1));
    let dropped = connection.execute(
        "DELETE FROM poison WHERE ?1 IS NULL OR id = ?1",
        params![id],
    )?;
    Ok(u64::try_from(dropped).unwrap_or(u64::MAX))
}

fn poison(row: &Row<'_>) -> Result<Poison, Failure> {
    Ok(Poison {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        message: NewPoison {
            source: row.get(1)?,
            at: rows::time(row, 2)?,
            reason: row.get(3)?,
            size: row.get::<_, i64>(4)?.cast_unsigned(),
            body: row.get(5)?,
        },
    })
}
