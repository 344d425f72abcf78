//! Real daemons of one site, one of which holds the lease: killed, stopped, woken, and shut out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

use std::fmt;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use process::{Daemon, Onlooker, text, until};
use runsync::assembly::{self, Stores};
use runsync::clock::{Clock, SystemClock};
use runsync::lease::LeaseTable;
use runsync::ledger::SqliteLease;
use runsync::ledger::record::ManifestState;
use runsync::steward::Steward;
use runsync_config::key_file::PublicKeyFile;
use runsync_config::registry::RegistryBackend;
use runsync_manifest::content::Content;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::SigningKey;
use rustix::process::{Pid, Signal, kill_process};
use support::{Manifest, TestSite, artifact, entry, rename, write};
use uuid::Uuid;

const ROOT: &str = "sweep_interval = \"1h\"";
/// A lease that no test waits for.
const LONG: &str = "[lease]\nduration = \"1h\"";
/// A lease that runs out within a test.
const SHORT: &str = "[lease]\nduration = \"1s\"";
const SHORT_DURATION: Duration = Duration::from_secs(1);

fn site(lease: &str) -> TestSite {
    let site = TestSite::new("trust");
    site.configure_daemon("trust", ROOT, lease);
    site
}

/// A run of one dataset; `number` sets runs apart.
fn manifest(site: &TestSite, number: u128) -> Manifest {
    let visit = i64::try_from(number).unwrap();
    let path = format!("data/{number}.fits");
    Manifest::new(
        site.repository,
        &format!("u/test/{number}"),
        "1-1",
        Content::Additions,
    )
    .with_dimensions(visit + 1)
    .with_entries([entry(number, visit, 0, &path, &artifact(1, 10))])
}

/// The second daemon, once it has said that it stands by.
fn standby(site: &TestSite) -> Daemon {
    let daemon = Daemon::spawn(&mut site.second_daemon());
    let told = daemon.until_told("READY=1");
    assert!(
        told.contains("STATUS=standing by: a daemon (pid "),
        "{told}"
    );
    daemon
}

fn until_registered(daemon: &Daemon, seen: &Onlooker, count: usize) {
    daemon.until("it is registered", || {
        seen.count(ManifestState::Registered) == count
    });
}

/// Each of the first `count` runs is there, once.
fn assert_each_once(seen: &Onlooker, count: usize) {
    assert_eq!(seen.manifests().len(), count);
    let mut runs: Vec<u128> = seen
        .counts()
        .into_iter()
        .map(|(name, claims, waiting)| {
            assert_eq!((claims, waiting), (1, 0), "{name}");
            name.rsplit('/').next().unwrap().parse().unwrap()
        })
        .collect();
    runs.sort_unstable();
    assert!(runs.into_iter().eq(1..=count as u128));
}

#[test]
fn a_second_daemon_stands_by_and_takes_over_when_the_first_stops() {
    let site = site(LONG);
    let seen = site.watch();
    let first = Daemon::start(&site);
    let second = standby(&site);
    site.place(&manifest(&site, 1));
    until_registered(&first, &seen, 1);
    assert_eq!(second.logged("run registered", 0), 0);
    first.stop();
    second.until_told("STATUS=serving");
    site.place(&manifest(&site, 2));
    until_registered(&second, &seen, 2);
    assert_each_once(&seen, 2);
    second.stop();
    let locks = site.lock_files();
    assert_eq!(locks, Vec::<PathBuf>::new(), "nothing is left of the lease");
}

#[test]
fn a_daemon_that_was_killed_is_followed_at_once_however_long_its_lease() {
    let site = site(LONG);
    let seen = site.watch();
    let first = Daemon::start(&site);
    let second = standby(&site);
    first.kill();
    second.until_logged("its holder is gone", 0);
    site.place(&manifest(&site, 1));
    until_registered(&second, &seen, 1);
    second.kill();
    // Nor does one that is started again wait.
    let third = Daemon::start(&site);
    assert_eq!(third.logged("its holder is gone", 0), 1);
    site.place(&manifest(&site, 2));
    until_registered(&third, &seen, 2);
    assert_eq!(site.lock_files().len(), 1, "old lock files are removed");
    third.stop();
}

