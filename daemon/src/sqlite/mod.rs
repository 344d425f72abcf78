//! Opens SQLite files the way all of ours are kept, and lends their connections.
//!
//! One connection writes, a few others read, so that no reader waits for a write: in WAL mode
//! each read sees the last commit. `synchronous = FULL` makes a commit survive a power cut.
//! A file's `application_id` tells whose it is, its `user_version` how far it was migrated.
//!
//! A [`Database`] opened for writing is opened under a [`Tenure`] of the site's lease. The file
//! keeps the highest fence that it was opened under, and every write transaction begins by
//! comparing it with the tenure's own: a process that has lost the lease writes nothing more.
//! Only the lease itself is written [`Unfenced`].
//!
//! # What a crash leaves
//!
//! | during      | left behind                | next                                     |
//! |-------------|----------------------------|------------------------------------------|
//! | creation    | a file without any table   | [`Database::create`] takes it for its own |
//! | opening     | the fence and schema before it | [`Database::open`] does both again   |
//! | a write     | the state before it        | the caller repeats it                    |

mod error;

mod unfenced;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::Access;

pub use self::error::SqliteError;
pub use self::unfenced::Unfenced;
use crate::lease::{Fence, Fenced, Tenure};

/// How long a statement waits for another process's write before it is given up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Page cache of the writing connection in KiB: inner pages of every index of some million rows.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
/// Page cache of each reading connection in KiB.
const READER_CACHE_KIB: i64 = 8 * 1024;
/// Idle reading connections kept open.
const READERS_KEPT: usize = 4;
/// Pages in the WAL that start a checkpoint (4 KiB each): bulk loads rewrite hot pages in the WAL
/// instead of in the file.
const WAL_PAGES: i64 = 16 * 1024;
/// Size to which the WAL file is cut back after a checkpoint, in bytes.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 64;
/// Who may read the file: its owner, and the group that runs the operators' commands.
const FILE_MODE: u32 = 0o640;

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
}

/// An open file: a connection that writes and a few that read.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// `None`: opened for reading.
    tenure: Option<Tenure>,
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

    fn over(path: &Path, writer: Connection, tenure: Option<Tenure>) -> Self {
        Self {
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
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut begun = begin(&mut writer)?;
        if let Some(tenure) = &self.tenure {
            tenure.check(fence(&begun)?)?;
        }
        let value = work(&mut begun)?;
        begun.commit()?;
        Ok(value)
    }

    /// Runs `work` in a read transaction: all it reads is of one commit.
    pub fn read<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle_readers().pop();
        let mut reader = match idle {
            Some(reader) => reader,
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
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.tenure.is_none() {
            return;
        }
        self.idle_readers().clear();
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        fold(writer, &self.path);
    }
}

/// Moves the WAL into the file, which then holds everything, and leaves an empty WAL:
/// a reader without write permission could not create one.
fn fold(writer: &Connection, path: &Path) {
    if let Err(error) = writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::debug!(%error, path = %path.display(), "wal left for the next opening");
    }
}

/// Creates an empty file, durably; one that is there is left alone.
fn create_file(path: &Path) -> io::Result<()> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    match created {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn connect_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {WAL_PAGES};
         PRAGMA journal_size_limit = {WAL_BYTES_KEPT};",
    ))?;
    Ok(connection)
}

/// Looks at a file that may not be ours: changes nothing of its own accord, and may roll back what
/// a crash left half written, which a read-only connection may not.
fn connect_looker(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE_KIB)
}

fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)
}

fn connect(path: &Path, access: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // A plan that depends on the values bound is made anew for every row that is looked up.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.execute_batch(&format!("PRAGMA cache_size = -{cache_kib};"))?;
    Ok(connection)
}

fn begin(writer: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    writer.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
        row.get(0)
    })
}

