//! What Rucio has deleted here is forgotten, and nothing else; what it brings again comes back.

use harness::{Naming, Rucio};
use jiff::Timestamp;
use runsync::ledger::record::{Hint, HintKind, Taken};
use runsync::registry::record::Presence;
use runsync_manifest::content::Content;

use crate::pair;
use crate::process::until;
use crate::proof::shown;
use crate::rucio::uuid;
use crate::scene::{FILES, Scene};

pub(crate) fn identity(server: &Rucio) {
    goes(server, "GONE_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    goes(server, "GONE_HASH", Naming::Hash);
}

/// Both ways to hear of it: by hints, and by a pass.
fn goes(server: &Rucio, name: &str, naming: Naming) {
    let scene = Scene::new(server, name, naming);
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);
    let run = &format!("u/{}/run", name.to_lowercase());
    scene.bring(run);
    scene.pass();
    assert_eq!(scene.standing(run), (FILES.into(), 0));

    // Nothing of it is true yet.
    let hints = scene.hints(HintKind::Deleted, run);
    assert!(scene.take(&hints).iter().all(|taken| *taken == Taken::Done));
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    scene.has_files(run, FILES);
    say(
        "told of deletions that have not happened",
        "nothing changes",
    );

    scene.delete_at_b(run);
    assert!(scene.take(&hints).iter().all(|taken| *taken == Taken::Done));
    forgotten(&scene, run);
    say(
        "told of deletions",
        "records are gone, datasets stay known, no name is left",
    );

    bring_again(&scene, run);
    let report = scene.pass();
    assert_eq!(report.awaited_again, u64::from(FILES), "{report:?}");
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    scene.has_files(run, FILES);
    say("Rucio brings it again", "confirmed again, by itself");

    scene.delete_at_b(run);
    let report = scene.pass();
    assert_eq!(report.forgotten, u64::from(FILES), "{report:?}");
    forgotten(&scene, run);
    assert!(!scene.pass().has_changed());
    say("deleted, and every message was lost", "a pass forgets it");

    bring_again(&scene, run);
    let hints = scene.hints(HintKind::Arrived, run);
    assert!(scene.take(&hints).iter().all(|taken| *taken == Taken::Done));
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    say("told that it has come again", "confirmed again");
}

/// Another rule for site B.
fn bring_again(scene: &Scene<'_>, run: &str) {
    let (scope, there) = (&scene.a.scope, &scene.b.rse.name);
    scene.server.add_rule(scope, run, 1, there).unwrap();
    scene.transfer();
}

fn forgotten(scene: &Scene<'_>, run: &str) {
    assert_eq!(scene.standing(run), (0, 0));
    let onlooker = scene.b.site.watch();
    for number in 0..FILES {
        assert_eq!(onlooker.presence(uuid(run, number)), Presence::No);
    }
    assert_eq!(scene.run_at_b(run).unwrap().datasets, u64::from(FILES));
    scene.has_files(run, 0);
}

/// A file that is there is never forgotten, nor is anything while the root is not there.
pub(crate) fn kept(server: &Rucio) {
    let scene = Scene::new(server, "GONE_KEPT", Naming::Identity);
    let run = "u/gone_kept/run";
    scene.bring(run);
    scene.pass();
    let kept = format!("{run}/calexp/3.fits");
    let bytes = std::fs::read(scene.b.site.root().join(&kept)).unwrap();
    scene.delete_at_b(run);
    scene.b.site.put(&kept, &bytes);
    let report = scene.pass();
    assert_eq!(report.forgotten, u64::from(FILES) - 1, "{report:?}");
    assert_eq!(scene.standing(run), (1, 0));
    shown(
        "Rucio lists no replica, and the file is there",
        "its record stays",
    );

    let other = "u/gone_kept/other";
    scene.bring(other);
    scene.pass();
    scene.delete_at_b(other);
    let site = scene.open_b();
    let (root, away) = (scene.b.site.root(), scene.b.site.folder.path().join("away"));
    std::fs::rename(&root, &away).unwrap();
    std::fs::create_dir(&root).unwrap();
    let hints = scene.hints(HintKind::Deleted, other);
    let taken = site.assembly.syncing.take(&hints, &mut crate::scene::go_on);
    assert!(taken.is_err(), "{taken:?}");
    drop(site);
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&away, &root).unwrap();
    assert_eq!(scene.standing(other), (FILES.into(), 0));
    shown(
        "the root is not mounted",
        "nothing is forgotten, and the hints are kept",
    );
    assert_eq!(scene.pass().forgotten, u64::from(FILES));
    shown("it is back", "forgotten");
}

