//! Scans of runs alone: the same conclusions, and none beside them.

use std::fs;
use std::ops::ControlFlow;

use runsync::ledger::scans::DriftKind::{Dark, Lost};
use runsync::recovery::{Limits, Order, RunScope, ScanError, ScanReport};

use crate::scene::{
    DAY, PATHS, RUN, bytes, drift, found, is, manifest, order, scan, scan_by, site,
};
use crate::support::{OpenSite, TestSite, write};

const OTHER: &str = "u/other";
/// Below the folder of its name, and not.
const OTHERS: [&str; 3] = ["raw/x", "u/other/1", "u/test/run-1/other"];

fn of_runs(names: &[&str]) -> Order {
    Order {
        runs: RunScope {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..RunScope::default()
        },
        ..order()
    }
}

/// A site with two runs, the second of which was registered two days after the first.
fn two_runs() -> (TestSite, OpenSite) {
    let site = site();
    site.pass(DAY * 2);
    for path in OTHERS {
        site.put(path, &bytes(path));
    }
    site.place(&manifest(&site, OTHER, "1-1", 30, &OTHERS));
    let mut open = site.open();
    open.work();
    open.confirm();
    assert_eq!(open.registry().waiting_runs().unwrap(), []);
    site.pass(DAY * 2);
    (site, open)
}

/// Two runs more: one whose name lies below that of the first, and one that shares an artifact with it.
fn nested_runs() -> (TestSite, OpenSite) {
    let site = site();
    let inner = ["shared", "u/test/run/inner/1"];
    for path in inner {
        site.put(path, &bytes(path));
    }
    site.place(&manifest(&site, "u/test/run/inner", "1-1", 30, &inner));
    site.place(&manifest(&site, "u/test/second", "1-1", 40, &inner[..1]));
    let mut open = site.open();
    open.work();
    open.confirm();
    assert_eq!(open.registry().waiting_runs().unwrap(), []);
    site.pass(DAY * 2);
    (site, open)
}

fn lose(site: &TestSite, paths: &[&str]) {
    for path in paths {
        fs::remove_file(site.root().join(path)).unwrap();
    }
}

#[test]
fn a_run_is_scanned_wherever_its_artifacts_lie_and_nothing_beside_it() {
    let (site, open) = two_runs();
    lose(&site, &[PATHS[0], PATHS[1], PATHS[7], OTHERS[0], OTHERS[2]]);
    site.put("u/test/run/dark", b"x");
    site.put("u/test/beside", b"x");
    site.pass(DAY * 2);
    let report = scan(&open, &of_runs(&[RUN]));
    assert!(report.whole);
    assert_eq!((report.counts.records, report.counts.files), (8, 6));
    let (lost, dark) = (report.findings[&Lost], report.findings[&Dark]);
    assert_eq!((lost, dark), (3, 1));
    let of_run = [
        is(Lost, PATHS[0]),
        is(Lost, PATHS[1]),
        is(Dark, "u/test/run/dark"),
        is(Lost, PATHS[7]),
    ];
    assert_eq!(found(&open), of_run);
    // What is beside it is found by others, and healed by none but these.
    scan(&open, &of_runs(&[OTHER]));
    scan(&open, &order());
    assert_eq!(found(&open).len(), 7);
    for path in [PATHS[0], OTHERS[0], OTHERS[2]] {
        site.put(path, &bytes(path));
    }
    scan(&open, &of_runs(&[OTHER]));
    let left = found(&open);
    assert!(left.contains(&is(Lost, PATHS[0])) && left.contains(&is(Dark, "u/test/beside")));
    assert_eq!(left.len(), 5, "{left:?}");
    scan(&open, &of_runs(&[RUN, OTHER]));
    assert_eq!(found(&open).len(), 4);
}

#[test]
fn a_scan_of_runs_that_is_interrupted_at_every_path_finds_the_same() {
    let (site, open) = two_runs();
    lose(&site, &[PATHS[0], PATHS[3], PATHS[7], OTHERS[0]]);
    site.put("u/other/dark", b"x");
    site.pass(DAY * 2);
    let whole = scan(&open, &of_runs(&[RUN, OTHER]));
    let expected = found(&open);
    assert_eq!(expected.len(), 5);
    for objects in [1, 2, 3] {
        let limited = Order {
            limits: Limits {
                objects: Some(objects),
                ..Limits::default()
            },
            ..of_runs(&[OTHER, RUN])
        };
        for scans in 1.. {
            let report = scan(&open, &limited);
            if report.whole {
                assert!(scans >= 12 / objects, "{scans}");
                assert_eq!(report.counts.files, whole.counts.files);
                assert_eq!(report.counts.records, whole.counts.records);
                break;
            }
        }
        assert_eq!(found(&open), expected);
    }
}

#[test]
fn the_pass_over_all_of_a_root_stays_where_it_is() {
    let (_site, open) = two_runs();
    let begun = scan(
        &open,
        &Order {
            limits: Limits {
                objects: Some(4),
                ..Limits::default()
            },
            ..order()
        },
    );
    scan(&open, &of_runs(&[RUN]));
    let row = open.ledger().scan(&begun.root, "").unwrap().unwrap();
    let told = row.position.map(|at| at.trim_end_matches('\0').to_owned());
    assert_eq!((row.number, told), (begun.pass, begun.position));
}

