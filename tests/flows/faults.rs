//! Storage and databases that fail at any call: what was not done is done later, once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runsync::datastore::faulty::Faulty;
use runsync::datastore::{LocalRoot, manifest_path};
use runsync::ingest::IngestError;
use runsync::ingest::confirm::Confirming;
use runsync::ingest::flow::Flow;
use runsync::ingest::sweep::Arrivals;
use runsync::ledger::record::ManifestState;
use runsync_manifest::content::Content;
use support::{Manifest, OpenSite, TestSite, artifact, entry};

/// Longer than any wait between two tries.
const LATER: Duration = Duration::from_secs(3600);

/// A site with something of everything, and nothing taken yet: two generations of a run, another
/// run that is blocked until a third brings its dimension records, a removal, and artifacts.
fn scene() -> TestSite {
    let site = TestSite::in_memory("checksum");
    let additions = |run: &str, generation: &str| {
        Manifest::new(site.repository, run, generation, Content::Additions)
    };
    for (generation, size) in [("1-1", 10), ("1-2", 12)] {
        let path = format!("a/{generation}.fits");
        site.put(&path, &artifact(1, size));
        let entries = [
            entry(1, 1, 1, &path, &artifact(1, size)),
            entry(2, 2, 2, "a/two.fits", &artifact(2, 20)),
        ];
        site.place(
            &additions("u/test/run", generation)
                .with_dimensions(3)
                .with_entries(entries),
        );
    }
    site.put("a/two.fits", &artifact(2, 20));
    site.put("b/three.fits", &artifact(3, 30));
    let early = [entry(3, 4, 4, "b/three.fits", &artifact(3, 30))];
    site.place(&additions("u/test/early", "1-1").with_entries(early));
    site.place(&additions("u/test/late", "1-1").with_dimensions(5));
    site.place(&Manifest::new(
        site.repository,
        "u/test/gone",
        "1-4",
        Content::Removal,
    ));
    site
}

/// The daemon's two loops over one root, as far as one step.
struct Loops {
    arrivals: Arrivals,
    confirming: Confirming,
}

impl Loops {
    fn new(flow: &Flow) -> Self {
        Self {
            arrivals: Arrivals::new(flow.clone()),
            confirming: Confirming::new(flow.clone()),
        }
    }

    fn step(&mut self) -> Result<(), IngestError> {
        self.arrivals.sweep()?;
        self.arrivals.step(&mut |_| ControlFlow::Continue(()))?;
        self.confirming.flow().datastore().check_identity()?;
        self.confirming.step(&mut || ControlFlow::Continue(()))?;
        Ok(())
    }

    /// Steps until one goes through and changes nothing; returns how many failed.
    fn work(&mut self, site: &TestSite, open: &OpenSite) -> usize {
        let mut failed = 0;
        for _ in 0..100 {
            site.clock.advance(LATER);
            let before = (
                open.registry().changes().unwrap(),
                self.arrivals.undecided(),
            );
            match self.step() {
                Ok(()) => {
                    let after = (
                        open.registry().changes().unwrap(),
                        self.arrivals.undecided(),
                    );
                    if before == after && after.1 == 0 {
                        return failed;
                    }
                }
                Err(_) => failed += 1,
            }
        }
        unreachable!("it never ends");
    }
}

/// All that counts in the end.
fn end_state(open: &OpenSite) -> (String, Vec<String>) {
    let states = open
        .manifests()
        .iter()
        .map(|row| format!("{} {} {:?}", row.location.path, row.state, row.reason))
        .collect();
    (open.dump(), states)
}

fn undisturbed() -> (String, Vec<String>) {
    let site = scene();
    let open = site.open();
    assert_eq!(Loops::new(open.flow()).work(&site, &open), 0);
    assert_eq!(open.registry().waiting_runs().unwrap(), []);
    end_state(&open)
}

fn faulty(site: &TestSite, open: &OpenSite) -> (Arc<Faulty<LocalRoot>>, Flow) {
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    let (parts, configured) = (Arc::clone(open.flow().site()), open.flow().root().clone());
    let flow = Flow::new(parts, configured, Arc::clone(&root) as _);
    (root, flow)
}

