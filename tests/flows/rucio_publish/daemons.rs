//! The daemon publishes: what is ordered, killed or not, and what policy wants published.

use harness::Naming;
use runsync_manifest::content::Content;
use serde_json::{Value, json};

use crate::World;
use crate::between::{Between, When};
use crate::process::Daemon;
use crate::proof::shown;
use crate::rucio::RucioSite;
use crate::state::{self, Of, same};

/// `kill -9` of a daemon that publishes, at several of its requests.
pub(crate) fn killed(world: &World) {
    let site = RucioSite::new(&world.server, "DAEMON_KILL", Naming::Identity, "");
    let between = Between::new(world.server.port());
    site.configure(&between.url(), "bulk = 3");
    let run = |number: usize| format!("u/daemon/{number:03}");
    let add = |number: usize| {
        let name = run(number);
        let first = site.place(&name, "1-1", Content::Additions, 0..7);
        let second = site.place(&name, "1-2", Content::Additions, 7..9);
        site.ingest(&[first, second]);
        name
    };
    for number in 0..2 {
        site.site.directly(&["publish", &add(number)]);
    }
    let expected = state::rucio(&world.server, Of::Run(&run(1)));
    for (at, (number, when)) in [(9, When::Before), (20, When::After), (33, When::Before)]
        .into_iter()
        .enumerate()
    {
        let name = add(2 + at);
        let mut daemon = Daemon::start(&site.site);
        between.kill_process(daemon.id(), number, when);
        site.site.answer(&["publish", &name, "--no-wait"]);
        assert!(!daemon.wait().success());
        assert_eq!(between.asked().len(), number);
        let daemon = Daemon::start(&site.site);
        until_published(&site, &daemon, &name, 2);
        daemon.stop();
        let found = state::rucio(&world.server, Of::Run(&name));
        same(&name, &found, &expected);
        shown(
            &format!("a daemon killed {when:?} request {number}"),
            "started again it goes on: the same",
        );
    }
}

fn rows(site: &RucioSite, run: &str) -> Vec<Value> {
    let rows = site.site.answer(&["publish", run, "--list", "--json"]);
    rows.lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

fn until_published(site: &RucioSite, daemon: &Daemon, run: &str, count: usize) {
    daemon.until(&format!("{run} is published"), || {
        let rows = rows(site, run);
        rows.len() == count && rows.iter().all(|row| row["state"] == "published")
    });
}

/// A run that cannot be published is put off: others go on, and an operator's order tries it at once.
pub(crate) fn held_up(world: &World) {
    let site = RucioSite::new(&world.server, "DAEMON_HELD", Naming::Identity, "");
    let (taken, good) = ("u/held/a-taken", "u/held/good");
    for run in [taken, good] {
        site.add(run, "1-1", Content::Additions, 0..3);
    }
    let dataset = json!([{"scope": site.scope, "name": taken, "type": "DATASET"}]);
    world.server.must("POST", "/dids", Some(&dataset)).unwrap();
    let daemon = Daemon::start(&site.site).expecting("run is not published yet");
    site.site.answer(&["publish", taken, good, "--no-wait"]);
    until_published(&site, &daemon, good, 1);
    daemon.until("why the other stopped is kept", || {
        rows(&site, taken)[0]["problem"].is_string()
    });
    let stopped = rows(&site, taken)[0].clone();
    assert_eq!(stopped["state"], "ordered");
    // Another order looks at all of them again, and leaves alone what was put off.
    let next = "u/held/next";
    site.place(next, "1-1", Content::Additions, 0..3);
    let onlooker = site.site.watch();
    daemon.until("the next run is confirmed", || onlooker.complete(next, 3));
    site.site.answer(&["publish", next, "--no-wait"]);
    until_published(&site, &daemon, next, 1);
    assert_eq!(rows(&site, taken)[0], stopped);
    shown(
        "a run that cannot be published, and others",
        "the others are published; it is put off, and why is kept",
    );
    let sql = format!("update dids set name = name || '-moved' where name = '{taken}'");
    world.server.sql(&sql).unwrap();
    site.site.answer(&["publish", taken, "--no-wait"]);
    until_published(&site, &daemon, taken, 1);
    daemon.stop();
    shown(
        "the same, put right and ordered again",
        "published at once, whatever it was put off to",
    );
}

/// What is confirmed is published without an order, and so is the word of its removal.
pub(crate) fn policy(world: &World) {
    let more = "bulk = 3\n[rucio.publish]\nruns = \"confirmed\"\ninterval = \"1s\"\n";
    let site = RucioSite::new(&world.server, "DAEMON_POLICY", Naming::Identity, more);
    let run = "u/policy/run";
    let daemon = Daemon::start(&site.site);
    site.place(run, "1-1", Content::Additions, 0..7);
    until_published(&site, &daemon, run, 1);
    shown(
        "policy `confirmed`",
        "a run is published once its artifacts have arrived",
    );

    site.site.answer(&["remove-runs", run, "--yes"]);
    let control = format!(" runsync/control/{} ", site.site.repository);
    daemon.until("the removal is announced", || {
        let rows = state::rucio(&world.server, Of::Run(run));
        let mut announced = rows.iter().filter(|row| row.contains(&control));
        announced.any(|row| row.starts_with("content ") && row.contains("1-2.manifest"))
    });
    shown(
        "a published run is removed",
        "its removal manifest is announced without an order",
    );
    // The run's data stays Rucio's own: only manifests are withdrawn.
    daemon.until("the older manifest is withdrawn", || {
        let rows = state::rucio(&world.server, Of::Run(run));
        !rows
            .iter()
            .any(|row| row.contains(&control) && row.contains("1-1.manifest"))
    });
    daemon.stop();
    shown(
        "the removal manifest is there",
        "the manifest before it is withdrawn",
    );
}
