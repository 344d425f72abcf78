//! `kill -9` at every boundary of a removal, and of its recovery: in the end the run is untouched, or
//! gone as a whole.
//!
//! A child of this test removes over a root that kills the process at its n-th step. The parent looks
//! at what is left, has other children recover, which die at their steps in turn, and last recovers
//! itself.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runsync::assembly::{self, Assembly};
use runsync::clock::SystemClock;
use runsync::datastore::journals::Fill;
use runsync::datastore::{
    Datastore, DatastoreError, Deletion, Journals, LocalRoot, Look, ManifestFile, RepositoryFile,
    ToDelete,
};
use runsync::file_identity::FileIdentity;
use runsync::registry::collection::{Chaining, Change};
use runsync::registry::record::Presence;
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Ground, NamedRoot, Phase, Plan, Removing, Request, Requester};
use runsync_config::site::Site;
use runsync_manifest::content::Content;
use runsync_manifest::name::{ArtifactPath, DatasetId};
use support::{Manifest, OpenSite, TestSite, artifact, entry};
use uuid::Uuid;

/// The chain that owns [`RUN`], and has [`OTHER`] in it too.
const CHAIN: &str = "u/test";
const RUN: &str = "u/test/20261127T120000Z";
const OTHER: &str = "u/test/other";
/// Datasets of the run, each with an artifact; one more is only waited for.
const DATASETS: u32 = 5;
/// Steps after which a removal is surely over.
const STEPS_MAX: u64 = 200;
/// The site's folder, for a child.
const SITE: &str = "RUNSYNC_TEST_SITE";
/// The step at which a child dies.
const STEP: &str = "RUNSYNC_TEST_STEP";
/// What a child does.
const DOES: &str = "RUNSYNC_TEST_DOES";

/// Counts steps, and ends the process at one of them.
#[derive(Debug)]
struct Steps {
    left: AtomicU64,
}

impl Steps {
    fn step(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            let this = rustix::process::getpid();
            rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
            // It may take a moment.
            loop {
                std::thread::park();
            }
        }
    }
}

/// A root each of whose changes has a step before and after it.
#[derive(Debug)]
struct Deadly {
    root: LocalRoot,
    steps: Arc<Steps>,
}

impl Deadly {
    fn between<T>(&self, change: impl FnOnce() -> T) -> T {
        self.steps.step();
        let changed = change();
        self.steps.step();
        changed
    }
}

impl Datastore for Deadly {
    fn repository(&self) -> &RepositoryFile {
        self.root.repository()
    }

    fn check_identity(&self) -> Result<(), DatastoreError> {
        self.root.check_identity()
    }

    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        self.root.list_manifests()
    }

    fn look_at_manifest(&self, path: &str) -> Result<Look, DatastoreError> {
        self.root.look_at_manifest(path)
    }

    fn open_manifest(&self, path: &str) -> Result<(File, FileIdentity), DatastoreError> {
        self.root.open_manifest(path)
    }

    fn install_manifest(&self, path: &str, from: &mut dyn Read) -> Result<bool, DatastoreError> {
        self.root.install_manifest(path, from)
    }

    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError> {
        self.root.look(paths)
    }

    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError> {
        Datastore::open(&self.root, path)
    }

    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        let mut deletions = Vec::new();
        for one in artifacts {
            deletions.extend(self.between(|| self.root.delete(&[*one]))?);
        }
        Ok(deletions)
    }

    fn sync(&self) -> Result<(), DatastoreError> {
        self.between(|| self.root.sync())
    }

    fn journals(&self) -> &dyn Journals {
        self
    }
}

impl Journals for Deadly {
    fn list(&self) -> Result<Vec<String>, DatastoreError> {
        self.root.list()
    }

    fn create(&self, name: &str, fill: &mut Fill<'_>) -> Result<(), DatastoreError> {
        self.between(|| {
            self.root.create(name, &mut |to| {
                fill(to)?;
                self.steps.step();
                Ok(())
            })
        })
    }

    fn open_journal(&self, name: &str) -> Result<File, DatastoreError> {
        self.root.open_journal(name)
    }

    fn append(&self, name: &str, line: &str) -> Result<(), DatastoreError> {
        self.between(|| self.root.append(name, line))
    }

    fn remove(&self, name: &str) -> Result<(), DatastoreError> {
        self.between(|| self.root.remove(name))
    }
}

fn bytes(number: u32) -> Vec<u8> {
    artifact(number.into(), 50)
}

fn path(number: u32) -> String {
    format!("data/{}/{number}", number % 2)
}