#[test]
fn a_suspended_owner_is_overtaken_writes_nothing_when_it_wakes_and_takes_over_again() {
    let site = site(SHORT);
    let seen = site.watch();
    let first = Daemon::start(&site).expecting("lease lost");
    let second = standby(&site).expecting("its holder has not renewed it");
    first.freeze();
    let start = Instant::now();
    site.place(&manifest(&site, 1));
    until_registered(&second, &seen, 1);
    let took = start.elapsed();
    assert!(
        took >= SHORT_DURATION / 2,
        "{took:?}: its lease had not run out"
    );

    // The owner finds work as soon as it wakes: the events of what came meanwhile.
    site.place(&manifest(&site, 2));
    until_registered(&second, &seen, 2);
    let from = first.lines().len();
    first.signal(Signal::CONT);
    first.until_logged("lease lost", from);
    first.until_logged("standing by", from);
    first.until_told("STATUS=standing by: a daemon (pid ");
    assert_eq!(first.logged("run registered", 0), 0);
    assert_eq!(
        first.logged("worker failed", 0),
        0,
        "being overtaken is no failure"
    );

    second.stop();
    first.until_told("STATUS=serving");
    site.place(&manifest(&site, 3));
    until_registered(&first, &seen, 3);
    assert_eq!(first.logged("run registered", 0), 1);
    assert_each_once(&seen, 3);
    first.stop();
}

#[test]
fn an_owner_that_cannot_renew_gives_up_and_serves_again_when_it_can() {
    let site = site(SHORT);
    let seen = site.watch();
    let mut daemon = Daemon::start(&site)
        .expecting("lease cannot be renewed")
        .expecting("lease lost")
        .expecting("cannot take the lease over yet");
    let ledger =
        rusqlite::Connection::open(site.folder.path().join("state/ledger.sqlite3")).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    daemon.until_logged("lease lost", 0);
    daemon.until_logged("cannot take the lease over yet", 0);
    assert!(daemon.is_running(), "it is in nobody's way, and not ended");
    let from = daemon.lines().len();
    ledger.execute_batch("ROLLBACK").unwrap();
    daemon.until_logged("runsync serves", from);
    site.place(&manifest(&site, 1));
    until_registered(&daemon, &seen, 1);
    daemon.stop();
}

#[test]
fn a_root_that_is_away_when_a_standby_takes_over_is_waited_for() {
    let site = site(LONG);
    let seen = site.watch();
    let first = Daemon::start(&site);
    let second = standby(&site).expecting("worker failed");
    let away = site.folder.path().join("away");
    rename(&site.root(), &away);
    first.expecting("is not there").stop();
    second.until_logged("worker failed", 0);
    rename(&away, &site.root());
    second.until_told("STATUS=serving");
    site.place(&manifest(&site, 1));
    until_registered(&second, &seen, 1);
    second.stop();
}

