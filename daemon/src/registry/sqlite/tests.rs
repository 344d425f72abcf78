//! The conformance suite, and what is the SQLite registry's own.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use runsync_config::root::RootName;
use runsync_manifest::checksum::{Adler32, Checksums, Md5, Sha256};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{DatasetId, RepositoryId, RunKey};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use uuid::Uuid;

use super::*;
use crate::lease::{Fence, Tenure};
use crate::registry::conformance::{Opened, conformance};
use crate::registry::memory_rows::{MemoryClaim, MemoryRows};
use crate::registry::record::Registration;
use crate::registry::{Registry, RegistryError};
use crate::sqlite::Database;

const PATIENCE: Duration = Duration::from_secs(10);

fn open(folder: &Path, batch_rows: u64, tenure: &Tenure) -> Result<Opened, RegistryError> {
    let path = folder.join("registry.sqlite");
    if !path.try_exists().unwrap() {
        SqliteRegistry::create(&path, Uuid::from_u128(1))?;
    }
    let registry = SqliteRegistry::open(&path, tenure, PATIENCE)?;
    Ok(Box::new(registry.with_batch_rows(batch_rows)))
}

fn new(path: &Path) -> SqliteRegistry {
    SqliteRegistry::create(path, Uuid::from_u128(1)).unwrap();
    let tenure = Tenure::begin(Fence::stored(1), || ());
    SqliteRegistry::open(path, &tenure, PATIENCE).unwrap()
}

conformance!(open);

/// Documented in docs/REGISTRY.md.
const VIEW_COLUMNS: [&str; 13] = [
    "uuid",
    "dataset_type",
    "run",
    "origin",
    "data_id",
    "component",
    "root",
    "path",
    "size",
    "adler32",
    "md5",
    "sha256",
    "formatter",
];

fn view_row() -> MemoryClaim {
    MemoryClaim {
        uuid: DatasetId(Uuid::from_u128(0x0123_4567_89AB_4CDE_8123_4567_89AB_CDEF)),
        component: "wcs".to_owned(),
        dataset_type: 0,
        data_id: r#"{"detector":1}"#.to_owned(),
        path: "calexp/1.fits".to_owned(),
        size: 4096,
        checksums: Checksums {
            adler32: Adler32([0, 1, 2, 0xab]),
            md5: Some(Md5([0xcd; 16])),
            sha256: None,
        },
        formatter: Some("a.b.C".to_owned()),
    }
}

/// Registers an artifact, and another of the same dataset.
fn register_view_row(registry: &SqliteRegistry) -> (RunKey, RootName) {
    let unconfirmed = MemoryClaim {
        component: "image".to_owned(),
        path: "calexp/2.fits".to_owned(),
        ..view_row()
    };
    let rows = MemoryRows::new(vec![view_row(), unconfirmed]);
    let run = RunKey {
        origin: RepositoryId(Uuid::from_u128(0xAB)),
        name: "u/a".parse().unwrap(),
    };
    let root: RootName = "main".parse().unwrap();
    let registration = Registration {
        run: &run,
        generation: Generation::FIRST,
        digest: Sha256([0; 32]),
        root: &root,
        dataset_types: &[DatasetType {
            name: "calexp".parse().unwrap(),
            dimensions: vec!["detector".to_owned()],
            storage_class: "ExposureF".parse().unwrap(),
            is_calibration: false,
        }],
        trust: false,
        rows: &rows,
    };
    registry
        .register(&[registration], &mut |_| ControlFlow::Continue(()))
        .unwrap();
    (run, root)
}

#[test]
fn the_view_shows_confirmed_records_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.sqlite");
    let registry = new(&path);
    let (run, root) = register_view_row(&registry);
    let waiting = registry
        .waiting_artifacts(&run, &root, (None, None), 1)
        .unwrap();
    assert_eq!(registry.confirm(&run, &root, &waiting).unwrap(), 1);

    let outside = Connection::open(&path).unwrap();
    let mut view = outside.prepare("SELECT * FROM datastore_records").unwrap();
    assert!(view.column_names().eq(VIEW_COLUMNS));
    let rows: Vec<Vec<String>> = view
        .query_map([], |row| {
            let text = |column| match row.get_ref(column)? {
                ValueRef::Null => Ok("NULL".to_owned()),
                ValueRef::Integer(number) => Ok(number.to_string()),
                ValueRef::Real(number) => Ok(number.to_string()),
                value @ (ValueRef::Text(_) | ValueRef::Blob(_)) => Ok(value.as_str()?.to_owned()),
            };
            (0..VIEW_COLUMNS.len()).map(text).collect()
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        rows,
        [[
            "01234567-89ab-4cde-8123-456789abcdef",
            "calexp",
            "u/a",
            "00000000-0000-0000-0000-0000000000ab",
            r#"{"detector":1}"#,
            "wcs",
            "main",
            "calexp/1.fits",
            "4096",
            "000102ab",
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
            "NULL",
            "a.b.C",
        ]]
    );
}

