//! `kill -9` at every boundary of every removal command, and of its recovery: in the end the run is
//! untouched, or gone as a whole.
//!
//! A child of this test removes over a root and a registry that kill the process at its n-th step. The
//! parent looks at what is left, has other children recover, which die at their steps in turn, and last
//! recovers itself. Then the real command and the real daemon, killed at random moments; and a registry
//! whose reply to the commit is lost.
//!
//! `cargo xtask crash-removal` runs all of it, with more rounds. A new command is a line of `COMMANDS`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

#[path = "../support/registry.rs"]
mod registry;

#[path = "../support/proof.rs"]
mod proof;

use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::Daemon;
use proof::{Files, aside, compare, compare_records, shown};
use registry::{AtCalls, Seam, gone};
use runsync::assembly::{self, Assembly};
use runsync::clock::SystemClock;
use runsync::datastore::journals::Fill;
use runsync::datastore::{
    Aside, Datastore, DatastoreError, Deletion, Journals, Linked, LocalRoot, Look, ManifestFile,
    Moved, RepositoryFile, Sight, ToDelete, Walk,
};
use runsync::file_identity::FileIdentity;
use runsync::registry::collection::{Actor, Chaining, Change};
use runsync::registry::record::Presence;
use runsync::registry::removal::Operation;
use runsync::registry::{Registry, RegistryError};
use runsync::removal::{
    Consent, Ground, JournalRow, JournalState, NamedRoot, Outcome, Phase, Plan, RemovalError,
    Removing, Request, Requester,
};
use runsync_config::site::Site;
use runsync_manifest::content::Content;
use runsync_manifest::name::{ArtifactPath, DatasetId, RepositoryId, RunKey};
use runsync_manifest::signature::SigningKey;
use support::{Manifest, OpenSite, TestSite, artifact, entry};
use uuid::Uuid;

/// A removal command of the matrix.
#[derive(Debug)]
struct Case {
    /// As an operator types it, before the run or the chain.
    words: &'static [&'static str],
    operation: Operation,
    /// The run that it is about.
    run: &'static str,
    /// Whose the run is.
    origin: u128,
    /// The chain that the command is about, and whether the run is in it.
    chain: Option<(&'static str, bool)>,
}

impl Case {
    /// What the command names.
    fn subject(&self) -> &'static str {
        self.chain.map_or(self.run, |(chain, _)| chain)
    }
}

/// This site's repository.
const OWN: u128 = 0xA;
/// Another one, which owns what is below `u/peer`.
const PEER: u128 = 2;

/// Every removal command.
const COMMANDS: &[Case] = &[
    Case {
        words: &["remove-runs"],
        operation: Operation::RemoveRuns,
        run: "u/test/run",
        origin: OWN,
        chain: None,
    },
    Case {
        words: &["remove-runs", "--local"],
        operation: Operation::DropCopy,
        run: "u/peer/run",
        origin: PEER,
        chain: None,
    },
    Case {
        words: &["purge"],
        operation: Operation::Purge,
        run: "u/purged/20261127T120000Z",
        origin: OWN,
        chain: Some(("u/purged", true)),
    },
    Case {
        words: &["cleanup"],
        operation: Operation::Cleanup,
        run: "u/cleaned/20261127T120000Z",
        origin: OWN,
        chain: Some(("u/cleaned", false)),
    },
    Case {
        words: &["unstore"],
        operation: Operation::Unstore,
        run: "u/test/unstored",
        origin: OWN,
        chain: None,
    },
    Case {
        words: &["forget"],
        operation: Operation::Forget,
        run: "u/test/forgotten",
        origin: OWN,
        chain: None,
    },
];

/// A run that nobody removes.
const OTHER: &str = "u/test/other";
/// The number of its one dataset.
const OTHERS: u32 = 100_000;
/// Datasets of the run, each with an artifact; one more is only waited for.
const DATASETS: u32 = 5;
/// The same where the moment is random: enough that deleting them takes a while.
const MANY: u32 = 300;
/// The site's folder, for a child.
const SITE: &str = "RUNSYNC_TEST_SITE";
/// The step at which a child dies.
const STEP: &str = "RUNSYNC_TEST_STEP";
/// What a child does.
const DOES: &str = "RUNSYNC_TEST_DOES";
/// Which command.
const COMMAND: &str = "RUNSYNC_TEST_COMMAND";
/// Rounds of random moments for each command, with and without a daemon.
const ROUNDS: &str = "RUNSYNC_TEST_ROUNDS";
/// Rounds where nobody says how many.
const ROUNDS_DEFAULT: u64 = 3;
/// Brings the moments of another run again.
const SEED: &str = "RUNSYNC_TEST_SEED";

