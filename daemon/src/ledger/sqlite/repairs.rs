//! What repairs are about to do and have done, and what is known of the clock.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::rows::{self, Failure};
use super::scans::{identity_of, json};
use crate::clock::{LEAP, SKEW, later};
use crate::ledger::repairs::{
    NewDeclaration, NewRepair, RepairEnd, RepairRow, Repaired, Watch, WhichRepairs,
};

const COLUMNS: &str =
    "id, repair, plan, root, path, kind, act, detail, size, identity, aside, account,
     begun_at, done_at, declared, restored_at";

/// Leaves a mark of time, and says in which era of the clock that is.
pub(super) fn witness(connection: &Connection, now: Timestamp) -> Result<i64, Failure> {
    let seen: Option<i64> = connection
        .prepare_cached("SELECT seen_at FROM meta")?
        .query_row([], |row| row.get(0))?;
    let at = rows::time_column(now);
    if seen.is_some_and(|seen| has_leapt(seen, now)) {
        connection
            .prepare_cached(
                "UPDATE meta SET eras = eras + 1, era_before = seen_at, era_since = ?1, seen_at = ?1",
            )?
            .execute([at])?;
    } else {
        connection
            .prepare_cached("UPDATE meta SET seen_at = max(coalesce(seen_at, ?1), ?1)")?
            .execute([at])?;
    }
    let era = connection
        .prepare_cached("SELECT eras FROM meta")?
        .query_row([], |row| row.get(0))?;
    Ok(era)
}

fn has_leapt(seen: i64, now: Timestamp) -> bool {
    let seen = Timestamp::from_nanosecond(seen.into()).unwrap_or_default();
    later(now, SKEW) < seen || later(seen, LEAP) < now
}

pub(super) fn watch(connection: &Connection) -> Result<Watch, Failure> {
    connection
        .prepare_cached("SELECT era_before, era_since FROM meta")?
        .query_and_then([], |row| {
            Ok(Watch {
                leap: match row.get::<_, Option<i64>>(1)? {
                    Some(_) => Some((rows::time(row, 0)?, rows::time(row, 1)?)),
                    None => None,
                },
            })
        })?
        .next()
        .unwrap_or_else(|| Err(rusqlite::Error::QueryReturnedNoRows.into()))
}

pub(super) fn begin(connection: &Connection, repairs: &[NewRepair]) -> Result<Vec<u64>, Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO repair (repair, plan, root, path, kind, act, detail, size, identity, aside,
             account, begun_at, declared, approved)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) RETURNING id",
    )?;
    let mut ids = Vec::with_capacity(repairs.len());
    for one in repairs {
        let id: i64 = insert.query_row(
            params![
                one.repair.as_bytes(),
                one.plan,
                one.root.as_str(),
                one.path.as_str(),
                one.kind.as_str(),
                one.act.as_str(),
                one.detail,
                one.size.map(u64::cast_signed),
                one.identity.as_ref().map(json).transpose()?,
                one.aside,
                one.account,
                rows::time_column(one.begun_at),
                one.declared,
                one.approved,
            ],
            |row| row.get(0),
        )?;
        ids.push(id.cast_unsigned());
    }
    Ok(ids)
}

/// What is done has no finding any more. One that is settled already stays as it is.
pub(super) fn end(
    connection: &Connection,
    ends: &[RepairEnd],
    now: Timestamp,
) -> Result<(), Failure> {
    let mut done = connection
        .prepare_cached("UPDATE repair SET done_at = ?2 WHERE id = ?1 AND done_at IS NULL")?;
    let mut heal = connection.prepare_cached(
        "DELETE FROM scan_finding WHERE (root, path, kind)
             IN (SELECT root, path, kind FROM repair WHERE id = ?1)",
    )?;
    let mut drop =
        connection.prepare_cached("DELETE FROM repair WHERE id = ?1 AND done_at IS NULL")?;
    for one in ends {
        let id = one.id.cast_signed();
        if one.done {
            if done.execute(params![id, rows::time_column(now)])? > 0 {
                heal.execute([id])?;
            }
        } else {
            drop.execute([id])?;
        }
    }
    Ok(())
}

pub(super) fn before(
    connection: &Connection,
    which: WhichRepairs<'_>,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<RepairRow>, Failure> {
    let (filter, root) = match which {
        WhichRepairs::Done => ("done_at IS NOT NULL AND ?3 IS NULL", None),
        WhichRepairs::Begun(root) => ("done_at IS NULL AND root = ?3", Some(root.as_str())),
        WhichRepairs::Aside => (
            "aside IS NOT NULL AND done_at IS NOT NULL AND restored_at IS NULL AND ?3 IS NULL",
            None,
        ),
    };
    let before = before.map_or(i64::MAX, u64::cast_signed);
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM repair WHERE {filter} AND id < ?1 ORDER BY id DESC LIMIT ?2"
        ))?
        .query_and_then(
            params![before, i64::try_from(limit).unwrap_or(i64::MAX), root],
            repair,
        )?
        .collect()
}

fn repair(row: &Row<'_>) -> Result<RepairRow, Failure> {
    let time = |column| match row.get::<_, Option<i64>>(column)? {
        Some(_) => Ok::<_, Failure>(Some(rows::time(row, column)?)),
        None => Ok(None),
    };
    let word = |column: usize, what| -> Result<String, Failure> {
        let text: String = row.get(column)?;
        if text.is_empty() {
            return Err(rows::damaged(what, &text));
        }
        Ok(text)
    };
    Ok(RepairRow {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        repair: Uuid::from_bytes(row.get(1)?),
        plan: row.get(2)?,
        root: rows::parse(row, 3, "root name")?,
        path: rows::parse(row, 4, "artifact path")?,
        kind: word(5, "kind of drift")?
            .parse()
            .map_err(|()| rows::damaged("kind of drift", &"another"))?,
        act: word(6, "act of a repair")?
            .parse()
            .map_err(|()| rows::damaged("act of a repair", &"another"))?,
        detail: row.get(7)?,
        size: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
        identity: identity_of(row, 9)?,
        aside: row.get(10)?,
        account: row.get(11)?,
        begun_at: rows::time(row, 12)?,
        done_at: time(13)?,
        declared: row.get(14)?,
        restored_at: time(15)?,
    })
}

pub(super) fn declare(connection: &Connection, told: &NewDeclaration) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT INTO declaration (repair, root, replicas, approved, declared_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            told.repair.as_bytes(),
            told.root.as_str(),
            told.replicas.cast_signed(),
            told.approved,
            rows::time_column(told.at),
        ])?;
    Ok(())
}

/// By indexes alone.
pub(super) fn unasked_since(
    connection: &Connection,
    since: Timestamp,
) -> Result<Repaired, Failure> {
    let repaired = connection
        .prepare_cached(
            "SELECT count(*), coalesce(sum(size), 0),
                 (SELECT coalesce(sum(replicas), 0) FROM declaration
                     WHERE approved = 0 AND declared_at >= ?1)
             FROM repair WHERE approved = 0 AND begun_at >= ?1",
        )?
        .query_row([rows::time_column(since)], |row| {
            Ok(Repaired {
                artifacts: row.get::<_, i64>(0)?.cast_unsigned(),
                bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                declared: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        })?;
    Ok(repaired)
}

pub(super) fn restored(connection: &Connection, id: u64, now: Timestamp) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE repair SET restored_at = ?2 WHERE id = ?1")?
        .execute(params![id.cast_signed(), rows::time_column(now)])?;
    Ok(())
}