#[test]
fn a_standby_takes_new_peers_on_reload_and_uses_them_when_it_takes_over() {
    let site = site(LONG);
    let seen = site.watch();
    let key = SigningKey::from_seed(&[7; 32]);
    let origin = RepositoryId(Uuid::from_u128(0xC));
    let first = Daemon::start(&site).expecting("manifest untrusted");
    let second = standby(&site);
    let mut peers = manifest(&site, 1);
    peers.header.origin.repository = origin;
    peers.header.origin.site = "SITE_B".parse().unwrap();
    site.put(
        "runsync/manifests/b/1-1.manifest.jsonl",
        &peers.bytes(Some(&key)),
    );
    first.until("it is untrusted", || {
        seen.count(ManifestState::Untrusted) == 1
    });
    let file = site.folder.path().join("site_b.json");
    let public = PublicKeyFile {
        site: "SITE_B".parse().unwrap(),
        repository: origin,
        public_key: key.public(),
        revoked: false,
    };
    write(&file, &serde_json::to_vec(&public).unwrap());
    let peer = format!(
        "[[peer]]\nsite = \"SITE_B\"\norigin = \"{origin}\"\nrun_prefixes = [\"u/test\"]\n{LONG}"
    );
    site.configure_daemon("trust", ROOT, &peer);
    site.answer(&["keys", "trust", file.to_str().unwrap()]);
    drop(site.second_daemon());
    second.signal(Signal::HUP);
    second.until_told("RELOADING=1");
    let told = second.until_told("READY=1");
    assert!(told.contains("STATUS=standing by"), "{told}");
    first.stop();
    until_registered(&second, &seen, 1);
    second.stop();
}

#[test]
fn a_command_that_writes_is_refused_beside_a_daemon() {
    let site = site(LONG);
    let daemon = Daemon::start(&site);
    let outside = site.folder.path().join("outside.manifest.jsonl");
    write(&outside, &manifest(&site, 1).bytes(Some(&site.key)));
    let outside = outside.to_str().unwrap();
    for command in [
        &["ingest", "--direct", outside] as &[&str],
        &["quarantine", "retry", "--direct", "--all"],
        &["quarantine", "drop", "--direct", "--all"],
    ] {
        let refused = site.run_command(command);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        let holder = format!("a daemon (pid {} on ", daemon.id());
        assert!(said.contains(&holder) && said.contains("hint: "), "{said}");
    }
    assert_eq!(site.watch().manifests(), []);
    daemon.stop();
    site.directly(&["ingest", outside]);
    assert_each_once(&site.watch(), 1);
}

/// Whether a process has a file open.
fn has_open(process: &Child, name: &str) -> bool {
    let folder = format!("/proc/{}/fd", process.id());
    let Ok(files) = std::fs::read_dir(folder) else {
        return false;
    };
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|path| path.ends_with(name))
}

#[test]
fn a_command_waits_for_another() {
    let site = site(LONG);
    let open = site.open();
    let path = site.place(&manifest(&site, 1));
    let mut command = site
        .command(&["ingest", "--direct", path.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("it has come to the lease", || {
        has_open(&command, "ledger.sqlite3")
    });
    assert_eq!(open.manifests(), []);
    assert_eq!(command.try_wait().unwrap(), None);
    drop(open);
    assert!(command.wait().unwrap().success());
    assert_each_once(&site.watch(), 1);
}

/// Names the site of [`holds_a_transaction`].
const CONFIG: &str = "RUNSYNC_TEST_CONFIG";
/// Names what it keeps locked.
const LOCKED: &str = "RUNSYNC_TEST_LOCKED";

#[test]
#[ignore = "run by the tests of holders that are stopped while others wait for them"]
fn keeps_something_locked() {
    let config = PathBuf::from(std::env::var_os(CONFIG).unwrap());
    let site = runsync_config::load(&config).unwrap();
    let open = |tenure: &_| Stores::open(&site, tenure);
    let turned_away = &mut || ControlFlow::Break(());
    let _held = assembly::claim(&site, &SystemClock, open, turned_away).unwrap();
    let RegistryBackend::Sqlite { file } = &site.registry;
    match std::env::var(LOCKED).unwrap().as_str() {
        "ledger" => in_a_transaction_of(&assembly::ledger_file(&site)),
        "registry" => in_a_transaction_of(file),
        _ => {
            let lock = assembly::registration_lock(&site).unwrap();
            let _turn = lock.acquire(&mut || ControlFlow::Continue(())).unwrap();
            for_ever()
        }
    }
}

fn in_a_transaction_of(file: &Path) -> ! {
    let database = rusqlite::Connection::open(file).unwrap();
    // A renewal may be at it.
    database.busy_timeout(Duration::from_secs(60)).unwrap();
    database
        .execute_batch("BEGIN IMMEDIATE; UPDATE meta SET fence = 0")
        .unwrap();
    for_ever()
}

#[expect(
    clippy::print_stdout,
    reason = "whoever has started this waits for the line"
)]
fn for_ever() -> ! {
    println!("it is locked");
    loop {
        std::thread::park();
    }
}