/// Counts steps, and ends the process at one of them.
#[derive(Debug)]
struct Steps {
    left: AtomicU64,
    taken: Mutex<Vec<String>>,
}

impl Steps {
    fn dying_at(step: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(step),
            taken: Mutex::default(),
        })
    }

    fn step(&self, at: &str) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            let this = rustix::process::getpid();
            rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
            // It may take a moment.
            loop {
                std::thread::park();
            }
        }
        self.taken.lock().unwrap().push(at.to_owned());
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

/// Steps around all that changes the registry.
impl AtCalls for Steps {
    fn before(&self, call: &'static str) -> Result<(), RegistryError> {
        if is_change(call) {
            self.step(&format!("before `{call}`"));
        }
        Ok(())
    }

    fn after(&self, call: &'static str) -> Result<(), RegistryError> {
        if is_change(call) {
            self.step(&format!("after `{call}`"));
        }
        Ok(())
    }
}

fn is_change(call: &str) -> bool {
    matches!(call, "remove" | "may_reap" | "reap" | "journal_closed")
}

/// A root each of whose changes has a step before and after it.
#[derive(Debug)]
struct Deadly {
    root: LocalRoot,
    steps: Arc<Steps>,
}

impl Deadly {
    fn between<T>(&self, what: &str, change: impl FnOnce() -> T) -> T {
        self.steps.step(&format!("before {what}"));
        let changed = change();
        self.steps.step(&format!("after {what}"));
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

    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError> {
        self.root.walk(below, from)
    }

    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError> {
        Datastore::open(&self.root, path)
    }

    fn delete(&self, artifacts: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        let mut deletions = Vec::new();
        for one in artifacts {
            deletions.extend(self.between("a deletion", || self.root.delete(&[*one]))?);
        }
        Ok(deletions)
    }

    fn delete_manifest(
        &self,
        path: &str,
        identity: FileIdentity,
    ) -> Result<Deletion, DatastoreError> {
        self.root.delete_manifest(path, identity)
    }

    fn link(&self, from: &str, to: &ArtifactPath) -> Result<Linked, DatastoreError> {
        self.root.link(from, to)
    }

    fn set_aside(&self, artifact: ToDelete<'_>, to: &Aside) -> Result<Moved, DatastoreError> {
        self.root.set_aside(artifact, to)
    }

    fn bring_back(
        &self,
        from: &Aside,
        identity: FileIdentity,
        to: &ArtifactPath,
    ) -> Result<Moved, DatastoreError> {
        self.root.bring_back(from, identity, to)
    }

    fn another_about(&self, path: &ArtifactPath) -> Option<Sight> {
        self.root.another_about(path)
    }

    fn look_aside(&self, at: &Aside) -> Result<Look, DatastoreError> {
        self.root.look_aside(at)
    }

    fn sync(&self) -> Result<(), DatastoreError> {
        self.between("syncing the folders", || self.root.sync())
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
        self.between("the journal", || {
            self.root.create(name, &mut |to| {
                fill(to)?;
                self.steps.step("while the journal is written");
                Ok(())
            })
        })
    }

    fn open_journal(&self, name: &str) -> Result<File, DatastoreError> {
        self.root.open_journal(name)
    }

    fn append(&self, name: &str, line: &str) -> Result<(), DatastoreError> {
        self.between("marking the journal", || self.root.append(name, line))
    }

    fn remove(&self, name: &str) -> Result<(), DatastoreError> {
        self.between("removing the journal", || self.root.remove(name))
    }
}

fn bytes(number: u32) -> Vec<u8> {
    artifact(number.into(), 50)
}

fn path(number: u32) -> String {
    format!("data/{}/{number}", number % 2)
}

/// A site with the run of a command, of which all but the last artifact are there, and another run.
struct Scene {
    site: TestSite,
    case: &'static Case,
    count: u32,
}

impl Scene {
    fn new(case: &'static Case, count: u32) -> Self {
        let site = TestSite::in_memory("size");
        let key = accept_peer(&site);
        let scene = Self { site, case, count };
        for number in (1..=count).chain([OTHERS]) {
            scene.site.put(&path(number), &bytes(number));
        }
        let run = scene.manifest(case.origin, case.run, 1..count + 2);
        let key = if case.origin == OWN {
            &scene.site.key
        } else {
            &key
        };
        let place = "runsync/manifests/run.manifest.jsonl";
        scene.site.put(place, &run.bytes(Some(key)));
        scene
            .site
            .place(&scene.manifest(OWN, OTHER, OTHERS..OTHERS + 1));
        let mut open = scene.site.open();
        open.work();
        assert_eq!(open.confirm(), u64::from(count) + 1);
        scene.chain(open.registry());
        drop(open);
        scene
    }

