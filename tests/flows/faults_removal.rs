//! Removals while storage, permissions or databases fail, at each step: before the commit nothing has
//! changed; after it the removal goes on when the fault has passed. Never is there a record of an
//! artifact that was deleted, nor an artifact that neither a record nor a journal names.
//!
//! `cargo xtask faults-removal` prints what each case came to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

#[path = "../support/registry.rs"]
mod registry;

#[path = "../support/proof.rs"]
mod proof;

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use process::text;
use proof::{Files, compare, shown};
use registry::{AtCalls, Seam, gone};
use runsync::datastore::faulty::Faulty;
use runsync::datastore::{Datastore, LocalRoot};
use runsync::registry::removal::Operation;
use runsync::registry::{Registry, RegistryError};
use runsync::removal::{
    Consent, Ground, JournalState, NamedRoot, Outcome, Phase, RemovalError, Removing, Request,
    Requester,
};
use runsync_manifest::content::Content;
use serde_json::Value;
use support::{Manifest, OpenSite, TestSite, artifact, entry, rename, write};
use uuid::Uuid;

const NEEDS_ROOT: &str = "run this as root: it mounts, and acts as other users of the machine";
const RUN: &str = "u/test/run";
const OTHER: &str = "u/test/other";
/// The artifact of the other run.
const OTHERS: &str = "other/1";
/// Artifacts of the run where storage deletes them in several chunks.
const MANY: u32 = 250;
const FEW: u32 = 5;
/// Artifacts whose journal is larger than what is held back before it is written.
const LARGE: u32 = 4_000;
/// A user that the machine has no name for.
const USER: u32 = 4_001;
/// The database's file that a child is to lock.
const LOCK: &str = "RUNSYNC_TEST_LOCK";

/// Where in a removal something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    BeforeJournal,
    BeforeCommit,
    AfterCommit,
    Deleting,
    Reaping,
}

impl Step {
    const ALL: [Self; 5] = [
        Self::BeforeJournal,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::Deleting,
        Self::Reaping,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::BeforeJournal => "before the journal",
            Self::BeforeCommit => "before the commit",
            Self::AfterCommit => "after the commit",
            Self::Deleting => "during deletion",
            Self::Reaping => "during reaping",
        }
    }

    fn is_at(self, phase: Phase) -> bool {
        match phase {
            Phase::Committing => self == Self::BeforeCommit,
            Phase::Deleting(_) => self == Self::Deleting,
            Phase::Reaping => self == Self::Reaping,
            Phase::Waiting | Phase::Journaling(_) => false,
        }
    }

    const fn is_committed(self) -> bool {
        !matches!(self, Self::BeforeJournal | Self::BeforeCommit)
    }
}

fn path(number: u32) -> String {
    format!("data/{}/{number}", number % 2)
}

/// A site with a run and another run, all confirmed.
struct Scene {
    site: TestSite,
    count: u32,
}

impl Scene {
    fn new(count: u32) -> Self {
        Self::at(TestSite::in_memory("size"), count)
    }

    /// On a disk, where other users come to it.
    fn on_disk(count: u32) -> Self {
        assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
        Self::at(TestSite::new("size"), count)
    }

    fn at(site: TestSite, count: u32) -> Self {
        let bytes = artifact(1, 50);
        let most = i64::from(count).isqrt() + 1;
        let of = |run: &str, first: u128, paths: Vec<String>| {
            let entries = paths.iter().zip(0_i64..).map(|(path, at)| {
                site.put(path, &bytes);
                let uuid = first + u128::try_from(at).unwrap();
                entry(uuid, at / most, at % most, path, &bytes)
            });
            let entries: Vec<_> = entries.collect();
            let manifest = Manifest::new(site.repository, run, "1-1", Content::Additions);
            site.place(&manifest.with_dimensions(most).with_entries(entries));
        };
        of(RUN, 1, (0..count).map(path).collect());
        of(OTHER, 1 << 64, vec![OTHERS.to_owned()]);
        let mut open = site.open();
        open.work();
        assert_eq!(open.confirm(), u64::from(count) + 1);
        drop(open);
        Self { site, count }
    }

