//! How much is repaired unasked, and what is settled all the same.

use std::fs;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use runsync::ledger::scans::DriftKind::{Dark, Lost};
use runsync::recovery::Order;
use runsync::recovery::repair::{
    RepairError, RepairOrder, RepairPhase, RepairProgress, RootRepaired,
};

use crate::scene::{PATHS, bytes, found, full, is, scan};
use crate::site::{
    LATER, plan_by, presence, repair, scan_twice, site, stop_at, with_limits, with_root,
};
use crate::support::{OpenSite, TestSite, artifact};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn by_policy(open: &OpenSite) -> RootRepaired {
    job(open, &mut |_| ControlFlow::Continue(()))
}

/// What a job does, which is asked at each step.
fn job(open: &OpenSite, progress: &mut RepairProgress<'_>) -> RootRepaired {
    let repairing = &open.assembly.repairing;
    let mut roots = repairing.by_policy(None, "schedule", progress).unwrap();
    assert_eq!(roots.len(), 1);
    roots.remove(0)
}

/// A site of which two artifacts of 50 bytes are lost, and one of them is back: its finding stays until the next
/// scan.
fn lost_and_back(limits: &str) -> TestSite {
    let site = with_limits(limits);
    let open = site.open();
    for path in &PATHS[1..3] {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    scan_twice(&site, &open);
    site.put(PATHS[2], &bytes(PATHS[2]));
    drop(open);
    site
}

/// The second waits for the first, and plans when that is done: at no moment do both plan as if they were alone.
#[test]
fn two_jobs_at_once_count_together() {
    let site = lost_and_back("artifacts_max = 1");
    let open = site.open();
    let files = [PATHS[1], PATHS[2]].map(|path| site.root().join(path));
    let (waits, waiting) = mpsc::channel();
    let (first, second) = thread::scope(|scope| {
        let mut second = None;
        let mut begin_another = |phase| {
            if phase == RepairPhase::Declared && second.is_none() {
                // What the first has taken up is not there for the second, and the other way about.
                site.put(PATHS[1], &bytes(PATHS[1]));
                fs::remove_file(&files[1]).unwrap();
                let (open, waits) = (&open, waits.clone());
                second = Some(scope.spawn(move || {
                    job(open, &mut |phase| {
                        if phase == RepairPhase::Waiting {
                            waits.send(()).unwrap();
                        }
                        ControlFlow::Continue(())
                    })
                }));
                waiting.recv_timeout(PATIENCE).unwrap();
                fs::remove_file(&files[0]).unwrap();
            }
            ControlFlow::Continue(())
        };
        let first = job(&open, &mut begin_another);
        (first, second.unwrap().join().unwrap())
    });
    assert_eq!((first.repaired(), second.repaired()), (1, 0));
    let why = second.refused.unwrap();
    let said = "1 artifacts, and 1 of the last 1day, are more than 1";
    assert!(why.contains(said), "{why}");
    assert_eq!(found(&open), [is(Lost, PATHS[2])]);
}

#[test]
fn bytes_of_the_same_job_count_together_until_passes_lie_apart_again() {
    let site = lost_and_back("bytes_max = \"99B\"");
    let open = site.open();
    assert_eq!(by_policy(&open).repaired(), 1);
    fs::remove_file(site.root().join(PATHS[2])).unwrap();
    let refused = by_policy(&open);
    let why = refused.refused.unwrap();
    let said = "50 bytes, and 50 of the last 1day, are more than 99";
    assert!(why.contains(said), "{why}");
    assert_eq!(found(&open), [is(Lost, PATHS[2])]);
    site.pass(LATER);
    assert_eq!(by_policy(&open).repaired(), 1);
}

#[test]
fn what_was_repaired_unasked_counts_until_passes_lie_apart_again() {
    let site = with_limits("artifacts_max = 2");
    let open = site.open();
    for path in &PATHS[1..4] {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    scan_twice(&site, &open);
    let repairing = &open.assembly.repairing;
    let go_on = &mut |_| ControlFlow::Continue(());
    let below = RepairOrder {
        below: Some("u/test/run/a/b".parse().unwrap()),
        ..RepairOrder::default()
    };
    let plan = plan_by(repairing, &below);
    assert_eq!((plan.total.artifacts, plan.above.len()), (1, 0));
    repairing.run(&plan, ("alice", false), go_on).unwrap();
    let refused = by_policy(&open);
    let why = refused.refused.unwrap();
    let said = "2 artifacts, and 1 of the last 1day, are more than 2";
    assert!(why.contains(said) && why.contains("--dry-run"), "{why}");
    assert_eq!(found(&open), [is(Lost, PATHS[1]), is(Lost, PATHS[2])]);
    site.pass(LATER);
    assert_eq!(by_policy(&open).repaired(), 2);
}

#[test]
fn what_was_approved_counts_for_nothing_later() {
    let site = with_limits("artifacts_max = 1");
    let open = site.open();
    for path in &PATHS[1..3] {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    site.put("u/stray", b"nobody's");
    scan_twice(&site, &open);
    let lost = RepairOrder {
        kind: Some(Lost),
        ..RepairOrder::default()
    };
    let repairing = &open.assembly.repairing;
    let go_on = &mut |_| ControlFlow::Continue(());
    let plan = plan_by(repairing, &lost);
    assert_eq!(
        plan.above,
        ["2 artifacts are more than 1 (`[repair] artifacts_max`)"]
    );
    let report = repairing.run(&plan, ("alice", true), go_on).unwrap();
    assert_eq!(report.roots[0].repaired(), 2);
    assert_eq!(by_policy(&open).repaired(), 1);
    assert_eq!(found(&open), []);
}

#[test]
fn what_lies_in_a_root_of_its_own_by_now_is_left() {
    let site = site();
    let open = site.open();
    site.put("u/other/data", b"theirs");
    scan_twice(&site, &open);
    let repository = fs::read(site.root().join("runsync/repository.json")).unwrap();
    site.put("u/other/runsync/repository.json", &repository);
    let report = repair(&open);
    let root = &report.roots[0];
    assert_eq!((root.repaired(), root.left), (0, 1));
    assert!(root.left_named[0].why.contains("a root of its own"));
    assert_eq!(
        fs::read(site.root().join("u/other/data")).unwrap(),
        b"theirs"
    );
}

/// Two thirds of the records lie where another root is by now: the rest is repaired all the same.
#[test]
fn records_below_a_root_of_its_own_do_not_count_for_the_share() {
    let site = site();
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    let repository = fs::read(site.root().join("runsync/repository.json")).unwrap();
    site.put("u/more/runsync/repository.json", &repository);
    scan_twice(&site, &open);
    let scanned = scan(&open, &full());
    assert_eq!((scanned.counts.elsewhere, scanned.counts.unseen()), (16, 0));
    assert_eq!(found(&open), [is(Lost, PATHS[1])]);
    assert_eq!(by_policy(&open).repaired(), 1);
}

#[test]
fn nothing_is_taken_back_in_an_rse_where_nobody_can_tell_rucio() {
    let site = crate::site::with_root("rse = \"SITE\"");
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    scan_twice(&site, &open);
    let report = repair(&open);
    let root = &report.roots[0];
    assert_eq!((root.repaired(), root.left), (0, 1));
    let why = &root.left_named[0].why;
    assert!(why.contains("cannot be declared"), "{why}");
    assert_eq!(presence(&open, 2), "Yes");
    assert_eq!(found(&open), [is(Lost, PATHS[1])]);
}

/// Stopped amid a repair; by then too much is amiss for another.
#[test]
fn what_was_begun_is_settled_where_no_more_may_be_done() {
    let site = site();
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    scan_twice(&site, &open);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &RepairOrder::default());
    let mut stop = stop_at(RepairPhase::Records);
    let stopped = repairing.run(&plan, ("alice", false), &mut stop);
    assert!(matches!(stopped, Err(RepairError::Interrupted)));
    for number in 21..37 {
        fs::remove_file(site.root().join(format!("u/more/{number}"))).unwrap();
    }
    scan(&open, &full());
    let report = repair(&open);
    let root = &report.roots[0];
    assert!(root.refused.as_ref().unwrap().contains("share_max"));
    assert_eq!((root.finished, root.repaired()), (1, 0));
    assert_eq!(presence(&open, 2), "Pending");
}

#[test]
fn two_spellings_of_a_name_are_left_whatever_passes_found_them() {
    let site = site();
    let open = site.open();
    let other = PATHS[6].replacen('u', "U", 1);
    site.put(&other, &bytes(PATHS[6]));
    fs::remove_file(site.root().join(PATHS[6])).unwrap();
    scan(&open, &full());
    site.pass(LATER);
    for below in ["U", "u"] {
        let part = Order {
            below: Some(below.parse().unwrap()),
            ..full()
        };
        scan(&open, &part);
    }
    let report = repair(&open);
    let root = &report.roots[0];
    assert_eq!((root.repaired(), root.left), (0, 2));
    assert!(
        root.left_named
            .iter()
            .all(|left| left.why.contains("spelling"))
    );
    assert_eq!(found(&open), [is(Dark, &other), is(Lost, PATHS[6])]);
}

/// Half of the root could not be listed: what the other half tells is not to be believed.
#[test]
fn what_the_last_scan_could_not_look_at_counts_for_the_share() {
    let site = site();
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    scan_twice(&site, &open);
    let root = open.flow().root().name.clone();
    let mut row = open.ledger().scan(&root, "").unwrap().unwrap();
    row.whole_unseen = 11;
    open.ledger().note_scan(&row, &[], &[]).unwrap();
    let refused = by_policy(&open).refused.unwrap();
    let said = "11 records or files could not be looked at by the last scan";
    assert!(refused.contains(said), "{refused}");
    row.whole_unseen = 0;
    open.ledger().note_scan(&row, &[], &[]).unwrap();
    assert_eq!(by_policy(&open).repaired(), 1);
}

/// Files are read as slowly as the root allows, and whoever asked breaks off.
#[test]
fn a_repair_that_reads_files_may_be_broken_off_meanwhile() {
    let site = with_root("confirm_bytes_per_second = \"1B\"");
    let open = site.open();
    site.put(PATHS[5], &artifact(99, 50));
    scan_twice(&site, &open);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &RepairOrder::default());
    let mut stop = stop_at(RepairPhase::Working);
    let stopped = repairing.run(&plan, ("alice", false), &mut stop);
    assert!(
        matches!(&stopped, Err(error) if error.is_interruption()),
        "{stopped:?}"
    );
    assert_eq!(presence(&open, 6), "Yes");
}
