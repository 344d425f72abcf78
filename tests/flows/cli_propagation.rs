//! What origins remove, and what a site keeps, as operators see it: by commands, with a daemon and
//! without one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

#[path = "../support/pair.rs"]
mod pair;

use std::fs;

use pair::{carry_manifests, copy_of, files_below, peer};
use process::{Daemon, text};
use runsync::registry::record::Presence;
use runsync_manifest::content::Content;
use serde_json::Value;
use support::{Manifest, TestSite, artifact, entry};

const RUN: &str = "u/test/run";

/// An origin with a run of three artifacts, and a site that has a copy of it.
fn sites(policy: &str) -> (TestSite, TestSite) {
    let a = TestSite::in_memory("size");
    a.configure_daemon("size", "settle = \"1ms\"", "");
    let paths = ["a/1", "a/2", "b/3"];
    let entries = paths.iter().zip(1_u32..).map(|(path, number)| {
        let bytes = artifact(number.into(), 50);
        a.put(path, &bytes);
        entry(number.into(), number.into(), 0, path, &bytes)
    });
    a.place(
        &Manifest::new(a.repository, RUN, "1-1", Content::Additions)
            .with_dimensions(5)
            .with_entries(entries.collect::<Vec<_>>()),
    );
    let b = copy_of(&a, policy, "");
    b.configure_daemon("size", "settle = \"1ms\"", &peer(&a, policy));
    carry_manifests(&a, &b);
    for path in paths {
        b.put(path, &fs::read(a.root().join(path)).unwrap());
    }
    (a, b)
}

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Has both sites complete, without daemons.
fn complete(sites: [&TestSite; 2]) {
    for site in sites {
        let mut open = site.open();
        open.work();
        open.confirm();
    }
}

fn complete_here(site: &TestSite, origin: &TestSite) -> bool {
    let seen = site.watch();
    let row = seen.0.registry.run(&origin.run(RUN)).unwrap();
    row.is_some_and(|row| row.confirmed() == 3)
}

