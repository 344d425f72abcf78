//! A daemon that hears no message at all.

use harness::{Naming, Rucio};
use serde_json::{Value, json};

use crate::process::{Daemon, text, until};
use crate::proof::shown;
use crate::scene::{FILES, Scene};

pub(crate) fn identity(server: &Rucio) {
    lives(server, "ALONE_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    lives(server, "ALONE_HASH", Naming::Hash);
}

/// Runs come, are deleted, come again, and are removed, by schedule alone.
fn lives(server: &Rucio, name: &str, naming: Naming) {
    let scene = Scene::new(server, name, naming);
    let run = &format!("u/{}/run", name.to_lowercase());
    let more = "[rucio.sync]\nschedule = \"* * * * * *\"\n";
    scene.configure_b("size", &server.url(), more);
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);
    let daemon = Daemon::start(&scene.b.site);
    let onlooker = scene.b.site.watch();
    scene.bring(run);
    daemon.until("the run is registered and confirmed", || {
        onlooker.complete(run, FILES.into())
    });
    scene.has_files(run, FILES);
    say(
        "a daemon that hears nothing",
        "the run is registered and confirmed by schedule",
    );

    scene.delete_at_b(run);
    daemon.until("it is forgotten", || onlooker.complete(run, 0));
    until("no name is left", || {
        crate::pair::files_below(&scene.b.site, &format!("{run}/calexp")).is_empty()
    });
    say("Rucio deletes it", "forgotten by schedule");

    let (scope, there) = (&scene.a.scope, &scene.b.rse.name);
    server.add_rule(scope, run, 1, there).unwrap();
    scene.transfer();
    daemon.until("it is back", || onlooker.complete(run, FILES.into()));
    say("Rucio brings it again", "confirmed again by schedule");
    daemon.stop();
}

/// An operator asks for it: by the daemon, and without.
pub(crate) fn asked(server: &Rucio) {
    let scene = Scene::new(server, "ASKED", Naming::Hash);
    let run = "u/asked/run";
    // The schedule's next time is far off, and all of the first pass is over before there is anything.
    let more = "[rucio.sync]\nschedule = \"0 0 0 1 1 *\"\n";
    scene.configure_b("size", &server.url(), more);
    let b = &scene.b.site;
    let daemon = Daemon::start(b);
    until("the pass that is owed at start", || {
        b.status()["syncs"][0]["finished_at"].is_string()
    });
    scene.bring(run);
    let told: Value = serde_json::from_str(&b.answer(&["sync", "--json"])).unwrap();
    assert_eq!(
        (&told["whole"], &told["manifests"]),
        (&json!(true), &json!(1))
    );
    let onlooker = b.watch();
    daemon.until("the run is whole", || onlooker.complete(run, FILES.into()));
    shown(
        "`sync`, by the daemon",
        "the manifest is found, and the run is whole",
    );
    for args in [
        &["sync", run][..],
        &["sync", "--rse", &scene.b.rse.name],
        &["sync", "--did", &format!("{}:{run}", scene.b.scope)],
        &[
            "sync",
            "--did",
            &format!("{}:{run}/calexp/0.fits", scene.b.scope),
        ],
        &[
            "sync",
            "--did",
            &format!("{}:{}", scene.b.scope, scene.manifest(run, "1-1")),
        ],
    ] {
        b.answer(args);
    }
    for (args, words) in [
        (&["sync", "u/nobody/knows"][..], "this site knows no run"),
        (
            &["sync", "--rse", "NOWHERE"],
            "no root of this site is RSE `NOWHERE`",
        ),
        (
            &["sync", "--did", "root:u/nobody"],
            "belongs to no run that this site knows",
        ),
    ] {
        let output = b.run_command(args);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(words) && said.contains("hint: "), "{said}");
    }
    shown(
        "one run, one RSE, one DID of each kind",
        "compared; unknown ones are refused, with a hint",
    );

    scene.publish(run, "1-2", FILES..FILES + 1);
    scene.transfer();
    std::fs::remove_file(
        scene
            .b
            .rse
            .path(&scene.b.scope, &format!("{run}/calexp/7.fits")),
    )
    .unwrap();
    // It may meet the run before or after its second manifest.
    let output = b.run_command(&["sync"]);
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{}",
        text(&output.stderr)
    );
    daemon.until("the second instalment waits", || {
        onlooker.run(run).is_some_and(|row| row.waiting == 1)
    });
    let output = b.run_command(&["sync", run]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    daemon.stop();
    let output = b.run_command(&["sync", run, "--direct"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    let found = scene.findings("rucio_differs");
    assert!(found[0].detail.contains("no file is there"), "{found:?}");
    shown(
        "Rucio calls an artifact AVAILABLE that is not there",
        "a finding, and exit code 3: with a daemon and without",
    );
}
