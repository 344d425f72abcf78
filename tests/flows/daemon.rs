//! The real daemon over a real root: events of the kernel, SQLite files, signals, another account.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

#[path = "../support/http.rs"]
mod http;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::Request;
use process::{Daemon, text};
use runsync::ledger::record::ManifestState;
use runsync::registry::record::Presence;
use runsync_config::key_file::PublicKeyFile;
use runsync_manifest::content::Content;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::SigningKey;
use runsync_manifest::writer::Packing;
use rustix::process::Signal;
use support::{Manifest, TestSite, artifact, entry, put, rename, write};
use uuid::Uuid;

/// Only an event can bring what comes after the first sweep.
const EVENTS_ONLY: &str = "sweep_interval = \"1h\"";
/// Only a sweep can bring anything.
const SWEEPS_ONLY: &str = "events = false\nsweep_interval = \"200ms\"";
const RUN: &str = "u/test/run";

fn site(level: &str, root: &str) -> TestSite {
    let site = TestSite::new(level);
    site.configure_daemon(level, root, "");
    site
}

fn additions(site: &TestSite, run: &str, generation: &str) -> Manifest {
    Manifest::new(site.repository, run, generation, Content::Additions)
}

/// Two datasets with their dimension records; `number` sets runs apart.
fn two(site: &TestSite, run: &str, number: u128) -> Manifest {
    let (visit, below) = (i64::try_from(number).unwrap(), format!("data/{number}"));
    additions(site, run, "1-1")
        .with_dimensions(visit + 1)
        .with_entries([
            entry(
                number * 10 + 1,
                visit,
                0,
                &format!("{below}/one.fits"),
                &artifact(1, 10),
            ),
            entry(
                number * 10 + 2,
                visit,
                1,
                &format!("{below}/two.fits"),
                &artifact(2, 20),
            ),
        ])
}

fn put_artifacts(site: &TestSite, number: u128) {
    site.put(&format!("data/{number}/one.fits"), &artifact(1, 10));
    site.put(&format!("data/{number}/two.fits"), &artifact(2, 20));
}

fn what_arrives_is_registered_and_recorded(site: &TestSite) {
    site.place(&two(site, "u/test/before", 1));
    put_artifacts(site, 1);
    let seen = site.watch();
    let daemon = Daemon::start(site);
    daemon.until("what was there is complete", || {
        seen.complete("u/test/before", 2)
    });

    site.place(&two(site, RUN, 2));
    daemon.until("the manifest is registered", || {
        seen.run(RUN).is_some_and(|r| r.claims == 2)
    });
    assert_eq!(seen.presence(21), Presence::Pending);
    put_artifacts(site, 2);
    daemon.until("its artifacts have records", || seen.complete(RUN, 2));
    assert_eq!(seen.presence(21), Presence::Yes);

    put_artifacts(site, 3);
    site.place(&two(site, "u/test/after", 3));
    daemon.until("artifacts before their manifest", || {
        seen.complete("u/test/after", 2)
    });
    daemon.stop();
}

#[test]
fn arrivals_are_seen_by_events_alone() {
    what_arrives_is_registered_and_recorded(&site("checksum", EVENTS_ONLY));
}

#[test]
fn arrivals_are_seen_by_sweeps_alone() {
    what_arrives_is_registered_and_recorded(&site("checksum", SWEEPS_ONLY));
}

#[test]
fn a_wake_up_has_the_loops_look_without_events_and_before_the_next_sweep() {
    let site = TestSite::new("size");
    let socket = site.folder.path().join("runsync.sock");
    let http = format!("[http]\nsocket = \"{}\"", socket.display());
    let never = "events = false\nsweep_interval = \"1h\"";
    site.configure_daemon("size", never, &http);
    let seen = site.watch();
    let daemon = Daemon::start(&site);
    daemon.until("the first sweep is over", || {
        let root = "main".parse().unwrap();
        seen.0.ledger.last_sweep(&root).unwrap().is_some()
    });
    site.place(&two(&site, RUN, 1));
    put_artifacts(&site, 1);
    let woken = Request::post("/v1/wake").at(&socket);
    assert_eq!(woken.status, 200, "{}", woken.text());
    daemon.until("the manifest is registered", || seen.complete(RUN, 2));
    daemon.stop();
}

