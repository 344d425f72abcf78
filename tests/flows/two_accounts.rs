//! Two users of this machine on one root: what one has begun and not finished, the other never
//! deletes, unless it names the owner; and a daemon refuses what the rules of its socket refuse.
//!
//! The product is meant to be used through a daemon, or with `--direct` as the service's one user.
//! Where two accounts do use `--direct` they share state and root by a group, as here, each with a key
//! file of its own, which nobody else may read. `cargo xtask two-accounts` prints what each case came to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

#[path = "../support/http.rs"]
mod http;

#[path = "../support/proof.rs"]
mod proof;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use http::Request;
use process::{Daemon, text};
use proof::{Files, compare, shown};
use runsync_manifest::content::Content;
use serde_json::Value;
use support::{Manifest, TestSite, artifact, entry, write};

const NEEDS_ROOT: &str = "run this as root: it acts as other users of the machine";
/// Users that the machine has no names for.
const ALICE: u32 = 4_001;
const BOB: u32 = 4_002;
/// The user that runs the daemon.
const SERVICE: u32 = 4_100;
/// The group that shares state and root.
const GROUP: u32 = 4_000;
/// Users that Debian's base system has.
const DAEMON: u32 = 1;
const GAMES: u32 = 5;
const NOBODY: u32 = 65_534;

/// A run whose last two of four artifacts lie in a folder of their own.
const ONE: &str = "u/test/one";
const TWO: &str = "u/test/two";
const THREE: &str = "u/test/three";
const RUNS: [(&str, u128); 3] = [(ONE, 10), (TWO, 20), (THREE, 30)];

fn artifacts_of(run: &str) -> [String; 4] {
    let name = run.rsplit('/').next().unwrap();
    [("open", 1), ("open", 2), ("shut", 1), ("shut", 2)]
        .map(|(folder, number)| format!("data/{name}-{folder}/{number}"))
}

/// A site with three runs, all confirmed.
fn site() -> TestSite {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = TestSite::new("size");
    fs::set_permissions(site.folder.path(), Permissions::from_mode(0o755)).unwrap();
    for (run, first) in RUNS {
        let paths = artifacts_of(run);
        let entries = paths.iter().zip(0_i64..).map(|(path, at)| {
            let bytes = artifact(1, 50);
            site.put(path, &bytes);
            entry(first + u128::try_from(at).unwrap(), at, 0, path, &bytes)
        });
        let entries: Vec<_> = entries.collect();
        let manifest = Manifest::new(site.repository, run, "1-1", Content::Additions);
        site.place(&manifest.with_dimensions(5).with_entries(entries));
    }
    let mut open = site.open();
    open.work();
    assert_eq!(open.confirm(), 12);
    drop(open);
    fs::create_dir_all(site.root().join("runsync/journal")).unwrap();
    site
}

/// Gives all below `path` to somebody; folders and files get these permissions.
fn give(path: &Path, (uid, gid): (u32, u32), (folder, file): (u32, u32)) {
    let metadata = fs::symlink_metadata(path).unwrap();
    chown(path, Some(uid), Some(gid)).unwrap();
    let mode = if metadata.is_dir() { folder } else { file };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), (uid, gid), (folder, file));
        }
    }
}

/// The folder of a run's last two artifacts.
fn shut(site: &TestSite, run: &str) -> PathBuf {
    let path = &artifacts_of(run)[2];
    site.root().join(path).parent().unwrap().to_path_buf()
}

/// The configuration that an account uses: its key is its own.
fn config_of(site: &TestSite, uid: u32) -> PathBuf {
    site.folder.path().join(format!("site-{uid}.toml"))
}

/// Shares state and root with the group, and gives each account a configuration and a key.
fn share(site: &TestSite) {
    let folder = site.folder.path();
    give(&folder.join("state"), (0, GROUP), (0o2770, 0o660));
    give(&site.root(), (0, GROUP), (0o2775, 0o664));
    give(&folder.join("keys"), (0, GROUP), (0o755, 0o600));
    let socket = folder.join("socket");
    fs::create_dir_all(&socket).unwrap();
    give(&socket, (BOB, BOB), (0o755, 0o644));
    for uid in [ALICE, BOB] {
        let key = folder.join(format!("keys/{uid}.pem"));
        write(&key, &fs::read(folder.join("keys/signing.pem")).unwrap());
        give(&key, (uid, GROUP), (0o700, 0o600));
        configure(site, uid);
    }
}