    fn manifest(&self, origin: u128, run: &str, numbers: std::ops::Range<u32>) -> Manifest {
        let side = i64::from(self.count).isqrt() + 2;
        let entries = numbers.map(|number| {
            let (uuid, at) = (u128::from(number), i64::from(number % OTHERS));
            entry(uuid, at / side, at % side, &path(number), &bytes(number))
        });
        Manifest::new(
            RepositoryId(Uuid::from_u128(origin)),
            run,
            "1-1",
            Content::Additions,
        )
        .with_dimensions(side)
        .with_entries(entries.collect::<Vec<_>>())
    }

    /// Makes the chain that the command is about; another run is in it.
    fn chain(&self, registry: &dyn Registry) {
        let Some((chain, has_run)) = self.case.chain else {
            return;
        };
        let mut members = vec![OTHER];
        members.extend(has_run.then_some(self.case.run));
        let change = Change::Chain {
            members: members.iter().map(|name| name.parse().unwrap()).collect(),
            how: Chaining::Set,
        };
        let by = Actor {
            account: "alice".to_owned(),
            any: true,
        };
        let chain = chain.parse().unwrap();
        registry.change_collection(&chain, &change, &by).unwrap();
    }

    /// Whether the chain is as the command leaves it where the run is gone, or as it was.
    fn check_chain(&self, registry: &dyn Registry, gone: bool) {
        let Some((chain, has_run)) = self.case.chain else {
            return;
        };
        let found = registry.collection(&chain.parse().unwrap()).unwrap();
        let is_purged = gone && self.case.operation == Operation::Purge;
        assert_eq!(found.is_none(), is_purged, "{found:?}");
        if let Some(found) = found {
            assert_eq!(found.places.len(), 1 + usize::from(has_run));
            assert_eq!(found.row.deleted, 0);
        }
    }

    fn run(&self) -> RunKey {
        RunKey {
            origin: RepositoryId(Uuid::from_u128(self.case.origin)),
            name: self.case.run.parse().unwrap(),
        }
    }

    fn root(&self) -> std::path::PathBuf {
        self.site.root()
    }

    /// The command, with what else is to be said.
    fn words<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        [self.case.words, &[self.case.subject()], more].concat()
    }

    /// How many journals lie in the root, or what is left of them.
    fn journals(&self) -> usize {
        let journals = fs::read_dir(self.root().join("runsync/journal"));
        journals.into_iter().flatten().count()
    }

    /// What a crash has left, in a few words.
    fn left(&self) -> String {
        let files = self.compare(&*self.site.watch().0.registry);
        let (recorded, journaled) = (files.recorded.len() - 1, files.journaled.len());
        format!(
            "{recorded} of {} artifacts recorded, {journaled} journaled",
            self.count
        )
    }

    /// Files and records as they are compared: what was forgotten keeps its artifacts.
    fn compare(&self, registry: &dyn Registry) -> Files {
        if self.case.operation == Operation::Forget {
            compare_records(&self.root(), registry)
        } else {
            compare(&self.root(), registry)
        }
    }

