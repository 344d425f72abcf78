//! An open file, written under a fence and read beside it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use rustix::fs::Access;

use super::connect::{
    BUSY_TIMEOUT, begin, connect_looker, connect_mapped_reader, connect_reader, connect_writer,
    fold,
};
use super::fence::{fence, stamp};
use super::schema::{bring_to, version};
use super::{Schema, SqliteError, Unfenced};
use crate::lease::{Fence, Fenced, Tenure};
use crate::poison::{lock, unpoisoned};

/// Idle reading connections kept open: as many as usually read at a time. One that is opened anew
/// for every look-up begins with an empty cache and leaves its memory in pieces.
const READERS_KEPT: usize = 8;

/// An open file: a connection that writes and a few that read.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// `None`: opened for reading.
    tenure: Option<Tenure>,
    mapped: bool,
}

impl Database {
    /// Creates the file; `fill` writes its first rows in the transaction that makes its tables.
    ///
    /// # Errors
    ///
    /// [`SqliteError::Exists`] where there is a file with anything in it.
    pub fn create(
        path: &Path,
        schema: &Schema,
        fill: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), SqliteError> {
        Unfenced::create(path, schema, fill).map(drop)
    }

    /// Opens the file for writing under `tenure`: brings it to the newest schema, and to the
    /// tenure's fence, in one transaction. From then on nobody writes to it under a lower one.
    ///
    /// `patience` is how long another process's write transaction is waited for.
    ///
    /// # Errors
    ///
    /// [`SqliteError::Fenced`] where it was opened under a higher fence;
    /// [`SqliteError::NewerSchema`] where a later release has migrated it;
    /// [`SqliteError::Locked`] where another process keeps it locked.
    pub fn open(
        path: &Path,
        schema: &Schema,
        tenure: &Tenure,
        patience: Duration,
    ) -> Result<Self, SqliteError> {
        let access = Access::READ_OK | Access::WRITE_OK;
        let failed = &SqliteError::opening(schema.what, path, access);
        version(&connect_looker(path).map_err(failed)?, path, schema)?;
        let mut writer = connect_writer(path).map_err(failed)?;
        writer.busy_timeout(patience).map_err(failed)?;
        let begun = begin(&mut writer).map_err(failed)?;
        bring_to(&begun, path, schema, schema.migrations.len())?;
        if fence(&begun).map_err(failed)? < tenure.fence() {
            stamp(&begun, tenure.fence()).map_err(failed)?;
        }
        tenure.check(fence(&begun).map_err(failed)?)?;
        begun.commit().map_err(failed)?;
        writer.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        Ok(Self::over(path, writer, Some(tenure.clone())))
    }

    /// The fence that the file was last opened under.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn fence_of(path: &Path, schema: &Schema) -> Result<Fence, SqliteError> {
        let failed = &SqliteError::opening(schema.what, path, Access::READ_OK);
        let reader = connect_reader(path).map_err(failed)?;
        version(&reader, path, schema)?;
        let fenced = reader
            .column_exists(None, "meta", "fence")
            .map_err(failed)?;
        // One that an earlier release made was never opened under any.
        if fenced {
            fence(&reader).map_err(failed)
        } else {
            Ok(Fence::default())
        }
    }

    /// Opens the file for reading, whether or not another process writes to it.
    ///
    /// # Errors
    ///
    /// [`SqliteError::OlderSchema`] where it must be migrated first.
    pub fn open_read_only(path: &Path, schema: &Schema) -> Result<Self, SqliteError> {
        let failed = SqliteError::opening(schema.what, path, Access::READ_OK);
        let reader = connect_reader(path).map_err(failed)?;
        let found = version(&reader, path, schema)?;
        let known = schema.migrations.len();
        if found < known {
            return Err(SqliteError::OlderSchema {
                what: schema.what,
                path: path.to_owned(),
                found,
                known,
            });
        }
        Ok(Self::over(path, reader, None))
    }

    /// As [`open_read_only`](Self::open_read_only), for a command that asks and ends: pages are mapped
    /// into memory instead of copied. Where the disk fails to give one, the process ends (`SIGBUS`,
    /// <https://sqlite.org/mmap.html>), which a service must not, and the memory it seems to take grows
    /// with the file.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_mapped(path: &Path, schema: &Schema) -> Result<Self, SqliteError> {
        let mut database = Self::open_read_only(path, schema)?;
        database.mapped = true;
        Ok(database)
    }

    fn over(path: &Path, writer: Connection, tenure: Option<Tenure>) -> Self {
        Self {
            mapped: false,
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            tenure,
        }
    }

    /// Runs `work` in a write transaction and commits it where `work` succeeds.
    /// In a file opened for reading it fails as SQLite does.
    ///
    /// # Errors
    ///
    /// [`Fenced`] where the tenure has ended, or another process has opened the file under a
    /// higher fence: `work` was not begun.
    pub fn write<T, E: From<rusqlite::Error> + From<Fenced>>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(tenure) = &self.tenure {
            tenure.check_lasts()?;
        }
        // A panic while the lock was held has rolled its transaction back.
        let mut writer = lock(&self.writer);
        let mut begun = begin(&mut writer)?;
        if let Some(tenure) = &self.tenure {
            tenure.check(fence(&begun)?)?;
        }
        let value = work(&mut begun)?;
        begun.commit()?;
        Ok(value)
    }

    /// Checks that this process may still write. What is done outside the file right afterwards may
    /// come a moment too late all the same.
    ///
    /// # Errors
    ///
    /// [`Fenced`] where the tenure has ended, or another process has opened the file under a
    /// higher fence.
    pub fn check_fence<E: From<rusqlite::Error> + From<Fenced>>(&self) -> Result<(), E> {
        let Some(tenure) = &self.tenure else {
            return Ok(());
        };
        tenure.check_lasts()?;
        let stored = self.read(|connection| fence(connection).map_err(E::from))?;
        Ok(tenure.check(stored)?)
    }

    /// Runs `work` in a read transaction: all it reads is of one commit.
    pub fn read<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle_readers().pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None if self.mapped => connect_mapped_reader(&self.path)?,
            None => connect_reader(&self.path)?,
        };
        let begun = reader.transaction()?;
        let value = work(&begun)?;
        begun.commit()?;
        let mut idle = self.idle_readers();
        if idle.len() < READERS_KEPT {
            idle.push(reader);
        }
        Ok(value)
    }

    fn idle_readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        lock(&self.readers)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.tenure.is_none() {
            return;
        }
        self.idle_readers().clear();
        let writer = unpoisoned(self.writer.get_mut());
        fold(writer, &self.path);
    }
}