#[test]
fn folders_that_were_filled_before_they_came_are_taken() {
    let site = site("size", EVENTS_ONLY);
    let seen = site.watch();
    let daemon = Daemon::start(&site);
    let prepared = site.folder.path().join("prepared");
    for number in 1..=3 {
        let run = format!("u/deep/er/run{number}");
        let manifest = two(&site, &run, number).bytes(Some(&site.key));
        let path = format!("manifests/far/u/deep/er/run{number}/1-1.manifest.jsonl");
        write(&prepared.join(path), &manifest);
        for (name, seed, size) in [("one", 1, 10), ("two", 2, 20)] {
            write(
                &prepared.join(format!("data/{number}/{name}.fits")),
                &artifact(seed, size),
            );
        }
    }
    rename(
        &prepared.join("manifests/far"),
        &site.root().join("runsync/manifests/far"),
    );
    daemon.until("all runs are registered", || {
        seen.count(ManifestState::Registered) == 3
    });
    rename(&prepared.join("data"), &site.root().join("data"));
    daemon.until("all runs are complete", || {
        (1..=3).all(|number| seen.complete(&format!("u/deep/er/run{number}"), 2))
    });
    daemon.stop();
}

/// Appends to a file that is there under its final name, as a transfer without temporary names does.
fn append(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

#[test]
fn a_slow_copy_is_registered_only_when_it_is_whole() {
    // Whatever counted as wrong instead of cut would be quarantined at once.
    let site = site("trust", &format!("{EVENTS_ONLY}\nsettle = \"1ms\""));
    let seen = site.watch();
    let daemon = Daemon::start(&site);

    let mut packed = additions(&site, "u/test/packed", "1-1").with_many(1 << 64, 20_000);
    packed.packing = Packing::Zstd(3);
    let plain = two(&site, RUN, 1);
    for (manifest, name) in [
        (plain, "plain.manifest.jsonl"),
        (packed, "packed.manifest.jsonl.zst"),
    ] {
        let run = manifest.header.run.to_string();
        let bytes = manifest.bytes(Some(&site.key));
        let path = site.root().join("runsync/manifests/slow").join(name);
        let pieces: Vec<_> = bytes.chunks(bytes.len().div_ceil(7)).collect();
        let (last, before) = pieces.split_last().unwrap();
        for piece in before {
            let from = daemon.lines().len();
            append(&path, piece);
            daemon.until_logged("manifest cannot be read yet", from);
            assert_eq!(seen.state_of(name), None, "{run} is not whole");
            assert!(seen.run(&run).is_none(), "{run} is not whole");
        }
        append(&path, last);
        daemon.until("it is registered", || {
            seen.state_of(name) == Some(ManifestState::Registered)
        });
    }
    assert_eq!(daemon.logged("quarantined", 0), 0);
    daemon.stop();
}

#[test]
fn a_file_held_open_by_its_writer_is_registered_only_when_it_is_whole() {
    let site = site("trust", &format!("{EVENTS_ONLY}\nsettle = \"1ms\""));
    let seen = site.watch();
    let daemon = Daemon::start(&site);
    let bytes = two(&site, RUN, 1).bytes(Some(&site.key));
    let path = site.root().join("runsync/manifests/slow.manifest.jsonl");
    let mut file = File::create(&path).unwrap();
    for piece in bytes.chunks(bytes.len().div_ceil(3)) {
        assert_eq!(seen.manifests(), []);
        let from = daemon.lines().len();
        file.write_all(piece).unwrap();
        daemon.until("it was read again", || {
            daemon.logged("manifest cannot be read yet", from) > 0 || !seen.manifests().is_empty()
        });
    }
    drop(file);
    daemon.until("it is registered", || {
        seen.states() == [ManifestState::Registered]
    });
    daemon.stop();
}

#[test]
fn a_bad_manifest_is_set_aside_and_a_good_one_in_its_place_is_registered() {
    let site = site("trust", &format!("{EVENTS_ONLY}\nsettle = \"100ms\""));
    let seen = site.watch();
    let daemon = Daemon::start(&site).expecting("manifest quarantined");
    let path = site.root().join("runsync/manifests/bad/1-1.manifest.jsonl");
    put(&path, b"{\"kind\":\"header\",\"format\":true}\n");
    site.place(&two(&site, "u/test/other", 1));
    daemon.until(
        "the bad one is in quarantine and the other registered",
        || {
            seen.state_of("bad/") == Some(ManifestState::Quarantined)
                && seen.count(ManifestState::Registered) == 1
        },
    );
    let listed = site.answer(&["quarantine", "list", "--json"]);
    assert!(listed.contains("line 1"), "{listed}");

    // Written over in place: neither its name nor its inode changes.
    write(&path, &two(&site, RUN, 2).bytes(Some(&site.key)));
    daemon.until("both are registered", || {
        seen.count(ManifestState::Registered) == 2
    });
    assert_eq!(site.answer(&["quarantine", "list", "--json"]), "");
    daemon.stop();
}

/// Another repository with its key, and its section of the configuration.
struct Peer {
    key: SigningKey,
    origin: RepositoryId,
}

impl Peer {
    fn new() -> Self {
        Self {
            key: SigningKey::from_seed(&[7; 32]),
            origin: RepositoryId(Uuid::from_u128(0xC)),
        }
    }

    fn section(&self, prefix: &str) -> String {
        let origin = self.origin;
        format!("[[peer]]\nsite = \"SITE_B\"\norigin = \"{origin}\"\nrun_prefixes = [\"{prefix}\"]")
    }

    fn key_file(&self, site: &TestSite) -> PathBuf {
        let file = PublicKeyFile {
            site: "SITE_B".parse().unwrap(),
            repository: self.origin,
            public_key: self.key.public(),
            revoked: false,
        };
        let path = site.folder.path().join("site_b.json");
        write(&path, &serde_json::to_vec(&file).unwrap());
        path
    }

    fn place(&self, site: &TestSite, run: &str, number: u128) {
        let mut manifest = two(site, run, number);
        manifest.header.origin.repository = self.origin;
        manifest.header.origin.site = "SITE_B".parse().unwrap();
        let bytes = manifest.bytes(Some(&self.key));
        site.put(
            &format!("runsync/manifests/b/{number}/1-1.manifest.jsonl"),
            &bytes,
        );
    }
}

#[test]
fn a_reload_takes_new_keys_and_a_broken_configuration_changes_nothing() {
    let site = TestSite::new("trust");
    let peer = Peer::new();
    site.configure_daemon("trust", EVENTS_ONLY, &peer.section("u/b"));
    let seen = site.watch();
    let mut daemon = Daemon::start(&site).expecting("manifest untrusted");
    peer.place(&site, "u/b/run", 1);
    daemon.until("it is untrusted", || {
        seen.states() == [ManifestState::Untrusted]
    });
    let key_file = peer.key_file(&site);
    site.answer(&["keys", "trust", key_file.to_str().unwrap()]);
    daemon.signal(Signal::HUP);
    daemon.until("it is registered", || {
        seen.states() == [ManifestState::Registered]
    });
    daemon.until_told("READY=1");

    write(&site.config(), b"[site]\nnmae = 1\n");
    daemon.expect("configuration not reloaded");
    daemon.signal(Signal::HUP);
    let told = daemon.until_told("READY=1");
    assert!(told.contains("could not be reloaded"), "{told}");
    assert_eq!(daemon.logged("configuration not reloaded", 0), 1);
    peer.place(&site, "u/b/more", 2);
    daemon.until("the old configuration holds", || {
        seen.count(ManifestState::Registered) == 2
    });
    assert!(daemon.is_running());
    daemon.stop();
}

#[test]
fn a_stop_in_the_middle_of_a_large_manifest_is_quick_and_the_next_start_goes_on() {
    const DATASETS: i64 = 300_000;
    let site = site("trust", EVENTS_ONLY);
    let seen = site.watch();
    let path = site.place(&additions(&site, RUN, "1-1").with_many(1, DATASETS));
    let daemon = Daemon::start(&site);
    let mut shown = serde_json::Value::Null;
    daemon.until("`status` shows how far it is", || {
        shown = site.status()["registering"][0].clone();
        shown["done"].as_u64().is_some_and(|done| done > 0)
    });
    assert_eq!(shown["claims"], DATASETS, "{shown}");
    let took = daemon.stop();
    assert!(took < Duration::from_secs(30), "it took {took:?} to stop");
    let done = seen.0.registry.registering().unwrap();
    assert_eq!(done.len(), 1, "the registration has not ended: {done:?}");
    assert_eq!(seen.manifests(), [], "nothing is acknowledged");

    let daemon = Daemon::start(&site);
    daemon.until("the rest is registered", || {
        seen.states() == [ManifestState::Registered]
    });
    assert!(seen.complete(RUN, 300_000));
    assert_eq!(seen.0.registry.registering().unwrap(), []);
    daemon.stop();

    // Stopped while it reads, before the first row.
    fs::remove_file(path).unwrap();
    site.place(&additions(&site, "u/test/second", "1-1").with_many(1 << 64, DATASETS));
    let daemon = Daemon::start(&site);
    let took = daemon.stop();
    assert!(took < Duration::from_secs(30), "it took {took:?} to stop");
}

#[test]
fn an_operators_ingest_and_the_daemon_take_turns() {
    const DATASETS: i64 = 30_000;
    let site = site("trust", EVENTS_ONLY);
    let seen = site.watch();
    let daemon = Daemon::start(&site);
    let outside = site.folder.path().join("outside.manifest.jsonl");
    let second = additions(&site, "u/test/second", "1-1").with_many(1 << 64, DATASETS);
    write(&outside, &second.bytes(Some(&site.key)));
    let first = site.place(&additions(&site, RUN, "1-1").with_many(1, DATASETS));
    // Both take the first; the second is copied into the root, where the daemon sees it too.
    let files = [first.to_str().unwrap(), outside.to_str().unwrap()];
    let said = site.answer(&["ingest", "--json", files[0], files[1]]);
    assert_eq!(said.matches("\"registered\"").count(), 2, "{said}");
    daemon.until("the daemon knows both", || {
        daemon.logged("manifest registered", 0) >= 2 && seen.count(ManifestState::Registered) == 2
    });
    assert!(seen.complete(RUN, 30_000) && seen.complete("u/test/second", 30_000));
    daemon.stop();
}

#[test]
fn a_retry_reaches_the_running_daemon() {
    let site = TestSite::new("trust");
    let peer = Peer::new();
    site.configure_daemon("trust", EVENTS_ONLY, &peer.section("u/b"));
    let key_file = peer.key_file(&site);
    site.answer(&["keys", "trust", key_file.to_str().unwrap()]);
    let seen = site.watch();
    let daemon = Daemon::start(&site).expecting("manifest quarantined");
    peer.place(&site, "u/c/run", 1);
    daemon.until("it is set aside", || {
        seen.states() == [ManifestState::Quarantined]
    });
    site.configure_daemon("trust", EVENTS_ONLY, &peer.section("u/c"));
    daemon.signal(Signal::HUP);
    daemon.until_told("RELOADING=1");
    daemon.until_told("READY=1");
    assert_eq!(seen.states(), [ManifestState::Quarantined]);
    site.answer(&["quarantine", "retry", "--all"]);
    daemon.until("it is registered", || {
        seen.states() == [ManifestState::Registered]
    });
    daemon.stop();
}

#[test]
fn a_root_that_goes_and_comes_back_loses_nothing() {
    let site = site("size", EVENTS_ONLY);
    let seen = site.watch();
    site.place(&two(&site, RUN, 1));
    let mut daemon = Daemon::start(&site)
        .expecting("is not there")
        .expecting("not the one that was opened");
    daemon.until("it waits for artifacts", || {
        seen.run(RUN).is_some_and(|run| run.waiting == 2)
    });
    let before = seen.dump();

    let away = site.folder.path().join("away");
    rename(&site.root(), &away);
    daemon.until_logged("is not there", 0);
    // An empty folder in its place is not the root, and nothing is made there.
    fs::create_dir(site.root()).unwrap();
    daemon.until_logged("not the one that was opened", 0);
    // What arrives meanwhile waits.
    let bytes = two(&site, "u/test/away", 2).bytes(Some(&site.key));
    put(
        &away.join("runsync/manifests/away/1-1.manifest.jsonl"),
        &bytes,
    );
    put(&away.join("data/1/one.fits"), &artifact(1, 10));
    let from = daemon.lines().len();
    daemon.until_logged("not the one that was opened", from);
    assert_eq!(
        seen.dump(),
        before,
        "nothing is concluded from a root that is not there"
    );
    assert_eq!(fs::read_dir(site.root()).unwrap().count(), 0);
    assert!(daemon.is_running());

    fs::remove_dir(site.root()).unwrap();
    rename(&away, &site.root());
    site.put("data/1/two.fits", &artifact(2, 20));
    put_artifacts(&site, 2);
    daemon.until("work goes on", || {
        seen.complete(RUN, 2) && seen.complete("u/test/away", 2)
    });
    site.place(&two(&site, "u/test/later", 3));
    daemon.until("and new runs come", || {
        seen.run("u/test/later").is_some_and(|r| r.claims == 2)
    });
    daemon.stop();
}

/// `runsync daemon` as a user that has no rights of root's: permissions count.
fn daemon_without_rights(site: &TestSite) -> Command {
    let folder = site.folder.path();
    if !rustix::process::geteuid().is_root() {
        return site.command(&["daemon"]);
    }
    // Cargo's folder need not be open to others.
    let binary = folder.join("runsync");
    fs::copy(env!("CARGO_BIN_EXE_runsync"), &binary).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    for owned in ["state", "keys"] {
        let path = folder.join(owned);
        let status = Command::new("chown")
            .arg("-R")
            .arg("65534:65534")
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success());
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--bounding-set=-all",
        ])
        .arg(binary)
        .arg("--config")
        .arg(site.config())
        .arg("daemon");
    command
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_manifest_that_may_not_be_read_is_shown_and_blocks_no_other() {
    // No event tells that a folder can be listed again.
    let site = site("trust", "sweep_interval = \"500ms\"");
    let path = site.place(&two(&site, RUN, 1));
    set_mode(&path, 0o000);
    let closed = site.root().join("runsync/manifests/closed");
    put(
        &closed.join("1-1.manifest.jsonl"),
        &two(&site, "u/test/closed", 2).bytes(Some(&site.key)),
    );
    set_mode(&closed, 0o000);
    site.place(&two(&site, "u/test/other", 3));
    let daemon = Daemon::spawn(&mut daemon_without_rights(&site))
        .expecting("manifest cannot be read")
        .expecting("not all changes of manifests are seen");
    daemon.until_told("READY=1");
    let seen = site.watch();
    let kinds = || -> Vec<String> { seen.findings().into_iter().map(|it| it.kind).collect() };
    daemon.until("the other is registered", || {
        seen.count(ManifestState::Registered) == 1
    });
    daemon.until("both are shown", || {
        kinds() == ["manifest_unreadable", "manifest_unreadable"]
    });
    let status = site.answer(&["status"]);
    assert!(
        status.contains("Permission denied") && status.contains(RUN),
        "{status}"
    );
    assert!(status.contains("manifests/closed"), "{status}");

    set_mode(&path, 0o644);
    set_mode(&closed, 0o755);
    daemon.until("it is read by itself", || {
        seen.count(ManifestState::Registered) == 3
    });
    daemon.until("the finding has healed", || kinds().is_empty());
    daemon.until_logged("all changes of manifests are seen again", 0);
    assert_eq!(daemon.logged("not all changes of manifests are seen", 0), 1);
    daemon.stop();
}

