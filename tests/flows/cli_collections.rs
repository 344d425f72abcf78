//! Collections as an operator makes them: by commands, with a daemon and without one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

use std::io::Write;
use std::process::Stdio;

use process::{Daemon, text};
use runsync::registry::record::Presence;
use runsync_manifest::content::Content;
use serde_json::{Value, json};
use support::{Manifest, TestSite, artifact, entry};
use uuid::Uuid;

/// A site with runs `u/test/a` of datasets 1 and 2 and `u/test/b` of 3 and 4.
fn site() -> TestSite {
    let site = TestSite::new("size");
    site.configure_daemon("size", "settle = \"1ms\"", "");
    let bytes = artifact(1, 50);
    for (run, first) in [("u/test/a", 1_u32), ("u/test/b", 3)] {
        let entries = (first..first + 2).map(|number| {
            let path = format!("{run}/{number}");
            site.put(&path, &bytes);
            entry(u128::from(number), i64::from(number), 0, &path, &bytes)
        });
        site.place(
            &Manifest::new(site.repository, run, "1-1", Content::Additions)
                .with_dimensions(5)
                .with_entries(entries.collect::<Vec<_>>()),
        );
    }
    site
}

fn confirmed() -> TestSite {
    let site = site();
    let mut open = site.open();
    open.work();
    open.confirm();
    drop(open);
    site
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn uuid(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

fn names(site: &TestSite, more: &[&str]) -> Vec<String> {
    let listed = site.answer(&[&["collections", "list", "--json"], more].concat());
    let names = lines(&listed).into_iter();
    names
        .map(|row| row.get("name").unwrap().as_str().unwrap().to_owned())
        .collect()
}

/// What a command that fails says.
fn refused(site: &TestSite, args: &[&str]) -> String {
    let refused = site.run_command(args);
    assert_eq!(refused.status.code(), Some(1), "{args:?}");
    text(&refused.stderr)
}

#[test]
fn a_daemon_makes_collections_and_what_is_removed_leaves_its_place() {
    let site = site();
    let daemon = Daemon::start(&site);
    for run in ["u/test/a", "u/test/b"] {
        daemon.until("all is confirmed", || site.watch().complete(run, 2));
    }
    site.answer(&["collections", "associate", "u/best", &uuid(1), &uuid(3)]);
    site.answer(&["collections", "chain", "u/inner", "u/test/a", "u/best"]);
    site.answer(&["collections", "chain", "u/all", "u/inner", "u/test/b"]);
    let extended = site.answer(&["collections", "chain", "u/all", "u/test/a", "--prepend"]);
    assert_eq!(extended, "u/all: 3 members\n");
    assert_eq!(
        site.answer(&["collections", "tree", "u/all"]),
        "u/all (chained)
  u/test/a (run)
  u/inner (chained)
    u/test/a (run)
    u/best (tagged)
  u/test/b (run)
"
    );
    let cycle = refused(
        &site,
        &["collections", "chain", "u/inner", "u/all", "--extend"],
    );
    assert!(cycle.contains("cannot have `u/all` in it"), "{cycle}");
    assert_eq!(
        names(&site, &[]),
        ["u/all", "u/best", "u/inner", "u/test/a", "u/test/b"]
    );
    site.answer(&["collections", "hide", "u/inner"]);
    assert_eq!(names(&site, &["u/inner"]), Vec::<String>::new());
    assert_eq!(names(&site, &["u/inner", "--all"]), ["u/inner"]);
    site.answer(&["collections", "unhide", "u/inner"]);

    let shown = site.answer(&["remove-runs", "u/test/a", "--dry-run"]);
    assert!(
        shown.contains("    chain u/all shows [deleted] in its place\n"),
        "{shown}"
    );
    assert!(
        shown.contains("    1 tags on its datasets vanish\n"),
        "{shown}"
    );
    let removed = lines(&site.answer(&["remove-runs", "u/test/a", "--yes", "--json"]));
    assert_eq!(removed[0]["runs"][0]["chains"], json!(["u/all", "u/inner"]));
    assert_eq!(removed[0]["runs"][0]["tags"], 1);
    let tree = site.answer(&["collections", "tree", "u/all"]);
    assert!(tree.contains("\n  [deleted] was u/test/a\n"), "{tree}");
    let status = site.answer(&["status"]);
    assert!(status.contains("\n  u/all of root: u/test/a\n"), "{status}");
    let dropped = site.answer(&["collections", "chain", "u/all", "--drop-deleted"]);
    assert_eq!(dropped, "u/all: 2 members\n");

    let broken = &site.status()["broken_chains"];
    assert_eq!(broken.as_array().unwrap().len(), 1, "{broken}");
    assert_eq!(broken[0]["name"], "u/inner");

    let plan = lines(&site.answer(&["remove-collections", "u/best", "--dry-run", "--json"]));
    assert_eq!(plan[0]["collections"][0]["members"], 1);
    assert_eq!(plan[0]["collections"][0]["chains"], json!(["u/inner"]));
    assert_eq!(names(&site, &["u/best"]), ["u/best"]);
    let unasked = site.run_command(&["remove-collections", "u/best"]);
    assert_eq!(unasked.status.code(), Some(2));
    site.answer(&["remove-collections", "u/best", "--yes"]);
    assert_eq!(names(&site, &[]), ["u/all", "u/inner", "u/test/b"]);
    assert_eq!(site.watch().presence(3), Presence::Yes);
    let run = refused(&site, &["remove-collections", "u/test/b", "--yes"]);
    assert!(run.contains("`remove-runs` removes runs"), "{run}");

    let asked = lines(&site.answer(&["requests", "--json"]));
    let asked = asked.iter().find(|row| row["what"] == "remove-collections");
    assert_eq!(asked.unwrap()["subject"], "u/best");
    daemon.stop();
}

#[test]
fn a_command_changes_collections_without_a_daemon() {
    let site = confirmed();
    let tagged = site.directly(&["collections", "associate", "u/t", "--run", "u/test/a"]);
    assert_eq!(tagged, "u/t: 2 tags added\n");
    let mut command = site.command(&[
        "collections",
        "associate",
        "u/t",
        "--uuids",
        "-",
        "--direct",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}\n{}\n\n{}", uuid(1), uuid(3), uuid(4)).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "u/t: 2 tags added\n");
    let gone = site.directly(&["collections", "disassociate", "u/t", &uuid(4)]);
    assert_eq!(gone, "u/t: 1 tags taken away\n");
    let plan = || {
        let shown = site.directly(&["remove-runs", "u/test/b", "--dry-run", "--json"]);
        lines(&shown)[0]["id"].clone()
    };
    let unchained = plan();
    site.directly(&["collections", "chain", "u/c", "u/t", "u/test/b"]);
    assert_ne!(
        plan(),
        unchained,
        "a plan is the same only while it would do the same"
    );
    let tree = lines(&site.directly(&["collections", "tree", "u/c", "--json"]));
    assert_eq!(tree[0]["places"][0]["name"], "u/t");
    let listed = site.directly(&["collections", "list", "u/t"]);
    assert!(listed.contains("u/t         tagged"), "{listed}");
    site.directly(&["collections", "chain", "u/d", "u/test/a", "u/c"]);
    site.directly(&["collections", "chain", "u/e", "u/c", "u/d"]);
    assert_eq!(
        site.directly(&["collections", "tree", "u/e"]),
        "u/e (chained)
  u/c (chained)
    u/t (tagged)
    u/test/b (run)
  u/d (chained)
    u/test/a (run)
    u/c (chained) as above
"
    );
    let removed = site.directly(&[
        "remove-collections",
        "u/t",
        "u/t",
        "u/c",
        "u/d",
        "u/e",
        "--yes",
    ]);
    assert!(removed.ends_with("4 collections removed\n"), "{removed}");
    let listed = lines(&site.directly(&["collections", "list", "--all", "--json"]));
    assert_eq!(listed.len(), 2);
    assert_eq!(site.watch().presence(1), Presence::Yes);
}