    fn removing(&self, open: &OpenSite) -> Removing {
        let root = Arc::new(LocalRoot::open(&self.site.root()).unwrap());
        self.removing_over(open, root, Arc::clone(&open.assembly.parts.registry))
    }

    fn removing_over(
        &self,
        open: &OpenSite,
        datastore: Arc<dyn Datastore>,
        registry: Arc<dyn Registry>,
    ) -> Removing {
        Removing::new(Ground {
            site: "SITE_A".parse().unwrap(),
            repository: self.site.repository,
            host: "here".to_owned(),
            caps: runsync_config::removal::Removal {
                late_arrivals: Duration::ZERO,
                ..runsync_config::removal::Removal::default()
            },
            signing_key_file: self.site.site().signing_key_file,
            ledger: Arc::clone(&open.assembly.parts.ledger),
            registry,
            registration: runsync::assembly::registration_lock(&self.site.site()).unwrap(),
            roots: vec![NamedRoot {
                name: "main".parse().unwrap(),
                datastore,
                rse: None,
                deleter: runsync_config::root::Deleter::Runsync,
            }],
            rucio: None,
            peers: Arc::default(),
            clock: Arc::clone(&open.assembly.parts.clock),
        })
    }

    fn database(&self) -> PathBuf {
        self.site.folder.path().join("state/registry.sqlite3")
    }

    fn journals(&self) -> usize {
        let journals = fs::read_dir(self.site.root().join("runsync/journal"));
        journals.into_iter().flatten().count()
    }

    /// The one journal.
    fn journal(&self) -> PathBuf {
        let folder = self.site.root().join("runsync/journal");
        let mut journals = fs::read_dir(folder).unwrap();
        journals.next().unwrap().unwrap().path()
    }

    fn files(&self, registry: &dyn Registry) -> Files {
        compare(&self.site.root(), registry)
    }

    /// The same where nobody has the site open.
    fn left(&self) -> Files {
        self.files(&*self.site.watch().0.registry)
    }

    /// Nothing has changed, and nothing is under way.
    fn check_untouched(&self, registry: &dyn Registry) {
        let files = self.files(registry);
        assert_eq!(files.recorded.len(), self.count as usize + 1);
        assert_eq!(registry.removals().unwrap(), []);
        assert_eq!(self.journals(), 0);
        let run = registry.run(&self.site.run(RUN)).unwrap().unwrap();
        assert_eq!((run.datasets, run.waiting), (self.count.into(), 0));
    }

    /// The run is gone as a whole, and nothing else.
    fn check_gone(&self, registry: &dyn Registry) {
        let files = self.files(registry);
        assert!(files.recorded.iter().eq([OTHERS]), "{files:?}");
        assert!(files.journaled.is_empty());
        assert_eq!(registry.removals().unwrap(), []);
        assert_eq!(self.journals(), 0);
        let run = registry.run(&self.site.run(RUN)).unwrap().unwrap();
        assert_eq!((run.datasets, run.claims, run.waiting), (0, 0, 0));
        assert_eq!(registry.datasets(&run.key, None, None, 9).unwrap(), []);
    }

    fn check_end(&self, registry: &dyn Registry, gone: bool) -> &'static str {
        if gone {
            self.check_gone(registry);
            "goes on when it has passed: gone as a whole"
        } else {
            self.check_untouched(registry);
            "untouched"
        }
    }
}

fn go_on(_: Phase) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn request() -> Request {
    Request {
        operation: Operation::RemoveRuns,
        runs: vec![RUN.parse().unwrap()],
        origin: None,
        chain: None,
        dataset_type: None,
        now: false,
    }
}

fn account(name: &str) -> Requester {
    Requester {
        account: name.to_owned(),
        uid: Some(0),
        daemon: false,
        any: false,
    }
}

fn begin(
    removing: &Removing,
    requester: &Requester,
    progress: &mut dyn FnMut(Phase) -> ControlFlow<()>,
) -> Result<Uuid, RemovalError> {
    let (removal, request) = (Uuid::new_v4(), request());
    let plan = removing.plan(&request)?;
    let consent = Consent {
        plan: plan.id,
        approved: false,
    };
    removing.begin(removal, &request, &consent, requester, progress)?;
    Ok(removal)
}

