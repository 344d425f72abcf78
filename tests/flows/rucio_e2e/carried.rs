//! The way of a run there, and back out of being.

use harness::Rucio;
use runsync_manifest::content::Content;

use crate::proof::shown;
use crate::scene::{Scene, Way};

/// Makes a run, has it published, adds an instalment, and removes it.
pub(crate) fn both_ways(server: &Rucio, way: &Way) {
    let scene = Scene::new(server, way);
    let run = &format!("u/e2e/{}", way.name.replace(' ', "-"));
    let (at_a, at_b) = (scene.a.site.watch(), scene.b.site.watch());
    let say = |case: &str, outcome: &str| shown(&format!("{}: {case}", way.name), outcome);

    scene.a.place(run, "1-1", Content::Additions, 0..20);
    scene.at_a.until("A has the run", || at_a.complete(run, 20));
    scene.a.site.answer(&["publish", run]);
    scene.at_b.until("B has the run", || at_b.complete(run, 20));
    say("a run is published at A", "registered and confirmed at B");

    scene.a.place(run, "1-2", Content::Additions, 20..30);
    scene.at_a.until("A has the second instalment", || at_a.complete(run, 30));
    scene.a.site.answer(&["publish", run]);
    scene.at_b.until("B has the second instalment", || at_b.complete(run, 30));
    say("a second instalment", "registered and confirmed at B");

    scene.at_a.stop();
    scene.at_b.stop();
}
