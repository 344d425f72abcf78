//! Who deletes, and when the rules end.

use std::fs;

use harness::Naming;
use runsync_manifest::content::Content;
use serde_json::json;

use crate::World;
use crate::between::{Between, When};
use crate::proof::shown;
use crate::rucio::RucioSite;
use crate::site::{
    FILES, announce, endings, files, is_found, is_gone, journals, publish, reap, replicas, resume,
    rules, transfer,
};

/// An RSE beside that of the site, which gets runs and manifests.
fn other(world: &World, name: &str) -> String {
    let name = format!("{name}_OTHER");
    world.server.add_rse(&name, Naming::Identity, None).unwrap();
    world
        .server
        .set_limit(crate::rucio::ACCOUNT, &name, None)
        .unwrap();
    name
}

fn to(other: &str) -> String {
    format!(
        "[rucio.publish]\ncontrol_rses = \"{other}\"\n[[rucio.rule]]\nrse_expression = \"{other}\"\n"
    )
}

fn site(
    world: &World,
    (rse, naming): (&str, Naming),
    deleter: &'static str,
    more: &str,
) -> RucioSite {
    RucioSite::named(&world.server, "SITE_A", (rse, naming), deleter, more)
}

/// Removed at a site that unlinks itself: files go at once, rules once the other site knows why.
pub(crate) fn runsync(world: &World) {
    let server = &world.server;
    let other = other(world, "REM_RUNSYNC");
    let site = site(
        world,
        ("REM_RUNSYNC", Naming::Identity),
        "runsync",
        &to(&other),
    );
    let run = "u/removed/runsync";
    publish(&site, run);
    transfer(server);
    let plan = site.site.directly(&["remove-runs", run, "--dry-run"]);
    assert_eq!(plan.matches("  ends: rule ").count(), 2, "{plan}");
    assert!(
        plan.contains(&format!("available at REM_RUNSYNC, {other}")),
        "{plan}"
    );
    shown(
        "the plan of a published run",
        "names the rules that end, and after which RSEs",
    );

    site.site.directly(&["remove-runs", run, "--yes"]);
    assert_eq!(files(&site, run), [""; 0]);
    assert_eq!(journals(&site).len(), 0);
    assert_eq!(endings(&site)[0]["state"], "waiting");
    let kept = [
        "runsync REM_RUNSYNC f".to_owned(),
        format!("runsync {other} f"),
    ];
    assert_eq!(rules(server, run), kept);
    shown(
        "`deleter = \"runsync\"`",
        "unlinked at once, and the rules stay for now",
    );

    announce(&site, run);
    let waiting = endings(&site);
    assert_eq!(waiting[0]["waits_for"][0], other.as_str(), "{waiting:?}");
    assert_eq!(rules(server, run), kept);
    shown(
        "its removal manifest is not at the other RSE",
        "no rule ends",
    );

    transfer(server);
    let ending = endings(&site);
    assert_eq!(
        (&ending[0]["state"], &ending[0]["ended"]),
        (&"ending".into(), &2.into())
    );
    for rule in rules(server, run) {
        assert!(rule.ends_with(" t t"), "{rule}");
    }
    reap(server);
    is_gone(server, &site, run);
    shown(
        "it has arrived",
        "the rules end, and no replica is left anywhere",
    );
}

pub(crate) fn rucio_identity(world: &World) {
    by_rucio(world, "REM_RUCIO", Naming::Identity);
}

pub(crate) fn rucio_hash(world: &World) {
    by_rucio(world, "REM_HASH", Naming::Hash);
}

/// Removed at a site whose files Rucio deletes: nothing is unlinked before.
fn by_rucio(world: &World, rse: &str, naming: Naming) {
    let server = &world.server;
    let other = other(world, rse);
    let site = site(world, (rse, naming), "rucio", &to(&other));
    let run = format!("u/removed/{}", rse.to_lowercase());
    let run = run.as_str();
    publish(&site, run);
    transfer(server);
    let before = files(&site, run);
    let plan = site.site.directly(&["remove-runs", run, "--dry-run"]);
    assert!(
        plan.contains(&format!("Rucio deletes what it has at {rse}")),
        "{plan}"
    );
    let said = site.site.directly(&["remove-runs", run, "--yes"]);
    assert!(said.contains("7 are still in Rucio"), "{said}");
    assert_eq!(files(&site, run), before);
    assert!(!is_found(&site, run));
    assert_eq!(journals(&site)[0]["state"], "awaits_rucio");
    shown(
        &format!("`deleter = \"rucio\"`, {naming:?}"),
        "nobody finds the run any more, and nothing is unlinked",
    );

    announce(&site, run);
    transfer(server);
    assert_eq!(endings(&site)[0]["state"], "ending");
    resume(&site);
    assert_eq!(files(&site, run), before, "told to end, and not reaped");
    reap(server);
    let left = files(&site, run);
    let expected = if naming == Naming::Hash {
        FILES as usize
    } else {
        0
    };
    assert_eq!(left.len(), expected, "{left:?}");
    assert_eq!(replicas(server, run), [""; 0]);
    resume(&site);
    is_gone(server, &site, run);
    shown(
        &format!("Rucio's reaper was there, {naming:?}"),
        "the removal is done, and no name of a file is left",
    );
}