    /// Checks that nothing is half done; true where the command has done what it does.
    fn check_end(&self, registry: &dyn Registry) -> bool {
        let files = self.compare(registry);
        assert!(files.recorded.contains(&path(OTHERS)));
        assert_eq!(self.journals(), 0);
        assert_eq!(registry.removals().unwrap(), []);
        assert_eq!(registry.notices().unwrap(), []);
        let run = registry.run(&self.run()).unwrap().unwrap();
        let known = presence(registry, 1..=self.count);
        let waited = presence(registry, self.count + 1..=self.count + 1);
        let all = u64::from(self.count) + 1;
        let is_done = files.recorded.len() == 1;
        self.check_chain(registry, is_done);
        if !is_done {
            assert_eq!(files.recorded.len(), self.count as usize + 1);
            assert!(known.iter().all(|one| *one == Presence::Yes), "{known:?}");
            assert_eq!(waited, [Presence::Pending]);
            assert_eq!(run.datasets, all);
            return false;
        }
        assert!(known.iter().all(|one| *one == Presence::No), "{known:?}");
        assert_eq!(waited, [Presence::No]);
        assert_eq!((run.claims, run.waiting, run.bytes), (0, 0, 0));
        let datasets = registry.datasets(&run.key, None, None, usize::MAX).unwrap();
        let stay = if self.case.operation.takes_datasets() {
            0
        } else {
            all
        };
        assert_eq!((run.datasets, datasets.len() as u64), (stay, stay));
        for number in 1..=self.count {
            let is_there = fs::exists(self.root().join(path(number))).unwrap();
            assert_eq!(is_there, self.case.operation == Operation::Forget);
        }
        true
    }
}

fn presence(registry: &dyn Registry, numbers: std::ops::RangeInclusive<u32>) -> Vec<Presence> {
    let asked: Vec<_> = numbers
        .map(|number| DatasetId(Uuid::from_u128(number.into())))
        .collect();
    let answers = registry.exists(&asked).unwrap();
    answers.into_iter().map(|answer| answer.presence).collect()
}

/// Lets the peer own what is below `u/peer`, and trusts its key.
fn accept_peer(site: &TestSite) -> SigningKey {
    let key = SigningKey::from_seed(&[2; 32]);
    let (public, origin) = (key.public(), Uuid::from_u128(PEER));
    let file = serde_json::json!({
        "format": 1, "site": "SITE_B", "repository": origin,
        "key_id": public.id().to_string(), "public_key": public.to_string(),
    });
    let trusted = site.folder.path().join("keys/trusted");
    let trusted = trusted.join(format!("{}.json", public.id()));
    support::write(&trusted, file.to_string().as_bytes());
    let peer = "[[peer]]\nsite = \"SITE_B\"\nrun_prefixes = [\"u/peer\"]";
    let removal = "[removal]\nlate_arrivals = \"0s\"\n";
    let peer = format!("{peer}\norigin = \"{origin}\"\n{removal}");
    site.configure_daemon("size", "settle = \"1ms\"", &peer);
    key
}

/// What removes at this site, over `root` and `registry`.
fn removing_over(
    site: &Site,
    assembly: &Assembly,
    datastore: Arc<dyn Datastore>,
    registry: Arc<dyn Registry>,
) -> Removing {
    Removing::new(Ground {
        site: "SITE_A".parse().unwrap(),
        repository: assembly.repository,
        host: "here".to_owned(),
        caps: runsync_config::removal::Removal {
            late_arrivals: Duration::ZERO,
            ..runsync_config::removal::Removal::default()
        },
        signing_key_file: site.signing_key_file.clone(),
        ledger: Arc::clone(&assembly.parts.ledger),
        registry,
        registration: assembly::registration_lock(site).unwrap(),
        roots: vec![NamedRoot {
            name: "main".parse().unwrap(),
            datastore,
            rse: None,
            deleter: runsync_config::root::Deleter::Runsync,
        }],
        rucio: None,
        peers: Arc::default(),
        clock: Arc::clone(&assembly.parts.clock),
    })
}

fn removing(site: &Site, assembly: &Assembly, steps: &Arc<Steps>) -> Removing {
    let root = LocalRoot::open(&site.roots[0].directory).unwrap();
    let registry = Arc::clone(&assembly.parts.registry);
    let registry = Seam::over(registry, Arc::clone(steps) as _);
    let steps = Arc::clone(steps);
    removing_over(site, assembly, Arc::new(Deadly { root, steps }), registry)
}

fn consent(plan: &Plan) -> Consent {
    Consent {
        plan: plan.id.clone(),
        approved: false,
    }
}

