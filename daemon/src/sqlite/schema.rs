//! What kind of file it is, and how far it was migrated.

use std::path::Path;

use rusqlite::{Connection, Transaction};
use rustix::fs::Access;

use super::SqliteError;

/// A kind of file: what marks it and how its tables came to be.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// What it is, for messages: `registry`.
    pub what: &'static str,
    /// Number in the file's header that tells it from every other SQLite file.
    pub application_id: i32,
    /// SQL that leads from version `n` to `n + 1`, for each `n`. Append-only. What they make has a
    /// table `meta` of one row, with a column `fence`.
    pub migrations: &'static [&'static str],
    /// What must not be under way while the file is migrated.
    pub unmoved: Option<Unmoved>,
}

/// Work that a file must not be migrated in the middle of: its other half lies elsewhere, in the
/// form of the version that began it.
#[derive(Debug, Clone, Copy)]
pub struct Unmoved {
    /// What it is, for messages, in the plural.
    pub what: &'static str,
    /// The first version that may have any.
    pub since: usize,
    /// SQL that counts it.
    pub count: &'static str,
}

pub(super) fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
        row.get(0)
    })
}

/// The file's schema version, once it is known to be ours.
pub(super) fn version(
    connection: &Connection,
    path: &Path,
    schema: &Schema,
) -> Result<usize, SqliteError> {
    let Schema { what, .. } = *schema;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    let failed = &SqliteError::opening(what, path, Access::READ_OK);
    let application_id: i32 = pragma("application_id").map_err(failed)?;
    let found: i32 = pragma("user_version").map_err(failed)?;
    let Some(found) = usize::try_from(found)
        .ok()
        .filter(|&found| application_id == schema.application_id && found > 0)
    else {
        return Err(SqliteError::WrongApplication {
            what,
            path: path.to_owned(),
        });
    };
    let known = schema.migrations.len();
    if found > known {
        return Err(SqliteError::NewerSchema {
            what,
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

/// Brings the file to schema version `to` at least.
pub(super) fn bring_to(
    begun: &Transaction<'_>,
    path: &Path,
    schema: &Schema,
    to: usize,
) -> Result<(), SqliteError> {
    let from = version(begun, path, schema)?;
    let failed = &SqliteError::opening(schema.what, path, Access::WRITE_OK);
    let unmoved = schema
        .unmoved
        .filter(|work| from < to && from >= work.since);
    if let Some(work) = unmoved {
        let count = begun.query_row(work.count, [], |row| row.get::<_, i64>(0));
        let count = count.map_err(failed)?;
        if count > 0 {
            return Err(SqliteError::UnderWay {
                what: schema.what,
                path: path.to_owned(),
                count,
                work: work.what,
            });
        }
    }
    migrate(begun, schema, from, to).map_err(failed)
}

pub(super) fn migrate(
    begun: &Transaction<'_>,
    schema: &Schema,
    from: usize,
    to: usize,
) -> rusqlite::Result<()> {
    if from >= to {
        return Ok(());
    }
    for migration in schema.migrations.iter().take(to).skip(from) {
        begun.execute_batch(migration)?;
    }
    begun.pragma_update(None, "application_id", schema.application_id)?;
    let version = i64::try_from(to).unwrap_or(i64::MAX);
    begun.pragma_update(None, "user_version", version)
}
