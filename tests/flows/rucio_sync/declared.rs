//! What Rucio calls available and is damaged, or not there, is declared where configuration says so.

use std::time::Duration;

use harness::{Daemon, Naming, Rucio};
use runsync::sync::Measure;

use crate::proof::shown;
use crate::scene::{FILES, Scene, go_on};

/// Longer than a root waits.
const LONG: Duration = Duration::from_secs(60 * 86_400);

pub(crate) fn identity(server: &Rucio) {
    bad(server, "TOLD_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    bad(server, "TOLD_HASH", Naming::Hash);
}

/// What was seen damaged has to be so still after it.
const HOUR: Duration = Duration::from_secs(3_600);

/// Brings a run of which one artifact is cut short at site B, and one is gone.
fn bring_damaged(scene: &Scene<'_>, run: &str) {
    scene.bring(run);
    let site = &scene.b.site;
    let file = |number: u32| {
        let name = format!("{run}/calexp/{number}.fits");
        // Where an algorithm places files, the name is the end of the path.
        let files = crate::pair::files_below(site, "");
        let placed = files.iter().find(|file| file.ends_with(&name)).unwrap();
        site.root().join(placed)
    };
    crate::support::write(&file(0), b"cut");
    std::fs::remove_file(file(1)).unwrap();
}

/// Bad ones are copied anew by Rucio, and nobody lends a hand.
fn bad(server: &Rucio, name: &str, naming: Naming) {
    let scene = Scene::new(server, name, naming);
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);
    scene.configure_b("size", &server.url(), "[rucio.sync]\ndeclare = \"bad\"\n");
    scene.as_root();
    let run = &format!("u/{}/run", name.to_lowercase());
    bring_damaged(&scene, run);
    let report = scene.pass();
    assert_eq!(report.declared, 0, "{report:?}");
    assert_eq!(scene.standing(run), (u64::from(FILES) - 2, 2));
    assert_eq!(scene.heard(run), [""; 0]);
    say("damaged, and not overdue", "nothing is declared");

    scene.b.site.pass(LONG);
    assert_eq!(scene.pass().declared, 0);
    assert_eq!(scene.pass().declared, 0);
    assert_eq!(scene.findings("rucio_damaged").len(), 2);
    assert_eq!(scene.heard(run), [""; 0]);
    say("overdue, and seen for the first time", "a finding for each");

    scene.b.site.pass(HOUR);
    let report = scene.pass();
    assert_eq!(report.declared, 2, "{report:?}");
    assert_eq!(scene.heard(run), ["0.fits B 1", "1.fits B 1"]);
    assert_eq!(scene.findings("rucio_damaged"), []);
    let found = scene.findings("rucio_declared");
    let details: Vec<&str> = found.iter().map(|one| one.detail.as_str()).collect();
    assert!(
        details.len() == 2
            && details[0].contains("declared bad: ")
            && details[1].contains("not there"),
        "{details:?}"
    );
    assert_eq!(scene.pass().declared, 0);
    say(
        "seen again an hour later",
        "the damaged one and the one that is gone are declared bad, once",
    );

    scene.step(&[Daemon::Necromance]);
    scene.transfer();
    scene.pass();
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    scene.has_names(run, FILES);
    scene.pass();
    assert_eq!(scene.findings("rucio_declared"), []);
    say(
        "Rucio copies them anew",
        "confirmed, and the findings are gone",
    );
}

/// Suspicious ones are counted once; where there are too many, or the root is not there, none is.
pub(crate) fn careful(server: &Rucio) {
    let scene = Scene::new(server, "TOLD_CAREFUL", Naming::NonDeterministic);
    let policy = |most: u32| {
        let more = format!("[rucio.sync]\ndeclare = \"suspicious\"\ndeclare_max = {most}\n");
        scene.configure_b("size", &server.url(), &more);
    };
    let run = "u/told_careful/run";
    policy(1);
    bring_damaged(&scene, run);
    scene.pass();
    scene.b.site.pass(LONG);
    let report = scene.pass();
    assert_eq!(report.declared, 0, "{report:?}");
    assert_eq!(scene.heard(run), [""; 0]);
    let found = scene.findings("rucio_not_declared");
    assert!(
        found.len() == 1 && found[0].detail.contains("more than 1 artifacts"),
        "{found:?}"
    );
    shown(
        "more than `declare_max`",
        "none is declared, and a finding says so",
    );

    policy(2);
    assert_eq!(scene.pass().declared, 0);
    assert_eq!(scene.findings("rucio_not_declared"), []);
    assert_eq!(scene.findings("rucio_damaged").len(), 2);
    scene.b.site.pass(HOUR);
    let (root, away) = (scene.b.site.root(), scene.b.site.folder.path().join("away"));
    let site = scene.open_b();
    std::fs::rename(&root, &away).unwrap();
    std::fs::create_dir(&root).unwrap();
    let syncing = &site.assembly.syncing;
    let rucio = syncing.rucio().unwrap();
    let told = syncing.pass(rucio, None, Measure::Whole, &mut go_on);
    assert!(told.is_err(), "{told:?}");
    drop(site);
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&away, &root).unwrap();
    assert_eq!(scene.heard(run), [""; 0]);
    shown("an empty folder in the root's place", "nothing is declared");

    assert_eq!(scene.pass().declared, 2);
    assert_eq!(scene.pass().declared, 0);
    assert_eq!(scene.heard(run), ["0.fits S 1", "1.fits S 1"]);
    shown("`suspicious`", "each counts once, however often it is seen");
}

/// An account that may not declare replicas bad.
pub(crate) fn refused(server: &Rucio) {
    let scene = Scene::new(server, "TOLD_REFUSED", Naming::Identity);
    scene.configure_b("size", &server.url(), "[rucio.sync]\ndeclare = \"bad\"\n");
    let run = "u/told_refused/run";
    bring_damaged(&scene, run);
    scene.pass();
    scene.b.site.pass(LONG);
    scene.pass();
    scene.b.site.pass(HOUR);
    let report = scene.pass();
    assert_eq!(report.declared, 0, "{report:?}");
    let found = scene.findings("rucio_not_declared");
    assert!(
        found.len() == 1 && found[0].detail.contains("may not declare"),
        "{found:?}"
    );
    scene.as_root();
    assert_eq!(scene.pass().declared, 2);
    assert_eq!(scene.findings("rucio_not_declared"), []);
    shown(
        "an account that may not declare replicas bad",
        "a finding; the rest of the pass goes on, and the next one declares them",
    );
}

/// With a policy of declaring bad, of a run that is overdue only these are declared, however often it is compared.
pub(crate) fn only(scene: &Scene<'_>, run: &str, expected: &[&str]) {
    let policy = "[rucio.sync]\ndeclare = \"bad\"\n";
    scene.configure_b("size", &scene.server.url(), policy);
    scene.as_root();
    for time in [LONG, HOUR, HOUR] {
        scene.b.site.pass(time);
        scene.pass();
    }
    assert_eq!(scene.heard(run), expected);
}