/// What was unstored is not waited for, until Rucio is told anew to bring it here.
pub(crate) fn wanted_again(server: &Rucio) {
    let scene = Scene::new(server, "GONE_WANTED", Naming::Identity);
    let run = "u/gone_wanted/run";
    scene.bring(run);
    scene.pass();
    scene.b.site.directly(&["unstore", run, "--yes"]);
    assert_eq!(pair::files_below(&scene.b.site, run).len(), 0);
    scene.delete_at_b(run);
    let report = scene.pass();
    assert!(!report.has_changed(), "{report:?}");
    assert_eq!(scene.standing(run), (0, 0));
    shown("a run that was unstored here", "is not waited for");
    // Rucio tells whole seconds: a rule counts as newer from the next one on.
    let told = Timestamp::now().as_second();
    until("another second", || Timestamp::now().as_second() > told);
    bring_again(&scene, run);
    scene.pass();
    let report = scene.pass();
    assert_eq!(scene.standing(run), (FILES.into(), 0), "{report:?}");
    scene.has_files(run, FILES);
    shown(
        "a rule that is newer than the wish",
        "it is wanted again, and confirmed",
    );
}

/// An older manifest is withdrawn, and Rucio has deleted it here.
pub(crate) fn withdrawn(server: &Rucio) {
    let scene = Scene::new(server, "GONE_DRAWN", Naming::Identity);
    let run = "u/gone_drawn/run";
    scene.bring(run);
    scene.publish(run, "1-2", FILES..FILES + 2);
    scene.transfer();
    scene.pass();
    assert_eq!(scene.standing(run), (u64::from(FILES) + 2, 0));
    let older = scene.b.site.root().join(scene.manifest(run, "1-1"));
    std::fs::remove_file(older).unwrap();
    scene.delete_at_b(run);
    let hints = scene.hints(HintKind::Deleted, run);
    assert!(scene.take(&hints).iter().all(|taken| *taken == Taken::Done));
    assert_eq!(scene.standing(run), (2, 0));
    assert_eq!(scene.pass().forgotten, 2);
    shown(
        "Rucio deletes a run of which a manifest was withdrawn",
        "forgotten, by messages and by a pass: another manifest tells the scope",
    );
}

/// What looks like a deletion and is none, and files that Rucio never had.
pub(crate) fn guarded(server: &Rucio) {
    let scene = Scene::new(server, "GONE_GUARD", Naming::Hash);
    let run = "u/gone_guard/run";
    scene.bring(run);
    scene.pass();
    let hints = scene.hints(HintKind::Deleted, run);
    let stays = |what: &str| {
        assert!(scene.take(&hints).iter().all(|taken| *taken == Taken::Done));
        assert_eq!(scene.standing(run).0, u64::from(FILES), "{what}");
        scene.has_names(run, FILES);
    };
    let there = scene.b.rse.name.clone();
    let closed = |is_open: bool| {
        let body = serde_json::json!({"availability_read": is_open});
        server
            .must("PUT", &format!("/rses/{there}"), Some(&body))
            .unwrap();
    };
    closed(false);
    stays("closed for reading");
    closed(true);
    shown(
        "told of deletions while the RSE is closed for reading",
        "it lists nothing, and nothing is forgotten",
    );

    // Carried by hand: Rucio knows nothing of it.
    let carried = 3;
    let manifest = scene
        .a
        .place(run, "1-2", Content::Additions, FILES..FILES + carried);
    for number in FILES..FILES + carried {
        let path = format!("{run}/calexp/{number}.fits");
        let bytes = std::fs::read(scene.a.site.root().join(&path)).unwrap();
        scene.b.site.put(&path, &bytes);
    }
    let path = scene.manifest(run, "1-2");
    scene.b.site.put(&path, &std::fs::read(manifest).unwrap());
    scene.b.ingest(&[scene.b.site.root().join(&path)]);
    assert_eq!(scene.standing(run), (u64::from(FILES + carried), 0));

    scene.delete_at_b(run);
    let elsewhere = hints.iter().cloned().map(|hint| Hint {
        scope: "elsewhere".to_owned(),
        ..hint
    });
    let elsewhere: Vec<Hint> = elsewhere.collect();
    let taken = scene.take(&elsewhere);
    assert!(taken.iter().all(|taken| *taken == Taken::Done));
    scene.has_names(run, FILES);
    shown(
        "told of deletions of the same names in another scope",
        "they are other files: nothing is forgotten",
    );

    assert_eq!(scene.pass().forgotten, u64::from(FILES));
    assert_eq!(scene.standing(run), (u64::from(carried), 0));
    let left = pair::files_below(&scene.b.site, &format!("{run}/calexp"));
    assert_eq!(left.len(), carried as usize, "{left:?}");
    shown(
        "Rucio deletes a run of which an instalment was carried by hand",
        "what Rucio had goes, and what it never had stays",
    );
}
