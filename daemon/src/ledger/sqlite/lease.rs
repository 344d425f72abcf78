//! The lease's row, in the ledger's file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use super::SCHEMA;
use super::rows::Failure;
use crate::lease::{Fence, Fenced, Holder, LeaseError, LeaseRow, LeaseTable};
use crate::ledger::LedgerError;
use crate::sqlite::{self, SqliteError, Unfenced};

/// The ledger's schema version that brought the lease.
const SINCE: usize = 2;

/// The lease of a site whose ledger is an SQLite file.
#[derive(Debug)]
pub struct SqliteLease {
    file: Unfenced,
}

impl SqliteLease {
    /// Opens the lease in the ledger at `path`. `patience` is how long other processes' writes are
    /// waited for at each call.
    ///
    /// # Errors
    ///
    /// Where the file is missing, no ledger, or of a newer release.
    pub fn open(path: &Path, patience: Duration) -> Result<Self, LedgerError> {
        let file = Unfenced::open(path, &SCHEMA, SINCE, patience)?;
        Ok(Self { file })
    }

    /// Runs `work` where `fence` still is the last one given.
    fn write_under(
        &self,
        fence: Fence,
        action: &'static str,
        work: &'static str,
    ) -> Result<(), LeaseError> {
        let current = self.file.write(|begun| -> rusqlite::Result<bool> {
            let current = sqlite::fence(begun)? == fence;
            if current {
                begun.execute(work, [])?;
            }
            Ok(current)
        });
        if current.map_err(|failure| failed(action, failure))? {
            Ok(())
        } else {
            Err(Fenced { fence }.into())
        }
    }
}

impl LeaseTable for SqliteLease {
    fn read(&self) -> Result<LeaseRow, LeaseError> {
        self.file
            .read(row)
            .map_err(|failure| failed("read the lease", failure))
    }

    fn claim(&self, seen: &LeaseRow, fence: Fence, holder: &Holder) -> Result<bool, LeaseError> {
        let holder =
            serde_json::to_string(holder).map_err(|error| LeaseError::Table(error.into()))?;
        self.file
            .write(|begun| claim(begun, seen, fence, &holder))
            .map_err(|failure| failed("claim the lease", failure))
    }

    fn renew(&self, fence: Fence) -> Result<(), LeaseError> {
        self.write_under(fence, "renew the lease", "UPDATE lease SET beat = beat + 1")
    }

    fn release(&self, fence: Fence) -> Result<(), LeaseError> {
        self.write_under(
            fence,
            "give the lease back",
            "UPDATE lease SET beat = beat + 1, holder = NULL",
        )
    }
}

fn row(connection: &Connection) -> Result<LeaseRow, Failure> {
    let (beat, holder) = connection.query_row("SELECT beat, holder FROM lease", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    let holder = holder
        .map(|text| {
            serde_json::from_str(&text).map_err(|_| LedgerError::Damaged {
                what: "holder of the lease",
                value: text,
            })
        })
        .transpose()?;
    Ok(LeaseRow {
        fence: sqlite::fence(connection)?,
        beat: beat.cast_unsigned(),
        holder,
    })
}

fn claim(
    begun: &Transaction<'_>,
    seen: &LeaseRow,
    fence: Fence,
    holder: &str,
) -> rusqlite::Result<bool> {
    let now = sqlite::fence(begun)?;
    let beat: i64 = begun.query_row("SELECT beat FROM lease", [], |row| row.get(0))?;
    if (now, beat.cast_unsigned()) != (seen.fence, seen.beat) || fence <= now {
        return Ok(false);
    }
    sqlite::stamp(begun, fence)?;
    begun.execute(
        "UPDATE lease SET beat = beat + 1, holder = ?1",
        params![holder],
    )?;
    Ok(true)
}

fn failed(action: &'static str, failure: impl Into<Failure>) -> LeaseError {
    let failed = match failure.into() {
        Failure::Statement(source) => SqliteError::during(action, source),
        Failure::Ledger(error) => return LeaseError::Table(error.into()),
    };
    if failed.is_busy() {
        LeaseError::Busy(failed.into())
    } else {
        LeaseError::Table(failed.into())
    }
}
