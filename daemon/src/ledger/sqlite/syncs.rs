//! How far asking Rucio what should be here has come.

use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunKey};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{self, Failure};
use crate::ledger::record::{MadeName, SyncMarks, SyncPass};

pub(super) fn note_pass(connection: &Connection, pass: &SyncPass) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO sync_pass
                 (root, cursor, begun_at, finished_at, tried_at, problem)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            pass.root.as_str(),
            pass.cursor,
            pass.begun_at.map(rows::time_column),
            pass.finished_at.map(rows::time_column),
            pass.tried_at.map(rows::time_column),
            pass.problem,
        ])?;
    Ok(())
}

pub(super) fn pass(connection: &Connection, root: &RootName) -> Result<Option<SyncPass>, Failure> {
    connection
        .prepare_cached(
            "SELECT cursor, begun_at, finished_at, tried_at, problem FROM sync_pass
             WHERE root = ?1",
        )?
        .query_and_then([root.as_str()], |row| {
            Ok(SyncPass {
                root: root.clone(),
                cursor: row.get(0)?,
                begun_at: time(row, 1)?,
                finished_at: time(row, 2)?,
                tried_at: time(row, 3)?,
                problem: row.get(4)?,
            })
        })?
        .next()
        .transpose()
}

fn time(row: &Row<'_>, column: usize) -> Result<Option<jiff::Timestamp>, Failure> {
    if row.get::<_, Option<i64>>(column)?.is_none() {
        return Ok(None);
    }
    rows::time(row, column).map(Some)
}

pub(super) fn mark(
    connection: &Connection,
    root: &RootName,
    run: &RunKey,
    marks: SyncMarks,
) -> Result<(), Failure> {
    let SyncMarks { forgotten } = marks;
    let (name, origin) = (run.name.as_str(), run.origin.0.as_bytes());
    if marks == SyncMarks::default() {
        connection
            .prepare_cached("DELETE FROM sync_run WHERE root = ?1 AND run = ?2 AND origin = ?3")?
            .execute(params![root.as_str(), name, origin])?;
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO sync_run (root, run, origin, forgotten)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![root.as_str(), name, origin, forgotten])?;
    Ok(())
}

pub(super) fn marks(
    connection: &Connection,
    root: &RootName,
    run: &RunKey,
) -> Result<SyncMarks, Failure> {
    let marks = connection
        .prepare_cached(
            "SELECT forgotten FROM sync_run WHERE root = ?1 AND run = ?2 AND origin = ?3",
        )?
        .query_row(
            params![root.as_str(), run.name.as_str(), run.origin.0.as_bytes()],
            |row| {
                Ok(SyncMarks {
                    forgotten: row.get(0)?,
                })
            },
        )
        .optional()?;
    Ok(marks.unwrap_or_default())
}

pub(super) fn note_names(
    connection: &Connection,
    root: &RootName,
    names: &[MadeName<'_>],
) -> Result<(), Failure> {
    let mut note = connection.prepare_cached(
        "INSERT OR REPLACE INTO sync_name (root, path, inode) VALUES (?1, ?2, ?3)",
    )?;
    for name in names {
        note.execute(params![
            root.as_str(),
            name.path.as_str(),
            inode(name.inode)
        ])?;
    }
    Ok(())
}

pub(super) fn are_made(
    connection: &Connection,
    root: &RootName,
    names: &[MadeName<'_>],
) -> Result<Vec<bool>, Failure> {
    let mut made = connection
        .prepare_cached("SELECT 1 FROM sync_name WHERE root = ?1 AND path = ?2 AND inode = ?3")?;
    names
        .iter()
        .map(|name| {
            let asked = params![root.as_str(), name.path.as_str(), inode(name.inode)];
            Ok(made.exists(asked)?)
        })
        .collect()
}

pub(super) fn strike_names(
    connection: &Connection,
    root: &RootName,
    paths: &[&ArtifactPath],
) -> Result<(), Failure> {
    let mut strike =
        connection.prepare_cached("DELETE FROM sync_name WHERE root = ?1 AND path = ?2")?;
    for path in paths {
        strike.execute(params![root.as_str(), path.as_str()])?;
    }
    Ok(())
}

/// SQLite's integers are signed; the bits are the same.
fn inode(inode: u64) -> i64 {
    inode.cast_signed()
}
