//! Files that cannot be moved aside: all stays as it was found, and is found again.

use std::sync::Arc;

use runsync::datastore::LocalRoot;
use runsync::datastore::faulty::Faulty;
use runsync::ledger::repairs::WhichRepairs;
use runsync::ledger::scans::DriftKind::{Corrupt, Dark};
use runsync::recovery::repair::{RepairError, RepairOrder, RepairPhase};
use runsync_manifest::content::Content;

use crate::scene::{PATHS, RUN, found, full, is, scan};
use crate::site::{plan_by, presence, repair_by, repairing_of, scan_twice, site, state, stop_at};
use crate::support::{Manifest, OpenSite, TestSite, artifact, entry};

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

/// The same, and a repair that was stopped when the record of the corrupt one was taken back.
fn stopped() -> (TestSite, OpenSite, Arc<Faulty<LocalRoot>>) {
    let (site, open, root) = harmed();
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as _);
    let plan = plan_by(&repairing, &RepairOrder::default());
    let mut stop = stop_at(RepairPhase::Records);
    let stopped = repairing.run(&plan, ("alice", false), &mut stop);
    assert!(matches!(stopped, Err(RepairError::Interrupted)));
    assert_eq!(presence(&open, 6), "Pending");
    (site, open, root)
}

/// No scan would find it, for no record says that it is there.
#[test]
fn what_cannot_be_moved_when_a_repair_is_finished_stays_begun_until_it_can() {
    let (site, open, root) = stopped();
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as _);
    for _ in 0..2 {
        let report = repair_by(&repairing, &RepairOrder::default());
        let repaired = &report.roots[0];
        assert_eq!((repaired.repaired(), repaired.finished), (0, 0));
        let mut left = repaired.left_named.iter();
        assert!(
            left.any(|one| one.path.as_str() == PATHS[5] && one.why.contains("cannot be moved"))
        );
        assert_eq!((begun(&open), presence(&open, 6)), (1, "Pending".into()));
        scan(&open, &full());
    }
    root.heal();
    let report = repair_by(&repairing, &RepairOrder::default());
    assert_eq!((report.roots[0].finished, begun(&open)), (1, 0));
    assert!(!site.root().join(PATHS[5]).is_file());
    assert_eq!(presence(&open, 6), "Pending");
}

/// At level `size` whoever looks for it takes it for right meanwhile: then it is found again.
#[test]
fn what_cannot_be_moved_and_is_recorded_meanwhile_is_dropped_and_repaired_later() {
    let (site, mut open, root) = stopped();
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as _);
    repair_by(&repairing, &RepairOrder::default());
    assert_eq!((open.confirm(), begun(&open)), (1, 1));
    scan_twice(&site, &open);
    assert_eq!(found(&open), [is(Dark, STRAY), is(Corrupt, PATHS[5])]);
    root.heal();
    let report = repair_by(&repairing, &RepairOrder::default());
    assert_eq!(
        (report.roots[0].finished, report.roots[0].repaired()),
        (0, 2)
    );
    assert_eq!(presence(&open, 6), "Pending");
}

/// The file that cannot be moved was never looked at for what is waited for by then.
#[test]
fn what_a_newer_manifest_waits_for_is_not_recorded_for_a_file_that_cannot_be_moved() {
    let (site, mut open, root) = stopped();
    let other = artifact(77, 60);
    let newer = Manifest::new(site.repository, RUN, "1-2", Content::Additions)
        .with_dimensions(50)
        .with_entries([entry(6, 6, 0, PATHS[5], &other)]);
    site.place(&newer);
    open.work();
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as _);
    let report = repair_by(&repairing, &RepairOrder::default());
    assert_eq!(report.roots[0].repaired(), 0);
    assert_eq!((open.confirm(), presence(&open, 6)), (0, "Pending".into()));
    site.put(PATHS[5], &other);
    assert_eq!((open.confirm(), presence(&open, 6)), (1, "Yes".into()));
}
