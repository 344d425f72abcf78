//! A daemon that does its jobs by the machine's clock.

use harness::{Naming, Rucio};

use crate::living::POLICY;
use crate::process::{Daemon, until};
use crate::proof::shown;
use crate::scene::{FILES, Scene};

/// Every second each.
const JOBS: &str = "
[[schedule]]
name = \"scan\"
job = \"scan\"
at = \"* * * * * *\"
[[schedule]]
name = \"repair\"
job = \"repair\"
at = \"* * * * * *\"
[[schedule]]
name = \"sync\"
job = \"sync\"
at = \"* * * * * *\"
";
/// How often each job is to have been done.
const OFTEN: u64 = 5;

/// Jobs are done by themselves, and what they find waits for its time.
pub(crate) fn nothing_before_its_time(server: &Rucio) {
    let scene = Scene::new(server, "HEAL_ALONE", Naming::Identity);
    let run = "u/heal_alone/run";
    let policy = POLICY.replace("[repair]\n", "[repair]\napart = \"1h\"\n");
    scene.configure_b("size", &server.url(), &format!("{policy}{JOBS}"));
    scene.as_root();
    let b = &scene.b.site;
    let daemon = Daemon::start(b);
    let onlooker = b.watch();
    scene.bring(run);
    daemon.until("the run is confirmed", || {
        onlooker.complete(run, FILES.into())
    });
    shown(
        "a daemon with three jobs",
        "a run that Rucio brings is confirmed",
    );

    let gone = format!("{run}/calexp/4.fits");
    std::fs::remove_file(b.root().join(&gone)).unwrap();
    let runs = |name: &str| {
        let jobs = b.answer(&["schedule", "list", "--json"]);
        let jobs = jobs
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut named = jobs.filter(|job| job["name"] == name);
        named.next().unwrap()["runs"].as_u64().unwrap()
    };
    let before = ["scan", "repair", "sync"].map(|name| (name, runs(name)));
    until("each job is done some more times", || {
        before
            .iter()
            .all(|(name, before)| runs(name) >= before + OFTEN)
    });
    let found = b.run_command(&["findings", "list"]);
    let found = crate::process::text(&found.stdout);
    assert!(found.contains(&gone) && found.contains("lost"), "{found}");
    assert!(onlooker.complete(run, FILES.into()), "its record stays");
    assert_eq!(scene.heard(run), [""; 0]);
    daemon.stop();
    shown(
        "a file is deleted while it lives",
        "found by scan after scan; no repair touches it before two lie an hour apart",
    );
}