fn a_holder_stopped_with_a_lock_on(what: &str) {
    let site = site(SHORT);
    let seen = site.watch();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "keeps_something_locked",
        ])
        .env(CONFIG, site.config())
        .env(LOCKED, what)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stdout.take().unwrap());
    let told = output
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("it is locked"));
    assert!(told);
    kill_process(Pid::from_child(&holder), Signal::STOP).unwrap();

    let daemon = Daemon::start(&site)
        .expecting("its holder has not renewed it")
        .expecting("ended the former holder");
    site.place(&manifest(&site, 1));
    until_registered(&daemon, &seen, 1);
    assert_eq!(daemon.logged("ended the former holder", 0), 1);
    // Whoever takes over from this daemon before it is done knows nothing of the one before it.
    let log = daemon.log();
    let (before, _) = log.split_once("lease taken over").unwrap();
    assert!(before.contains("ended the former holder"), "{log}");
    let ended = holder.wait().unwrap();
    assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()));
    assert_each_once(&seen, 1);
    daemon.stop();
}

#[test]
fn a_holder_stopped_in_a_transaction_of_the_registry_is_ended_when_its_lease_has_run_out() {
    a_holder_stopped_with_a_lock_on("registry");
}

#[test]
fn a_holder_stopped_in_a_transaction_of_the_ledger_is_ended_when_its_lease_has_run_out() {
    a_holder_stopped_with_a_lock_on("ledger");
}

#[test]
fn a_holder_stopped_while_it_has_the_turn_to_register_is_ended_when_its_lease_has_run_out() {
    a_holder_stopped_with_a_lock_on("turn");
}

/// A clock that does something whenever it is asked.
#[derive(Default)]
struct Meddling(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl fmt::Debug for Meddling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddling")
    }
}

impl Clock for Meddling {
    fn now(&self) -> Timestamp {
        if let Some(meddle) = self.0.get() {
            meddle();
        }
        SystemClock.now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_comes_while_the_lease_is_taken_over_is_not_lost() {
    let site = site(LONG);
    let before = site.open();
    let clock = Arc::new(Meddling::default());
    let steward = Steward::start(&site.site(), Arc::clone(&clock) as _).unwrap();
    let steward = Arc::new(steward);
    let origin = RepositoryId(Uuid::from_u128(0xC));
    let peer =
        format!("[[peer]]\nsite = \"SITE_B\"\norigin = \"{origin}\"\nrun_prefixes = [\"u/b\"]\n");
    site.configure_daemon("trust", ROOT, &format!("{peer}{LONG}"));
    let new = site.site();
    let table = SqliteLease::open(&assembly::ledger_file(&new), Duration::from_secs(60)).unwrap();
    let old = table.read().unwrap().fence;
    let (told, reloaded) = (Arc::clone(&steward), AtomicBool::new(false));
    let meddle = move || {
        let is_taking = table.read().unwrap().fence > old && told.duty().loops().is_none();
        if is_taking && !reloaded.swap(true, Ordering::SeqCst) {
            told.reload(&new).unwrap();
        }
    };
    assert!(clock.0.set(Box::new(meddle)).is_ok());
    drop(before);
    until("the loops know the new peer", || {
        let loops = steward.duty().loops();
        loops.is_some_and(|loops| loops.assembly().parts.trust().knows(origin))
    });
    steward.stop(Duration::from_secs(60)).await;
}
