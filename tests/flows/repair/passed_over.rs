//! Claims that change between the last look and the act: the registry passes over them, and so does the repair.

use std::fs;
use std::sync::Arc;

use runsync::ledger::repairs::{RepairAct, WhichRepairs};
use runsync::recovery::repair::{RepairOrder, RepairReport};
use runsync::registry::{Registry, RegistryError};
use runsync_manifest::name::ArtifactPath;

use crate::registry::{AtCalls, Seam};
use crate::scene::{PATHS, RUN, found, is};
use crate::site::{presence, repair, repair_by, repairing_with, scan_twice, site};
use crate::support::{OpenSite, TestSite, artifact};
use runsync::ledger::scans::DriftKind::{Corrupt, Dark, Lost};

/// Changes a claim about a call, so that after it the claim stands as if it had been passed over.
#[derive(Debug)]
struct Meddler {
    registry: Arc<dyn Registry>,
    run: runsync_manifest::name::RunKey,
    path: ArtifactPath,
}

impl AtCalls for Meddler {
    fn before(&self, call: &'static str) -> Result<(), RegistryError> {
        if call == "record_at" {
            let root = "main".parse().unwrap();
            self.registry.await_at(&root, &[&self.path])?;
        }
        Ok(())
    }

    fn after(&self, call: &'static str) -> Result<(), RegistryError> {
        if call == "recall_at" {
            let root = "main".parse().unwrap();
            let waiting = (self.registry).waiting_artifacts(&self.run, &root, (None, None), 100)?;
            let it: Vec<_> = waiting
                .into_iter()
                .filter(|one| one.path == self.path)
                .collect();
            assert_eq!(it.len(), 1);
            self.registry.confirm_all(&root, &[(&self.run, &it)])?;
        }
        Ok(())
    }
}

/// Repairs while somebody meddles with what is at a path.
fn repair_meddled(site: &TestSite, open: &OpenSite, path: &str) -> RepairReport {
    let registry = &open.flow().site().registry;
    let meddler = Meddler {
        registry: Arc::clone(registry),
        run: site.run(RUN),
        path: path.parse().unwrap(),
    };
    let seam = Seam::over(Arc::clone(registry), Arc::new(meddler));
    repair_by(&repairing_with(site, open, seam), &RepairOrder::default())
}

fn begun(open: &OpenSite) -> usize {
    let begun = WhichRepairs::Begun(&open.flow().root().name);
    open.ledger().repairs(begun, None, 10).unwrap().len()
}

#[test]
fn a_record_that_was_not_taken_back_is_not_repaired_and_its_finding_stays() {
    let site = site();
    let open = site.open();
    for path in &PATHS[1..3] {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    scan_twice(&site, &open);
    let report = repair_meddled(&site, &open, PATHS[1]);
    let root = &report.roots[0];
    assert_eq!(root.acts[&RepairAct::Forget].artifacts, 1);
    assert_eq!((root.left, root.left_named[0].path.as_str()), (1, PATHS[1]));
    assert!(root.left_named[0].why.contains("not taken back"));
    assert_eq!(found(&open), [is(Lost, PATHS[1])]);
    assert_eq!(begun(&open), 0);
    let both = (presence(&open, 2), presence(&open, 3));
    assert_eq!(both, ("Yes".into(), "Pending".into()));
    // The next repair has it.
    assert_eq!(repair(&open).roots[0].repaired(), 1);
    assert_eq!(found(&open), []);
}

#[test]
fn a_corrupt_file_whose_record_was_not_taken_back_is_not_moved() {
    let site = site();
    let open = site.open();
    let wrong = artifact(99, 50);
    site.put(PATHS[5], &wrong);
    scan_twice(&site, &open);
    let report = repair_meddled(&site, &open, PATHS[5]);
    let root = &report.roots[0];
    assert_eq!((root.repaired(), root.left), (0, 1));
    assert_eq!(fs::read(site.root().join(PATHS[5])).unwrap(), wrong);
    assert_eq!(found(&open), [is(Corrupt, PATHS[5])]);
    assert_eq!(begun(&open), 0);
}

#[test]
fn a_file_that_was_not_recorded_again_stays_found() {
    let site = site();
    let open = site.open();
    let root = "main".parse().unwrap();
    let claimed = PATHS[2].parse().unwrap();
    open.registry().forget_at(&root, &[&claimed]).unwrap();
    scan_twice(&site, &open);
    let report = repair_meddled(&site, &open, PATHS[2]);
    let repaired = &report.roots[0];
    assert_eq!((repaired.repaired(), repaired.left), (0, 1));
    assert!(repaired.left_named[0].why.contains("not recorded it"));
    assert_eq!(found(&open), [is(Dark, PATHS[2])]);
    assert_eq!(begun(&open), 0);
}
