//! Files of two kinds, opened by several at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, StatementStatus, Transaction};

use super::connect::{FILE_MODE, begin};
use super::*;
use crate::disposition::Disposition;
use crate::lease::{Fence, Fenced, Tenure};

const META: &str = "CREATE TABLE meta (fence INTEGER NOT NULL); INSERT INTO meta VALUES (0)";
const FIRST: Schema = Schema {
    what: "notebook",
    application_id: 0x6e6f_7465,
    migrations: &[META, "CREATE TABLE note (text TEXT)"],
    unmoved: None,
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
    database
        .read(|connection| connection.query_row("SELECT count(*) FROM note", [], |row| row.get(0)))
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
    let mapped = Database::open_mapped(&path, &FIRST).unwrap();
    assert_eq!(notes(&mapped).unwrap(), 2);
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

#[test]
fn a_statement_is_planned_once_whatever_is_bound() {
    let (_folder, path) = folder();
    let database = create(&path, &FIRST).unwrap();
    let planned_again = database.read(|connection| {
        let mut statement = connection.prepare("SELECT text FROM note ORDER BY text LIMIT ?1")?;
        for most in 1..=3 {
            statement.query_map([most], |_| Ok(()))?.for_each(drop);
        }
        Ok::<_, rusqlite::Error>(statement.get_status(StatementStatus::RePrepare))
    });
    assert_eq!(planned_again.unwrap(), 0);
}

#[test]
fn a_file_is_not_migrated_while_something_is_under_way() {
    const CAREFUL: Schema = Schema {
        unmoved: Some(Unmoved {
            what: "unread notes",
            since: 2,
            count: "SELECT count(*) FROM note",
        }),
        ..SECOND
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.sqlite");
    Database::create(&path, &FIRST, nothing).unwrap();
    let note = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    note("INSERT INTO note VALUES ('read me')");
    let refused = open(&path, &CAREFUL).unwrap_err();
    assert_eq!(refused.disposition(), Disposition::Stop);
    insta::assert_snapshot!(
        refused.to_string().replace(&path.display().to_string(), "FILE"),
        @"the notebook `FILE` must be migrated, and 1 unread notes are not done with"
    );
    // The release that wrote it goes on.
    open(&path, &FIRST).unwrap();
    note("DELETE FROM note");
    open(&path, &CAREFUL).unwrap();
    note("INSERT INTO note VALUES ('new', 1)");
    open(&path, &CAREFUL).unwrap();
}
