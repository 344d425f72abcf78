//! Only what is here, whole, and stays is published; and no snapshot takes away what is only not here.

use std::fs;

use harness::Naming;
use runsync_manifest::content::Content;
use serde_json::Value;

use crate::World;
use crate::between::{Between, When};
use crate::process::Daemon;
use crate::proof::shown;
use crate::rucio::{RucioSite, uuid};
use crate::state::{self, Of};
use crate::support::{Manifest, artifact, entry};

/// Nothing of a run is in Rucio.
fn is_unknown(world: &World, run: &str) {
    let rows = state::rucio(&world.server, Of::Run(run));
    assert!(rows.is_empty(), "{run}: {rows:#?}");
}

fn manifests(site: &RucioSite, run: &str) -> usize {
    let folder = format!("runsync/manifests/{}/{run}", site.site.repository);
    fs::read_dir(site.site.root().join(folder)).unwrap().count()
}

pub(crate) fn here(world: &World) {
    let site = RucioSite::new(&world.server, "STAYS_HERE", Naming::Identity, "");
    let forgotten = "u/stays/forgotten";
    site.add(forgotten, "1-1", Content::Additions, 0..7);
    site.site.directly(&["forget", forgotten, "--yes"]);
    for args in [
        &["publish", forgotten][..],
        &["publish", forgotten, "--dry-run"],
        &["manifest", "compact", forgotten],
    ] {
        let said = site.fails(args);
        assert!(said.contains("not wanted here, or forgotten"), "{said}");
        assert!(said.contains("runsync restore"), "{said}");
    }
    assert_eq!(manifests(&site, forgotten), 1);
    is_unknown(world, forgotten);
    shown(
        "a run whose records were forgotten",
        "neither published nor compacted: a snapshot would remove it everywhere",
    );

    let unstored = "u/stays/unstored";
    site.add(unstored, "1-1", Content::Additions, 0..7);
    site.site.directly(&["publish", unstored]);
    site.site.directly(&["unstore", unstored, "--yes"]);
    let said = site.fails(&["manifest", "compact", unstored]);
    assert!(said.contains("not wanted here, or forgotten"), "{said}");
    assert_eq!(manifests(&site, unstored), 1);
    shown("a published run that is unstored", "not compacted");

    let removed = "u/stays/removed";
    site.add(removed, "1-1", Content::Additions, 0..7);
    site.site.directly(&["remove-runs", removed, "--yes"]);
    let folder = format!("runsync/manifests/{}/{removed}", site.site.repository);
    let removal = site.site.root().join(folder).join("1-2.manifest.jsonl");
    site.ingest(&[removal]);
    let said = site.site.directly(&["manifest", "compact", removed]);
    assert!(said.contains("1-2: there already"), "{said}");
    assert_eq!(manifests(&site, removed), 2);
    let rows = state::rucio(&world.server, Of::Run(removed));
    assert!(
        rows.iter()
            .any(|row| row.starts_with("content ") && row.contains("1-2.manifest")),
        "{rows:#?}"
    );
    shown(
        "a removed run is compacted",
        "its removal manifest stands for all, and is announced",
    );
}

pub(crate) fn kept(world: &World) {
    let site = RucioSite::new(&world.server, "STAYS_KEPT", Naming::Identity, "");
    let run = "u/stays/kept";
    site.add(run, "1-1", Content::Additions, 0..7);
    let delay = |value| {
        world
            .server
            .set_rse_attribute("STAYS_KEPT", "tombstone_delay", value)
            .unwrap();
    };
    delay("86400");
    let said = site.fails(&["publish", run]);
    assert!(said.contains("`tombstone_delay`"), "{said}");
    is_unknown(world, run);
    let check = site.site.run_command(&["config", "check", "--online"]);
    assert_eq!(check.status.code(), Some(78));
    shown(
        "an RSE that lets new replicas be deleted",
        "refused before anything is registered, and told by `config check --online`",
    );
    let path = "/rses/STAYS_KEPT/attr/tombstone_delay";
    world.server.must("DELETE", path, None).unwrap();
    site.site.directly(&["publish", run]);
    shown("the same without that attribute", "published");

    // One scope for all manifests of a run.
    let (path, bytes) = (format!("{run}/calexp/99.fits"), artifact(99, 50));
    site.site.put(&path, &bytes);
    let mut other = Manifest::new(site.site.repository, run, "1-2", Content::Additions)
        .with_dimensions(100)
        .with_entries([entry(0xdead, 0, 99, &path, &bytes)]);
    other.header.scope = Some("elsewhere".parse().unwrap());
    site.ingest(&[site.site.place(&other)]);
    let said = site.fails(&["publish", run]);
    assert!(said.contains("`elsewhere`"), "{said}");
    shown("a manifest of another scope", "refused, and both are named");
}

