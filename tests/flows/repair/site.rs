//! A site whose policy repairs everything, and what all of it is.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runsync::ingest::flow::{Flow, SiteParts};
use runsync::recovery::repair::{RepairOrder, RepairPhase, RepairPlan, RepairReport, Repairing};

use runsync::registration_lock::RegistrationLock;

use crate::scene::{DAY, bytes, full, manifest, scan, site_with};
use crate::support::{OpenSite, TestSite};

/// The policy that does everything that can be done.
pub(crate) const EVERYTHING: &str = "[repair]\ndark_age = \"1day\"\nlost = \"forget\"\nclaimed = \"register\"\ndark = \"quarantine\"\ncorrupt = \"unstore\"\nshare_max = 0.25\n";

/// More than passes have to lie apart.
pub(crate) const LATER: Duration = Duration::from_secs(25 * 60 * 60);

/// A site that repairs everything, whose run was confirmed two days after its files came.
pub(crate) fn site() -> TestSite {
    with_root("")
}

/// The same with more TOML of its root.
pub(crate) fn with_root(root: &str) -> TestSite {
    configured(&format!("{root}\n{EVERYTHING}"))
}

/// The same whose limits are other.
pub(crate) fn with_limits(limits: &str) -> TestSite {
    configured(&EVERYTHING.replace("share_max", &format!("{limits}\nshare_max")))
}

/// A site with this TOML of its root and all that follows.
pub(crate) fn configured(toml: &str) -> TestSite {
    let site = site_with(toml, DAY * 2);
    // Enough beside for some to be harmed.
    let paths: Vec<String> = (21..37).map(|number| format!("u/more/{number}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    for path in &paths {
        site.put(path, &bytes(path));
    }
    site.place(&manifest(&site, "u/more", "1-1", 21, &paths));
    let mut open = site.open();
    open.work();
    open.confirm();
    assert_eq!(open.registry().waiting_runs().unwrap(), []);
    drop(open);
    site
}

/// Scans twice, so far apart that what both see may be repaired.
pub(crate) fn scan_twice(site: &TestSite, open: &OpenSite) {
    scan(open, &full());
    site.pass(LATER);
    scan(open, &full());
}

pub(crate) fn plan_by(repairing: &Repairing, order: &RepairOrder) -> RepairPlan {
    repairing
        .plan(order, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

/// Repairs, as `--yes` does.
pub(crate) fn repair_by(repairing: &Repairing, order: &RepairOrder) -> RepairReport {
    let plan = plan_by(repairing, order);
    repairing
        .run(&plan, ("alice", false), &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

pub(crate) fn repair(open: &OpenSite) -> RepairReport {
    repair_by(&open.assembly.repairing, &RepairOrder::default())
}

/// The same with deletion of what is dark.
pub(crate) fn deleting() -> RepairOrder {
    RepairOrder {
        delete_dark: true,
        ..RepairOrder::default()
    }
}

/// All that a repair might change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    files: BTreeMap<String, Vec<u8>>,
    registry: String,
}

pub(crate) fn state_of(folder: &Path, open: &OpenSite) -> State {
    let mut files = BTreeMap::new();
    gather(folder, folder, &mut files);
    State {
        files,
        registry: open.dump(),
    }
}

pub(crate) fn state(site: &TestSite, open: &OpenSite) -> State {
    state_of(&site.root(), open)
}

fn gather(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            gather(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// How a dataset is answered for, by the number of its UUID.
pub(crate) fn presence(open: &OpenSite, number: u128) -> String {
    let uuid = runsync_manifest::name::DatasetId(uuid::Uuid::from_u128(number));
    let answers = open.registry().exists(&[uuid]).unwrap();
    format!("{:?}", answers[0].presence)
}

/// Repairs whose registry is `registry`.
pub(crate) fn repairing_with(
    site: &TestSite,
    open: &OpenSite,
    registry: Arc<dyn runsync::registry::Registry>,
) -> Repairing {
    let (flow, clock) = (open.flow(), Arc::clone(&site.clock));
    let parts = SiteParts {
        registry,
        ledger: Arc::clone(&flow.site().ledger),
        trust: std::sync::RwLock::new(flow.site().trust()),
        limits: flow.site().limits,
        scratch: flow.site().scratch.clone(),
        registration: RegistrationLock::open(&site.folder.path().join("turn")).unwrap(),
        clock: clock as _,
    };
    let datastore = Arc::clone(flow.datastore());
    let flow = Flow::new(Arc::new(parts), flow.root().clone(), datastore);
    let publishing = Arc::clone(&open.assembly.publishing);
    Repairing::new(vec![flow], publishing, site.site().repair)
}

/// Repairs of a root that fails on demand.
pub(crate) fn repairing_of(
    site: &TestSite,
    open: &OpenSite,
    datastore: Arc<dyn runsync::datastore::Datastore>,
) -> Repairing {
    let (parts, configured) = (Arc::clone(open.flow().site()), open.flow().root().clone());
    let flow = Flow::new(parts, configured, datastore);
    let publishing = Arc::clone(&open.assembly.publishing);
    Repairing::new(vec![flow], publishing, site.site().repair)
}

/// Breaks a repair off at its first step of that kind.
pub(crate) fn stop_at(at: RepairPhase) -> impl FnMut(RepairPhase) -> ControlFlow<()> {
    move |phase| {
        if phase == at {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
