//! Repairs that are broken off at each step, and the next ones.

use std::fs;
use std::ops::ControlFlow;

use runsync::ledger::repairs::WhichRepairs;
use runsync::recovery::repair::{RepairError, RepairOrder};

use crate::scene::{PATHS, found, full, scan};
use crate::site::{deleting, plan_by, presence, repair, repair_by, scan_twice, site, with_root};
use crate::support::{OpenSite, TestSite, artifact};

const STRAY: &str = "u/stray/x.fits";

/// One of each kind that may be repaired together.
fn harmed() -> TestSite {
    let site = site();
    let open = site.open();
    let root = "main".parse().unwrap();
    let claimed = PATHS[2].parse().unwrap();
    open.registry().forget_at(&root, &[&claimed]).unwrap();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    site.put(PATHS[5], &artifact(99, 50));
    scan_twice(&site, &open);
    drop(open);
    site
}

/// What is right at every moment: a record says only what is so, or was so wrong before.
fn check_between(site: &TestSite, open: &OpenSite) {
    let corrupt = site.root().join(PATHS[5]).is_file();
    assert!(
        corrupt || presence(open, 6) != "Yes",
        "a record of a file that was moved"
    );
    assert!(site.root().join(PATHS[2]).is_file());
}

#[test]
fn a_repair_broken_off_at_every_step_is_finished_by_the_next() {
    let mut steps = 0;
    for broken_off_at in 1.. {
        let site = harmed();
        let open = site.open();
        let repairing = &open.assembly.repairing;
        let go_on = &mut |_| ControlFlow::Continue(());
        let plan = repairing.plan(&RepairOrder::default(), go_on).unwrap();
        let mut step = 0;
        let ended = repairing.run(&plan, ("alice", false), &mut |_| {
            step += 1;
            if step == broken_off_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let is_over = ended.is_ok();
        assert!(is_over || matches!(ended, Err(RepairError::Interrupted)));
        check_between(&site, &open);
        drop(open);
        let open = site.open();
        repair(&open);
        // What was dropped is found by a later pair of passes.
        scan_twice(&site, &open);
        repair(&open);
        let left = (presence(&open, 2), presence(&open, 3), presence(&open, 6));
        assert_eq!(
            left,
            ("Pending".into(), "Yes".into(), "Pending".into()),
            "{broken_off_at}"
        );
        assert!(!site.root().join(PATHS[5]).is_file(), "{broken_off_at}");
        assert!(site.root().join("runsync/quarantine").is_dir());
        scan(&open, &full());
        assert_eq!(found(&open), [], "{broken_off_at}");
        let begun = WhichRepairs::Begun(&open.flow().root().name);
        assert_eq!(open.ledger().repairs(begun, None, 10).unwrap(), []);
        if is_over {
            steps = broken_off_at;
            break;
        }
    }
    println!("case: a repair broken off at each of {steps} steps | finished by the next");
    assert!(steps > 6, "{steps}");
}

/// Breaks off a repair of a dark file at every step, and finishes it; how many steps there are.
fn dark_broken_off(order: &RepairOrder, is_kept: bool) -> usize {
    for broken_off_at in 1.. {
        let site = with_root("scan_deletes = true");
        let open = site.open();
        let dark = site.root().join(STRAY);
        site.put(STRAY, b"nobody's");
        scan_twice(&site, &open);
        let repairing = &open.assembly.repairing;
        let plan = plan_by(repairing, order);
        let mut step = 0;
        let ended = repairing.run(&plan, ("alice", false), &mut |_| {
            step += 1;
            if step == broken_off_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let is_over = ended.is_ok();
        assert!(is_over || matches!(ended, Err(RepairError::Interrupted)));
        drop(open);
        let open = site.open();
        repair_by(&open.assembly.repairing, order);
        // What was dropped is as it was, and is repaired by the same order.
        repair_by(&open.assembly.repairing, order);
        assert!(!dark.is_file(), "{broken_off_at}");
        assert_eq!(found(&open), [], "{broken_off_at}");
        let begun = WhichRepairs::Begun(&open.flow().root().name);
        assert_eq!(open.ledger().repairs(begun, None, 10).unwrap(), []);
        let done = open.ledger().repairs(WhichRepairs::Done, None, 10).unwrap();
        assert_eq!(done.len(), 1, "{broken_off_at}");
        let path = STRAY.parse().unwrap();
        let back = open.assembly.repairing.bring_back(None, &path);
        let is_back = back.is_ok_and(|back| back.failed.is_none());
        assert_eq!((is_back, dark.is_file()), (is_kept, is_kept));
        if is_over {
            return broken_off_at;
        }
    }
    0
}

#[test]
fn a_quarantine_broken_off_at_every_step_is_finished_and_can_be_undone() {
    let steps = dark_broken_off(&RepairOrder::default(), true);
    println!("case: a quarantine broken off at each of {steps} steps | finished, and undone");
    assert!(steps > 6, "{steps}");
}

#[test]
fn a_deletion_broken_off_at_every_step_is_finished_by_the_next() {
    let steps = dark_broken_off(&deleting(), false);
    println!("case: a deletion broken off at each of {steps} steps | finished by the next");
    assert!(steps > 6, "{steps}");
}