fn configure(site: &TestSite, uid: u32) {
    let text = format!(
        "[site]\nname = \"SITE_A\"\nsigning_key_file = \"keys/{uid}.pem\"\n\
         [[root]]\nname = \"main\"\nurl = \"file://{}\"\nconfirm = \"size\"\n\
         [log]\nformat = \"json\"\n[http]\nsocket = \"{}\"\n",
        site.root().display(),
        site.folder.path().join("socket/runsync.sock").display()
    );
    write(&config_of(site, uid), text.as_bytes());
}

/// `runsync ARGS` as a user of the group, whose files the group may write too.
fn command_as(uid: u32, config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 002; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_runsync"))
        .arg("--config")
        .arg(config)
        .args(args)
        .uid(uid)
        .gid(if uid == ALICE || uid == BOB {
            GROUP
        } else {
            uid
        });
    command
}

fn run_as(site: &TestSite, uid: u32, args: &[&str]) -> Output {
    let own = config_of(site, uid);
    let config = if fs::exists(&own).unwrap() {
        own
    } else {
        site.config()
    };
    command_as(uid, &config, args).output().unwrap()
}

/// What a command says that must fail, in one text.
fn refused(site: &TestSite, uid: u32, args: &[&str]) -> String {
    let output = run_as(site, uid, args);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    said
}

/// The lines of JSON of a command that ends with `code`.
fn answers(site: &TestSite, uid: u32, args: &[&str], code: i32) -> Vec<Value> {
    let output = run_as(site, uid, &[args, &["--json"]].concat());
    let said = text(&output.stdout);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}{error}");
    let lines = said.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn files(site: &TestSite) -> Files {
    compare(&site.root(), &*site.watch().0.registry)
}

/// What the first account's removal has left in the folder that it may not write to.
fn check_left(site: &TestSite, what: &str) {
    let left = files(site);
    let expected = &artifacts_of(ONE)[2..];
    let found: Vec<_> = left.journaled.iter().cloned().collect();
    assert_eq!(found, expected, "{what}");
    for path in expected {
        assert!(
            fs::exists(site.root().join(path)).unwrap(),
            "{what}: {path}"
        );
    }
}

/// Has an account remove [`ONE`], which fails for two of four artifacts; returns the removal.
fn fail_midway(site: &TestSite, uid: u32, way: &[&str]) -> String {
    let told = answers(
        site,
        uid,
        &[&["remove-runs", ONE, "--yes"], way].concat(),
        1,
    );
    assert_eq!(told[1]["state"], "failed");
    assert_eq!(
        (&told[1]["deleted"], &told[1]["failed"]),
        (&2.into(), &2.into())
    );
    check_left(site, "after the failed removal");
    told[1]["removal"].as_str().unwrap().to_owned()
}

#[test]
fn another_account_cannot_use_a_state_directory_that_is_not_shared_with_it() {
    let site = site();
    give(
        &site.folder.path().join("state"),
        (ALICE, ALICE),
        (0o750, 0o640),
    );
    give(&site.root(), (ALICE, ALICE), (0o755, 0o644));
    give(
        &site.folder.path().join("keys"),
        (ALICE, ALICE),
        (0o755, 0o600),
    );
    let before = files(&site);
    let nobodys = "00000000-0000-0000-0000-000000000001";
    for args in [
        &["remove-runs", TWO, "--yes"][..],
        &["journal", "list"],
        &["journal", "resume", nobodys],
        &["journal", "drop", nobodys],
    ] {
        let args = [args, &["--direct"]].concat();
        let output = command_as(BOB, &site.config(), &args).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("ermission denied"), "{said}");
        shown(
            &format!("state not shared: another account's `{}`", args.join(" ")),
            "refused by the system, nothing changed",
        );
    }
    assert_eq!(files(&site), before);
}

#[test]
fn what_one_accounts_command_left_no_other_account_deletes_without_its_name() {
    let site = site();
    share(&site);
    // The second may delete there, the first may not.
    give(&shut(&site, ONE), (BOB, BOB), (0o755, 0o644));
    let removal = fail_midway(&site, ALICE, &["--direct"]);
    shown(
        "direct: A's removal, two of four artifacts closed to A",
        "failed, two stay in A's journal",
    );

    let removed = answers(&site, BOB, &["remove-runs", TWO, "--yes", "--direct"], 0);
    assert_eq!(
        (&removed[1]["state"], &removed[1]["deleted"]),
        (&"done".into(), &4.into())
    );
    check_left(&site, "after B's own removal");
    shown(
        "direct: B removes another run",
        "done, A's artifacts and journal stay",
    );

    let listed = answers(&site, BOB, &["journal", "list", "--direct"], 0);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (
            &listed[0]["account"],
            &listed[0]["state"],
            &listed[0]["artifacts"]
        ),
        (&"uid 4001".into(), &"committed".into(), &4.into())
    );
    check_left(&site, "after B's list");
    shown("direct: B lists journals", "shown as A's, untouched");

    refuse_all(&site, BOB, &removal, "--direct");
    let again = refused(&site, BOB, &["remove-runs", ONE, "--yes", "--direct"]);
    assert!(again.contains("being removed already"), "{again}");
    check_left(&site, "after B's second removal");
    shown("direct: B removes A's run once more", "refused, untouched");

    daemon_of_another_account(&site, &removal);

    let resume = [
        "journal",
        "resume",
        &removal,
        "--as-owner",
        "uid 4001",
        "--direct",
    ];
    let output = run_as(&site, BOB, &resume);
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(
        log.contains("another account's removal is taken in hand"),
        "{log}"
    );
    check_one_gone(&site);
    shown("direct: B resumes A's with --as-owner", "done, and logged");
}