#[test]
fn a_removal_travels_from_daemon_to_daemon() {
    let (a, b) = sites("apply");
    let at_a = Daemon::start(&a);
    let at_b = Daemon::start(&b);
    at_a.until("the origin is complete", || complete_here(&a, &a));
    at_b.until("the copy is complete", || complete_here(&b, &a));
    let told = a.answer(&["remove-runs", RUN, "--yes"]);
    assert!(
        told.contains("other sites are told by its removal manifest 1-2"),
        "{told}"
    );
    assert_eq!(carry_manifests(&a, &b), 1);
    at_b.until("the copy is gone", || {
        b.watch().presence(1) == Presence::No
            && files_below(&b, "a").is_empty()
            && files_below(&b, "runsync/journal").is_empty()
    });
    at_b.until("nothing is asked any more", || {
        b.answer(&["removal", "list", "--json"]).is_empty()
    });
    let again = a.run_command(&["remove-runs", RUN, "--yes"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is removed already"));
    let journaled = json_lines(&a.answer(&["status", "--json"]));
    assert_eq!(journaled[0]["runs"]["removed"], 1);
    at_a.stop();
    at_b.stop();
}

#[test]
fn an_operator_confirms_or_refuses_what_an_origin_has_removed() {
    let (a, b) = sites("confirm");
    complete([&a, &b]);
    a.directly(&["remove-runs", RUN, "--yes"]);
    carry_manifests(&a, &b);
    let daemon = Daemon::start(&b);
    daemon.until("it is asked", || {
        b.answer(&["removal", "list", "--json"]).contains("waiting")
    });
    let asked = json_lines(&b.answer(&["removal", "list", "--json"]));
    assert_eq!(
        (&asked[0]["run"], &asked[0]["name"]),
        (&Value::Null, &RUN.into())
    );
    assert_eq!(
        (
            &asked[0]["datasets"],
            &asked[0]["content"],
            &asked[0]["site"]
        ),
        (&3.into(), &"removal".into(), &"SITE_A".into())
    );
    let manifest = asked[0]["manifest"].as_str().unwrap();
    let refused = b.answer(&["removal", "refuse", manifest]);
    assert!(refused.contains("refused"), "{refused}");
    assert!(complete_here(&b, &a));

    let shown = b.answer(&["removal", "confirm", manifest, "--dry-run"]);
    assert!(
        shown.contains("follow") && shown.contains("3 datasets"),
        "{shown}"
    );
    let unasked = b.run_command(&["removal", "confirm", manifest]);
    assert_eq!(unasked.status.code(), Some(2));
    let done = json_lines(&b.answer(&["removal", "confirm", manifest, "--yes", "--json"]));
    assert_eq!(
        (&done[1]["state"], &done[1]["deleted"]),
        (&"done".into(), &3.into())
    );
    assert_eq!(files_below(&b, "a"), [""; 0]);
    let requests = json_lines(&b.answer(&["requests", "--json"]));
    let whats: Vec<_> = requests
        .iter()
        .map(|row| row["what"].as_str().unwrap())
        .collect();
    assert_eq!(whats, ["confirm removal", "refuse removal"]);
    let missing = b.run_command(&["removal", "refuse", "018f0000-0000-7000-8000-000000000001"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).contains("runsync removal list"),
        "{}",
        text(&missing.stderr)
    );
    daemon.stop();
}

#[test]
fn without_a_daemon_an_operator_confirms_directly() {
    let (a, b) = sites("confirm");
    complete([&a, &b]);
    a.directly(&["remove-runs", RUN, "--yes"]);
    carry_manifests(&a, &b);
    b.open().work();
    let asked = json_lines(&b.directly(&["removal", "list", "--json"]));
    let manifest = asked[0]["manifest"].as_str().unwrap();
    b.directly(&["removal", "refuse", manifest]);
    assert!(complete_here(&b, &a));
    let done = b.directly(&["removal", "confirm", manifest, "--yes"]);
    assert!(done.contains("3 artifacts deleted"), "{done}");
    assert_eq!(b.watch().presence(1), Presence::No);
}

#[test]
fn a_site_unstores_forgets_and_restores_with_and_without_a_daemon() {
    let (a, b) = sites("apply");
    complete([&a, &b]);
    let shown = b.directly(&["unstore", RUN, "--yes"]);
    assert!(
        shown.contains("not wanted here until `runsync restore`"),
        "{shown}"
    );
    assert_eq!(files_below(&b, "a"), [""; 0]);
    let daemon = Daemon::start(&b);
    let listed = json_lines(&b.answer(&["restore", "--list", "--json"]));
    assert_eq!((&listed[0]["name"], listed.len()), (&RUN.into(), 1));
    let wrong = b.run_command(&["restore", RUN, "--dataset-type", "calexp"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("not wanted here as a whole"),
        "{}",
        text(&wrong.stderr)
    );
    b.answer(&["restore", RUN]);
    assert_eq!(b.watch().presence(1), Presence::Pending);
    for path in ["a/1", "a/2", "b/3"] {
        b.put(path, &fs::read(a.root().join(path)).unwrap());
    }
    daemon.until("it is here again", || complete_here(&b, &a));
    let forgotten = b.answer(&["forget", RUN, "--dataset-type", "calexp", "--yes"]);
    assert!(
        forgotten.contains("only datastore records go"),
        "{forgotten}"
    );
    assert_eq!(b.watch().presence(1), Presence::No);
    assert_eq!(files_below(&b, "a").len(), 2);
    assert_eq!(b.answer(&["restore", "--list", "--json"]), "");
    b.answer(&["restore", RUN]);
    daemon.until("its artifacts are found", || complete_here(&b, &a));
    daemon.stop();
}

#[test]
fn the_plan_of_an_origin_that_unstores_says_what_is_not_known() {
    let (a, b) = sites("apply");
    complete([&a, &b]);
    let own = a.directly(&["unstore", RUN, "--dry-run"]);
    let unknown = "whether another site has a copy is not known here";
    assert!(own.contains(unknown), "{own}");
    let copy = b.directly(&["unstore", RUN, "--dry-run"]);
    assert!(!copy.contains(unknown), "{copy}");
    assert!(complete_here(&a, &a) && complete_here(&b, &a));
}

#[test]
fn no_command_that_removes_takes_an_empty_name_or_a_pattern() {
    let (a, b) = sites("apply");
    complete([&a, &b]);
    for command in [
        "remove-runs",
        "unstore",
        "forget",
        "purge",
        "cleanup",
        "remove-collections",
    ] {
        for name in ["", "*", "u/*", "u/test/?un", "/", "u//run", "u/test/"] {
            let refused = a.run_command(&[command, name, "--yes", "--direct"]);
            let code = refused.status.code();
            assert!(matches!(code, Some(1 | 2)), "{command} {name:?}: {code:?}");
        }
    }
    assert!(complete_here(&a, &a));
}
