//! A daemon that hears no message at all.

use harness::{Naming, Rucio};

use crate::process::{Daemon, until};
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
