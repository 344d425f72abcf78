//! Operators' commands beside a running daemon: they ask it, and get what they would see themselves.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

use std::io::Write;
use std::process::Stdio;

use process::{Daemon, text};
use runsync::ledger::record::ManifestState;
use runsync_manifest::content::Content;
use rustix::process::Signal;
use serde_json::Value;
use support::{Manifest, TestSite, artifact, entry, put, write};
use uuid::Uuid;

const RUN: &str = "u/test/run";

/// A site with a run of two datasets, one of which is there, and a manifest in quarantine.
fn site() -> TestSite {
    let site = TestSite::new("size");
    site.configure_daemon("size", "sweep_interval = \"1h\"", "");
    site.place(&two(&site, RUN));
    site.put("data/one.fits", &artifact(1, 10));
    let bad = site.root().join("runsync/manifests/bad/1-1.manifest.jsonl");
    put(&bad, b"{\"kind\":\"header\",\"format\":true}\n");
    site
}

fn two(site: &TestSite, run: &str) -> Manifest {
    Manifest::new(site.repository, run, "1-1", Content::Additions)
        .with_dimensions(3)
        .with_entries([
            entry(1, 0, 0, "data/one.fits", &artifact(1, 10)),
            entry(2, 0, 1, "data/two.fits", &artifact(2, 20)),
        ])
}

fn started(site: &TestSite) -> Daemon {
    let seen = site.watch();
    let daemon = Daemon::start(site).expecting("manifest quarantined");
    daemon.until("all is decided and one artifact confirmed", || {
        seen.count(ManifestState::Quarantined) == 1
            && seen.run(RUN).is_some_and(|run| run.waiting == 1)
    });
    daemon
}

#[test]
fn what_the_daemon_answers_is_what_a_command_sees_without_it() {
    let site = site();
    let daemon = started(&site);
    let (one, none) = (
        Uuid::from_u128(1).to_string(),
        Uuid::from_u128(9).to_string(),
    );
    for words in [
        &["query", "runs"] as &[&str],
        &["query", "runs", "--json"],
        &["query", "runs", "u/none", "--json"],
        &["query", "datasets", RUN],
        &["query", "datasets", RUN, "--type", "calexp", "--json"],
        &["query", "records", RUN],
        &["query", "records", RUN, "--waiting", "--json"],
        &["exists", &one, &none],
        &["quarantine", "list"],
        &["quarantine", "list", "--json"],
    ] {
        let asked = site.answer(words);
        assert_eq!(asked, site.directly(words), "{words:?}");
        if words != ["query", "runs", "u/none", "--json"] {
            assert!(!asked.trim().is_empty(), "{words:?}");
        }
    }
    daemon.stop();
}

#[test]
fn exists_reads_batches_of_uuids_and_keeps_their_order() {
    let site = site();
    let daemon = started(&site);
    // More than one request.
    let uuids: Vec<Uuid> = (0..25_000).map(|n| Uuid::from_u128(n % 3)).collect();
    let mut command = site.command(&["exists"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<String> = uuids.iter().map(Uuid::to_string).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.join("\n").as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), uuids.len());
    for (answer, uuid) in answers.iter().zip(&uuids) {
        assert_eq!(answer["uuid"], uuid.to_string());
        let expected = ["no", "yes", "pending"][usize::try_from(uuid.as_u128()).unwrap()];
        assert_eq!(answer["exists"], expected);
    }
    daemon.stop();
}

#[test]
fn who_asked_for_what_is_listed() {
    let site = site();
    let daemon = started(&site);
    let outside = site.folder.path().join("outside.manifest.jsonl");
    let other = Manifest::new(site.repository, "u/test/other", "1-1", Content::Additions)
        .with_dimensions(3)
        .with_entries([entry(7, 0, 0, "data/seven.fits", &artifact(7, 10))]);
    write(&outside, &other.bytes(Some(&site.key)));
    let said = site.answer(&["ingest", "--json", outside.to_str().unwrap()]);
    let taken: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&taken["state"], &taken["artifacts"]["of"]),
        (&"registered".into(), &1.into())
    );
    site.answer(&["quarantine", "drop", "--all"]);
    let listed = site.answer(&["requests", "--json"]);
    let requests: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let shown: Vec<_> = requests
        .iter()
        .map(|row| (row["what"].as_str().unwrap(), row["uid"].as_u64().unwrap()))
        .collect();
    let uid = u64::from(rustix::process::geteuid().as_raw());
    assert_eq!(shown, [("drop", uid), ("hand in", uid)]);
    let outcome = requests[1]["outcome"].as_str().unwrap();
    assert!(
        outcome.starts_with("registered: runsync/manifests/"),
        "{outcome}"
    );
    assert_eq!(listed, site.directly(&["requests", "--json"]));
    daemon.stop();
}

#[test]
fn without_a_daemon_a_command_says_how_to_go_on() {
    let site = TestSite::new("size");
    site.configure_daemon("size", "", "");
    for words in [
        &["status"] as &[&str],
        &["exists", "00000000-0000-0000-0000-000000000001"],
        &["query", "runs"],
        &["quarantine", "list"],
        &["quarantine", "retry", "--all"],
        &["requests"],
        &["ingest", "no-such-file"],
    ] {
        let output = site.run_command(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(
            said.contains("cannot reach the daemon at ") && said.contains("`--direct`"),
            "{words:?}: {said}"
        );
    }
}

#[test]
fn a_daemon_that_stops_in_the_middle_of_a_handed_in_manifest_says_so() {
    let site = TestSite::new("trust");
    site.configure_daemon("trust", "sweep_interval = \"1h\"", "");
    let large = Manifest::new(site.repository, RUN, "1-1", Content::Additions).with_many(1, 60_000);
    let outside = site.folder.path().join("outside.manifest.jsonl");
    write(&outside, &large.bytes(Some(&site.key)));
    let seen = site.watch();
    let daemon = Daemon::start(&site);
    let child = site
        .command(&["ingest", outside.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.until("its registration has begun", || {
        !seen.0.registry.registering().unwrap().is_empty()
    });
    daemon.signal(Signal::KILL);
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("daemon") && said.contains("hint: "), "{said}");
    drop(daemon);
    let daemon = Daemon::start(&site);
    daemon.until("the rest is registered", || seen.complete(RUN, 60_000));
    daemon.stop();
}
