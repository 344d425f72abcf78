//! Hints: a reason to look at once, and no more.

use harness::{Daemon, Naming, Rucio};
use runsync::ledger::record::{HintKind, Taken};

use crate::between::Between;
use crate::proof::shown;
use crate::scene::{FILES, Scene};

fn all_done(taken: &[Taken]) -> bool {
    taken.iter().all(|taken| *taken == Taken::Done)
}

fn all_later(taken: &[Taken]) -> bool {
    taken.iter().all(|taken| matches!(taken, Taken::Later(_)))
}

/// Files have their own names: a look at them is what confirms them.
pub(crate) fn identity(server: &Rucio) {
    let scene = Scene::new(server, "HINT_IDENTITY", Naming::Identity);
    let run = "u/hint_identity/run";
    scene.publish(run, "1-1", 0..FILES);
    let manifest = [scene.hint(HintKind::Arrived, &scene.manifest(run, "1-1"))];
    assert!(all_later(&scene.take(&manifest)));
    shown("told of a manifest that is not there yet", "later");
    let bytes = std::fs::read(scene.a.site.root().join(scene.manifest(run, "1-1"))).unwrap();
    scene.b.site.put(&scene.manifest(run, "1-1"), &bytes);
    assert!(all_done(&scene.take(&manifest)));
    assert_eq!(scene.standing(run), (0, FILES.into()));
    shown(
        "it is there, and Rucio does not call it AVAILABLE yet",
        "registered",
    );
    scene.carry();
    let artifacts = scene.hints(HintKind::Arrived, run);
    assert!(all_done(&scene.take(&artifacts)));
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    shown(
        "told of artifacts up to 20 s before Rucio calls them AVAILABLE",
        "looked at, and confirmed at level size",
    );
    scene.step(&[Daemon::Poll, Daemon::Finish]);
    let twice = [scene.hints(HintKind::Arrived, run), artifacts].concat();
    assert!(all_done(&scene.take(&twice)));
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    shown("told of them twice more", "nothing changes");
}

/// Files have Rucio's names: it has to tell where they are.
pub(crate) fn hash(server: &Rucio) {
    let scene = Scene::new(server, "HINT_HASH", Naming::Hash);
    let run = "u/hint_hash/run";
    scene.publish(run, "1-1", 0..FILES);
    let manifest = [scene.hint(HintKind::Arrived, &scene.manifest(run, "1-1"))];
    assert!(all_later(&scene.take(&manifest)));
    scene.transfer();
    assert!(all_done(&scene.take(&manifest)));
    assert_eq!(scene.standing(run), (0, FILES.into()));
    shown(
        "told of a manifest that the watcher cannot see",
        "named, and registered",
    );
    assert!(all_done(&scene.take(&scene.hints(HintKind::Arrived, run))));
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    scene.has_files(run, FILES);
    shown(
        "told of artifacts that have other names",
        "named, and confirmed",
    );

    // A rule's end brings what no other message told of.
    scene.publish(run, "1-2", FILES..FILES + 3);
    scene.transfer();
    let origin = scene.a.site.repository;
    let instalment = format!("runsync/instalments/{origin}/{run}/1-2");
    let settled = scene.hint(HintKind::Settled, &instalment);
    assert!(all_done(&scene.take(std::slice::from_ref(&settled))));
    let container = scene.hint(HintKind::Settled, run);
    assert!(all_done(&scene.take(&[settled, container])));
    assert_eq!(scene.standing(run), (u64::from(FILES) + 3, 0));
    shown(
        "told that a rule is satisfied, and of nothing else",
        "the run is whole",
    );
}

/// A thousand hints cost a handful of requests.
pub(crate) fn many(server: &Rucio) {
    const MANY: u32 = 200;
    let scene = Scene::new(server, "HINT_MANY", Naming::Hash);
    let run = "u/hint_many/run";
    scene.publish(run, "1-1", 0..MANY);
    scene.transfer();
    let manifest = [scene.hint(HintKind::Arrived, &scene.manifest(run, "1-1"))];
    assert!(all_done(&scene.take(&manifest)));
    let between = Between::new(server.port());
    scene.configure_b("size", &between.url(), "");
    let name = |number| format!("{run}/calexp/{number}.fits");
    let mut hints: Vec<_> = (0..MANY)
        .map(|number| scene.hint(HintKind::Arrived, &name(number)))
        .collect();
    // Doubled, and in another order.
    hints.extend(hints.clone().into_iter().rev());
    assert!(all_done(&scene.take(&hints)));
    assert_eq!(scene.standing(run), (MANY.into(), 0));
    let asked = between.asked().len();
    assert!(asked <= 4, "{:?}", between.asked());
    shown(
        &format!("{} hints, doubled and backwards", hints.len()),
        &format!("{asked} requests, the login among them, confirm all of it"),
    );
}

/// Whatever names nothing here is done with, whoever sent it.
pub(crate) fn of_nothing(server: &Rucio) {
    let scene = Scene::new(server, "HINT_NOTHING", Naming::Hash);
    let between = Between::new(server.port());
    scene.configure_b("size", &between.url(), "");
    let long = "x".repeat(4_000);
    let mut hints = Vec::new();
    for kind in [HintKind::Arrived, HintKind::Deleted, HintKind::Settled] {
        for name in [
            "",
            "/etc/passwd",
            "../../etc/passwd",
            "a/../../b",
            "u/nobody/knows/this.fits",
            "runsync/repository.json",
            "runsync/control/nonsense",
            "runsync/manifests/00000000-0000-0000-0000-00000000beef/u/x/1-1.manifest.jsonl",
            "with blank",
            "nul\0byte",
            "née",
            &long,
        ] {
            hints.push(scene.hint(kind, name));
        }
        let mut other = scene.hint(kind, "u/nobody/knows/this.fits");
        other.rse = Some("ANOTHER_RSE".parse().unwrap());
        hints.push(other.clone());
        other.rse = None;
        hints.push(other.clone());
        "no scope/at all".clone_into(&mut other.scope);
        hints.push(other);
    }
    let count = hints.len();
    assert!(all_done(&scene.take(&hints)));
    assert_eq!(scene.findings("rucio_differs"), []);
    assert!(between.asked().is_empty(), "{:?}", between.asked());
    shown(
        &format!("{count} hints about nothing that is known here, hostile names among them"),
        "done with, without a request",
    );
}