fn run_of(site: &TestSite, run: &str, numbers: std::ops::Range<u32>) -> Manifest {
    let entries = numbers.map(|number| {
        let (uuid, at) = (u128::from(number), i64::from(number % 10));
        entry(uuid, at, 0, &path(number), &bytes(number))
    });
    Manifest::new(site.repository, run, "1-1", Content::Additions)
        .with_dimensions(10)
        .with_entries(entries.collect::<Vec<_>>())
}

/// A run of which all but the last artifact are there, and another one.
fn site() -> TestSite {
    let site = TestSite::in_memory("size");
    for number in (1..=DATASETS).chain([100]) {
        site.put(&path(number), &bytes(number));
    }
    site.place(&run_of(&site, RUN, 1..DATASETS + 2));
    site.place(&run_of(&site, OTHER, 100..101));
    let mut open = site.open();
    open.work();
    assert_eq!(open.confirm(), u64::from(DATASETS) + 1);
    let members = [RUN, OTHER].map(|name| name.parse().unwrap()).into();
    let how = Chaining::Set;
    let change = Change::Chain { members, how };
    let chain = CHAIN.parse().unwrap();
    let changed = open
        .registry()
        .change_collection(&chain, &change, &alice().actor());
    changed.unwrap();
    drop(open);
    site
}

fn removing(site: &Site, assembly: &Assembly, steps: &Arc<Steps>) -> Removing {
    let parts = &assembly.parts;
    let root = LocalRoot::open(&site.roots[0].directory).unwrap();
    let steps = Arc::clone(steps);
    Removing::new(Ground {
        site: "SITE_A".parse().unwrap(),
        repository: assembly.repository,
        host: "here".to_owned(),
        caps: runsync_config::removal::Removal {
            late_arrivals: std::time::Duration::ZERO,
            ..runsync_config::removal::Removal::default()
        },
        signing_key_file: site.signing_key_file.clone(),
        registry: Arc::clone(&parts.registry),
        ledger: Arc::clone(&parts.ledger),
        registration: runsync::assembly::registration_lock(site).unwrap(),
        roots: vec![NamedRoot {
            name: "main".parse().unwrap(),
            datastore: Arc::new(Deadly { root, steps }),
        }],
        clock: Arc::clone(&parts.clock),
    })
}

fn consent(plan: &Plan) -> Consent {
    Consent {
        plan: plan.id.clone(),
        approved: false,
    }
}

fn alice() -> Requester {
    Requester {
        account: "alice".to_owned(),
        uid: Some(1000),
        daemon: true,
        any: false,
    }
}

fn remove(removing: &Removing, steps: &Steps) {
    let request = Request {
        operation: Operation::RemoveRuns,
        runs: vec![RUN.parse().unwrap()],
        chain: None,
        origin: None,
        dataset_type: None,
    };
    carry_out(removing, &request, steps);
}

fn purge(removing: &Removing, steps: &Steps) {
    let request = Request::of_chain(Operation::Purge, CHAIN.parse().unwrap());
    carry_out(removing, &request, steps);
}

fn carry_out(removing: &Removing, request: &Request, steps: &Steps) {
    let plan = removing.plan(request).unwrap();
    let step = &mut |_: Phase| {
        steps.step();
        ControlFlow::Continue(())
    };
    let outcome = removing.remove(request, &consent(&plan), &alice(), step);
    assert!(outcome.unwrap().done);
}

/// What a daemon does when it starts.
fn recover(removing: &Removing, steps: &Steps) {
    let step = &mut |_: Phase| {
        steps.step();
        ControlFlow::Continue(())
    };
    removing.drop_uncommitted(step).unwrap();
    for removal in removing.ground().registry.removals().unwrap() {
        assert!(removing.resume(removal.id, step).unwrap().done);
    }
    removing.reap(step).unwrap();
}

/// What a parent starts: it removes or recovers, and dies at a step.
#[test]
#[ignore = "a child that the other tests start"]
fn child() {
    let Ok(folder) = std::env::var(SITE) else {
        return;
    };
    let site = runsync_config::load(&Path::new(&folder).join("site.toml")).unwrap();
    let left = AtomicU64::new(std::env::var(STEP).unwrap().parse().unwrap());
    let steps = Arc::new(Steps { left });
    let open = |tenure: &_| Assembly::open(&site, tenure, Arc::new(SystemClock));
    let turned_away = &mut || ControlFlow::Break(());
    let (_held, assembly) = assembly::claim(&site, &SystemClock, open, turned_away).unwrap();
    let removing = removing(&site, &assembly, &steps);
    match std::env::var(DOES).unwrap().as_str() {
        "remove" => remove(&removing, &steps),
        "purge" => purge(&removing, &steps),
        _ => recover(&removing, &steps),
    }
}

/// Runs a child; true where it came to its end before the step.
fn run_child(site: &TestSite, does: &str, step: u64) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(SITE, site.folder.path())
        .env(STEP, step.to_string())
        .env(DOES, does)
        .output()
        .unwrap();
    let killed = output.status.signal() == Some(9);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(killed || output.status.success(), "{does} {step}: {text}");
    !killed
}

