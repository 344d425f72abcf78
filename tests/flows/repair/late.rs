//! What was seen before a repair took a file away, and is told after it.

use std::fs;
use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};
use std::thread;

use runsync::datastore::LocalRoot;
use runsync::datastore::faulty::Faulty;
use runsync::ingest::confirm::Confirming;
use runsync::ingest::flow::Flow;
use runsync::recovery::repair::{RepairError, RepairOrder, RepairPhase, Repairing};

use crate::scene::{PATHS, RUN, bytes, found};
use crate::site::{plan_by, presence, repair, scan_twice, site, stop_at};
use crate::support::artifact;

/// At level `size` a corrupt file looks right; one who has looked at it may not know that it is gone.
#[test]
fn what_was_seen_before_a_file_was_set_aside_is_not_recorded_after_it() {
    let site = site();
    let mut open = site.open();
    site.put(PATHS[5], &artifact(99, 50));
    scan_twice(&site, &open);
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    let (parts, configured) = (Arc::clone(open.flow().site()), open.flow().root().clone());
    let flow = Flow::new(parts, configured, Arc::clone(&root) as _);
    let publishing = Arc::clone(&open.assembly.publishing);
    let repairing = Repairing::new(vec![flow.clone()], publishing, site.site().repair);
    let plan = plan_by(&repairing, &RepairOrder::default());
    let barrier = Arc::new(Barrier::new(2));
    let confirmed = thread::scope(|scope| {
        let mut looking = None;
        let mut look_meanwhile = |phase| {
            if phase == RepairPhase::Records && looking.is_none() {
                root.hold(PATHS[5], Arc::clone(&barrier));
                let (flow, run) = (flow.clone(), site.run(RUN));
                let go_on = || ControlFlow::Continue(());
                looking = Some(scope.spawn(move || {
                    let confirmed = Confirming::new(flow).confirm_run(&run, &mut { go_on });
                    confirmed.unwrap()
                }));
                barrier.wait();
            }
            ControlFlow::Continue(())
        };
        let report = repairing
            .run(&plan, ("alice", false), &mut look_meanwhile)
            .unwrap();
        assert_eq!(report.roots[0].repaired(), 1);
        barrier.wait();
        looking.unwrap().join().unwrap()
    });
    assert_eq!((confirmed, presence(&open, 6)), (0, "Pending".into()));
    assert!(!site.root().join(PATHS[5]).is_file());
    site.put(PATHS[5], &bytes(PATHS[5]));
    assert_eq!(open.confirm(), 1);
}

#[test]
fn a_corrupt_file_is_not_brought_back_to_where_its_right_one_is_waited_for() {
    let site = site();
    let open = site.open();
    site.put(PATHS[5], &artifact(99, 50));
    scan_twice(&site, &open);
    assert!(repair(&open).is_well());
    let path = PATHS[5].parse().unwrap();
    let refused = open.assembly.repairing.bring_back(None, &path).unwrap_err();
    assert!(matches!(refused, RepairError::Corrupt { .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("runsync/quarantine/"));
    assert!(!site.root().join(PATHS[5]).is_file());
}

/// Stopped once the file was moved; the right one came before the repair was finished.
#[test]
fn a_right_file_that_came_before_a_repair_is_finished_keeps_its_record() {
    let site = site();
    let mut open = site.open();
    site.put(PATHS[5], &artifact(99, 50));
    scan_twice(&site, &open);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &RepairOrder::default());
    let mut stop = stop_at(RepairPhase::Files);
    let stopped = repairing.run(&plan, ("alice", false), &mut stop);
    assert!(matches!(stopped, Err(RepairError::Interrupted)));
    site.put(PATHS[5], &bytes(PATHS[5]));
    assert_eq!(open.confirm(), 1);
    let report = repair(&open);
    assert_eq!(report.roots[0].finished, 1);
    assert_eq!(presence(&open, 6), "Yes");
    assert_eq!(found(&open), []);
    assert_eq!(
        fs::read(site.root().join(PATHS[5])).unwrap(),
        bytes(PATHS[5])
    );
}