#[test]
fn an_overflow_of_the_kernels_queue_loses_nothing() {
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let site = site("size", EVENTS_ONLY);
    let seen = site.watch();
    site.place(&two(&site, RUN, 1));
    let daemon = Daemon::start(&site);
    daemon.until("it waits for artifacts", || {
        seen.run(RUN).is_some_and(|run| run.waiting == 2)
    });
    daemon.freeze();
    // Two events for each rename, and no two alike in a row.
    let manifests = site.root().join("runsync/manifests");
    let names = [manifests.join("a.part"), manifests.join("b.part")];
    write(&names[0], b"");
    for number in 0..=queue / 2 + 1 {
        rename(&names[number % 2], &names[(number + 1) % 2]);
    }
    // No event tells of these.
    for number in 2..=20 {
        site.place(&two(&site, &format!("u/lost/run{number}"), number));
    }
    daemon.signal(Signal::CONT);
    daemon.until_logged("events were lost", 0);
    daemon.until("all are registered", || {
        seen.count(ManifestState::Registered) == 20
    });
    daemon.stop();
}

/// A command in name spaces of its own, where it may mount: `$ROOT`, `$STATE` and `$RUNSYNC` (the
/// command with its configuration) are set.
fn among_own_mounts(site: &TestSite, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-euc", script])
        .env("ROOT", site.root())
        .env("STATE", site.folder.path().join("state"))
        .env("RUNSYNC", env!("CARGO_BIN_EXE_runsync"))
        .env("RUNSYNC_CONFIG", site.config());
    command
}

