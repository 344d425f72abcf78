//! Files that cannot be moved aside: all stays as it was found, and is found again.

use std::sync::Arc;

use runsync::datastore::LocalRoot;
use runsync::datastore::faulty::Faulty;
use runsync::ledger::repairs::WhichRepairs;
use runsync::ledger::scans::DriftKind::{Corrupt, Dark};
use runsync::recovery::repair::{RepairError, RepairOrder, RepairPhase};

use crate::scene::{PATHS, found, full, is, scan};
use crate::site::{
    plan_by, presence, repair, repair_by, repairing_of, scan_twice, site, state, stop_at,
};
use crate::support::{OpenSite, TestSite, artifact};

const STRAY: &str = "u/stray/x.fits";

/// A site with a corrupt file and a dark one that may be repaired, and its root, in which neither can be moved.
fn harmed() -> (TestSite, OpenSite, Arc<Faulty<LocalRoot>>) {
    let site = site();
    let open = site.open();
    site.put(PATHS[5], &artifact(99, 50));
    site.put(STRAY, b"nobody's");
    scan_twice(&site, &open);
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    root.refuse_to_move(PATHS[5]);
    root.refuse_to_move(STRAY);
    (site, open, root)
}

fn begun(open: &OpenSite) -> usize {
    let begun = WhichRepairs::Begun(&open.flow().root().name);
    open.ledger().repairs(begun, None, 10).unwrap().len()
}

#[test]
fn what_cannot_be_moved_keeps_its_file_its_record_and_its_finding() {
    let (site, open, root) = harmed();
    let before = state(&site, &open);
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as _);
    let report = repair_by(&repairing, &RepairOrder::default());
    let repaired = &report.roots[0];
    assert_eq!((repaired.repaired(), repaired.left), (0, 2));
    let mut left = repaired.left_named.iter();
    assert!(left.all(|one| one.why.contains("it cannot be moved")));
    assert_eq!(presence(&open, 6), "Yes");
    assert!(state(&site, &open) == before);
    assert_eq!(begun(&open), 0);
    let both = [is(Dark, STRAY), is(Corrupt, PATHS[5])];
    assert_eq!(found(&open), both);
    scan(&open, &full());
    assert_eq!(found(&open), both);
    // It is repaired once it can be.
    root.heal();
    let report = repair_by(&repairing, &RepairOrder::default());
    assert_eq!(report.roots[0].repaired(), 2);
    assert_eq!(presence(&open, 6), "Pending");
    assert_eq!(found(&open), []);
}

/// Stopped when its record was taken back.
#[test]
fn what_cannot_be_moved_when_a_repair_is_finished_is_dropped_and_repaired_later() {
    let (site, open, root) = harmed();
    let before = state(&site, &open);
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as _);
    let plan = plan_by(&repairing, &RepairOrder::default());
    let mut stop = stop_at(RepairPhase::Records);
    let stopped = repairing.run(&plan, ("alice", false), &mut stop);
    assert!(matches!(stopped, Err(RepairError::Interrupted)));
    let report = repair_by(&repairing, &RepairOrder::default());
    let repaired = &report.roots[0];
    assert_eq!((repaired.repaired(), repaired.finished), (0, 0));
    assert_eq!(begun(&open), 0);
    assert_eq!(found(&open), [is(Dark, STRAY), is(Corrupt, PATHS[5])]);
    assert_eq!(presence(&open, 6), "Yes");
    assert!(state(&site, &open) == before);
    root.heal();
    scan_twice(&site, &open);
    assert_eq!(repair(&open).roots[0].repaired(), 2);
    assert_eq!(presence(&open, 6), "Pending");
}