/// `--now` waits for no other site.
pub(crate) fn at_once(world: &World) {
    let server = &world.server;
    let other = other(world, "REM_NOW");
    let site = site(world, ("REM_NOW", Naming::Identity), "rucio", &to(&other));
    let (now, later) = ("u/removed/now", "u/removed/later");
    publish(&site, now);
    publish(&site, later);
    transfer(server);
    let plan = |args: &[&str]| {
        let plan = site
            .site
            .directly(&[&["remove-runs", now, "--dry-run"], args].concat());
        let first = plan.lines().next().unwrap().to_owned();
        (first, plan)
    };
    let (number, text) = plan(&["--now"]);
    assert!(text.contains("at once, wherever"), "{text}");
    assert_ne!(number, plan(&[]).0);
    assert_eq!(number, plan(&["--now"]).0);
    site.site.directly(&["remove-runs", now, "--yes", "--now"]);
    for rule in rules(server, now) {
        assert!(rule.ends_with(" t t"), "{rule}");
    }
    reap(server);
    resume(&site);
    is_gone(server, &site, now);
    shown(
        "`remove-runs --now`",
        "its rules end with it; its plan has a number of its own",
    );

    site.site.directly(&["remove-runs", later, "--yes"]);
    assert!(rules(server, later).iter().all(|rule| rule.ends_with(" f")));
    site.site.directly(&["removal", "rules", "--now", later]);
    assert!(
        rules(server, later)
            .iter()
            .all(|rule| rule.ends_with(" t t"))
    );
    reap(server);
    resume(&site);
    is_gone(server, &site, later);
    shown(
        "`removal rules --now RUN`",
        "the rules of a removed run end without waiting any more",
    );
}

/// What was never published is nobody's but runsync's, whoever deletes the rest.
pub(crate) fn unpublished(world: &World) {
    let server = &world.server;
    let site = site(world, ("REM_UNKNOWN", Naming::Identity), "rucio", "");
    let run = "u/removed/unknown";
    site.add(run, "1-1", Content::Additions, 0..FILES);
    let said = site.site.directly(&["remove-runs", run, "--yes"]);
    assert!(said.contains("7 artifacts deleted"), "{said}");
    is_gone(server, &site, run);
    shown(
        "a run that Rucio does not know",
        "unlinked, after Rucio was asked",
    );
}

/// A kill in the middle of publishing, and a removal then: what was registered has no rule, and goes.
pub(crate) fn half_published(world: &World) {
    let server = &world.server;
    let site = site(world, ("REM_HALF", Naming::Identity), "rucio", "");
    let between = Between::new(server.port());
    site.configure(&between.url(), "bulk = 3");
    let run = "u/removed/half";
    site.add(run, "1-1", Content::Additions, 0..FILES);
    let mut publish = site.site.command(&["publish", run, "--direct"]);
    let ended = between.act(&mut publish, (1_000, When::Before), || {});
    let second = ended
        .asked
        .iter()
        .rposition(|asked| asked == "POST /replicas");
    let number = second.unwrap();
    assert!(number > 3, "{:?}", ended.asked);
    // Another run is killed there.
    let run = "u/removed/half-2";
    site.add(run, "1-1", Content::Additions, 0..FILES);
    let mut publish = site.site.command(&["publish", run, "--direct"]);
    between.kill(&mut publish, number, When::Before);
    assert!(!replicas(server, run).is_empty());
    assert_eq!(rules(server, run), [""; 0]);
    site.site.directly(&["remove-runs", run, "--yes"]);
    assert_eq!(journals(&site)[0]["state"], "awaits_rucio");
    // A look of another process does not know that this one had the rules end: it looks twice.
    announce(&site, run);
    endings(&site);
    let daemon = crate::process::Daemon::start(&site.site);
    daemon.until("it is done", || {
        for journal in crate::site::json_lines(&site.site.answer(&["journal", "list", "--json"])) {
            let removal = journal["removal"].as_str().unwrap().to_owned();
            site.site.answer(&["journal", "resume", &removal]);
        }
        reap(server);
        files(&site, run).is_empty()
    });
    daemon.stop();
    resume(&site);
    is_gone(server, &site, run);
    shown(
        "a run that was removed while it was half published",
        "replicas that never had a rule are given to the reaper",
    );
}

