//! Publications: what is, and is to be, in Rucio.

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RunKey, Scope};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params, Row, params};
use uuid::Uuid;

use super::rows::{self, Failure};
use crate::ledger::record::{Publication, PublicationState};

const COLUMNS: &str = "origin, run, epoch, sequence, content, root, scope, state, files, \
     files_done, bytes, problem, hint, ordered_by, ordered_at, changed_at";

pub(super) fn note(connection: &Connection, publications: &[Publication]) -> Result<(), Failure> {
    insert(connection, "INSERT OR REPLACE", "", publications)
}

/// What is known of an order stays as the flow that is at it has left it.
pub(super) fn order(connection: &Connection, orders: &[Publication]) -> Result<(), Failure> {
    let known = "ON CONFLICT DO UPDATE
         SET problem = NULL, hint = NULL, changed_at = excluded.changed_at
         WHERE state = 'ordered' AND problem IS NOT NULL";
    insert(connection, "INSERT", known, orders)
}

fn insert(
    connection: &Connection,
    insert: &str,
    known: &str,
    publications: &[Publication],
) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(&format!(
        "{insert} INTO publication ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         {known}"
    ))?;
    for row in publications {
        insert.execute(params![
            row.run.origin.0.as_bytes(),
            row.run.name.as_str(),
            row.generation.epoch,
            row.generation.sequence,
            rows::content_column(row.content),
            row.root.as_str(),
            row.scope.as_ref().map(Scope::as_str),
            row.state.as_str(),
            row.files.map(u64::cast_signed),
            row.files_done.cast_signed(),
            row.bytes.map(u64::cast_signed),
            row.problem,
            row.hint,
            row.ordered_by,
            rows::time_column(row.ordered_at),
            rows::time_column(row.changed_at),
        ])?;
    }
    Ok(())
}

pub(super) fn of_run(connection: &Connection, run: &RunKey) -> Result<Vec<Publication>, Failure> {
    let of_run = params![run.name.as_str(), run.origin.0.as_bytes()];
    list(
        connection,
        "WHERE run = ?1 AND origin = ?2 ORDER BY epoch, sequence",
        of_run,
    )
}

pub(super) fn in_state(
    connection: &Connection,
    state: PublicationState,
) -> Result<Vec<Publication>, Failure> {
    // The orders written out, so that the partial index serves them.
    let rest = match state {
        PublicationState::Ordered => "WHERE state = 'ordered' AND state = ?1",
        PublicationState::Published | PublicationState::Withdrawn => "WHERE state = ?1",
    };
    let rest = format!("{rest} ORDER BY ordered_at, run, origin, epoch, sequence");
    list(connection, &rest, [state.as_str()])
}

pub(super) fn after(
    connection: &Connection,
    after: Option<(&RunKey, Generation)>,
    limit: usize,
) -> Result<Vec<Publication>, Failure> {
    let order = "ORDER BY run, origin, epoch, sequence LIMIT ?1";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match after {
        None => list(connection, order, [limit]),
        Some((run, generation)) => list(
            connection,
            &format!("WHERE (run, origin, epoch, sequence) > (?2, ?3, ?4, ?5) {order}"),
            params![
                limit,
                run.name.as_str(),
                run.origin.0.as_bytes(),
                generation.epoch,
                generation.sequence
            ],
        ),
    }
}

pub(super) fn counts(connection: &Connection) -> Result<(u64, u64), Failure> {
    let counted = connection
        .prepare_cached("SELECT count(*), count(problem) FROM publication WHERE state = 'ordered'")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    Ok((counted.0.cast_unsigned(), counted.1.cast_unsigned()))
}

pub(super) fn to_order(
    connection: &Connection,
    origin: RepositoryId,
) -> Result<Vec<RunKey>, Failure> {
    connection
        .prepare_cached(
            "SELECT DISTINCT known.origin, known.run FROM manifest AS known
             LEFT JOIN publication USING (run, origin, epoch, sequence)
             WHERE known.state = 'registered' AND known.origin = ?1
             AND known.content <> 'inventory' AND publication.state IS NULL
             ORDER BY known.run",
        )?
        .query_and_then([origin.0.as_bytes()], run_key)?
        .collect()
}

pub(super) fn overtaken(connection: &Connection) -> Result<Vec<RunKey>, Failure> {
    connection
        .prepare_cached(
            "SELECT DISTINCT newer.origin, newer.run FROM publication AS newer
             JOIN publication AS older ON older.run = newer.run AND older.origin = newer.origin
             WHERE newer.state = 'published' AND newer.content IN ('snapshot', 'removal')
             AND older.state = 'published'
             AND (older.epoch, older.sequence) < (newer.epoch, newer.sequence)
             ORDER BY newer.run, newer.origin",
        )?
        .query_and_then([], run_key)?
        .collect()
}

/// Origin and name in the first two columns.
fn run_key(row: &Row<'_>) -> Result<RunKey, Failure> {
    Ok(RunKey {
        origin: RepositoryId(Uuid::from_bytes(row.get(0)?)),
        name: rows::parse(row, 1, "run name")?,
    })
}

fn list(
    connection: &Connection,
    rest: &str,
    parameters: impl Params,
) -> Result<Vec<Publication>, Failure> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM publication {rest}"))?
        .query_and_then(parameters, publication)?
        .collect()
}

fn scope(row: &Row<'_>) -> Result<Option<Scope>, Failure> {
    if row.get_ref(6)? == ValueRef::Null {
        return Ok(None);
    }
    rows::parse(row, 6, "scope").map(Some)
}

fn publication(row: &Row<'_>) -> Result<Publication, Failure> {
    let count = |column| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
    };
    Ok(Publication {
        run: run_key(row)?,
        generation: Generation {
            epoch: row.get(2)?,
            sequence: row.get(3)?,
        },
        content: rows::content(&row.get::<_, String>(4)?)?,
        root: rows::parse(row, 5, "root name")?,
        scope: scope(row)?,
        state: rows::parse(row, 7, "state of a publication")?,
        files: count(8)?,
        files_done: count(9)?.unwrap_or_default(),
        bytes: count(10)?,
        problem: row.get(11)?,
        hint: row.get(12)?,
        ordered_by: row.get(13)?,
        ordered_at: rows::time(row, 14)?,
        changed_at: rows::time(row, 15)?,
    })
}
