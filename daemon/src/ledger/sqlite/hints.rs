//! Hints: what messages have told of, until somebody has looked.

use jiff::Timestamp;
use runsync_manifest::name::RseName;
use rusqlite::{Connection, Params, Row, params};

use super::rows::{self, Failure};
use crate::ledger::record::{Hint, HintKind, NewHint};

const COLUMNS: &str = "id, kind, rse, scope, name, detail, heard_at, tries, due";

/// Returns how many are new.
pub(super) fn note(connection: &Connection, hints: &[NewHint]) -> Result<usize, Failure> {
    let mut drop_same = connection.prepare_cached(
        "DELETE FROM hint WHERE kind = ?1 AND rse = ?2 AND scope = ?3 AND name = ?4",
    )?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO hint (kind, rse, scope, name, detail, heard_at, tries, due)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?6)",
    )?;
    let mut new = 0;
    for hint in hints {
        let kind = hint.kind.as_str();
        let rse = hint.rse.as_ref().map_or("", RseName::as_str);
        if drop_same.execute(params![kind, rse, hint.scope, hint.name])? == 0 {
            new += 1;
        }
        insert.execute(params![
            kind,
            rse,
            hint.scope,
            hint.name,
            hint.detail,
            rows::time_column(hint.heard_at)
        ])?;
    }
    Ok(new)
}

pub(super) fn due(
    connection: &Connection,
    kind: HintKind,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Hint>, Failure> {
    list(
        connection,
        "WHERE kind = ?1 AND due <= ?2 ORDER BY due, id LIMIT ?3",
        params![kind.as_str(), rows::time_column(now), at_most(limit)],
    )
}

pub(super) fn next_due(
    connection: &Connection,
    kind: HintKind,
) -> Result<Option<Timestamp>, Failure> {
    connection
        .prepare_cached("SELECT due FROM hint WHERE kind = ?1 ORDER BY due LIMIT 1")?
        .query_and_then([kind.as_str()], |row| rows::time(row, 0))?
        .next()
        .transpose()
}

pub(super) fn after(
    connection: &Connection,
    kind: Option<HintKind>,
    after: u64,
    limit: usize,
) -> Result<Vec<Hint>, Failure> {
    list(
        connection,
        "WHERE id > ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY id LIMIT ?3",
        params![
            after.cast_signed(),
            kind.map(HintKind::as_str),
            at_most(limit)
        ],
    )
}

/// Returns how many were still there.
pub(super) fn done(connection: &Connection, ids: &[u64]) -> Result<u64, Failure> {
    let mut drop = connection.prepare_cached("DELETE FROM hint WHERE id = ?1")?;
    let mut dropped = 0;
    for id in ids {
        dropped += u64::try_from(drop.execute([id.cast_signed()])?).unwrap_or(0);
    }
    Ok(dropped)
}

pub(super) fn later(connection: &Connection, ids: &[u64], due: Timestamp) -> Result<(), Failure> {
    let mut put_off =
        connection.prepare_cached("UPDATE hint SET due = ?2, tries = tries + 1 WHERE id = ?1")?;
    for id in ids {
        put_off.execute(params![id.cast_signed(), rows::time_column(due)])?;
    }
    Ok(())
}

pub(super) fn counts(connection: &Connection) -> Result<Vec<(HintKind, u64)>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT coalesce(sum(hints), 0) FROM hint_count WHERE kind = ?1")?;
    let mut counts = Vec::with_capacity(HintKind::ALL.len());
    for kind in HintKind::ALL {
        let count: i64 = statement.query_row([kind.as_str()], |row| row.get(0))?;
        counts.push((kind, count.cast_unsigned()));
    }
    Ok(counts)
}

pub(super) fn lose(connection: &Connection, count: u64) -> Result<(), Failure> {
    connection.execute(
        "UPDATE meta SET hints_lost = hints_lost + ?1",
        [count.cast_signed()],
    )?;
    Ok(())
}

pub(super) fn lost(connection: &Connection) -> Result<u64, Failure> {
    let lost: i64 = connection
        .prepare_cached("SELECT hints_lost FROM meta")?
        .query_row([], |row| row.get(0))?;
    Ok(lost.cast_unsigned())
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn list(
    connection: &Connection,
    rest: &str,
    parameters: impl Params,
) -> Result<Vec<Hint>, Failure> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM hint {rest}"))?
        .query_and_then(parameters, hint)?
        .collect()
}

fn hint(row: &Row<'_>) -> Result<Hint, Failure> {
    Ok(Hint {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        kind: rows::parse(row, 1, "kind of a hint")?,
        rse: rse(row)?,
        scope: row.get(3)?,
        name: row.get(4)?,
        detail: row.get(5)?,
        heard_at: rows::time(row, 6)?,
        tries: row.get(7)?,
        due: rows::time(row, 8)?,
    })
}

fn rse(row: &Row<'_>) -> Result<Option<RseName>, Failure> {
    let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    if text.is_empty() {
        return Ok(None);
    }
    rows::parse(row, 2, "RSE").map(Some)
}