#[test]
fn a_ledger_that_refuses_a_write_is_asked_again() {
    let site = site("trust", EVENTS_ONLY);
    let seen = site.watch();
    let daemon = Daemon::start(&site).expecting("refused by a test");
    let root = site.site().roots[0].name.clone();
    daemon.until("the first sweep is over", || {
        seen.0.ledger.last_sweep(&root).unwrap().is_some()
    });
    let ledger =
        rusqlite::Connection::open(site.folder.path().join("state/ledger.sqlite3")).unwrap();
    ledger
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON manifest
             BEGIN SELECT RAISE(ABORT, 'refused by a test'); END",
        )
        .unwrap();
    site.place(&two(&site, RUN, 1));
    daemon.until_logged("refused by a test", 0);
    assert_eq!(seen.manifests(), []);
    site.place(&two(&site, "u/test/meanwhile", 2));
    ledger.execute_batch("DROP TRIGGER refuse").unwrap();
    daemon.until("both are registered", || {
        seen.count(ManifestState::Registered) == 2
    });
    daemon.until_logged("worker recovered", 0);
    daemon.stop();
}

#[test]
fn a_full_disk_of_scratch_files_keeps_small_manifests_going_and_is_shown() {
    let site = site("trust", EVENTS_ONLY);
    let seen = site.watch();
    site.place(&additions(&site, "u/test/large", "1-1").with_many(1 << 64, 200_000));
    site.place(&two(&site, "u/test/small", 1));
    let script = "mount -t tmpfs -o size=1m tmpfs \"$STATE/scratch\"; exec \"$RUNSYNC\" daemon";
    fs::create_dir_all(site.folder.path().join("state/scratch")).unwrap();
    let daemon =
        Daemon::spawn(&mut among_own_mounts(&site, script)).expecting("No space left on device");
    daemon.until("the small one is registered", || {
        seen.run("u/test/small").is_some()
    });
    daemon.until("the large one is shown", || {
        seen.findings()
            .iter()
            .any(|it| it.kind == "manifest_unreadable")
    });
    assert!(seen.run("u/test/large").is_none());
    daemon.stop();

    let daemon = Daemon::start(&site);
    daemon.until("with room it is registered", || {
        seen.complete("u/test/large", 200_000)
    });
    daemon.until("the finding has healed", || seen.findings().is_empty());
    daemon.stop();
}

