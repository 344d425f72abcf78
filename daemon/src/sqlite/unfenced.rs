//! A file written without a fence: by the lease, which gives the fences, and by creation.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use rustix::fs::Access;

use super::connect::{begin, connect_looker, connect_writer, create_file, fold};
use super::schema::{bring_to, has_tables, migrate, version};
use super::{Schema, SqliteError};
use crate::poison::{lock, unpoisoned};

/// An open file, for a few small transactions.
#[derive(Debug)]
pub struct Unfenced {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Unfenced {
    /// Creates the file; see [`Database::create`](super::Database::create).
    ///
    /// # Errors
    ///
    /// [`SqliteError::Exists`] where there is a file with anything in it.
    pub fn create(
        path: &Path,
        schema: &Schema,
        fill: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<Self, SqliteError> {
        let what = schema.what;
        create_file(path).map_err(|source| SqliteError::Create {
            what,
            path: path.to_owned(),
            source,
        })?;
        let access = Access::READ_OK | Access::WRITE_OK;
        let failed = &SqliteError::opening(what, path, access);
        let exists = || SqliteError::Exists {
            what,
            path: path.to_owned(),
        };
        // Looked at first: the writer's pragmas would already change a file that is not ours.
        if has_tables(&connect_looker(path).map_err(failed)?).map_err(failed)? {
            return Err(exists());
        }
        let mut connection = connect_writer(path).map_err(failed)?;
        let begun = begin(&mut connection).map_err(failed)?;
        if has_tables(&begun).map_err(failed)? {
            return Err(exists());
        }
        migrate(&begun, schema, 0, schema.migrations.len()).map_err(failed)?;
        fill(&begun).map_err(failed)?;
        begun.commit().map_err(failed)?;
        Ok(Self::over(path, connection))
    }

    /// Opens the file as it is, but for one that is older than schema version `since`: it is brought
    /// to that version. Later migrations are for whoever opens it [under a
    /// fence](super::Database::open).
    ///
    /// `patience` is how long other processes' transactions are waited for.
    ///
    /// # Errors
    ///
    /// [`SqliteError::NewerSchema`] where a later release has migrated it.
    pub fn open(
        path: &Path,
        schema: &Schema,
        since: usize,
        patience: Duration,
    ) -> Result<Self, SqliteError> {
        let access = Access::READ_OK | Access::WRITE_OK;
        let failed = &SqliteError::opening(schema.what, path, access);
        let found = version(&connect_looker(path).map_err(failed)?, path, schema)?;
        let mut connection = connect_writer(path).map_err(failed)?;
        if found < since {
            let begun = begin(&mut connection).map_err(failed)?;
            bring_to(&begun, path, schema, since)?;
            begun.commit().map_err(failed)?;
        }
        connection.busy_timeout(patience).map_err(failed)?;
        Ok(Self::over(path, connection))
    }

    /// Waits until nobody has a write transaction on the file.
    ///
    /// # Errors
    ///
    /// [`SqliteError::Locked`] where somebody still has one after `patience`.
    pub fn wait_until_free(
        what: &'static str,
        path: &Path,
        patience: Duration,
    ) -> Result<(), SqliteError> {
        let access = Access::READ_OK | Access::WRITE_OK;
        let failed = &SqliteError::opening(what, path, access);
        let mut connection = connect_writer(path).map_err(failed)?;
        connection.busy_timeout(patience).map_err(failed)?;
        drop(begin(&mut connection).map_err(failed)?);
        Ok(())
    }

    fn over(path: &Path, connection: Connection) -> Self {
        Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        }
    }

    /// Runs `work` in a write transaction and commits it where `work` succeeds.
    pub fn write<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let begun = begin(&mut connection)?;
        let value = work(&begun)?;
        begun.commit()?;
        Ok(value)
    }

    /// Runs `work` in a read transaction.
    pub fn read<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let begun = connection.transaction()?;
        work(&begun)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        // A panic while the lock was held has rolled its transaction back.
        lock(&self.connection)
    }
}

impl Drop for Unfenced {
    fn drop(&mut self) {
        let connection = unpoisoned(self.connection.get_mut());
        fold(connection, &self.path);
    }
}