/// The refusal is about who asks, and about nothing else.
fn check_role(said: &str) {
    let told = ["may not ask", "may ask, and change nothing"];
    assert!(told.iter().any(|words| said.contains(words)), "{said}");
}

/// Refuses whoever does not name the owner, or names another.
fn refuse_all(site: &TestSite, uid: u32, removal: &str, way: &str) {
    for (what, more) in [
        ("resume", &[][..]),
        ("resume", &["--as-owner", "uid 4002"]),
        ("drop", &[]),
        ("drop", &["--as-owner", "uid 4002"]),
    ] {
        let mut args = [&["journal", what, removal], more].concat();
        args.extend((!way.is_empty()).then_some(way));
        let said = refused(site, uid, &args);
        assert!(said.contains("is uid 4001's"), "{said}");
        check_left(site, what);
        let how = if way.is_empty() {
            "B's daemon"
        } else {
            "direct"
        };
        let words = [&[what], more].concat().join(" ");
        shown(
            &format!("{how}: B's `journal {words}` of A's"),
            "refused, the owner named, untouched",
        );
    }
}

/// A daemon that the second account runs leaves the first one's removal alone.
fn daemon_of_another_account(site: &TestSite, removal: &str) {
    let command = &mut command_as(BOB, &config_of(site, BOB), &["daemon"]);
    let daemon = Daemon::spawn(command);
    daemon.until_told("READY=1");
    // The loop takes the oldest first: when this one is done, the other has been passed over.
    let removed = answers(site, BOB, &["remove-runs", THREE, "--yes"], 0);
    assert_eq!(removed[1]["state"], "done");
    check_left(site, "after the daemon's own removal");
    shown(
        "B's daemon sees its own removal through",
        "done, A's artifacts and journal stay",
    );
    refuse_all(site, BOB, removal, "");
    let said = refused(site, ALICE, &["journal", "resume", removal]);
    check_role(&said);
    check_left(site, "after A has asked B's daemon");
    shown(
        "B's daemon: A, who may only read there, asks for A's",
        "refused, untouched",
    );
    daemon.stop();
    check_left(site, "after the daemon has stopped");
}

fn check_one_gone(site: &TestSite) {
    let left = files(site);
    assert!(left.journaled.is_empty(), "{left:?}");
    for path in artifacts_of(ONE) {
        assert!(!fs::exists(site.root().join(&path)).unwrap(), "{path}");
    }
    assert_eq!(site.watch().0.registry.removals().unwrap(), []);
}

/// A daemon run by a user of its own, and its socket.
fn service(site: &TestSite) -> (Daemon, PathBuf) {
    let folder = site.folder.path();
    give(&folder.join("state"), (SERVICE, SERVICE), (0o750, 0o640));
    give(&site.root(), (SERVICE, SERVICE), (0o755, 0o644));
    give(&folder.join("keys"), (SERVICE, SERVICE), (0o755, 0o600));
    // Not even the daemon may write there.
    give(&shut(site, ONE), (0, 0), (0o755, 0o644));
    let socket = folder.join("socket/runsync.sock");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    give(socket.parent().unwrap(), (SERVICE, SERVICE), (0o755, 0o644));
    site.configure_daemon(
        "size",
        "",
        &format!(
            "[http]\nsocket = \"{}\"\noperators = [\"nobody\", \"@games\"]\nreaders = [\"daemon\"]",
            socket.display()
        ),
    );
    let daemon = Daemon::spawn(&mut command_as(SERVICE, &site.config(), &["daemon"]));
    daemon.until_told("READY=1");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    assert!(status.contains(&format!("Uid:\t{SERVICE}")), "{status}");
    assert_eq!(fs::metadata(&socket).unwrap().uid(), SERVICE);
    (daemon, socket)
}