/// A run of the same name that comes back has nothing to do with the rules of the one that was removed.
pub(crate) fn comes_back(world: &World) {
    let server = &world.server;
    let site = site(world, ("REM_BACK", Naming::Identity), "runsync", "");
    let run = "u/removed/back";
    publish(&site, run);
    site.site.directly(&["remove-runs", run, "--yes", "--now"]);
    announce(&site, run);
    site.add(run, "1-3", Content::Additions, 20..23);
    let said = site.fails(&["publish", run]);
    assert!(said.contains("have not ended in Rucio yet"), "{said}");
    reap(server);
    assert_eq!(endings(&site).len(), 0);
    site.site.directly(&["publish", run]);
    transfer(server);
    reap(server);
    assert_eq!(replicas(server, run), ["REM_BACK A 3"]);
    assert_eq!(files(&site, run).len(), 3);
    assert_eq!(rules(server, run), ["runsync REM_BACK f"]);
    assert!(fs::exists(site.site.root().join(format!("{run}/calexp/20.fits"))).unwrap());
    shown(
        "a run of the same name comes back",
        "published once the old rules are gone, and brings back nothing that was removed",
    );
}

/// A snapshot of the origin's own leaves one dataset out: rules keep the run as a whole, so none ends, and
/// what was left out stays where Rucio has it.
pub(crate) fn left_out(world: &World) {
    let server = &world.server;
    let site = site(world, ("REM_LEFT_OUT", Naming::Identity), "rucio", "");
    let run = "u/removed/left-out";
    publish(&site, run);
    site.add(run, "1-2", Content::Snapshot, 0..FILES - 1);
    let asked = site.site.directly(&["removal", "list", "--json"]);
    for asked in crate::site::json_lines(&asked) {
        let manifest = asked["manifest"].as_str().unwrap().to_owned();
        site.site
            .directly(&["removal", "confirm", &manifest, "--yes"]);
    }
    // Each is a process of its own, which does not know what another has asked for.
    for _ in 0..2 {
        resume(&site);
        assert_eq!(endings(&site).len(), 0);
        assert_eq!(rules(server, run), ["runsync REM_LEFT_OUT f"]);
        reap(server);
    }
    assert_eq!(files(&site, run).len(), FILES as usize);
    assert_eq!(replicas(server, run), ["REM_LEFT_OUT A 7"]);
    let journals = journals(&site);
    assert_eq!(journals[0]["state"], "partially_removed", "{journals:?}");
    let left = format!("{run}/calexp/{}.fits", FILES - 1);
    assert!(fs::exists(site.site.root().join(left)).unwrap());
    shown(
        "a snapshot leaves out one dataset of a published run",
        "no rule of the run ends, and the rule that keeps the dataset is named",
    );
}

/// The container of a run holds what is another's, since its name does not tell the origin.
pub(crate) fn shared_container(world: &World) {
    let server = &world.server;
    let site = site(world, ("REM_SHARED", Naming::Identity), "runsync", "");
    let run = "u/removed/shared";
    publish(&site, run);
    let scope = &site.scope;
    let another = format!("runsync/instalments/{}/{run}/1-1", uuid::Uuid::from_u128(9));
    let dids = format!("/dids/{scope}/{another}");
    server
        .must("POST", &dids, Some(&json!({"type": "DATASET"})))
        .unwrap();
    let attached = json!({"dids": [{"scope": scope, "name": another}]});
    let container = format!("/dids/{scope}/{run}/dids");
    server.must("POST", &container, Some(&attached)).unwrap();
    site.site.directly(&["remove-runs", run, "--yes", "--now"]);
    let held = endings(&site);
    assert_eq!(held[0]["state"], "held", "{held:?}");
    assert_eq!(rules(server, run), ["runsync REM_SHARED f"]);
    shown(
        "the container of a removed run holds another's instalment",
        "its rule stays, and is named",
    );
}