fn remove(
    removing: &Removing,
    case: &Case,
    progress: &mut dyn FnMut(Phase) -> ControlFlow<()>,
) -> Result<Outcome, RemovalError> {
    let request = Request {
        operation: case.operation,
        runs: case
            .chain
            .is_none()
            .then(|| case.run.parse().unwrap())
            .into_iter()
            .collect(),
        origin: None,
        chain: case.chain.map(|(chain, _)| chain.parse().unwrap()),
        dataset_type: None,
        now: false,
    };
    let requester = Requester {
        account: "alice".to_owned(),
        uid: Some(1000),
        daemon: true,
        any: true,
    };
    let plan = removing.plan(&request).unwrap();
    removing.remove(&request, &consent(&plan), &requester, progress)
}

/// What a daemon does when it starts.
fn recover(removing: &Removing, progress: &mut dyn FnMut(Phase) -> ControlFlow<()>) {
    removing.drop_uncommitted(progress).unwrap();
    for removal in removing.ground().registry.removals().unwrap() {
        assert!(removing.resume(removal.id, progress).unwrap().done);
    }
    removing.reap(progress).unwrap();
    removing.tell().unwrap();
}

fn act(removing: &Removing, case: &Case, does: &str, steps: &Steps) {
    let progress = &mut |phase: Phase| {
        steps.step(&format!("at {phase:?}"));
        ControlFlow::Continue(())
    };
    match does {
        "remove" => assert!(remove(removing, case, progress).unwrap().done),
        _ => recover(removing, progress),
    }
}

/// What a parent starts: it removes or recovers, and dies at a step.
#[test]
#[ignore = "a child that the other tests start"]
fn child() {
    let Ok(folder) = std::env::var(SITE) else {
        return;
    };
    let site = runsync_config::load(&Path::new(&folder).join("site.toml")).unwrap();
    let steps = Steps::dying_at(number_from(STEP).unwrap());
    let case = usize::try_from(number_from(COMMAND).unwrap()).unwrap();
    let open = |tenure: &_| Assembly::open(&site, tenure, Arc::new(SystemClock));
    let turned_away = &mut || ControlFlow::Break(());
    let (_held, assembly) = assembly::claim(&site, &SystemClock, open, turned_away).unwrap();
    let removing = removing(&site, &assembly, &steps);
    act(
        &removing,
        &COMMANDS[case],
        &std::env::var(DOES).unwrap(),
        &steps,
    );
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

/// Runs a child; true where it came to its end before the step.
fn run_child(scene: &Scene, does: &str, step: usize) -> bool {
    let command = COMMANDS.iter().position(|case| case.run == scene.case.run);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(SITE, scene.site.folder.path())
        .env(STEP, step.to_string())
        .env(DOES, does)
        .env(COMMAND, command.unwrap().to_string())
        .output()
        .unwrap();
    let killed = output.status.signal() == Some(9);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(killed || output.status.success(), "{does} {step}: {text}");
    !killed
}

/// Recovers in this process, which nobody kills, and checks what has come of it.
fn recovered(scene: &Scene) -> bool {
    let open = scene.site.open();
    scene.compare(open.registry());
    let never = Steps::dying_at(u64::MAX);
    let removing = removing(&scene.site.site(), &open.assembly, &never);
    check_listed(&removing);
    act(&removing, scene.case, "recover", &never);
    scene.check_end(open.registry())
}

/// Checks that an operator is shown each removal that is under way, whatever is left of its journal.
fn check_listed(removing: &Removing) {
    let journals = removing.journals().unwrap();
    for removal in removing.ground().registry.removals().unwrap() {
        let is_of = |row: &&JournalRow| row.of.as_ref().is_some_and(|of| of.removal == removal.id);
        let listed: Vec<_> = journals.iter().filter(is_of).collect();
        assert_eq!(listed.len(), 1, "{removal:?}: {journals:?}");
        let state = match &listed[0].root {
            Some(_) => JournalState::Committed,
            None => JournalState::Reaping,
        };
        assert_eq!(listed[0].state, state);
    }
}

/// The steps of a command that nobody kills.
fn steps_of(case: &'static Case) -> Vec<String> {
    let scene = Scene::new(case, DATASETS);
    let open = scene.site.open();
    let steps = Steps::dying_at(u64::MAX);
    let removing = removing(&scene.site.site(), &open.assembly, &steps);
    act(&removing, case, "remove", &steps);
    assert!(scene.check_end(open.registry()));
    steps.taken()
}

fn end_named(gone: bool) -> &'static str {
    if gone { "gone as a whole" } else { "untouched" }
}

