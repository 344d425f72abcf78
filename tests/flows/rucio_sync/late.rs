//! What does not come is told, with Rucio's reason.

use harness::{Naming, Rucio};
use runsync_manifest::content::Content;
use serde_json::json;

use crate::proof::shown;
use crate::rucio::RucioSite;
use crate::scene::{FILES, Scene};

pub(crate) fn late(server: &Rucio) {
    let scene = Scene::new(server, "LATE", Naming::Identity);
    let run = "u/late/run";

    // Rucio has the manifest at A alone.
    let nowhere = RucioSite::new(server, "LATE_NOWHERE", Naming::Identity, "");
    let published = format!("[rucio.publish]\ncontrol_rses = \"{}\"\n", nowhere.rse.name);
    scene.a.configure(&server.url(), &published);
    scene.publish(run, "1-1", 0..FILES);
    let report = scene.pass();
    assert_eq!(report.manifests_elsewhere, 1, "{report:?}");
    let found = scene.findings("manifest_elsewhere");
    assert_eq!(found.len(), 1);
    assert!(found[0].detail.contains("LATE_A"), "{found:?}");
    assert!(scene.run_at_b(run).is_none());
    shown(
        "Rucio has a manifest elsewhere, and no rule for it here",
        "a finding that says where; nothing is fetched past Rucio",
    );

    // It is carried by hand.
    let manifest = scene.manifest(run, "1-1");
    let bytes = std::fs::read(scene.a.site.root().join(&manifest)).unwrap();
    scene.b.site.put(&manifest, &bytes);
    let report = scene.pass();
    assert_eq!(scene.findings("manifest_elsewhere"), []);
    assert_eq!(report.late.len(), 1, "{report:?}");
    let found = scene.findings("run_late");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].detail.contains("no rule brings the run to LATE_B"),
        "{found:?}"
    );
    assert_eq!(scene.standing(run), (0, FILES.into()));
    shown("a run that no rule brings", "a finding that says so");

    // A rule that gets stuck: the source is gone.
    let first = scene.a.site.root().join(format!("{run}/calexp/0.fits"));
    let bytes = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let (scope, there) = (&scene.a.scope, &scene.b.rse.name);
    server.add_rule(scope, run, 1, there).unwrap();
    scene.transfer();
    let report = scene.pass();
    assert_eq!(report.confirmed, u64::from(FILES) - 1, "{report:?}");
    assert_eq!(scene.standing(run), (u64::from(FILES) - 1, 1));
    let found = scene.findings("run_late");
    assert!(found[0].detail.contains("is stuck: "), "{found:?}");
    assert!(found[0].detail.contains("No such file"), "{found:?}");
    shown(
        "a rule that is stuck",
        "a finding with Rucio's own reason; what came is confirmed",
    );

    // Somebody carries it by hand, and tells Rucio.
    std::fs::write(&first, &bytes).unwrap();
    let name = format!("{run}/calexp/0.fits");
    scene.b.site.put(&name, &bytes);
    let file = json!({"scope": scope, "name": name, "state": "A"});
    let told = json!({"rse": there, "files": [file]});
    server.must("PUT", "/replicas", Some(&told)).unwrap();
    assert!(scene.is_available(run, FILES));
    scene.pass();
    assert_eq!(scene.standing(run), (FILES.into(), 0));
    assert_eq!(scene.findings("run_late"), []);
    shown(
        "it has arrived after all",
        "confirmed, and the finding is gone",
    );

    // Longer on its way than the root waits.
    let slow = "u/late/slow";
    scene.a.configure(
        &server.url(),
        &format!("{published}[[rucio.rule]]\nrse_expression = \"{there}\"\n"),
    );
    scene.a.add(slow, "1-1", Content::Additions, 0..FILES);
    scene.a.site.directly(&["publish", slow]);
    let manifest = scene.manifest(slow, "1-1");
    let bytes = std::fs::read(scene.a.site.root().join(&manifest)).unwrap();
    scene.b.site.put(&manifest, &bytes);
    scene.pass();
    assert_eq!(scene.findings("run_late"), []);
    scene
        .b
        .site
        .pass(std::time::Duration::from_secs(60 * 86_400));
    scene.pass();
    let found = scene.findings("run_late");
    assert!(found[0].detail.contains("REPLICATING"), "{found:?}");
    shown(
        "on its way, and longer than the root waits",
        "a finding that names since when, and Rucio's state",
    );
}