fn presence(open: &OpenSite, number: u32) -> Presence {
    let asked = [DatasetId(Uuid::from_u128(number.into()))];
    open.registry().exists(&asked).unwrap().remove(0).presence
}

fn is_there(site: &TestSite, number: u32) -> bool {
    fs::exists(site.root().join(path(number))).unwrap()
}

/// At no moment is there a record of an artifact that was deleted.
fn check_records(site: &TestSite, open: &OpenSite) {
    for number in 1..=DATASETS {
        if presence(open, number) == Presence::Yes {
            assert!(is_there(site, number), "{number}");
        }
    }
    assert!(is_there(site, 100));
    assert_eq!(presence(open, 100), Presence::Yes);
}

/// Checks that nothing is half done; true where the run is gone.
fn check_end(site: &TestSite, open: &OpenSite) -> bool {
    check_records(site, open);
    let journals = fs::read_dir(site.root().join("runsync/journal"));
    assert_eq!(journals.into_iter().flatten().count(), 0);
    assert_eq!(open.registry().removals().unwrap(), []);
    let there: Vec<bool> = (1..=DATASETS)
        .map(|number| is_there(site, number))
        .collect();
    let known: Vec<Presence> = (1..=DATASETS)
        .map(|number| presence(open, number))
        .collect();
    let run = open.registry().run(&site.run(RUN)).unwrap().unwrap();
    if there.contains(&true) {
        assert!(!there.contains(&false), "{there:?}");
        assert!(known.iter().all(|one| *one == Presence::Yes), "{known:?}");
        assert_eq!(presence(open, DATASETS + 1), Presence::Pending);
        assert_eq!(run.datasets, u64::from(DATASETS) + 1);
        return false;
    }
    assert!(known.iter().all(|one| *one == Presence::No), "{known:?}");
    assert_eq!(presence(open, DATASETS + 1), Presence::No);
    assert_eq!((run.datasets, run.claims, run.waiting), (0, 0, 0));
    let datasets = open.registry().datasets(&run.key, None, None, 10).unwrap();
    assert_eq!(datasets, []);
    true
}

/// Recovers in this process, which nobody kills, and checks what has come of it.
fn recovered(site: &TestSite) -> bool {
    let open = site.open();
    check_records(site, &open);
    let never = Arc::new(Steps {
        left: AtomicU64::new(u64::MAX),
    });
    let removing = removing(&site.site(), &open.assembly, &never);
    recover(&removing, &never);
    check_end(site, &open)
}

#[test]
fn a_removal_killed_at_any_step_leaves_the_run_untouched_or_gone() {
    let mut gone = Vec::new();
    for step in 0..STEPS_MAX {
        let site = site();
        let ended = run_child(&site, "remove", step);
        eprintln!("killed at step {step}: {}", !ended);
        gone.push(recovered(&site));
        if ended {
            break;
        }
    }
    // Both ends are met, and from the commit on it is always the second.
    assert!(gone.is_sorted(), "{gone:?}");
    assert_eq!((gone.first(), gone.last()), (Some(&false), Some(&true)));
    assert!(gone.len() > 20, "{}", gone.len());
}

#[test]
fn a_purge_killed_at_any_step_leaves_chain_and_run_untouched_or_gone() {
    let mut gone = Vec::new();
    for step in 0..STEPS_MAX {
        let site = site();
        let ended = run_child(&site, "purge", step);
        gone.push(recovered(&site));
        let open = site.open();
        let chain = open.registry().collection(&CHAIN.parse().unwrap());
        match chain.unwrap() {
            None => assert_eq!(gone.last(), Some(&true), "step {step}"),
            Some(chain) => {
                assert_eq!(gone.last(), Some(&false), "step {step}");
                assert_eq!((chain.row.members, chain.row.deleted), (2, 0));
            }
        }
        if ended {
            break;
        }
    }
    assert!(gone.is_sorted(), "{gone:?}");
    assert_eq!((gone.first(), gone.last()), (Some(&false), Some(&true)));
    assert!(gone.len() > 20, "{}", gone.len());
}

#[test]
fn a_recovery_killed_at_any_step_goes_on_where_it_was() {
    // Before and after the commit, and in the middle of deleting.
    for removal_step in [3, 8, 14] {
        for step in 0..STEPS_MAX {
            let site = site();
            assert!(!run_child(&site, "remove", removal_step));
            let ended = run_child(&site, "recover", step);
            // Once more, a little later.
            let ended = ended || run_child(&site, "recover", step + 1);
            recovered(&site);
            if ended {
                break;
            }
        }
    }
}