#[test]
fn a_removal_killed_at_any_step_leaves_the_run_untouched_or_gone() {
    for case in COMMANDS {
        let words = case.words.join(" ");
        let steps = steps_of(case);
        assert!(steps.len() > 10, "{steps:?}");
        let committed = steps.iter().position(|step| step == "after `remove`");
        for (step, at) in steps.iter().enumerate() {
            let scene = Scene::new(case, DATASETS);
            assert!(!run_child(&scene, "remove", step), "{at}");
            let gone = recovered(&scene);
            // From the commit on it is always the second end.
            assert_eq!(gone, Some(step) >= committed, "{words}, {at}");
            shown(&format!("{words}, killed {step}: {at}"), end_named(gone));
        }
        assert!(run_child(
            &Scene::new(case, DATASETS),
            "remove",
            steps.len()
        ));
    }
}

/// Where the removal is killed whose recovery is killed too: at these steps, for the n-th time.
const BEFORE_RECOVERY: [(&str, usize); 4] = [
    ("before `remove`", 0),
    ("after `remove`", 0),
    ("after a deletion", 1),
    ("after removing the journal", 0),
];

#[test]
fn a_recovery_killed_at_any_step_goes_on_where_it_was() {
    for case in COMMANDS {
        let steps = steps_of(case);
        for (at, times) in BEFORE_RECOVERY {
            let mut found = steps.iter().enumerate().filter(|(_, step)| *step == at);
            let Some((removal_step, _)) = found.nth(times) else {
                assert!(!case.operation.deletes(), "{at}");
                continue;
            };
            let deaths = killed_recoveries(case, removal_step, at != "before `remove`");
            let words = case.words.join(" ");
            let outcome = end_named(at != "before `remove`");
            shown(
                &format!("{words}, killed {at}, its recovery at each of {deaths} steps"),
                outcome,
            );
        }
    }
}

/// Kills the recovery at each of its steps in turn; returns how many it has.
fn killed_recoveries(case: &'static Case, removal_step: usize, gone: bool) -> usize {
    for step in 0.. {
        let scene = Scene::new(case, DATASETS);
        assert!(!run_child(&scene, "remove", removal_step));
        let ended = run_child(&scene, "recover", step);
        // Once more, a little later.
        run_child(&scene, "recover", step + 1);
        assert_eq!(recovered(&scene), gone);
        if ended {
            return step;
        }
    }
    unreachable!("a recovery has an end");
}

/// Loses the reply to the commit, which is done or not; afterwards the registry answers or not.
#[derive(Debug)]
struct LosesReply {
    committed: bool,
    answers: bool,
    lost: AtomicBool,
}

impl LosesReply {
    fn lose(&self) -> Result<(), RegistryError> {
        self.lost.store(true, Ordering::SeqCst);
        Err(gone())
    }
}

impl AtCalls for LosesReply {
    fn before(&self, call: &'static str) -> Result<(), RegistryError> {
        if call == "remove" && !self.committed || !self.answers && self.lost.load(Ordering::SeqCst)
        {
            return self.lose();
        }
        Ok(())
    }

    fn after(&self, call: &'static str) -> Result<(), RegistryError> {
        if call == "remove" {
            return self.lose();
        }
        Ok(())
    }
}

#[test]
fn a_commit_whose_reply_is_lost_is_read_back_before_anything_is_deleted() {
    for case in COMMANDS {
        for (committed, answers) in [(true, true), (true, false), (false, true), (false, false)] {
            let scene = Scene::new(case, DATASETS);
            let open = scene.site.open();
            let root = Arc::new(LocalRoot::open(&scene.root()).unwrap());
            let lost = AtomicBool::new(false);
            let seam = Seam::over(
                Arc::clone(&open.assembly.parts.registry),
                Arc::new(LosesReply {
                    committed,
                    answers,
                    lost,
                }),
            );
            let removing = removing_over(&scene.site.site(), &open.assembly, root, seam);
            let removed = remove(&removing, case, &mut |_| ControlFlow::Continue(()));
            check_reply_lost(&scene, &open, removed.is_ok(), (committed, answers));
            drop(removing);
            drop(open);
            assert_eq!(recovered(&scene), committed);
            shown(
                &format!(
                    "{}, {}, and the registry {}",
                    case.words.join(" "),
                    if committed {
                        "committed and the reply lost"
                    } else {
                        "the commit lost"
                    },
                    if answers {
                        "answers then"
                    } else {
                        "does not answer"
                    },
                ),
                end_named(committed),
            );
        }
    }
}