/// Removes, and has something happen at a step. Also says whether the commit was reported as done.
fn remove_with(
    removing: &Removing,
    step: Step,
    happen: impl FnOnce(),
) -> (bool, Result<Outcome, RemovalError>) {
    let mut happen = Some(happen);
    let mut at = |is_here: bool| {
        if let Some(happen) = happen.take_if(|_| is_here) {
            happen();
        }
    };
    at(step == Step::BeforeJournal);
    let begun = begin(removing, &account("root"), &mut |phase| {
        at(step.is_at(phase));
        ControlFlow::Continue(())
    });
    let removal = match begun {
        Ok(removal) => removal,
        Err(error) => return (false, Err(error)),
    };
    at(step == Step::AfterCommit);
    let outcome = removing.resume(removal, &mut |phase| {
        at(step.is_at(phase));
        ControlFlow::Continue(())
    });
    (true, outcome)
}

/// What a daemon does when it starts, or tries again.
fn recover(removing: &Removing) {
    removing.drop_uncommitted(&mut go_on).unwrap();
    for removal in removing.ground().registry.removals().unwrap() {
        assert!(removing.resume(removal.id, &mut go_on).unwrap().done);
    }
    removing.reap(&mut go_on).unwrap();
    removing.tell().unwrap();
}

/// A process of its own that keeps a database locked, until it is let go.
struct Locker(Option<Child>);

impl Locker {
    fn start(database: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(LOCK, database)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines().next();
        assert_eq!(said.unwrap().unwrap(), "locked");
        Self(Some(child))
    }

