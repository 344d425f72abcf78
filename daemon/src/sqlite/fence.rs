//! The fence that a file keeps: the highest that it was opened under.

use rusqlite::{Connection, Transaction};

use crate::lease::Fence;

/// The fence that the file was last opened under, as a transaction sees it.
pub(crate) fn fence(connection: &Connection) -> rusqlite::Result<Fence> {
    let number: i64 = connection
        .prepare_cached("SELECT fence FROM meta")?
        .query_row([], |row| row.get(0))?;
    Ok(Fence::stored(number.cast_unsigned()))
}

/// Raises that fence.
pub(crate) fn stamp(begun: &Transaction<'_>, fence: Fence) -> rusqlite::Result<()> {
    begun.execute("UPDATE meta SET fence = ?1", [fence.number().cast_signed()])?;
    Ok(())
}