/// The run's own folder is here, and a path of its records lies in a folder that is another root by now.
#[test]
fn single_paths_in_another_root_are_of_no_run_here() {
    let (site, open) = two_runs();
    lose(&site, &[OTHERS[0], OTHERS[1]]);
    let report = scan(&open, &of_runs(&[OTHER]));
    assert_eq!(report.counts.elsewhere, 0);
    assert_eq!(found(&open), [is(Lost, OTHERS[0]), is(Lost, OTHERS[1])]);
    let repository = fs::read(site.root().join("runsync/repository.json")).unwrap();
    site.put("raw/runsync/repository.json", &repository);
    let report = scan(&open, &of_runs(&[OTHER]));
    assert_eq!(report.counts.elsewhere, 1);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("`raw` is a root of its own"))
    );
    assert_eq!(found(&open), [is(Lost, OTHERS[1])]);
}

#[test]
fn runs_are_chosen_by_when_they_were_registered() {
    let (site, open) = two_runs();
    lose(&site, &[PATHS[1], OTHERS[1]]);
    let between = site.now() - runsync_days(3);
    let of = |since, until| Order {
        runs: RunScope {
            names: Vec::new(),
            since,
            until,
        },
        ..order()
    };
    scan(&open, &of(Some(between), None));
    assert_eq!(found(&open), [is(Lost, OTHERS[1])]);
    scan(&open, &of(None, Some(between)));
    assert_eq!(found(&open), [is(Lost, OTHERS[1]), is(Lost, PATHS[1])]);
    let none = scan(&open, &of(Some(site.now()), None));
    assert_eq!(none.notes, ["no run was registered in that time"]);
    assert_eq!(found(&open).len(), 2);
}

fn runsync_days(days: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(24 * days)
}

#[test]
fn a_run_that_is_not_known_is_refused() {
    let (_site, open) = two_runs();
    let error = scan_by(&open.assembly.scanning, &of_runs(&["u/nothing"])).unwrap_err();
    assert!(matches!(error, ScanError::NoRun { .. }), "{error}");
    assert_eq!(error.to_string(), "this site knows no run `u/nothing`");
}

#[test]
fn a_root_is_scanned_by_one_scan_at_a_time() {
    let (_site, open) = two_runs();
    let scanning = &open.assembly.scanning;
    let mut within = None;
    let reports = scanning.scan(&order(), &mut |_| {
        within.get_or_insert_with(|| scan_by(scanning, &order()).unwrap_err().to_string());
        ControlFlow::Continue(())
    });
    assert!(reports.unwrap()[0].as_ref().unwrap().whole);
    assert_eq!(within.unwrap(), "root `main` is being scanned already");
    assert!(scanning.under_way().is_empty());
}

/// A site with a second root, in which so many files are dark.
fn two_roots(files: usize) -> TestSite {
    let site = site();
    let second = site.folder.path().join("second");
    let identity = fs::read(site.root().join("runsync/repository.json")).unwrap();
    write(&second.join("runsync/repository.json"), &identity);
    for number in 1..=files {
        write(&second.join(format!("x/{number}")), b"x");
    }
    let root = format!(
        "[[root]]\nname = \"second\"\nurl = \"file://{}\"",
        second.display()
    );
    site.configure("size", &root);
    site
}

#[test]
fn what_came_of_a_root_is_told_before_the_next_is_begun() {
    let site = two_roots(1);
    let open = site.open();
    let second = "second".parse().unwrap();
    let is_begun = || open.ledger().scan(&second, "").unwrap().is_some();
    let mut told = Vec::new();
    let mut tell = |report: Result<ScanReport, ScanError>| {
        told.push((report.unwrap().root.to_string(), is_begun()));
    };
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    let scanning = &open.assembly.scanning;
    scanning.scan_each(&order(), &mut tell, go_on).unwrap();
    let both = [("main".to_owned(), false), ("second".to_owned(), true)];
    assert_eq!(told, both);
}

#[test]
fn a_root_that_another_scan_has_begun_meanwhile_is_gone_on_with_where_that_left_off() {
    let site = two_roots(4);
    let open = site.open();
    let scanning = &open.assembly.scanning;
    let of_second = Order {
        roots: vec!["second".parse().unwrap()],
        limits: Limits {
            objects: Some(3),
            ..Limits::default()
        },
        ..order()
    };
    // Both roots were looked up by then, and the first is being scanned.
    let mut meanwhile = None;
    let reports = scanning.scan(&order(), &mut |_| {
        meanwhile.get_or_insert_with(|| scan_by(scanning, &of_second).unwrap());
        ControlFlow::Continue(())
    });
    let (meanwhile, reports) = (meanwhile.unwrap(), reports.unwrap());
    assert_eq!((meanwhile.whole, meanwhile.counts.files), (false, 3));
    let after = reports[1].as_ref().unwrap();
    assert_eq!((after.root.as_str(), after.whole), ("second", true));
    assert_eq!((after.pass, after.counts.files), (meanwhile.pass, 4));
    assert_eq!(drift(open.ledger()).len(), 4);
}

/// An artifact that two runs name, and a run whose name lies below that of another, are of both.
#[test]
fn what_is_found_of_a_run_is_told_whichever_run_it_is_written_down_of() {
    let (site, open) = nested_runs();
    lose(&site, &["shared", "u/test/run/inner/1"]);
    for (run, lost) in [(RUN, 1), ("u/test/run/inner", 2), ("u/test/second", 1)] {
        let report = scan(&open, &of_runs(&[run]));
        assert_eq!(report.findings.get(&Lost), Some(&lost), "{run}");
        assert!(!report.is_well(), "{run}");
    }
}
