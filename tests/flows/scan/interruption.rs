//! Scans that stop, for whatever reason, and those that go on.

use std::fs;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use runsync::recovery::{Limits, Order, ScanReport};

use crate::scene::{PATHS, drift, found, full, manifest, order, scan, site};
use crate::support::{OpenSite, TestSite, artifact};

/// Harms a site in every way.
fn harm(site: &TestSite) {
    fs::remove_file(site.root().join(PATHS[0])).unwrap();
    fs::remove_file(site.root().join(PATHS[7])).unwrap();
    site.put(PATHS[2], &artifact(9, 50));
    site.put(PATHS[5], b"short");
    for dark in ["a", "u/test/run/a/b/0", "u/test/run/b", "z/z"] {
        site.put(&format!("{dark}.dark"), b"x");
    }
}

fn limited(limits: Limits) -> Order {
    Order { limits, ..full() }
}

/// Goes on until the pass is through; how many scans that took, and the last report.
fn to_the_end(open: &OpenSite, order: &Order) -> (u32, ScanReport) {
    for scans in 1..1_000 {
        let report = scan(open, order);
        if report.whole {
            return (scans, report);
        }
    }
    unreachable!("a scan that never comes to its end");
}

#[test]
fn a_scan_interrupted_at_every_path_finds_what_one_does_that_was_not() {
    let site = site();
    harm(&site);
    let open = site.open();
    let at_once = scan(&open, &full());
    let expected = drift(open.ledger());
    assert_eq!(expected.len(), 8);
    drop(open);
    for objects in [1, 2, 3, 5] {
        // As by another process each time.
        let open = site.open();
        let limits = Limits {
            objects: Some(objects),
            ..Limits::default()
        };
        let (scans, report) = to_the_end(&open, &limited(limits));
        assert!(u64::from(scans) >= 12 / objects, "{scans}");
        let same = |counts: runsync::recovery::ScanCounts| {
            (
                counts.files,
                counts.bytes,
                counts.records,
                counts.agree,
                counts.checked,
            )
        };
        assert_eq!(same(report.counts), same(at_once.counts));
        let again = drift(open.ledger());
        let told = |all: &[runsync::ledger::scans::DriftFinding]| -> Vec<_> {
            all.iter()
                .map(|one| (one.kind, one.path.clone(), one.detail.clone()))
                .collect()
        };
        assert_eq!(told(&again), told(&expected));
    }
    let times: Vec<u64> = drift(site.open().ledger())
        .iter()
        .map(|one| one.times)
        .collect();
    assert_eq!(
        times, [5; 8],
        "each pass counts once, however often it was interrupted"
    );
}

#[test]
fn a_scan_that_is_broken_off_while_it_reads_reads_that_file_again() {
    let site = site();
    harm(&site);
    let open = site.open();
    for round in 0_u64.. {
        let mut asked = 0;
        let reports = open.assembly.scanning.scan(&full(), &mut |_| {
            asked += 1;
            // Ever later, so that it comes to an end.
            if asked > round {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if reports.unwrap()[0].as_ref().unwrap().whole {
            assert!(round > 2, "it was broken off {round} times");
            break;
        }
    }
    assert_eq!(found(&open).len(), 8);
}

/// A watchdog lives on the word that a scan gives, also of what comes before its first path.
#[test]
fn a_scan_gives_word_while_it_reads_manifests_and_can_be_broken_off_there() {
    let site = site();
    harm(&site);
    let open = site.open();
    let paths: Vec<String> = (0..3_000)
        .map(|number| format!("u/next/{number}"))
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    site.place(&manifest(&site, "u/next", "1-1", 100, &paths));
    let mut reports = (open.assembly.scanning)
        .scan(&full(), &mut |_| ControlFlow::Break(()))
        .unwrap();
    let report = reports.remove(0).unwrap();
    assert_eq!((report.whole, report.counts.objects), (false, 0));
    assert!(
        report.notes[0].contains("was broken off while it read"),
        "{report:?}"
    );
    assert_eq!(found(&open), []);
    let mut before_paths = 0;
    let reports = open.assembly.scanning.scan(&full(), &mut |counts| {
        before_paths += u32::from(counts.objects == 0 && counts.calls == 0);
        ControlFlow::Continue(())
    });
    assert!(reports.unwrap()[0].as_ref().unwrap().whole);
    assert!(before_paths >= 3, "{before_paths}");
    assert_eq!(found(&open).len(), 8);
}

#[test]
fn a_scan_stops_at_its_limits_and_says_where() {
    let site = site();
    let open = site.open();
    let report = scan(
        &open,
        &limited(Limits {
            objects: Some(3),
            ..Limits::default()
        }),
    );
    assert_eq!((report.whole, report.counts.files), (false, 3));
    assert!(report.position.unwrap().starts_with(PATHS[2]));
    let anew = Order {
        anew: true,
        ..limited(Limits {
            bytes: Some(120),
            ..Limits::default()
        })
    };
    let report = scan(&open, &anew);
    assert_eq!(
        report.counts.checked_bytes, 150,
        "a file that is begun is read to its end"
    );
    let report = scan(
        &open,
        &limited(Limits {
            time: Some(Duration::ZERO),
            ..Limits::default()
        }),
    );
    assert_eq!(
        (report.whole, report.counts.files),
        (false, 4),
        "it has no time, and comes further by a path all the same"
    );
    assert!(scan(&open, &full()).whole);
}

#[test]
fn a_pass_of_which_less_was_read_is_begun_anew() {
    let site = site();
    let open = site.open();
    site.put(PATHS[0], &artifact(9, 50));
    let three = Limits {
        objects: Some(3),
        ..Limits::default()
    };
    let unread = Order {
        limits: three,
        ..order()
    };
    let first = scan(&open, &unread);
    assert_eq!((first.whole, first.counts.share), (false, Some(0.0)));
    let whole = scan(&open, &full());
    assert!(whole.whole && whole.pass > first.pass);
    assert_eq!((whole.counts.checked, whole.counts.share), (7, Some(1.0)));
    assert_eq!(found(&open).len(), 1);
    // One that asks for less goes on, and the pass is no better than that.
    let begun = scan(&open, &limited(three));
    let further = scan(&open, &unread);
    assert_eq!(
        (begun.pass, further.counts.share),
        (further.pass, Some(0.0))
    );
    assert!(scan(&open, &full()).pass > begun.pass);
}

#[test]
fn a_scan_without_time_comes_to_its_end_all_the_same() {
    let site = site();
    harm(&site);
    site.put("u/new\nline", b"x");
    let open = site.open();
    let none = Limits {
        time: Some(Duration::ZERO),
        ..Limits::default()
    };
    assert!(to_the_end(&open, &limited(none)).1.whole);
    assert_eq!(found(&open).len(), 8);
}

#[test]
fn a_scan_makes_no_more_calls_in_a_second_than_it_may() {
    let site = site();
    let open = site.open();
    let rate = NonZeroU64::new(100);
    let begun = Instant::now();
    let report = scan(
        &open,
        &limited(Limits {
            calls_per_second: rate,
            ..Limits::default()
        }),
    );
    let least =
        Duration::from_millis(report.counts.calls * 10).saturating_sub(Duration::from_millis(50));
    assert!(
        begun.elapsed() >= least,
        "{:?} for {} calls",
        begun.elapsed(),
        report.counts.calls
    );
    assert!(report.counts.calls > 15);
}
