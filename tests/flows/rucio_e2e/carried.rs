//! The way of a run to the other site, and its end at both.

use harness::Rucio;
use runsync_manifest::content::Content;

use crate::process::Onlooker;
use crate::rucio::RucioSite;
use crate::scene::Scene;
use crate::state::{self, Of};

/// The step at which a run is gone.
const GONE: &str = "gone";

/// What sites and Rucio hold at a step of the way, in a form in which runs of other names are equal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct States(pub(crate) Vec<(&'static str, Vec<String>)>);

/// What is told as a run goes its way.
pub(crate) trait Along {
    /// A step begins.
    fn begin(&mut self, scene: &mut Scene) {
        let _ = scene;
    }

    /// What an operator does in it is done.
    fn ordered(&mut self) {}

    /// What was to come of it has come.
    fn end(&mut self, step: &'static str, outcome: &'static str);
}

/// Makes a run, has it published, adds an instalment, and removes it. Nobody does more than that.
pub(crate) fn both_ways(
    server: &Rucio,
    scene: &mut Scene,
    run: &str,
    along: &mut impl Along,
) -> States {
    let mut states = States::default();
    let (at_a, at_b) = (scene.a.site.site.watch(), scene.b.site.site.watch());

    along.begin(scene);
    scene.a.site.place(run, "1-1", Content::Additions, 0..20);
    scene.until("A has the run", |_| at_a.complete(run, 20));
    order(scene, &["publish", run, "--no-wait"]);
    along.ordered();
    scene.until("B has the run", |_| at_b.complete(run, 20));
    along.end(
        "a run is made and published at A",
        "registered and confirmed at B",
    );

    along.begin(scene);
    scene.a.site.place(run, "1-2", Content::Additions, 20..30);
    scene.until("A has the second instalment", |_| at_a.complete(run, 30));
    order(scene, &["publish", run, "--no-wait"]);
    along.ordered();
    scene.until("B has the second instalment", |_| at_b.complete(run, 30));
    // The manifest is announced last, and what that attaches Rucio's judge has still to look at.
    order(scene, &["publish", run]);
    scene.until("Rucio's judge is done", |_| unjudged(server) == 0);
    // The first instalment's rules are whole only once Rucio has looked at them again.
    scene.until("Rucio is done", |_| waiting(server, run) == 0);
    along.end("a second instalment", "registered and confirmed at B");
    states.keep("there", server, scene, run);

    along.begin(scene);
    order(scene, &["remove-runs", run, "--yes"]);
    along.ordered();
    let is_removed = |site: &Onlooker| site.run(run).is_none_or(|row| row.is_removed());
    scene.until("A has the run no more", |_| is_removed(&at_a));
    scene.until("B has the run no more", |_| is_removed(&at_b));
    let is_gone = |site: &RucioSite| artifacts(site, run).is_empty();
    scene.until("the files are gone at A", |scene| is_gone(&scene.a.site));
    scene.until("the files are gone at B", |scene| is_gone(&scene.b.site));
    scene.until("Rucio has no replica of it", |_| replicas(server, run) == 0);
    along.end(
        "the run is removed at A",
        "gone at A and at B: records, files, and all replicas in Rucio",
    );
    states.keep(GONE, server, scene, run);
    states
}

/// An operator's order at A, which a daemon that is just being started again does not hear.
fn order(scene: &mut Scene, args: &[&str]) {
    scene.until(&format!("A hears {args:?}"), |scene| {
        scene.a.site.site.run_command(args).status.success()
    });
}

/// The artifacts of a run that lie at a site, by any name.
fn artifacts(site: &RucioSite, run: &str) -> Vec<String> {
    let names = state::names(site, Of::Run(run)).into_iter();
    names.filter(|name| name.contains("/calexp/")).collect()
}

fn replicas(server: &Rucio, run: &str) -> u64 {
    count(
        server,
        &format!("select count(*) from replicas where name like '%{run}/calexp/%'"),
    )
}

/// What was attached to, and is not looked at by Rucio's judge yet.
fn unjudged(server: &Rucio) -> u64 {
    count(server, "select count(*) from updated_dids")
}

/// Locks of a run that are not whole yet.
fn waiting(server: &Rucio, run: &str) -> u64 {
    count(
        server,
        &format!("select count(*) from rules where position('{run}' in name) > 0 and state <> 'O'"),
    )
}

fn count(server: &Rucio, sql: &str) -> u64 {
    server.sql(sql).unwrap().concat().concat().parse().unwrap()
}

impl States {
    fn keep(&mut self, when: &'static str, server: &Rucio, scene: &Scene, run: &str) {
        let mut rows = Vec::new();
        for (name, running) in [("A", &scene.a), ("B", &scene.b)] {
            let dump = running.site.site.watch().dump();
            rows.extend(dump.lines().map(|line| format!("{name}: {line}")));
            let names = state::names(&running.site, Of::Run(run)).into_iter();
            rows.extend(names.map(|found| format!("{name} has {found}")));
        }
        let in_rucio = state::rucio(server, Of::Run(run)).into_iter();
        rows.extend(in_rucio.map(|row| format!("Rucio: {row}")));
        let mut rows: Vec<String> = rows.iter().map(|row| normal(row, scene, run)).collect();
        rows.sort_unstable();
        if when == GONE {
            rows.retain(|row| has_an_end(row));
        }
        self.0.push((when, rows));
    }
}

/// A row without the names that only this way has.
fn normal(row: &str, scene: &Scene, run: &str) -> String {
    let (a, b) = (&scene.a.site, &scene.b.site);
    let origin = a.site.repository.to_string();
    // Datasets of a run have a number of its own in the middle of their UUIDs.
    let uuid = uuid::Uuid::from_u128(crate::rucio::uuid(run, 0)).to_string();
    let own = uuid.get(19..28).unwrap();
    let names = [
        (run, "RUN"),
        (&origin, "ORIGIN"),
        (own, "NUMBER"),
        (&a.rse.name, "RSE_A"),
        (&b.rse.name, "RSE_B"),
        (&a.scope, "SCOPE"),
    ];
    names.iter().fold(row.to_owned(), |row, (name, short)| {
        row.replace(name, short)
    })
}

/// Whether a row of a run that is gone is as it will stay. Older manifests are withdrawn, and Rucio clears away
/// empty Rucio datasets, when their turn comes.
fn has_an_end(row: &str) -> bool {
    let passes = ["Rucio: did ", "Rucio: content ", "Rucio: dataset lock "];
    !row.contains("runsync/manifests/") && !passes.iter().any(|part| row.starts_with(part))
}
