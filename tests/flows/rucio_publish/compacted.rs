//! Control Rucio datasets that reach another RSE, and manifests that give place to a snapshot.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use harness::{Daemon, Naming, Rse, Rucio};
use runsync_manifest::content::Content;

use crate::World;
use crate::between::{Between, When};
use crate::pair;
use crate::process::text;
use crate::proof::shown;
use crate::rucio::{ACCOUNT, RucioSite};
use crate::state::{self, Of, same};
use crate::support::TestSite;

/// From rules to replicas that are there.
const CARRY: &[Daemon] = &[
    Daemon::Evaluate,
    Daemon::Submit,
    Daemon::Poll,
    Daemon::Finish,
];

fn manifest(site: &RucioSite, run: &str, generation: &str) -> String {
    let origin = site.site.repository;
    format!("runsync/manifests/{origin}/{run}/{generation}.manifest.jsonl")
}

fn state_at(server: &Rucio, rse: &Rse, name: &str) -> Option<String> {
    server.replica_state("root", name, &rse.name).unwrap()
}

/// What is attached of a run's manifests: to which Rucio dataset, which generation.
fn attached(server: &Rucio, run: &str, generation: &str) -> usize {
    let rows = state::rucio(server, Of::Run(run));
    let name = format!("RUN/{generation}.manifest");
    rows.iter()
        .filter(|row| row.starts_with("content ") && row.contains(&name))
        .count()
}

/// Three instalments, carried to another RSE, and a snapshot in their place.
pub(crate) fn snapshot(world: &World) {
    let server = &world.server;
    let other = server.add_rse("COMPACT_B", Naming::Identity, None).unwrap();
    server.set_limit(ACCOUNT, &other.name, None).unwrap();
    let more = "bulk = 3\n[rucio.publish]\ncontrol_rses = \"COMPACT_B\"\n";
    let site = RucioSite::new(server, "COMPACT_A", Naming::Identity, more);
    let run = "u/compact/run";
    for (generation, numbers) in [("1-1", 0..3), ("1-2", 3..5), ("1-3", 5..6)] {
        site.add(run, generation, Content::Additions, numbers);
    }
    site.site.directly(&["publish", run]);
    state::judge(server);
    server.step(CARRY).unwrap();
    for generation in ["1-1", "1-2", "1-3"] {
        let name = manifest(&site, run, generation);
        assert_eq!(
            state_at(server, &other, &name).as_deref(),
            Some("AVAILABLE")
        );
        let there = fs::read(other.path("root", &name)).unwrap();
        let here = fs::read(site.site.root().join(&name)).unwrap();
        assert!(there == here, "{name} differs");
    }
    let artifact = format!("{run}/calexp/0.fits");
    assert_eq!(state_at(server, &other, &artifact), None);
    shown(
        "control: another RSE gets the manifests",
        "three arrive with their bytes, and no artifact",
    );

    // One that is not registered would be overtaken unread.
    let unread = site.place(run, "1-4", Content::Additions, 6..7);
    let said = site.fails(&["manifest", "compact", run]);
    assert!(
        said.contains("not registered") && said.contains("1-4"),
        "{said}"
    );
    shown("compact: a manifest that is not registered", "refused");
    fs::remove_file(unread).unwrap();

    let said = compact(&site, run);
    assert!(
        said.contains("3 stay until the snapshot is available at COMPACT_B"),
        "{said}"
    );
    for generation in ["1-1", "1-2", "1-3"] {
        assert_eq!(attached(server, run, generation), 2, "{generation}");
    }
    assert_eq!(attached(server, run, "1-4"), 2);
    shown(
        "compact: the snapshot has not arrived",
        "it is announced, and the older manifests stay",
    );
    let before = state::rucio(server, Of::Run(run));
    let said = compact(&site, run);
    assert!(
        said.contains("there already") && said.contains("3 stay"),
        "{said}"
    );
    same("again", &state::rucio(server, Of::Run(run)), &before);
    shown("compact: again", "changes nothing");

    state::judge(server);
    server.step(CARRY).unwrap();
    let said = compact(&site, run);
    assert!(said.contains("3 older manifests withdrawn"), "{said}");
    for generation in ["1-1", "1-2", "1-3"] {
        assert_eq!(attached(server, run, generation), 0, "{generation}");
    }
    assert_eq!(attached(server, run, "1-4"), 2);
    shown(
        "compact: the snapshot has arrived",
        "the older manifests are detached from control and instalments",
    );
    let before = state::rucio(server, Of::Run(run));
    compact(&site, run);
    same("at the end", &state::rucio(server, Of::Run(run)), &before);
    shown("compact: once more", "changes nothing");

    registries(&site, run);
    reaped(server, &site, &other, run);
}

fn compact(site: &RucioSite, run: &str) -> String {
    site.site.directly(&["manifest", "compact", run])
}

/// Who ingests the snapshot alone has what another has who ingests all.
fn registries(site: &RucioSite, run: &str) {
    let ingest = |generations: &[&str]| {
        let copy: TestSite = pair::copy_of(&site.site, "apply", "");
        let paths: Vec<PathBuf> = generations
            .iter()
            .map(|generation| {
                let name = manifest(site, run, generation);
                copy.put(&name, &fs::read(site.site.root().join(&name)).unwrap());
                copy.root().join(name)
            })
            .collect();
        for path in paths {
            copy.directly(&["ingest", path.to_str().unwrap()]);
        }
        copy.watch().dump()
    };
    let all = ingest(&["1-1", "1-2", "1-3", "1-4"]);
    let alone = ingest(&["1-4"]);
    assert!(alone.contains("5.fits"), "{alone}");
    assert!(all == alone, "{all}\nand\n{alone}");
    shown(
        "compact: another site that ingests the snapshot alone",
        "has the registry of one that ingested all",
    );
}