/// The file's schema version, once it is known to be ours.
fn version(connection: &Connection, path: &Path, schema: &Schema) -> Result<usize, SqliteError> {
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
fn bring_to(
    begun: &Transaction<'_>,
    path: &Path,
    schema: &Schema,
    to: usize,
) -> Result<(), SqliteError> {
    let from = version(begun, path, schema)?;
    let failed = SqliteError::opening(schema.what, path, Access::WRITE_OK);
    migrate(begun, schema, from, to).map_err(failed)
}

fn migrate(
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::disposition::Disposition;

    const META: &str = "CREATE TABLE meta (fence INTEGER NOT NULL); INSERT INTO meta VALUES (0)";
    const FIRST: Schema = Schema {
        what: "notebook",
        application_id: 0x6e6f_7465,
        migrations: &[META, "CREATE TABLE note (text TEXT)"],
    };
    const SECOND: Schema = Schema {
        migrations: &[
            META,
            "CREATE TABLE note (text TEXT)",
            "ALTER TABLE note ADD COLUMN page INTEGER; UPDATE note SET page = 1",
        ],
        ..FIRST
    };
    const OTHER: Schema = Schema {
        what: "cookbook",
        application_id: 0x636f_6f6b,
        ..FIRST
    };
    const PATIENCE: Duration = Duration::from_secs(10);

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error(transparent)]
        Statement(#[from] rusqlite::Error),
        #[error(transparent)]
        Fenced(#[from] Fenced),
    }

    #[expect(clippy::unnecessary_wraps, reason = "what creation asks for")]
    fn nothing(_: &Transaction<'_>) -> rusqlite::Result<()> {
        Ok(())
    }

    fn tenure(fence: u64) -> Tenure {
        Tenure::begin(Fence::stored(fence), || ())
    }

    fn open(path: &Path, schema: &Schema) -> Result<Database, SqliteError> {
        open_under(path, schema, 1)
    }

    fn open_under(path: &Path, schema: &Schema, fence: u64) -> Result<Database, SqliteError> {
        Database::open(path, schema, &tenure(fence), PATIENCE)
    }

    fn create(path: &Path, schema: &Schema) -> Result<Database, SqliteError> {
        Database::create(path, schema, nothing)?;
        open(path, schema)
    }

    fn note(database: &Database, text: &str) -> Result<usize, Failed> {
        database.write(|begun| Ok(begun.execute("INSERT INTO note (text) VALUES (?1)", [text])?))
    }

    fn notes(database: &Database) -> rusqlite::Result<u32> {
        database.read(|connection| {
            connection.query_row("SELECT count(*) FROM note", [], |row| row.get(0))
        })
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.sqlite");
        (folder, path)
    }

    #[test]
    fn an_overtaken_writer_writes_nothing_more() {
        let (_folder, path) = folder();
        create(&path, &FIRST).unwrap();
        let owner = tenure(2);
        let old = Database::open(&path, &FIRST, &owner, PATIENCE).unwrap();
        note(&old, "before").unwrap();
        let new = open_under(&path, &FIRST, 3).unwrap();
        assert_eq!(Database::fence_of(&path, &FIRST).unwrap(), Fence::stored(3));
        let mut begun = false;
        let refused: Result<(), Failed> = old.write(|_| {
            begun = true;
            Ok(())
        });
        assert!(matches!(refused, Err(Failed::Fenced(_))));
        assert!(!begun, "the work was not begun");
        assert_eq!(owner.ended(), Some(crate::lease::End::Overtaken));
        assert_eq!(notes(&old).unwrap(), 1, "it still reads");
        note(&new, "after").unwrap();
        assert_eq!(notes(&old).unwrap(), 2);
        let again = open_under(&path, &FIRST, 2);
        assert!(matches!(again, Err(SqliteError::Fenced(_))), "{again:?}");
        note(&new, "still").unwrap();
    }

    #[test]
    fn a_tenure_that_has_ended_writes_nothing_though_nobody_came_after_it() {
        let (_folder, path) = folder();
        create(&path, &FIRST).unwrap();
        let owner = tenure(2);
        let database = Database::open(&path, &FIRST, &owner, PATIENCE).unwrap();
        owner.end(crate::lease::End::NotRenewed);
        assert!(matches!(note(&database, "late"), Err(Failed::Fenced(_))));
        let again = Database::open(&path, &FIRST, &owner, PATIENCE);
        assert!(matches!(again, Err(SqliteError::Fenced(_))), "{again:?}");
    }

    #[test]
    fn an_older_release_cannot_write_to_what_a_newer_one_has_migrated() {
        let (_folder, path) = folder();
        let old = create(&path, &FIRST).unwrap();
        let new = open_under(&path, &SECOND, 2).unwrap();
        assert!(matches!(note(&old, "old"), Err(Failed::Fenced(_))));
        let again = open_under(&path, &FIRST, 3);
        assert!(matches!(again, Err(SqliteError::NewerSchema { .. })));
        assert_eq!(
            Database::fence_of(&path, &SECOND).unwrap(),
            Fence::stored(2)
        );
        note(&new, "new").unwrap();
    }

    #[test]
    fn opening_waits_for_another_writer_only_so_long() {
        let (_folder, path) = folder();
        create(&path, &FIRST).unwrap();
        let mut other = Connection::open(&path).unwrap();
        let held = begin(&mut other).unwrap();
        let patience = Duration::from_millis(50);
        let refused = Database::open(&path, &FIRST, &tenure(2), patience);
        assert!(
            matches!(refused, Err(SqliteError::Locked { .. })),
            "{refused:?}"
        );
        drop(held);
        assert_eq!(Database::fence_of(&path, &FIRST).unwrap(), Fence::stored(1));
        open_under(&path, &FIRST, 2).unwrap();
    }

    #[test]
    fn a_file_is_created_once_and_readable_by_its_group_at_most() {
        let (_folder, path) = folder();
        let database = create(&path, &FIRST).unwrap();
        note(&database, "kept").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !FILE_MODE, 0);
        let again = Database::create(&path, &FIRST, nothing);
        assert!(matches!(again, Err(SqliteError::Exists { .. })));
        assert_eq!(notes(&database).unwrap(), 1);
    }

    #[test]
    fn an_empty_file_left_by_a_crash_is_taken() {
        let (_folder, path) = folder();
        File::create(&path).unwrap();
        assert!(matches!(
            open(&path, &FIRST),
            Err(SqliteError::WrongApplication { .. })
        ));
        create(&path, &FIRST).unwrap();
        open(&path, &FIRST).unwrap();
    }

    #[test]
    fn other_files_are_refused_and_left_alone() {
        let (_folder, path) = folder();
        drop(create(&path, &OTHER).unwrap());
        let before = std::fs::read(&path).unwrap();
        for opened in [open(&path, &FIRST), Database::open_read_only(&path, &FIRST)] {
            assert!(matches!(opened, Err(SqliteError::WrongApplication { .. })));
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let text = path.with_extension("txt");
        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(&text, "certainly no database, though it is long enough").unwrap();
        let error = open(&text, &FIRST).unwrap_err();
        assert_eq!(error.disposition(), Disposition::Stop);
        let missing = open(&path.with_extension("none"), &FIRST);
        let Err(SqliteError::Unreachable { source, .. }) = missing else {
            panic!("{missing:?}")
        };
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_older_schema_is_migrated_by_whoever_may_write() {
        let (_folder, path) = folder();
        note(&create(&path, &FIRST).unwrap(), "old").unwrap();
        assert!(matches!(
            Database::open_read_only(&path, &SECOND),
            Err(SqliteError::OlderSchema {
                found: 2,
                known: 3,
                ..
            })
        ));
        let database = open(&path, &SECOND).unwrap();
        let page = |connection: &Connection| {
            connection.query_row("SELECT page FROM note", [], |row| row.get::<_, i64>(0))
        };
        assert_eq!(database.read(page).unwrap(), 1);
        Database::open_read_only(&path, &SECOND).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let (_folder, path) = folder();
        drop(create(&path, &SECOND).unwrap());
        let refused = open(&path, &FIRST).unwrap_err();
        assert!(matches!(
            refused,
            SqliteError::NewerSchema {
                found: 3,
                known: 2,
                ..
            }
        ));
        assert_eq!(refused.disposition(), Disposition::Stop);
        assert!(refused.to_string().contains("schema version 3"));
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let (_folder, path) = folder();
        let database = create(&path, &FIRST).unwrap();
        let failed: Result<(), Failed> = database.write(|begun| {
            begun.execute("INSERT INTO note VALUES ('gone')", [])?;
            Err(rusqlite::Error::QueryReturnedNoRows.into())
        });
        assert!(failed.is_err());
        assert_eq!(notes(&database).unwrap(), 0);
    }

    #[test]
    fn a_reader_sees_the_last_commit_with_and_without_a_writer() {
        let (_folder, path) = folder();
        let database = create(&path, &FIRST).unwrap();
        let reader = Database::open_read_only(&path, &FIRST).unwrap();
        note(&database, "one").unwrap();
        assert_eq!(notes(&reader).unwrap(), 1);
        database
            .write(|begun| {
                begun.execute("INSERT INTO note VALUES ('two')", [])?;
                assert_eq!(notes(&reader)?, 1);
                assert_eq!(notes(&database)?, 1);
                Ok::<_, Failed>(())
            })
            .unwrap();
        drop(database);
        assert_eq!(notes(&reader).unwrap(), 2);
        drop(reader);
        let reader = Database::open_read_only(&path, &FIRST).unwrap();
        assert_eq!(notes(&reader).unwrap(), 2);
        let Err(Failed::Statement(refused)) = note(&reader, "three") else {
            panic!("it was not opened for writing")
        };
        let refused = SqliteError::during("write", refused);
        assert_eq!(refused.disposition(), Disposition::Stop);
    }

    #[test]
    fn a_closed_file_holds_everything_by_itself() {
        let (_folder, path) = folder();
        let database = create(&path, &FIRST).unwrap();
        note(&database, "one").unwrap();
        notes(&database).unwrap();
        drop(database);
        let copy = path.with_extension("copy");
        std::fs::copy(&path, &copy).unwrap();
        assert_eq!(notes(&open(&copy, &FIRST).unwrap()).unwrap(), 1);
    }
}