    fn let_go(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What [`Locker`] starts.
#[test]
#[ignore = "a child that the other tests start"]
fn child() {
    let Ok(database) = std::env::var(LOCK) else {
        return;
    };
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    writeln!(std::io::stderr(), "locked").unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn a_registry_that_another_process_keeps_locked_is_waited_for() {
    thread::scope(|scope| {
        for step in Step::ALL {
            scope.spawn(move || {
                let scene = Scene::new(MANY);
                let open = scene.site.open();
                let removing = scene.removing(&open);
                let (_, outcome) = remove_with(&removing, step, || {
                    let mut locker = Locker::start(&scene.database());
                    thread::spawn(move || {
                        thread::sleep(Duration::from_millis(300));
                        locker.let_go();
                    });
                });
                assert!(outcome.unwrap().done);
                scene.check_gone(open.registry());
                shown(
                    &format!(
                        "registry locked by another process for a moment, {}",
                        step.words()
                    ),
                    "waited for, gone as a whole",
                );
            });
        }
    });
}

/// It takes as long as a lock is waited for; all steps wait at once.
#[test]
fn a_registry_that_stays_locked_changes_nothing_before_the_commit_and_is_tried_again_after_it() {
    thread::scope(|scope| {
        for step in Step::ALL {
            scope.spawn(move || {
                let scene = Scene::new(MANY);
                let open = scene.site.open();
                let removing = scene.removing(&open);
                let locker = Mutex::new(None);
                let (committed, outcome) = remove_with(&removing, step, || {
                    *locker.lock().unwrap() = Some(Locker::start(&scene.database()));
                });
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains("keeps the database locked"), "{error}");
                assert_eq!(committed, step.is_committed());
                let files = scene.files(open.registry());
                let recorded = if committed { 1 } else { MANY as usize + 1 };
                assert_eq!(files.recorded.len(), recorded);
                drop(locker);
                recover(&removing);
                let end = scene.check_end(open.registry(), committed);
                shown(
                    &format!("registry kept locked by another process, {}", step.words()),
                    end,
                );
            });
        }
    });
}

/// The files of the registry.
const FILES: [&str; 3] = [
    "registry.sqlite3",
    "registry.sqlite3-wal",
    "registry.sqlite3-shm",
];

/// Moves the registry's files from one folder to another.
fn move_registry(from: &Path, to: &Path) {
    for name in FILES {
        if fs::exists(from.join(name)).unwrap() {
            rename(&from.join(name), &to.join(name));
        }
    }
}

#[test]
fn a_registry_that_is_moved_away_is_not_done_without() {
    for step in Step::ALL {
        let scene = Scene::new(MANY);
        let state = scene.site.folder.path().join("state");
        let away = tempfile::tempdir_in(scene.site.folder.path()).unwrap();
        let open = scene.site.open();
        let removing = scene.removing(&open);
        let (committed, _) = remove_with(&removing, step, || move_registry(&state, away.path()));
        drop((removing, open));
        // A command that comes now says so, and touches nothing.
        let before = root_files(&scene);
        for words in [
            &["journal", "list", "--direct"][..],
            &["remove-runs", RUN, "--yes", "--direct"],
        ] {
            let output = scene.site.run_command(words);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("registry.sqlite3"), "{said}");
        }
        assert_eq!(root_files(&scene), before);
        move_registry(away.path(), &state);
        let open = scene.site.open();
        scene.files(open.registry());
        recover(&scene.removing(&open));
        let end = scene.check_end(open.registry(), committed);
        shown(&format!("registry moved away, {}", step.words()), end);
    }
}

/// All files of the root with their sizes.
fn root_files(scene: &Scene) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![scene.site.root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                files.push((entry.path(), metadata.len()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_registry_that_is_cut_to_nothing_and_put_back_loses_no_removal() {
    for step in Step::ALL {
        let scene = Scene::new(MANY);
        let open = scene.site.open();
        let removing = scene.removing(&open);
        let file = File::options()
            .read(true)
            .write(true)
            .open(scene.database())
            .unwrap();
        let whole = Mutex::new(Vec::new());
        let (committed, _) = remove_with(&removing, step, || {
            *whole.lock().unwrap() = fs::read(scene.database()).unwrap();
            file.set_len(0).unwrap();
        });
        file.write_all_at(&whole.lock().unwrap(), 0).unwrap();
        drop((removing, open));
        let open = scene.site.open();
        scene.files(open.registry());
        recover(&scene.removing(&open));
        let end = scene.check_end(open.registry(), committed);
        shown(
            &format!("registry cut to nothing and put back, {}", step.words()),
            end,
        );
    }
}

#[test]
fn an_owner_that_is_overtaken_during_a_removal_does_nothing_more() {
    for step in Step::ALL {
        let scene = Scene::new(MANY);
        let open = scene.site.open();
        let removing = scene.removing(&open);
        let (committed, outcome) = remove_with(&removing, step, || {
            // As whoever takes over does it.
            let registry = rusqlite::Connection::open(scene.database()).unwrap();
            let overtake = "UPDATE meta SET fence = fence + 1";
            assert_eq!(registry.execute(overtake, []).unwrap(), 1);
        });
        assert!(outcome.unwrap_err().is_fenced());
        assert_eq!(committed, step.is_committed());
        let left = scene.files(open.registry());
        // What was handed on before it was asked whether it still may.
        let deleted = match step {
            Step::BeforeJournal | Step::BeforeCommit | Step::AfterCommit => 0,
            Step::Deleting => 100,
            Step::Reaping => MANY as usize,
        };
        let there = left.recorded.union(&left.journaled).count() - 1;
        assert!(there >= MANY as usize - deleted, "{there}");
        drop((removing, open));
        let open = scene.site.open();
        recover(&scene.removing(&open));
        let end = if committed {
            scene.check_gone(open.registry());
            "stops, and the next owner goes on: gone as a whole"
        } else {
            scene.check_untouched(open.registry());
            "stops, untouched"
        };
        shown(
            &format!("overtaken by another owner, {}", step.words()),
            end,
        );
    }
}

/// Fails at a call, and at all after it until it is healed.
#[derive(Debug)]
struct GoneFrom {
    passing: AtomicU64,
    struck: Mutex<Option<&'static str>>,
    healed: AtomicBool,
}

impl AtCalls for GoneFrom {
    fn before(&self, call: &'static str) -> Result<(), RegistryError> {
        if self.healed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let left = |count: u64| count.checked_sub(1);
        if self
            .passing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok()
        {
            return Ok(());
        }
        self.struck.lock().unwrap().get_or_insert(call);
        Err(gone())
    }

    fn after(&self, _: &'static str) -> Result<(), RegistryError> {
        Ok(())
    }
}

#[test]
fn a_registry_that_is_gone_from_any_call_on_leaves_the_run_untouched_or_goes_on() {
    for passing in 0.. {
        let scene = Scene::new(FEW);
        let open = scene.site.open();
        let at = Arc::new(GoneFrom {
            passing: passing.into(),
            struck: Mutex::default(),
            healed: AtomicBool::new(false),
        });
        let seam = Seam::over(
            Arc::clone(&open.assembly.parts.registry),
            Arc::clone(&at) as _,
        );
        let root = Arc::new(LocalRoot::open(&scene.site.root()).unwrap());
        let removing = scene.removing_over(&open, root, seam);
        let (committed, outcome) = remove_with(&removing, Step::BeforeJournal, || ());
        let struck = *at.struck.lock().unwrap();
        let Some(call) = struck else {
            assert!(outcome.unwrap().done && passing > 10);
            break;
        };
        // What other sites are told of a removal is no part of it, and tried again.
        assert!(outcome.is_err() || call.starts_with("notice"), "{call}");
        scene.files(open.registry());
        at.healed.store(true, Ordering::SeqCst);
        recover(&removing);
        let end = scene.check_end(open.registry(), committed);
        shown(
            &format!("registry gone from call {passing} on, `{call}`"),
            end,
        );
    }
}

#[test]
fn a_root_that_fails_at_any_call_leaves_the_run_untouched_or_goes_on() {
    for failures in [1, u64::MAX] {
        for passing in 0.. {
            let scene = Scene::new(FEW);
            let open = scene.site.open();
            let root = Arc::new(Faulty::new(LocalRoot::open(&scene.site.root()).unwrap()));
            let registry = Arc::clone(&open.assembly.parts.registry);
            let removing = scene.removing_over(&open, Arc::clone(&root) as _, registry);
            root.fail_after(passing, failures);
            let (committed, _) = remove_with(&removing, Step::BeforeJournal, || ());
            let struck = root.failures_left() < failures;
            root.heal();
            scene.files(open.registry());
            recover(&removing);
            let end = scene.check_end(open.registry(), committed);
            if !struck {
                assert!(passing > 8, "only {passing} calls could fail");
                break;
            }
            let how = if failures == 1 {
                "once"
            } else {
                "from then on"
            };
            shown(
                &format!("storage fails {how} (EIO), at call {passing}"),
                end,
            );
        }
    }
}

/// A command in name spaces of its own, where it may mount: `$ROOT`, `$STATE`, `$OUT` and `$RUNSYNC`
/// (the command with its configuration) are set.
fn among_own_mounts(scene: &Scene, script: &str) -> Output {
    let out = scene.site.folder.path().join("out");
    fs::create_dir_all(&out).unwrap();
    fs::create_dir_all(scene.site.root().join("runsync/journal")).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-euc", script])
        .env("ROOT", scene.site.root())
        .env("OUT", out)
        .env("RUNSYNC", env!("CARGO_BIN_EXE_runsync"))
        .env("RUNSYNC_CONFIG", scene.site.config());
    command.output().unwrap()
}

/// Checks that a command has failed with a reason in its words.
fn check_failed(output: &Output, reason: &str) {
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(reason), "{said}");
}

#[test]
fn a_journal_for_which_there_is_no_room_is_refused_before_anything_changes() {
    let no_room = "No space left on device";
    for (what, count, options, reason) in [
        (
            "no room for the journal (ENOSPC)",
            MANY,
            "size=16k",
            no_room,
        ),
        (
            "no room for all of a large journal (ENOSPC)",
            LARGE,
            "size=300k",
            no_room,
        ),
        (
            "no inode for the journal (ENOSPC)",
            MANY,
            "nr_inodes=1",
            no_room,
        ),
        (
            "the journal's folder read-only (EROFS)",
            MANY,
            "ro",
            "Read-only file system",
        ),
    ] {
        let scene = Scene::on_disk(count);
        let script = format!(
            "mount -t tmpfs -o {options} tmpfs \"$ROOT/runsync/journal\"
             \"$RUNSYNC\" remove-runs {RUN} --yes --direct && exit 99
             code=$?; find \"$ROOT/runsync/journal\" -type f -printf 'left: %p\\n'; exit $code"
        );
        let output = among_own_mounts(&scene, &script);
        check_failed(&output, reason);
        assert!(text(&output.stderr).contains("cannot use journal"));
        assert!(!text(&output.stderr).contains("cannot read"));
        assert!(!text(&output.stdout).contains("left: "), "{output:?}");
        scene.check_untouched(&*scene.site.watch().0.registry);
        shown(what, "refused, untouched");
        scene.site.directly(&["remove-runs", RUN, "--yes"]);
        scene.check_gone(&*scene.site.watch().0.registry);
    }
}

/// Commits a removal and goes no further; returns it.
fn committed(scene: &Scene, owner: &str) -> Uuid {
    let open = scene.site.open();
    begin(&scene.removing(&open), &account(owner), &mut go_on).unwrap()
}

fn resume(scene: &Scene, removal: Uuid, owner: &str) {
    let removal = removal.to_string();
    let words = ["journal", "resume", &removal, "--as-owner", owner];
    scene.site.directly(&words);
    scene.check_gone(&*scene.site.watch().0.registry);
}

#[test]
fn a_root_that_becomes_read_only_after_the_commit_keeps_everything_until_it_is_not() {
    let read_only = |folder: &str| {
        format!("mount --bind \"{folder}\" \"{folder}\"; mount -o remount,ro,bind \"{folder}\"\n")
    };
    for (what, folder, reason) in [
        (
            "the whole root read-only (EROFS), after the commit",
            "$ROOT",
            "Read-only file system",
        ),
        (
            "the artifacts read-only (EROFS), during deletion",
            "$ROOT/data",
            "cannot be deleted",
        ),
    ] {
        let scene = Scene::on_disk(MANY);
        let removal = committed(&scene, "root");
        let script =
            read_only(folder) + &format!("exec \"$RUNSYNC\" journal resume {removal} --direct");
        let output = among_own_mounts(&scene, &script);
        check_failed(&output, reason);
        let named = text(&output.stderr);
        let named = named.matches("artifact cannot be deleted path=").count();
        assert!(named <= 10, "{named} failures of one pass are named");
        let left = scene.left();
        assert_eq!(left.journaled.len(), MANY as usize);
        assert_eq!(left.recorded.len(), 1);
        resume(&scene, removal, "root");
        shown(what, "goes on when it has passed: gone as a whole");
    }
    let scene = Scene::on_disk(MANY);
    let script =
        read_only("$ROOT") + &format!("exec \"$RUNSYNC\" remove-runs {RUN} --yes --direct");
    check_failed(&among_own_mounts(&scene, &script), "Read-only file system");
    scene.check_untouched(&*scene.site.watch().0.registry);
    shown(
        "the whole root read-only (EROFS), before the journal",
        "refused, untouched",
    );
}

/// Bytes of a page of a file system in memory.
const PAGE: u64 = 4_096;
/// Room that is left in the last page: less than the line that marks a journal as committed.
const ROOM: u64 = 20;

#[test]
fn a_journal_that_cannot_be_marked_for_want_of_room_is_marked_when_there_is_some() {
    // How long its owner's name is decides how long the journal is.
    let probe = Scene::on_disk(FEW);
    committed(&probe, "root");
    let plain = fs::metadata(probe.journal()).unwrap().len();
    let scene = Scene::on_disk(FEW);
    let longer = usize::try_from(PAGE - ROOM - plain % PAGE).unwrap();
    let owner = "r".repeat("root".len() + longer);
    let removal = committed(&scene, &owner);
    let pages = fs::metadata(scene.journal()).unwrap().len().div_ceil(PAGE);
    let script = format!(
        "cp \"$ROOT/runsync/journal/\"* \"$OUT\"
         mount -t tmpfs -o size={}k tmpfs \"$ROOT/runsync/journal\"
         cp \"$OUT/\"* \"$ROOT/runsync/journal\"
         code=0; \"$RUNSYNC\" journal resume {removal} --as-owner {owner} --direct || code=$?
         cp \"$ROOT/runsync/journal/\"* \"$OUT\"; exit $code",
        pages * PAGE / 1_024
    );
    let output = among_own_mounts(&scene, &script);
    check_failed(&output, "No space left on device");
    let torn = scene
        .site
        .folder
        .path()
        .join("out")
        .join(scene.journal().file_name().unwrap());
    assert_eq!(
        fs::metadata(&torn).unwrap().len(),
        pages * PAGE,
        "half a line was written"
    );
    write(&scene.journal(), &fs::read(&torn).unwrap());
    let left = scene.left();
    assert_eq!(
        left.journaled.len(),
        FEW as usize,
        "nothing is deleted before it is marked"
    );
    resume(&scene, removal, &owner);
    shown(
        "no room to mark the journal (ENOSPC), after the commit",
        "goes on when it has passed: gone as a whole",
    );
}

#[test]
fn a_journal_whose_mark_was_torn_is_known_as_committed_without_the_registry() {
    let scene = Scene::new(FEW);
    let removal = committed(&scene, "root");
    let mut torn = fs::read(scene.journal()).unwrap();
    torn.extend_from_slice(b"{\"kind\":\"comm");
    write(&scene.journal(), &torn);
    let open = scene.site.open();
    let root = Arc::new(Faulty::new(LocalRoot::open(&scene.site.root()).unwrap()));
    root.fail_at(&path(1));
    let registry = Arc::clone(&open.assembly.parts.registry);
    let removing = scene.removing_over(&open, Arc::clone(&root) as _, registry);
    let outcome = removing.resume(removal, &mut go_on).unwrap();
    assert_eq!(outcome.deletions.failed, 1);
    let marked = fs::read(scene.journal()).unwrap();
    // A second pass finds the mark, and writes no other.
    removing.resume(removal, &mut go_on).unwrap();
    assert!(fs::read(scene.journal()).unwrap() == marked);
    let name = scene.journal();
    let name = name.file_name().unwrap().to_str().unwrap();

    // A registry from before the removal.
    let restored = Scene::new(FEW);
    restored
        .site
        .put(&format!("runsync/journal/{name}"), &marked);
    let open = restored.site.open();
    let removing = restored.removing(&open);
    assert_eq!(removing.drop_uncommitted(&mut go_on).unwrap(), 0);
    assert_eq!(removing.journals().unwrap()[0].state, JournalState::Unknown);
    shown(
        "half of the mark in the journal, and a registry from before the removal",
        "marked anew, kept and shown",
    );
}

/// Gives all below `path` to a user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

fn run_as_user(scene: &Scene, words: &[&str]) -> Output {
    scene
        .site
        .command(words)
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap()
}

/// A site of a user who is not root, and the folder of half of the artifacts.
fn of_a_user(mode: u32) -> (Scene, PathBuf) {
    let scene = Scene::on_disk(FEW);
    give(scene.site.folder.path(), USER);
    let folder = scene.site.root().join("data/1");
    chown(&folder, Some(0), Some(0)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    (scene, folder)
}

#[test]
fn what_its_account_may_not_delete_stays_in_the_journal_until_it_may() {
    let (scene, folder) = of_a_user(0o755);
    let words = ["remove-runs", RUN, "--yes", "--direct", "--json"];
    let output = run_as_user(&scene, &words);
    // The log names what it is, and why.
    check_failed(&output, "Permission denied");
    let told: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!((&told["deleted"], &told["failed"]), (&3.into(), &2.into()));
    let left = scene.left();
    assert_eq!(
        left.journaled.into_iter().collect::<Vec<_>>(),
        [path(1), path(3)]
    );
    let removal = told["removal"].as_str().unwrap();
    let resume = ["journal", "resume", removal, "--direct"];
    check_failed(&run_as_user(&scene, &resume), "cannot be deleted");
    assert_eq!(scene.left().journaled.len(), 2, "never forgotten");
    give(&folder, USER);
    assert!(run_as_user(&scene, &resume).status.success());
    scene.check_gone(&*scene.site.watch().0.registry);
    shown(
        "a folder closed to the account (EACCES), during deletion",
        "two of five stay in the journal; goes on when it has passed: gone as a whole",
    );
}

#[test]
fn what_its_account_may_not_look_at_is_not_removed() {
    let (scene, folder) = of_a_user(0o700);
    let words = ["remove-runs", RUN, "--yes", "--direct"];
    check_failed(&run_as_user(&scene, &words), "Permission denied");
    scene.check_untouched(&*scene.site.watch().0.registry);
    shown(
        "a folder that the account may not look into (EACCES), before the commit",
        "refused, untouched",
    );
    give(&folder, USER);
    assert!(run_as_user(&scene, &words).status.success());
    scene.check_gone(&*scene.site.watch().0.registry);
}
