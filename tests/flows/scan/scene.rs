//! A site with a run that is confirmed, days after its files have come, and ways to scan it.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use runsync::datastore::faulty::Faulty;
use runsync::datastore::{Datastore, LocalRoot};
use runsync::ingest::flow::Flow;
use runsync::ledger::Ledger;
use runsync::ledger::scans::{DriftFilter, DriftFinding, DriftKind, Span};
use runsync::recovery::{Checks, Order, ScanError, ScanReport, Scanning};
use runsync_manifest::content::Content;

use crate::support::{Manifest, OpenSite, START_SECOND, TestSite, artifact, entry};

pub(crate) const RUN: &str = "u/test/run";
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Artifacts of the run, in folders whose names sort about the `/` that follows one of them.
pub(crate) const PATHS: [&str; 8] = [
    "u/test/run-1/g",
    "u/test/run/a/1",
    "u/test/run/a/2",
    "u/test/run/a/b/3",
    "u/test/run/b/4",
    "u/test/run/b/5",
    "u/test/run/c.fits",
    "u/test/run0",
];

/// What the artifact at each of these paths holds.
pub(crate) fn bytes(path: &str) -> Vec<u8> {
    artifact(
        path.len() as u64 + u64::from(path.as_bytes()[path.len() - 1]),
        50,
    )
}

/// A manifest of artifacts at these paths, the first of which has that number.
pub(crate) fn manifest(
    site: &TestSite,
    run: &str,
    generation: &str,
    first: u32,
    paths: &[&str],
) -> Manifest {
    let entries = (first..)
        .zip(paths)
        .map(|(number, path)| entry(number.into(), number.into(), 0, path, &bytes(path)));
    Manifest::new(site.repository, run, generation, Content::Additions)
        .with_dimensions(50)
        .with_entries(entries.collect::<Vec<_>>())
}

/// Sets a site's clock to so long after what comes into its root now.
pub(crate) fn set_clock(site: &TestSite, later: Duration) {
    site.put("runsync/clock", b"");
    let file = site.root().join("runsync/clock");
    let now = fs::metadata(&file).unwrap().ctime();
    fs::remove_file(file).unwrap();
    let now = u64::try_from(now - START_SECOND).unwrap();
    let passed = site.clock_seconds() - u64::try_from(START_SECOND).unwrap();
    site.pass(Duration::from_secs(now - passed) + later);
}

impl TestSite {
    pub(crate) fn now(&self) -> jiff::Timestamp {
        use runsync::clock::Clock;
        self.clock.now()
    }

    fn clock_seconds(&self) -> u64 {
        self.now().as_second().try_into().unwrap()
    }
}

/// A site whose run was confirmed so long after its files came; `root` is TOML of its root.
pub(crate) fn site_with(root: &str, later: Duration) -> TestSite {
    let site = TestSite::in_memory("size");
    site.configure("size", root);
    set_clock(&site, later);
    for path in PATHS {
        site.put(path, &bytes(path));
    }
    site.place(&manifest(&site, RUN, "1-1", 1, &PATHS));
    let mut open = site.open();
    open.work();
    open.confirm();
    assert_eq!(open.registry().waiting_runs().unwrap(), []);
    drop(open);
    site
}

pub(crate) fn site() -> TestSite {
    site_with("", DAY * 2)
}

pub(crate) fn order() -> Order {
    Order::default()
}

/// The same with everything read.
pub(crate) fn full() -> Order {
    Order {
        checks: Checks::Full,
        ..order()
    }
}

pub(crate) fn scan_by(scanning: &Scanning, order: &Order) -> Result<ScanReport, ScanError> {
    let mut reports = scanning.scan(order, &mut |_| ControlFlow::Continue(()))?;
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

pub(crate) fn scan(open: &OpenSite, order: &Order) -> ScanReport {
    scan_by(&open.assembly.scanning, order).unwrap()
}

/// A root that fails on demand, and scans of it.
pub(crate) fn faulty(site: &TestSite, open: &OpenSite) -> (Arc<Faulty<LocalRoot>>, Scanning) {
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    let datastore = Arc::clone(&root) as Arc<dyn Datastore>;
    let (parts, configured) = (Arc::clone(open.flow().site()), open.flow().root().clone());
    let flow = Flow::new(parts, configured, datastore);
    let removing = Arc::clone(&open.assembly.removing);
    (root, Scanning::new(vec![flow], removing))
}

pub(crate) fn drift(ledger: &dyn Ledger) -> Vec<DriftFinding> {
    let filter = DriftFilter {
        root: None,
        kind: None,
        side: None,
        span: Span::all(),
        ignored: true,
    };
    ledger.drift(&filter, None, usize::MAX).unwrap()
}

/// All findings, by path.
pub(crate) fn found(open: &OpenSite) -> Vec<(DriftKind, String)> {
    let findings = drift(open.ledger()).into_iter();
    findings
        .map(|finding| (finding.kind, finding.path.to_string()))
        .collect()
}

pub(crate) fn is(kind: DriftKind, path: &str) -> (DriftKind, String) {
    (kind, path.to_owned())
}