#[test]
fn an_error_of_storage_at_any_call_is_made_good_by_trying_again() {
    let expected = undisturbed();
    for failures in [1, 3] {
        let mut calls = 0;
        loop {
            let site = scene();
            let open = site.open();
            let (root, flow) = faulty(&site, &open);
            root.fail_after(calls, failures);
            let mut loops = Loops::new(&flow);
            loops.work(&site, &open);
            let came = failures - root.failures_left();
            root.heal();
            loops.work(&site, &open);
            assert_eq!(
                end_state(&open),
                expected,
                "{failures} failures after {calls} calls"
            );
            assert_eq!(open.ledger().findings().unwrap(), [], "after {calls} calls");
            if came == 0 {
                break;
            }
            calls += 1;
        }
        assert!(calls > 20, "only {calls} calls could fail");
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_a_finding_until_it_can() {
    let site = scene();
    let open = site.open();
    let (root, flow) = faulty(&site, &open);
    let path = manifest_path(
        site.repository,
        &"u/test/late".parse().unwrap(),
        "1-1".parse().unwrap(),
        false,
    );
    root.fail_at(&path);
    let mut loops = Loops::new(&flow);
    for _ in 0..5 {
        site.clock.advance(LATER);
        loops.step().unwrap();
    }
    let findings = open.ledger().findings().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].kind, "manifest_unreadable");
    assert_eq!(findings[0].subject, format!("main:{path}"));
    assert!(
        findings[0].detail.contains("Input/output error"),
        "{findings:?}"
    );
    assert!(findings[0].times > 1);
    let registered = open
        .ledger()
        .manifests(Some(ManifestState::Registered))
        .unwrap();
    assert_eq!(registered.len(), 3, "the others go on");

    // Also where the one that found it has died.
    root.heal();
    Loops::new(&flow).work(&site, &open);
    assert_eq!(open.ledger().findings().unwrap(), []);
    assert_eq!(end_state(&open), undisturbed());
}

#[test]
fn an_unreadable_artifact_is_not_an_absent_one_and_hides_no_other() {
    let site = scene();
    let open = site.open();
    let (root, flow) = faulty(&site, &open);
    root.fail_at("a/two.fits");
    let mut loops = Loops::new(&flow);
    loops.work(&site, &open);
    assert_eq!(open.registry().waiting_runs().unwrap().len(), 1);
    assert_eq!(
        open.ledger().findings().unwrap(),
        [],
        "nothing is said about it"
    );
    root.heal();
    loops.work(&site, &open);
    assert_eq!(end_state(&open), undisturbed());
}

/// The tables of a database of the site, and a connection of our own.
fn tables(file: &Path) -> (rusqlite::Connection, Vec<String>) {
    let connection = rusqlite::Connection::open(file).unwrap();
    let tables = {
        let sql =
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut tables = connection.prepare(sql).unwrap();
        let names = tables.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    (connection, tables)
}

fn database(site: &TestSite, file: &str) -> PathBuf {
    site.folder.path().join("state").join(file)
}

#[test]
fn a_database_that_refuses_any_write_to_any_table_is_made_good_by_trying_again() {
    let expected = undisturbed();
    let mut refused = Vec::new();
    for file in ["registry.sqlite3", "ledger.sqlite3"] {
        let (_, tables) = tables(&database(&scene(), file));
        for table in tables {
            for change in ["INSERT", "UPDATE", "DELETE"] {
                let site = scene();
                let open = site.open();
                let (connection, _) = self::tables(&database(&site, file));
                connection
                    .execute_batch(&format!(
                        "CREATE TRIGGER refuse BEFORE {change} ON {table}
                         BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
                    ))
                    .unwrap();
                let mut loops = Loops::new(open.flow());
                for _ in 0..3 {
                    site.clock.advance(LATER);
                    if loops.step().is_err() {
                        refused.push(format!("{file} {change} {table}"));
                    }
                }
                connection.execute_batch("DROP TRIGGER refuse").unwrap();
                loops.work(&site, &open);
                assert_eq!(end_state(&open), expected, "{change} {table}");
            }
        }
    }
    refused.dedup();
    // Between registration and its acknowledgement, too: the ledger is another database.
    for write in [
        "INSERT dataset",
        "INSERT waiting",
        "DELETE waiting",
        "INSERT record",
        "INSERT manifest",
    ] {
        assert!(
            refused.iter().any(|it| it.ends_with(write)),
            "{write} was never refused: {refused:?}"
        );
    }
}
