//! Repairs that were stopped, and what was confirmed of their files meanwhile by one who had looked before.

use std::fs;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use runsync::datastore::LocalRoot;
use runsync::datastore::faulty::Faulty;
use runsync::ingest::confirm::Confirming;
use runsync::ingest::flow::Flow;
use runsync::ledger::repairs::WhichRepairs;
use runsync::recovery::repair::{RepairError, RepairOrder, RepairPhase, Repairing};
use runsync::registry::{Registry, RegistryError};
use runsync_manifest::name::{ArtifactPath, RunKey};

use crate::registry::{AtCalls, Seam};
use crate::scene::{PATHS, RUN, bytes, found, manifest};
use crate::site::{plan_by, presence, repair_by, repairing_with, scan_twice, site, stop_at};
use crate::support::{OpenSite, TestSite, artifact};

/// A site with a corrupt file of the right size, whose repair was stopped at that step.
fn stopped_at(phase: RepairPhase) -> (TestSite, OpenSite) {
    let site = site();
    let open = site.open();
    site.put(PATHS[5], &artifact(99, 50));
    scan_twice(&site, &open);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &RepairOrder::default());
    let stopped = repairing.run(&plan, ("alice", false), &mut stop_at(phase));
    assert!(matches!(stopped, Err(RepairError::Interrupted)));
    assert_eq!(presence(&open, 6), "Pending");
    (site, open)
}

/// The artifact is pending, its file is gone, and the right one is taken when it comes.
fn is_waited_for(site: &TestSite, open: &mut OpenSite) {
    assert_eq!(presence(open, 6), "Pending");
    assert!(!site.root().join(PATHS[5]).is_file());
    assert_eq!(found(open), []);
    site.put(PATHS[5], &bytes(PATHS[5]));
    assert_eq!(open.confirm(), 1);
}

/// Confirms what waits at a path, once a repair has taken its records back and looked whether it has.
#[derive(Debug)]
struct Late {
    registry: Arc<dyn Registry>,
    run: RunKey,
    path: ArtifactPath,
    is_taken_back: AtomicBool,
    is_told: AtomicBool,
}

impl AtCalls for Late {
    fn before(&self, _: &'static str) -> Result<(), RegistryError> {
        Ok(())
    }

    fn after(&self, call: &'static str) -> Result<(), RegistryError> {
        if call == "recall_at" {
            self.is_taken_back.store(true, Ordering::SeqCst);
        }
        let is_time = call == "claims_at" && self.is_taken_back.load(Ordering::SeqCst);
        if is_time && !self.is_told.swap(true, Ordering::SeqCst) {
            let root = "main".parse().unwrap();
            let waiting = (self.registry).waiting_artifacts(&self.run, &root, (None, None), 100)?;
            let mut waiting = waiting.into_iter();
            let it = waiting.find(|one| one.path == self.path).unwrap();
            let confirmed = self
                .registry
                .confirm_all(&root, &[(&self.run, std::slice::from_ref(&it))])?;
            assert_eq!(confirmed, [1]);
        }
        Ok(())
    }
}

#[test]
fn what_was_confirmed_of_a_file_that_was_moved_is_taken_back_when_its_repair_is_finished() {
    let (site, mut open) = stopped_at(RepairPhase::Files);
    let registry = Arc::clone(&open.flow().site().registry);
    let late = Arc::new(Late {
        registry: Arc::clone(&registry),
        run: site.run(RUN),
        path: PATHS[5].parse().unwrap(),
        is_taken_back: AtomicBool::new(false),
        is_told: AtomicBool::new(false),
    });
    let seam = Seam::over(registry, Arc::clone(&late) as _);
    let report = repair_by(&repairing_with(&site, &open, seam), &RepairOrder::default());
    assert_eq!(report.roots[0].finished, 1);
    assert!(late.is_told.load(Ordering::SeqCst));
    is_waited_for(&site, &mut open);
}

/// Stopped before the file was moved: it is moved by the next repair, while somebody has looked at it.
#[test]
fn what_was_seen_before_the_next_repair_moved_a_file_is_not_recorded_after_it() {
    let (site, mut open) = stopped_at(RepairPhase::Records);
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    let (parts, configured) = (Arc::clone(open.flow().site()), open.flow().root().clone());
    let flow = Flow::new(parts, configured, Arc::clone(&root) as _);
    let publishing = Arc::clone(&open.assembly.publishing);
    let repairing = Repairing::new(vec![flow.clone()], publishing, site.site().repair);
    let barrier = Arc::new(Barrier::new(2));
    root.hold(PATHS[5], Arc::clone(&barrier));
    let confirmed = thread::scope(|scope| {
        let run = site.run(RUN);
        let looking = scope.spawn(move || {
            let go_on = || ControlFlow::Continue(());
            Confirming::new(flow).confirm_run(&run, &mut { go_on })
        });
        barrier.wait();
        let report = repair_by(&repairing, &RepairOrder::default());
        barrier.wait();
        assert_eq!(report.roots[0].finished, 1);
        looking.join().unwrap().unwrap()
    });
    assert_eq!(confirmed, 0);
    is_waited_for(&site, &mut open);
}

/// A manifest has come that is not registered yet, and says what the file should be by now.
#[test]
fn what_an_unregistered_manifest_names_is_not_moved_before_that_is_registered() {
    let (site, open) = stopped_at(RepairPhase::Records);
    let corrupt = fs::read(site.root().join(PATHS[5])).unwrap();
    let manifest = site.place(&manifest(&site, "u/other", "1-1", 51, &[PATHS[5]]));
    for _ in 0..2 {
        let report = repair_by(&open.assembly.repairing, &RepairOrder::default());
        let root = &report.roots[0];
        let mut left = root.left_named.iter();
        let is_told = left.any(|one| {
            one.why
                .contains("a manifest that is not registered names it")
        });
        assert!(is_told && root.finished == 0, "{root:?}");
        assert_eq!(fs::read(site.root().join(PATHS[5])).unwrap(), corrupt);
        let begun = WhichRepairs::Begun(&root.root);
        assert_eq!(open.ledger().repairs(begun, None, 10).unwrap().len(), 1);
    }
    fs::remove_file(manifest).unwrap();
    let report = repair_by(&open.assembly.repairing, &RepairOrder::default());
    assert_eq!(report.roots[0].finished, 1);
    assert!(!site.root().join(PATHS[5]).is_file());
}