/// A snapshot names an artifact that was written anew, which Rucio has as it was.
pub(crate) fn rewritten(world: &World) {
    let site = RucioSite::new(&world.server, "STAYS_REWRITTEN", Naming::Identity, "");
    let run = "u/stays/rewritten";
    site.add(run, "1-1", Content::Additions, 0..3);
    site.site.directly(&["publish", run]);
    let before = state::rucio(&world.server, Of::Run(run));
    let path = format!("{run}/calexp/1.fits");
    let bytes = artifact(77, 60);
    site.site.put(&path, &bytes);
    let of = |number: u32| {
        let path = format!("{run}/calexp/{number}.fits");
        (
            number,
            fs::read(site.site.root().join(&path)).unwrap(),
            path,
        )
    };
    let entries = [of(0), of(1), of(2)]
        .map(|(number, bytes, path)| entry(uuid(run, number), 0, number.into(), &path, &bytes));
    let snapshot = Manifest::new(site.site.repository, run, "1-2", Content::Snapshot)
        .with_dimensions(100)
        .with_entries(entries);
    site.ingest(&[site.site.place(&snapshot)]);
    let plan = site.site.directly(&["publish", run, "--dry-run"]);
    assert!(plan.contains("snapshot 1-2: at most 3 files"), "{plan}");
    let said = site.fails(&["publish", run]);
    assert!(said.contains(&path), "{said}");
    assert!(said.contains("in Rucio, and"), "{said}");
    let after = state::rucio(&world.server, Of::Run(run));
    let announced = |rows: &[String]| {
        let rows = rows.iter().filter(|row| row.contains("/control/"));
        rows.cloned().collect::<Vec<_>>()
    };
    assert_eq!(announced(&after), announced(&before));
    let replica = |rows: &[String]| {
        let rows = rows.iter();
        let mut of_it =
            rows.filter(|row| row.starts_with("replica ") && row.contains("RUN/calexp/1.fits"));
        of_it.next().cloned().unwrap()
    };
    assert_eq!(replica(&after), replica(&before));
    shown(
        "a snapshot that has a published path with other bytes",
        "named, Rucio's replica left as it is, nothing announced",
    );
}

/// The sites that get this site's manifests are none.
pub(crate) fn nowhere(world: &World) {
    let more = "[rucio.publish]\ncontrol_rses = \"STAYS_NOWHERE&country=none\"\n";
    let site = RucioSite::new(&world.server, "STAYS_NOWHERE", Naming::Identity, more);
    let run = "u/stays/nowhere";
    site.add(run, "1-1", Content::Additions, 0..3);
    let check = site.site.run_command(&["config", "check", "--online"]);
    assert_eq!(check.status.code(), Some(78));
    let said = site.fails(&["publish", run]);
    assert!(said.contains("STAYS_NOWHERE&country=none"), "{said}");
    let rows = site.site.directly(&["publish", run, "--list", "--json"]);
    let row: Value = serde_json::from_str(rows.trim()).unwrap();
    assert_eq!(row["state"], "ordered");
    shown(
        "`control_rses` that means no RSE",
        "told by `config check --online`, and by `publish`, whose order stays",
    );
    site.configure(&world.server.url(), "");
    site.site.directly(&["publish", run]);
    shown("the same, put right", "goes through");
}

/// The daemon publishes a run of many requests, and the run is removed meanwhile.
pub(crate) fn removed_meanwhile(world: &World) {
    let site = RucioSite::new(&world.server, "STAYS_LEFT", Naming::Identity, "");
    let between = Between::new(world.server.port());
    site.configure(&between.url(), "bulk = 1");
    let run = "u/stays/left";
    site.add(run, "1-1", Content::Additions, 0..9);
    let daemon = Daemon::start(&site.site);
    let mut remove = site.site.command(&["remove-runs", run, "--yes"]);
    between.act_at((16, When::Before), move || {
        assert!(remove.output().unwrap().status.success());
    });
    site.site.answer(&["publish", run, "--no-wait"]);
    let rows = || -> Vec<Value> {
        let rows = site.site.answer(&["publish", run, "--list", "--json"]);
        rows.lines()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect()
    };
    daemon.until("the additions are given up", || {
        rows().iter().any(|row| row["state"] == "withdrawn")
    });
    daemon.until("the removal is announced", || {
        rows()
            .iter()
            .any(|row| row["content"] == "removal" && row["state"] == "published")
    });
    daemon.stop();
    let rows = state::rucio(&world.server, Of::Run(run));
    let ruled = rows.iter().any(|row| row.starts_with("rule "));
    let closed = |row: &String| row.starts_with("did ") && row.contains(" D f ");
    assert!(!ruled && !rows.iter().any(closed), "{rows:#?}");
    shown(
        "a run is removed while it is published",
        "the rest is not registered, nothing of it closed or ruled; its removal is announced",
    );
}