#[test]
fn a_page_is_short_only_where_it_is_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.sqlite");
    let registry = new(&path);
    let (run, root) = register_view_row(&registry);
    // More claims at one path are still one artifact.
    let outside = Connection::open(&path).unwrap();
    for uuid in 1..=3_u128 {
        outside
            .execute(
                "INSERT INTO waiting SELECT run_id, root_id, path, ?1, component, size,
                     adler32, md5, sha256 FROM waiting WHERE component = 'wcs'
                     ORDER BY uuid DESC LIMIT 1",
                [uuid.to_be_bytes()],
            )
            .unwrap();
    }
    for limit in [1, 2] {
        let page = registry
            .waiting_artifacts(&run, &root, (None, None), limit)
            .unwrap();
        assert_eq!(page[0].path.as_str(), "calexp/1.fits");
        assert_eq!(page.len(), limit);
    }
    assert_eq!(
        registry
            .waiting_artifacts(&run, &root, (None, None), 3)
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn what_waited_before_the_migration_waits_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.sqlite");
    let older = Schema {
        migrations: &SCHEMA.migrations[..2],
        ..SCHEMA
    };
    Database::create(&path, &older, |begun| {
        begun.execute_batch(
            "INSERT INTO meta (only_row, registry, changes) VALUES (1, zeroblob(16), 0);
             INSERT INTO run (run_id, name, origin) VALUES (1, 'u/a', zeroblob(16));
             INSERT INTO root VALUES (1, 'main');
             INSERT INTO dataset VALUES (x'01010101010101010101010101010101', 1, 1, '{}', 1, 1);
             INSERT INTO record VALUES
                 (x'01010101010101010101010101010101', 'a', 1, 'p/a', 7, 9, NULL, NULL, NULL, 0),
                 (x'01010101010101010101010101010101', 'b', 1, 'p/b', 7, 9, NULL, NULL, NULL, 1);
             INSERT INTO record_by_path VALUES
                 (1, 'p/a', x'01010101010101010101010101010101', 'a'),
                 (1, 'p/b', x'01010101010101010101010101010101', 'b');
             INSERT INTO waiting VALUES (1, 1, 'p/a');",
        )
    })
    .unwrap();
    let tenure = Tenure::begin(Fence::stored(1), || ());
    let registry = SqliteRegistry::open(&path, &tenure, PATIENCE).unwrap();
    let (run, root) = (
        RunKey {
            origin: RepositoryId(Uuid::nil()),
            name: "u/a".parse().unwrap(),
        },
        "main".parse().unwrap(),
    );
    let waiting = registry
        .waiting_artifacts(&run, &root, (None, None), 9)
        .unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].path.as_str(), waiting[0].size), ("p/a", 7));
    assert_eq!(registry.confirm(&run, &root, &waiting).unwrap(), 1);
    assert!(registry.waiting_runs().unwrap().is_empty());
}

#[test]
fn a_counter_that_cannot_be_right_stops_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.sqlite");
    let registry = new(&path);
    let (run, _) = register_view_row(&registry);
    let outside = Connection::open(&path).unwrap();
    for wrong in ["-1", "1e300"] {
        outside
            .execute(&format!("UPDATE run SET bytes = {wrong}"), [])
            .unwrap();
        assert_eq!(registry.run(&run).unwrap().unwrap().bytes, 0);
        assert_eq!(registry.runs(None).unwrap().len(), 1);
        register_view_row(&registry);
    }
}

#[test]
fn the_document_names_every_column_of_the_view() {
    let document = include_str!("../../../../docs/REGISTRY.md");
    let named: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(named, VIEW_COLUMNS);
}