/// What stands where the reply was lost, before anybody has recovered.
fn check_reply_lost(
    scene: &Scene,
    open: &OpenSite,
    done: bool,
    (committed, answers): (bool, bool),
) {
    assert_eq!(done, committed && answers);
    let files = scene.compare(open.registry());
    if !scene.case.operation.deletes() {
        assert_eq!(scene.journals(), 0);
        return;
    }
    let left = if done { 0 } else { scene.count as usize };
    let there = files.recorded.union(&files.journaled).count() - 1;
    assert_eq!(there, left, "nothing is deleted before it is known");
    // Only a registry that does not answer leaves the journal, which then says what is under way.
    assert_eq!(scene.journals(), usize::from(!answers));
}

/// Random moments, in nanoseconds below some end.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = number_from(SEED).unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        aside(&format!("{SEED}={seed} brings these moments again"));
        Self(seed)
    }

    /// SplitMix64, as in the tasks.
    fn below(&mut self, end: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let nanoseconds = u64::try_from(end.as_nanos()).unwrap().max(1);
        Duration::from_nanos((mixed ^ (mixed >> 31)) % nanoseconds)
    }
}

fn rounds() -> u64 {
    number_from(ROUNDS).unwrap_or(ROUNDS_DEFAULT)
}

/// Runs the command to its end; how long that takes is where moments are drawn from.
fn time_of(case: &'static Case, daemon: bool) -> Duration {
    let scene = Scene::new(case, MANY);
    let running = daemon.then(|| Daemon::start(&scene.site));
    let start = Instant::now();
    let words = scene.words(if daemon {
        &["--yes"]
    } else {
        &["--yes", "--direct"]
    });
    scene.site.answer(&words);
    let taken = start.elapsed();
    if let Some(running) = running {
        running.stop();
    }
    taken
}

#[test]
fn a_command_killed_at_any_moment_ends_untouched_or_gone() {
    let mut moments = Moments::new();
    for case in COMMANDS {
        let time = time_of(case, false);
        for round in 1..=rounds() {
            let scene = Scene::new(case, MANY);
            let moment = moments.below(time);
            let words = scene.words(&["--yes", "--direct"]);
            let mut command = scene.site.command(&words);
            let mut command = command.stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(moment);
            command.kill().unwrap();
            command.wait().unwrap();
            let left = scene.left();
            resume_all(&scene.site);
            let gone = scene.check_end(&*scene.site.watch().0.registry);
            let words = case.words.join(" ");
            shown(
                &format!("{words} --direct, killed after {moment:.1?}, round {round}"),
                &format!("{left}, then {}", end_named(gone)),
            );
        }
    }
}

/// What an operator does after a crash, without a daemon.
fn resume_all(site: &TestSite) {
    for line in site.directly(&["journal", "list", "--json"]).lines() {
        let journal: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(["committed", "reaping"].contains(&journal["state"].as_str().unwrap()));
        let removal = journal["removal"].as_str().unwrap();
        site.directly(&["journal", "resume", removal]);
    }
}

#[test]
fn a_daemon_killed_at_any_moment_of_a_removal_sees_it_through_or_drops_it() {
    let mut moments = Moments::new();
    for case in COMMANDS {
        let time = time_of(case, true);
        for round in 1..=rounds() {
            let scene = Scene::new(case, MANY);
            let moment = moments.below(time);
            let daemon = Daemon::start(&scene.site);
            let mut command = scene.site.command(&scene.words(&["--yes"]));
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut command = command.spawn().unwrap();
            std::thread::sleep(moment);
            daemon.kill();
            // Whoever asked is told, or not: it does not matter.
            command.wait().unwrap();
            let (seen, left) = (scene.site.watch(), scene.left());
            let daemon = Daemon::start(&scene.site);
            daemon.until("nothing is under way", || {
                scene.journals() == 0 && seen.0.registry.removals().unwrap().is_empty()
            });
            daemon.stop();
            let gone = scene.check_end(&*scene.site.watch().0.registry);
            let words = case.words.join(" ");
            shown(
                &format!("{words}, the daemon killed after {moment:.1?}, round {round}"),
                &format!("{left}, then {}", end_named(gone)),
            );
        }
    }
}
