//! Connections, opened the way all of ours are.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

/// How long a statement waits for another process's write before it is given up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for the checkpoint with which a file is closed.
const FOLD_PATIENCE: Duration = Duration::from_secs(1);
/// Page cache of the writing connection in KiB: inner pages of every index of some million rows.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
/// Page cache of each reading connection in KiB: the inner pages of some million rows; their
/// leaves hardly ever come twice.
const READER_CACHE_KIB: i64 = 4 * 1024;
/// Most of a file that is mapped, in bytes: what SQLite allows by default, `SQLITE_MAX_MMAP_SIZE`.
const MAPPED_BYTES: i64 = 0x7fff_0000;
/// Pages in the WAL that start a checkpoint (4 KiB each): bulk loads rewrite hot pages in the WAL
/// instead of in the file.
const WAL_PAGES: i64 = 16 * 1024;
/// Size to which the WAL file is cut back after a checkpoint, in bytes.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Prepared statements kept by each connection.
const STATEMENTS_KEPT: usize = 64;
/// Who may read the file: its owner, and the group that runs the operators' commands.
pub(super) const FILE_MODE: u32 = 0o640;

/// Creates an empty file, durably; one that is there is left alone.
pub(super) fn create_file(path: &Path) -> io::Result<()> {
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

pub(super) fn connect_writer(path: &Path) -> rusqlite::Result<Connection> {
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
pub(super) fn connect_looker(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE_KIB)
}

pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)
}

pub(super) fn connect_mapped_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect_reader(path)?;
    connection.execute_batch(&format!("PRAGMA mmap_size = {MAPPED_BYTES};"))?;
    Ok(connection)
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

pub(super) fn begin(writer: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    writer.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Moves the WAL into the file, which then holds everything, and leaves an empty WAL:
/// a reader without write permission could not create one. Others are not waited for long: what is
/// left, the next one moves.
pub(super) fn fold(writer: &Connection, path: &Path) {
    let folded = writer
        .busy_timeout(FOLD_PATIENCE)
        .and_then(|()| writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
    if let Err(error) = folded {
        tracing::debug!(%error, path = %path.display(), "wal left for the next opening");
    }
}