/// Rucio deletes what nothing holds any more.
fn reaped(server: &Rucio, site: &RucioSite, other: &Rse, run: &str) {
    state::judge(server);
    server
        .step(&[
            Daemon::Evaluate,
            Daemon::Undertake,
            Daemon::Clean,
            Daemon::Reap,
        ])
        .unwrap();
    for generation in ["1-1", "1-2", "1-3"] {
        let name = manifest(site, run, generation);
        for rse in [other, &site.rse] {
            assert_eq!(state_at(server, rse, &name), None, "{name} at {}", rse.name);
            assert!(
                !fs::exists(rse.path("root", &name)).unwrap(),
                "{name} at {}",
                rse.name
            );
        }
    }
    let artifact = format!("{run}/calexp/0.fits");
    let snapshot = manifest(site, run, "1-4");
    for (rse, name) in [
        (other, &snapshot),
        (&site.rse, &snapshot),
        (&site.rse, &artifact),
    ] {
        assert_eq!(state_at(server, rse, name).as_deref(), Some("AVAILABLE"));
        assert!(fs::exists(rse.path("root", name)).unwrap());
    }
    shown(
        "compact: Rucio's undertaker, cleaner and reaper",
        "the older manifests are deleted, the snapshot and artifacts stay",
    );
}

/// A manifest that is overtaken when all of it but its rules is in Rucio.
pub(crate) fn overtaken(world: &World) {
    let server = &world.server;
    let site = RucioSite::new(server, "COMPACT_OVERTAKEN", Naming::Identity, "");
    let between = Between::new(server.port());
    site.configure(&between.url(), "bulk = 3");
    let command = |run: &str| site.site.command(&["publish", run, "--direct"]);
    let (whole, run) = ("u/overtaken/whole", "u/overtaken/run");
    for run in [whole, run] {
        site.add(run, "1-1", Content::Additions, 0..4);
    }
    let asked = between.run(&mut command(whole)).asked;
    let number = asked.iter().position(|asked| asked == "POST /rules/");
    let ended = between.kill(&mut command(run), number.unwrap() + 1, When::Before);
    assert_eq!(ended.status.signal(), Some(9), "{}", ended.stderr);
    let has_rule = || {
        let rows = state::rucio(server, Of::Run(run));
        rows.iter().any(|row| row.starts_with("rule root RUN C "))
    };
    assert!(!has_rule());
    compact(&site, run);
    assert!(has_rule());
    shown(
        "compact: a manifest killed before its rules, and overtaken",
        "the container has its rules all the same",
    );
}

/// `kill -9` at the requests of `manifest compact`: where all is published, and where the snapshot has
/// artifacts of its own, since a manifest was not.
pub(crate) fn killed(world: &World) {
    kill_all(
        world,
        "all published",
        "COMPACT_KILL_ALL",
        2 * world.stride,
        true,
    );
    kill_all(
        world,
        "artifacts of its own",
        "COMPACT_KILL_OWN",
        world.stride,
        false,
    );
}

fn kill_all(world: &World, name: &str, rse: &str, stride: usize, all: bool) {
    let server = &world.server;
    let site = RucioSite::new(server, rse, Naming::Identity, "");
    let between = Between::new(server.port());
    site.configure(&between.url(), "bulk = 3");
    let add = |numbers: std::ops::Range<usize>| {
        let prefix = rse.to_lowercase();
        let runs: Vec<String> = numbers
            .map(|number| format!("u/{prefix}/{number:03}"))
            .collect();
        let ingest = |generation: &str, numbers: std::ops::Range<u32>| {
            let place =
                |run: &String| site.place(run, generation, Content::Additions, numbers.clone());
            site.ingest(&runs.iter().map(place).collect::<Vec<_>>());
        };
        let publish = || {
            let names: Vec<&str> = runs.iter().map(String::as_str).collect();
            let args = [&["publish"], names.as_slice()].concat();
            site.site.directly(&args);
        };
        ingest("1-1", 0..2);
        publish();
        ingest("1-2", 2..6);
        if all {
            publish();
        }
        runs
    };
    let command = |run: &str| {
        let args = ["manifest", "compact", run, "--direct"];
        site.site.command(&args)
    };
    let reference = add(0..2);
    let mut requests = Vec::new();
    for run in &reference {
        let ended = between.run(&mut command(run));
        assert!(ended.status.success(), "{}", ended.stderr);
        requests = ended.asked;
    }
    let expected = state::rucio(server, Of::Run(&reference[1]));
    let names = state::names(&site, Of::Run(&reference[1]));
    let numbers: Vec<usize> = (1..=requests.len()).step_by(stride).collect();
    let runs = add(2..2 + numbers.len());
    for (number, run) in numbers.into_iter().zip(&runs) {
        let when = if number % 2 == 0 {
            When::Before
        } else {
            When::After
        };
        let ended = between.kill(&mut command(run), number, when);
        assert_eq!(ended.status.signal(), Some(9), "{}", ended.stderr);
        let output = command(run).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let what = format!("{run} killed {when:?} request {number}");
        same(&what, &state::rucio(server, Of::Run(run)), &expected);
        same(&what, &state::names(&site, Of::Run(run)), &names);
        shown(
            &format!("compact, {name}: killed {when:?} request {number}"),
            "run again: the same",
        );
    }
}