/// Does something as another user of this machine, and of no other thread.
fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Every request that the daemon says it answers, with made-up names in its paths.
fn requests(socket: &Path) -> Vec<(String, String)> {
    let document = Request::get("/openapi.json").at(socket).json();
    let mut requests = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{removal}", "00000000-0000-0000-0000-000000000001");
        let path = path.replace("{origin}", "00000000-0000-0000-0000-00000000000a");
        let path = path.replace("{run}", "u%2Ftest%2Fone");
        let path = path.replace("{collection}", "u%2Ftest%2Fchain");
        for method in methods.as_object().unwrap().keys() {
            requests.push((method.to_uppercase(), path.clone()));
        }
    }
    requests
}

#[test]
fn a_daemon_of_another_user_refuses_what_its_socket_refuses() {
    let site = site();
    let (daemon, socket) = service(&site);
    let before = (files(&site), site.watch().dump());
    let mut counts = (0, 0);
    for (method, path) in requests(&socket) {
        let asks = path == "/v1/exists" || method == "GET";
        let open = path == "/healthz" || path == "/readyz";
        let status = |uid| {
            let request = Request::new(&method, &path);
            as_user(uid, || request.at(&socket)).status
        };
        let what = format!("{method} {path}");
        if !open {
            assert_eq!(status(ALICE), 403, "{what} by an account without a role");
            counts.0 += 1;
        }
        assert_eq!(status(DAEMON) == 403, !asks, "{what} by a reader");
        if !asks {
            counts.1 += 1;
            shown(
                &format!("daemon: {what} by an account without a role, and by a reader"),
                "403",
            );
        }
    }
    assert!(counts.0 > 20 && counts.1 >= 10, "{counts:?}");
    shown(
        &format!(
            "daemon: all {} requests by an account without a role",
            counts.0
        ),
        "403",
    );
    for (uid, who) in [(ALICE, "an account without a role"), (DAEMON, "a reader")] {
        let said = refused(&site, uid, &["remove-runs", TWO, "--yes"]);
        check_role(&said);
        shown(&format!("daemon: `remove-runs` by {who}"), "refused");
    }
    assert_eq!((files(&site), site.watch().dump()), before);
    let asked = Request::get("/v1/requests").at(&socket).lines();
    assert!(asked.is_empty(), "{asked:?}");
    shown(
        "daemon: after all that was refused",
        "files and registry unchanged",
    );
    daemon.stop();
}

#[test]
fn an_operator_does_not_continue_anothers_removal_without_its_name() {
    let site = site();
    let (daemon, socket) = service(&site);
    let mut daemon = daemon;
    daemon.expect("artifact cannot be deleted");
    daemon.expect("artifacts of a removal cannot be deleted");
    daemon.expect("another account's removal is taken in hand");
    let removal = fail_midway(&site, NOBODY, &[]);
    shown(
        "daemon: an operator's removal, two of four artifacts closed",
        "failed, two stay in the journal",
    );
    // From here on it would work.
    give(&shut(&site, ONE), (SERVICE, SERVICE), (0o755, 0o644));
    for (uid, who) in [
        (GAMES, "an operator by its group"),
        (SERVICE, "the daemon's own user"),
        (0, "root"),
    ] {
        for what in ["resume", "drop"] {
            let said = refused(&site, uid, &["journal", what, &removal]);
            assert!(said.contains("is nobody's"), "{said}");
            check_left(&site, who);
            shown(
                &format!("daemon: `journal {what}` of another's by {who}"),
                "refused, the owner named, untouched",
            );
        }
    }
    for (uid, who) in [(ALICE, "an account without a role"), (DAEMON, "a reader")] {
        let named = ["journal", "resume", &removal, "--as-owner", "nobody"];
        let said = refused(&site, uid, &named);
        check_role(&said);
        check_left(&site, who);
        shown(
            &format!("daemon: `journal resume --as-owner` by {who}"),
            "refused, untouched",
        );
    }
    let removed = answers(&site, GAMES, &["remove-runs", TWO, "--yes"], 0);
    assert_eq!(removed[1]["state"], "done");
    check_left(&site, "after another operator's removal");
    shown(
        "daemon: another operator removes another run",
        "done, the first one's artifacts stay",
    );

    let named = ["journal", "resume", &removal, "--as-owner", "nobody"];
    let resumed = answers(&site, GAMES, &named, 0);
    assert_eq!(resumed[0]["state"], "done");
    check_one_gone(&site);
    daemon.until_logged("another account's removal is taken in hand", 0);
    let asked = Request::get("/v1/requests").at(&socket).lines();
    assert_eq!(
        (&asked[0]["account"], &asked[0]["uid"]),
        (&"games".into(), &GAMES.into())
    );
    shown(
        "daemon: `journal resume --as-owner` by another operator",
        "done, logged, and in the list of requests",
    );
    daemon.stop();
}
