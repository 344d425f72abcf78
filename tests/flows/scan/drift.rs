//! What scans find, and how it vanishes.

use std::fs;
use std::os::unix::fs::symlink;

use runsync::ledger::scans::DriftKind::{Corrupt, Dark, Irregular, Lost};
use runsync::ledger::scans::Ignored;
use runsync::recovery::{Checks, Order};

use crate::scene::{DAY, PATHS, bytes, drift, found, full, is, order, scan, site};
use crate::support::artifact;

#[test]
fn a_root_that_is_true_to_its_records_has_no_findings() {
    let site = site();
    let open = site.open();
    let report = scan(&open, &full());
    assert!(report.whole && report.is_well(), "{report:?}");
    let counts = report.counts;
    assert_eq!((counts.files, counts.records, counts.agree), (8, 8, 8));
    assert_eq!((counts.checked, counts.checked_bytes), (8, 400));
    assert_eq!(found(&open), []);
}

#[test]
fn what_is_lost_dark_or_corrupt_is_found_and_vanishes_when_it_heals() {
    let site = site();
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[0])).unwrap();
    site.put(PATHS[4], b"shorter");
    site.put("u/test/run/b/40", b"nobody's");
    let report = scan(&open, &order());
    assert!(!report.is_well());
    let counted = [(Lost, 1), (Dark, 1), (Corrupt, 1), (Irregular, 0)];
    assert_eq!(report.findings, counted.into());
    let expected = [
        is(Lost, PATHS[0]),
        is(Corrupt, PATHS[4]),
        is(Dark, "u/test/run/b/40"),
    ];
    assert_eq!(found(&open), expected);

    site.pass(DAY);
    scan(&open, &order());
    let seen = drift(open.ledger());
    assert!(seen.iter().all(|finding| finding.times == 2));
    assert!(seen.iter().all(|one| one.first_seen < one.last_seen));
    assert!(!seen[2].claimed && seen[0].claimed);

    site.put(PATHS[0], &bytes(PATHS[0]));
    site.put(PATHS[4], &bytes(PATHS[4]));
    fs::remove_file(site.root().join("u/test/run/b/40")).unwrap();
    assert!(scan(&open, &order()).is_well());
    assert_eq!(found(&open), []);
}

#[test]
fn another_file_in_the_place_of_a_dark_one_is_a_new_finding() {
    let site = site();
    let open = site.open();
    site.put("dark", b"one");
    scan(&open, &order());
    let word = Ignored {
        by: "alice".to_owned(),
        why: "it is hers".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let root = "main".parse().unwrap();
    assert!(
        open.ledger()
            .ignore_drift(&root, "dark", Some(&word))
            .unwrap()
    );
    assert!(scan(&open, &order()).is_well(), "it is left out");
    assert_eq!(drift(open.ledger())[0].times, 2);
    site.put("dark", b"another");
    assert!(!scan(&open, &order()).is_well());
    let now = drift(open.ledger()).remove(0);
    assert_eq!((now.times, now.ignored), (1, None));
}

#[test]
fn wrong_bytes_of_the_right_size_are_found_by_reading_and_read_again_until_they_are_right() {
    let site = site();
    let open = site.open();
    let path = PATHS[1];
    site.put(path, &artifact(99, 50));
    assert!(scan(&open, &order()).is_well(), "nothing was read");
    assert_eq!(scan(&open, &full()).counts.checked, 7);
    assert_eq!(found(&open), [is(Corrupt, path)]);
    assert!(drift(open.ledger())[0].detail.contains("adler32"));
    // Without reading others.
    let report = scan(&open, &order());
    assert_eq!(
        (report.counts.checked, report.counts.checked_bytes),
        (0, 50)
    );
    assert_eq!(found(&open), [is(Corrupt, path)]);
    site.put(path, &bytes(path));
    assert_eq!(scan(&open, &order()).counts.checked, 1);
    assert_eq!(found(&open), []);
}

#[test]
fn a_sample_reads_a_share_and_another_one_each_time() {
    let site = site();
    let open = site.open();
    let sampled = Order {
        checks: Checks::Sampled(0.3),
        ..order()
    };
    let read: Vec<u64> = (0..20)
        .map(|_| scan(&open, &sampled).counts.checked)
        .collect();
    assert!(read.iter().sum::<u64>() < 20 * 8 * 6 / 10, "{read:?}");
    assert!(read.iter().any(|count| *count != read[0]), "{read:?}");
}

#[test]
fn links_and_names_that_no_artifact_has_are_told_and_not_followed() {
    let site = site();
    let open = site.open();
    let root = site.root();
    symlink("/", root.join("u/everything")).unwrap();
    symlink(root.join(PATHS[1]), root.join("u/alias")).unwrap();
    site.put("u/new\nline", b"x");
    site.put("u/.nfs0001", b"x");
    site.put("u/copy.fits.part", b"x");
    fs::remove_file(root.join(PATHS[5])).unwrap();
    symlink(root.join(PATHS[4]), root.join(PATHS[5])).unwrap();
    let report = scan(&open, &order());
    let counts = report.counts;
    assert_eq!(
        (counts.irregular, counts.unnameable, counts.temporary),
        (2, 1, 2)
    );
    assert_eq!(found(&open), [is(Irregular, PATHS[5])]);
    assert_eq!(report.odd.len(), 5, "{:?}", report.odd);
}

#[test]
fn a_folder_alone_is_scanned_and_nothing_beside_it_healed() {
    let site = site();
    let open = site.open();
    for path in [PATHS[0], PATHS[1], PATHS[7]] {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    let below = Order {
        below: Some("u/test/run".parse().unwrap()),
        ..order()
    };
    let report = scan(&open, &below);
    assert_eq!((report.counts.files, report.counts.records), (5, 6));
    assert_eq!(found(&open), [is(Lost, PATHS[1])]);
    scan(&open, &order());
    let all = [PATHS[0], PATHS[1], PATHS[7]].map(|path| is(Lost, path));
    assert_eq!(found(&open), all);
    for path in [PATHS[0], PATHS[1], PATHS[7]] {
        site.put(path, &bytes(path));
    }
    scan(&open, &below);
    assert_eq!(found(&open), [all[0].clone(), all[2].clone()]);
}

#[test]
fn runs_overdue_are_told() {
    let site = site();
    site.place(&crate::scene::manifest(
        &site,
        "u/late",
        "1-1",
        30,
        &["u/late/1"],
    ));
    let mut open = site.open();
    open.work();
    assert!(scan(&open, &order()).is_well());
    site.pass(DAY * 2);
    let report = scan(&open, &order());
    assert_eq!(report.counts.awaited, 1);
    assert_eq!(report.overdue_runs.len(), 1);
    assert!(report.overdue_runs[0].run.contains("u/late"));
    assert_eq!(found(&open), [], "what is awaited is not lost");
}
