//! Removing as an operator does it: by commands, with a daemon and without one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

use std::fs;
use std::path::Path;

use process::{Daemon, text};
use runsync::registry::record::Presence;
use runsync_manifest::content::Content;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use serde_json::Value;
use support::{Manifest, TestSite, artifact, entry};

const RUN: &str = "u/test/run";

fn site() -> TestSite {
    let site = TestSite::new("size");
    site.configure_daemon("size", "settle = \"1ms\"", "");
    let bytes = artifact(1, 50);
    let paths = ["a/1", "a/2", "b/3"];
    for path in paths {
        site.put(path, &bytes);
    }
    let entries = paths.iter().zip(1_u32..).map(|(path, number)| {
        let (uuid, at) = (u128::from(number), i64::from(number));
        entry(uuid, at, 0, path, &bytes)
    });
    site.place(
        &Manifest::new(site.repository, RUN, "1-1", Content::Additions)
            .with_dimensions(5)
            .with_entries(entries.collect::<Vec<_>>()),
    );
    site
}

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn is_there(site: &TestSite, path: &str) -> bool {
    fs::exists(site.root().join(path)).unwrap()
}

#[test]
fn a_daemon_removes_what_it_is_asked_to() {
    let site = site();
    let daemon = Daemon::start(&site);
    daemon.until("all is confirmed", || site.watch().complete(RUN, 3));

    let shown = site.answer(&["remove-runs", RUN, "--dry-run"]);
    assert!(
        shown.contains("u/test/run: 3 datasets, 3 artifacts"),
        "{shown}"
    );
    assert!(site.watch().complete(RUN, 3));
    assert!(is_there(&site, "a/1"));

    let unasked = site.run_command(&["remove-runs", RUN]);
    assert_eq!(unasked.status.code(), Some(2));
    assert!(text(&unasked.stderr).contains("--yes"));

    let removed = json_lines(&site.answer(&["remove-runs", RUN, "--yes", "--json"]));
    assert_eq!(removed[0]["runs"][0]["datasets"], 3);
    assert_eq!(removed[1]["state"], "done");
    assert_eq!(removed[1]["deleted"], 3);
    assert_eq!(site.watch().presence(1), Presence::No);
    for path in ["a/1", "a/2", "b/3"] {
        assert!(!is_there(&site, path), "{path}");
    }
    assert_eq!(site.answer(&["journal", "list", "--json"]), "");

    let asked = json_lines(&site.answer(&["requests", "--json"]));
    assert_eq!(asked[0]["what"], "remove-runs");
    assert_eq!(asked[0]["subject"], RUN);
    assert_eq!(asked[0]["outcome"], "committed");

    let again = site.run_command(&["remove-runs", "u/test/none", "--yes"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("there is no run `u/test/none`"));
    daemon.stop();
}

#[test]
fn a_command_removes_without_a_daemon() {
    let site = site();
    let mut open = site.open();
    open.work();
    open.confirm();
    drop(open);
    let removed = site.directly(&["remove-runs", RUN, "--yes"]);
    assert!(removed.contains("3 artifacts deleted (150 B)"), "{removed}");
    assert_eq!(site.watch().presence(1), Presence::No);
    assert!(!is_there(&site, "a/1"));
}

#[test]
fn what_a_daemon_cannot_delete_is_told_and_seen_through_when_it_can() {
    let site = site();
    let daemon = Daemon::start(&site);
    daemon.until("all is confirmed", || site.watch().complete(RUN, 3));
    // Not even root may take a name out of this folder.
    let folder = site.root().join("a");
    immutable(&folder, true);
    let mut daemon = daemon;
    daemon.expect("artifact cannot be deleted");
    daemon.expect("artifacts of a removal cannot be deleted");
    let failed = site.run_command(&["remove-runs", RUN, "--yes", "--json"]);
    immutable(&folder, false);
    assert_eq!(failed.status.code(), Some(1));
    let told = json_lines(&text(&failed.stdout));
    assert_eq!(told[1]["state"], "failed");
    assert_eq!(
        (&told[1]["deleted"], &told[1]["failed"]),
        (&1.into(), &2.into())
    );
    assert_eq!(site.watch().presence(1), Presence::No);
    let journals = json_lines(&site.answer(&["journal", "list", "--json"]));
    assert_eq!(journals[0]["state"], "committed");
    let removal = journals[0]["removal"].as_str().unwrap().to_owned();
    let resumed = json_lines(&site.answer(&["journal", "resume", &removal, "--json"]));
    assert_eq!(resumed[0]["state"], "done");
    assert!(!is_there(&site, "a/1") && !is_there(&site, "b/3"));
    daemon.stop();
}

/// Sets or clears what `chattr +i` sets.
fn immutable(folder: &Path, set: bool) {
    let folder = fs::File::open(folder).unwrap();
    let mut flags = ioctl_getflags(&folder).unwrap();
    flags.set(IFlags::IMMUTABLE, set);
    ioctl_setflags(&folder, flags).unwrap();
}