#[test]
fn a_full_disk_of_the_registry_stops_nothing_for_good() {
    let site = site("trust", EVENTS_ONLY);
    let script = "mkdir \"$STATE.small\"
        mount -t tmpfs -o size=6m tmpfs \"$STATE.small\"
        cp -a \"$STATE/.\" \"$STATE.small\"
        mount --rbind \"$STATE.small\" \"$STATE\"
        mkdir -p \"$STATE/scratch\"
        head -c 4500k /dev/zero > \"$STATE/filler\"
        exec \"$RUNSYNC\" daemon";
    let mut daemon = Daemon::spawn(&mut among_own_mounts(&site, script)).expecting("disk is full");
    daemon.until_told("READY=1");
    site.place(&additions(&site, RUN, "1-1").with_many(1, 5_000));
    daemon.until_logged("disk is full", 0);
    assert!(daemon.is_running());
    assert_eq!(daemon.logged("manifest registered", 0), 0);
    fs::remove_file(daemon.sees(&site.folder.path().join("state/filler"))).unwrap();
    daemon.until_logged("manifest registered", 0);
    daemon.stop();
}

#[test]
fn a_root_that_is_read_only_is_read() {
    let site = site("checksum", EVENTS_ONLY);
    let seen = site.watch();
    site.place(&two(&site, RUN, 1));
    put_artifacts(&site, 1);
    let script = "mount --bind \"$ROOT\" \"$ROOT\"; mount -o remount,ro,bind \"$ROOT\"
        exec \"$RUNSYNC\" daemon";
    let daemon = Daemon::spawn(&mut among_own_mounts(&site, script));
    daemon.until("the run is complete", || seen.complete(RUN, 2));
    daemon.stop();
}

#[test]
fn an_ingest_into_a_full_root_fails_clearly_and_leaves_nothing() {
    let site = site("trust", EVENTS_ONLY);
    let large = additions(&site, RUN, "1-1").with_many(1, 5_000);
    let outside = site.folder.path().join("outside.manifest.jsonl");
    write(&outside, &large.bytes(Some(&site.key)));
    let script = "mount -t tmpfs -o size=64k tmpfs \"$ROOT/runsync/manifests\"
        \"$RUNSYNC\" ingest --direct \"$FILE\" && exit 99
        code=$?; find \"$ROOT/runsync/manifests\" -type f -printf 'left: %p\\n'; exit $code";
    let output = among_own_mounts(&site, script)
        .env("FILE", &outside)
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("No space left on device") && said.contains("outside"),
        "{said}"
    );
    assert!(!said.contains("left: "), "{said}");
    assert_eq!(site.watch().manifests(), []);
    site.directly(&["ingest", outside.to_str().unwrap()]);
    assert!(site.watch().complete(RUN, 5_000));
}
