//! `purge` and `cleanup` as an operator runs them: with a daemon and without one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

use std::fs;

use process::{Daemon, text};
use runsync_manifest::content::Content;
use serde_json::{Value, json};
use support::{Manifest, TestSite, artifact, entry};

const CHAIN: &str = "u/test/out";
const OLD: &str = "u/test/out/20261126T120000Z";
const NEW: &str = "u/test/out/20261127T120000Z";
const INPUT: &str = "u/test/in";

/// A site with a dataset in each of the runs.
fn site() -> TestSite {
    let site = TestSite::new("size");
    site.configure_daemon("size", "settle = \"1ms\"", "");
    for (number, run) in (1_u32..).zip([OLD, NEW, INPUT]) {
        let (bytes, path) = (artifact(number.into(), 50), format!("{run}/1"));
        site.put(&path, &bytes);
        site.place(
            &Manifest::new(site.repository, run, "1-1", Content::Additions)
                .with_dimensions(5)
                .with_entries([entry(number.into(), number.into(), 0, &path, &bytes)]),
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

fn names(site: &TestSite, args: &[&str]) -> Vec<String> {
    let listed = site.answer(&[&["collections", "list", "--json"], args].concat());
    let names = lines(&listed).into_iter();
    names
        .map(|row| row.get("name").unwrap().as_str().unwrap().to_owned())
        .collect()
}

fn is_there(site: &TestSite, run: &str) -> bool {
    fs::exists(site.root().join(run).join("1")).unwrap()
}

fn refused(site: &TestSite, args: &[&str]) -> String {
    let refused = site.run_command(args);
    assert_eq!(refused.status.code(), Some(1), "{args:?}");
    text(&refused.stderr)
}

#[test]
fn a_daemon_cleans_up_and_purges_a_chain() {
    let site = site();
    let daemon = Daemon::start(&site);
    for run in [OLD, NEW, INPUT] {
        daemon.until("all is confirmed", || site.watch().complete(run, 1));
    }
    site.answer(&["collections", "chain", CHAIN, NEW, INPUT]);
    site.answer(&["collections", "chain", "u/test/all", CHAIN]);

    let shown = site.answer(&["cleanup", CHAIN, "--dry-run"]);
    assert!(shown.contains("u/test/out (chain): it stays"), "{shown}");
    assert!(shown.contains(&format!("{OLD}: 1 datasets")), "{shown}");
    assert!(!shown.contains(NEW) && !shown.contains(INPUT), "{shown}");
    site.answer(&["collections", "chain", "u/test/mine", OLD]);
    let other = refused(&site, &["cleanup", CHAIN, "--yes"]);
    let told = format!("run `{OLD}` is in chain `u/test/mine`");
    assert!(other.contains(&told), "{other}");
    site.answer(&["collections", "chain", "u/test/mine", OLD, "--remove"]);
    assert!(is_there(&site, OLD));
    let cleaned = lines(&site.answer(&["cleanup", CHAIN, "--yes", "--json"]));
    assert_eq!(cleaned[0]["chain"]["name"], CHAIN);
    assert_eq!(cleaned[1]["deleted"], 1);
    assert!(!is_there(&site, OLD) && is_there(&site, NEW));
    // Nobody is asked where there is nothing to do.
    let again = site.answer(&["cleanup", CHAIN]);
    assert!(again.ends_with("  nothing to remove\n"), "{again}");

    let shown = site.answer(&["purge", CHAIN, "--dry-run"]);
    assert!(
        shown.contains("u/test/out (chain): it goes, too\n"),
        "{shown}"
    );
    assert!(
        shown.contains("    chain u/test/all shows [deleted] in its place\n"),
        "{shown}"
    );
    let plan = lines(&site.answer(&["purge", CHAIN, "--dry-run", "--json"]));
    let id = plan[0]["id"].as_str().unwrap();
    assert_eq!(plan[0]["runs"][0]["name"], NEW);
    let unasked = site.run_command(&["purge", CHAIN]);
    assert_eq!(unasked.status.code(), Some(2));
    let wrong = refused(&site, &["purge", CHAIN, "--approve", "0000000000000000"]);
    assert!(wrong.contains("has changed since"), "{wrong}");
    let purged = lines(&site.answer(&["purge", CHAIN, "--approve", id, "--json"]));
    assert_eq!(purged[1]["state"], "done");
    assert_eq!(purged[1]["operation"], "purge");
    assert!(!is_there(&site, NEW) && is_there(&site, INPUT));
    assert_eq!(names(&site, &[]), ["u/test/all", INPUT, "u/test/mine"]);
    let broken = &site.status()["broken_chains"];
    assert_eq!(broken[0]["deleted"], json!([CHAIN]));

    let asked = lines(&site.answer(&["requests", "--json"]));
    assert_eq!(asked[0]["what"], "purge");
    assert_eq!(asked[0]["subject"], CHAIN);
    assert_eq!(asked[0]["outcome"], "committed");
    let gone = refused(&site, &["purge", CHAIN, "--yes"]);
    assert!(gone.contains("there is no collection"), "{gone}");
    let run = refused(&site, &["purge", INPUT, "--yes"]);
    assert!(run.contains("is a run, not a chain"), "{run}");
    daemon.stop();
}

#[test]
fn a_command_cleans_up_and_purges_without_a_daemon() {
    let site = confirmed();
    site.directly(&["collections", "chain", CHAIN, NEW, INPUT]);
    let cleaned = site.directly(&["cleanup", CHAIN, "--yes"]);
    assert!(cleaned.contains("1 artifacts deleted (50 B)"), "{cleaned}");
    assert!(!is_there(&site, OLD) && is_there(&site, NEW));
    let purged = site.directly(&["purge", CHAIN, "--yes"]);
    assert!(purged.contains("1 artifacts deleted (50 B)"), "{purged}");
    assert!(!is_there(&site, NEW) && is_there(&site, INPUT));
    let listed = lines(&site.directly(&["collections", "list", "--json"]));
    assert_eq!(listed.len(), 1);
    // A chain that has no run of its own.
    site.directly(&["collections", "chain", CHAIN, INPUT]);
    let purged = site.directly(&["purge", CHAIN, "--yes"]);
    assert!(purged.contains("0 artifacts deleted"), "{purged}");
    let listed = lines(&site.directly(&["collections", "list", "--json"]));
    assert_eq!(listed.len(), 1);
    assert!(is_there(&site, INPUT));
}
