//! What Rucio has brought is taken in, and nobody told of it.

use harness::{Daemon, Naming, Rucio};
use runsync_manifest::content::Content;

use crate::proof::shown;
use crate::scene::{FILES, Scene};

pub(crate) fn identity(server: &Rucio) {
    comes(server, "SYNC_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    comes(server, "SYNC_HASH", Naming::Hash);
}

pub(crate) fn non_deterministic(server: &Rucio) {
    comes(server, "SYNC_FREE", Naming::NonDeterministic);
}

/// A run, another instalment, and word of its removal: all of it unannounced.
fn comes(server: &Rucio, name: &str, naming: Naming) {
    let scene = Scene::new(server, name, naming);
    let run = &format!("u/{}/run", name.to_lowercase());
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);

    scene.publish(run, "1-1", 0..FILES);
    let report = scene.pass();
    assert!(report.whole && report.manifests == 0, "{report:?}");
    assert!(scene.run_at_b(run).is_none());
    assert_eq!(scene.findings("manifest_elsewhere"), []);
    say(
        "a run is on its way",
        "nothing of it is known yet, and nothing is amiss",
    );

    scene.transfer();
    let report = scene.pass();
    assert_eq!((report.manifests, report.runs), (1, 1), "{report:?}");
    let (linked, confirmed) = match naming {
        // Whoever takes in a manifest looks for its artifacts where it says that they are.
        Naming::Identity => (0, 0),
        Naming::Hash | Naming::NonDeterministic => (FILES + 1, FILES),
    };
    assert_eq!(report.linked, u64::from(linked), "{report:?}");
    assert_eq!(report.confirmed, u64::from(confirmed), "{report:?}");
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    scene.has_files(run, FILES);
    say(
        "it has come, and every message was lost",
        "one pass registers it and confirms all of it",
    );

    let report = scene.pass();
    assert!(!report.has_changed() && report.runs == 1, "{report:?}");
    say("another pass", "changes nothing");

    scene.publish(run, "1-2", FILES..FILES + 3);
    scene.transfer();
    let report = scene.pass();
    assert_eq!(report.manifests, 1, "{report:?}");
    assert_eq!(scene.standing(run), (u64::from(FILES) + 3, 0));
    scene.has_files(run, FILES + 3);
    say("a second instalment", "found and confirmed");

    scene.a.site.directly(&["remove-runs", run, "--yes"]);
    let removal = scene.a.site.root().join(scene.manifest(run, "1-3"));
    scene.a.ingest(&[removal]);
    scene.a.site.directly(&["publish", run]);
    scene.transfer();
    let report = scene.pass();
    assert_eq!(report.manifests, 1, "{report:?}");
    scene.open_b().follow();
    assert!(scene.run_at_b(run).is_none_or(|row| row.is_removed()));
    scene.has_files(run, 0);
    say("its origin removes it", "the word is found, and followed");
}

/// At level `trust` nothing is confirmed but by Rucio's word.
pub(crate) fn trust(server: &Rucio) {
    let scene = Scene::confirming(server, "SYNC_TRUST", Naming::Identity, "trust");
    let run = "u/sync_trust/run";
    scene.publish(run, "1-1", 0..FILES);
    scene.carry();
    // The manifest's file is there, and so are all others.
    let mut site = scene.open_b();
    site.work();
    site.confirm();
    drop(site);
    assert_eq!(scene.standing(run), (0, FILES.into()));
    let report = scene.pass();
    assert_eq!(
        (report.confirmed, report.waiting),
        (0, FILES.into()),
        "{report:?}"
    );
    shown(
        "level trust: the files are there, and Rucio does not call them AVAILABLE",
        "nothing is confirmed",
    );
    scene.step(&[Daemon::Poll, Daemon::Finish]);
    let report = scene.pass();
    assert_eq!(report.confirmed, u64::from(FILES), "{report:?}");
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    shown(
        "level trust: Rucio calls them AVAILABLE",
        "all are confirmed, unseen",
    );
}

pub(crate) fn checksum(server: &Rucio) {
    let scene = Scene::confirming(server, "SYNC_SUM", Naming::Hash, "checksum");
    let run = "u/sync_sum/run";
    scene.bring(run);
    let report = scene.pass();
    assert_eq!(report.confirmed, u64::from(FILES), "{report:?}");
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    shown(
        "level checksum at a hashed RSE",
        "all are named, read, and confirmed",
    );
}

/// A generation that is missing is looked for by its name, whatever became of the control Rucio dataset.
pub(crate) fn gap(server: &Rucio) {
    let scene = Scene::new(server, "SYNC_GAP", Naming::Hash);
    let run = "u/sync_gap/run";
    for (generation, first) in [("1-1", 0), ("1-2", FILES), ("1-3", 2 * FILES)] {
        scene
            .a
            .add(run, generation, Content::Additions, first..first + FILES);
    }
    scene.a.site.directly(&["publish", run]);
    let missing = scene.manifest(run, "1-2");
    let sql = format!(
        "delete from contents where child_name = '{missing}' and position('runsync/control/' in name) = 1"
    );
    server.sql(&sql).unwrap();
    scene.transfer();
    let report = scene.pass();
    assert_eq!(report.manifests, 3, "{report:?}");
    assert_eq!(scene.standing(run), (u64::from(3 * FILES), 0));
    shown(
        "a generation that is missing, and not in the control Rucio dataset any more",
        "found by its name, and registered",
    );
}
