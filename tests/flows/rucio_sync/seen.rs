//! What Rucio has here and what is recorded here are compared file by file, and what differs is found.

use std::time::Duration;

use harness::{Naming, Rucio};
use runsync::ledger::scans::{DriftFilter, DriftFinding, DriftKind, Span};
use runsync::sync::{SyncError, ViewOrder, ViewReport};

use crate::process::{Daemon, text};
use crate::proof::shown;
use crate::scene::{FILES, Scene, go_on};

pub(crate) fn identity(server: &Rucio) {
    differs(server, "SEEN_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    differs(server, "SEEN_HASH", Naming::Hash);
}

/// Has site B compare all with Rucio's view.
fn view(scene: &Scene<'_>, order: &ViewOrder) -> ViewReport {
    let site = scene.b.site.open();
    let syncing = &site.assembly.syncing;
    let reports = syncing.view(syncing.rucio().unwrap(), order, &mut go_on);
    let mut reports = reports.unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0).unwrap()
}

fn whole(scene: &Scene<'_>) -> ViewReport {
    let report = view(scene, &ViewOrder::default());
    assert!(report.whole);
    report
}

fn found(scene: &Scene<'_>) -> Vec<DriftFinding> {
    let site = scene.b.site.open();
    let filter = DriftFilter {
        root: None,
        kind: None,
        side: None,
        span: Span::all(),
        ignored: true,
    };
    site.assembly
        .parts
        .ledger
        .drift(&filter, None, 1_000)
        .unwrap()
}

/// Kinds and last parts of the paths of what is found.
fn named(scene: &Scene<'_>) -> Vec<(DriftKind, String)> {
    let last = |one: &DriftFinding| one.path.as_str().rsplit('/').next().unwrap().to_owned();
    let found = found(scene);
    found.iter().map(|one| (one.kind, last(one))).collect()
}

/// Changes a replica at site B behind Rucio's back.
fn change(scene: &Scene<'_>, name: &str, set: &str) {
    let there = &scene.b.rse.name;
    let sql = format!(
        "update replicas set {set} where name = '{name}' and rse_id = (select id from rses where rse = '{there}')"
    );
    scene.server.sql(&sql).unwrap();
}

fn differs(server: &Rucio, name: &str, naming: Naming) {
    let scene = Scene::new(server, name, naming);
    let jobs = "[rucio.sync]\nschedule = \"0 0 0 1 1 *\"\n\
                [[schedule]]\nname = \"view\"\njob = \"rucio-scan\"\nat = \"0 0 0 1 1 *\"\n";
    scene.configure_b("size", &server.url(), jobs);
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);
    let run = &format!("u/{}/run", name.to_lowercase());
    scene.bring(run);
    scene.pass();
    let report = whole(&scene);
    let files = u64::from(FILES);
    let counts = report.counts;
    assert!(report.is_well(), "{report:?}");
    assert_eq!((counts.records, counts.agree), (files, files), "{report:?}");
    assert!(counts.replicas > files && counts.others > 0, "{report:?}");
    say("all is as Rucio says", "nothing is found");

    let file = |number: u32| format!("{run}/calexp/{number}.fits");
    let (there, scope) = (&scene.b.rse.name, &scene.b.scope);
    let rse = format!("(select id from rses where rse = '{there}')");
    for table in ["locks", "replicas"] {
        let name = file(0);
        let sql = format!("delete from {table} where name = '{name}' and rse_id = {rse}");
        server.sql(&sql).unwrap();
    }
    change(&scene, &file(1), "state = 'D'");
    let stray = format!("{run}/stray.fits");
    let replica = serde_json::json!({
        "rse": there,
        "files": [{"scope": scope, "name": stray, "bytes": 3, "adler32": "00000001"}],
    });
    server.rest("POST", "/replicas", Some(&replica)).unwrap();
    server
        .sql(&format!(
            "update dids set bytes = 3 where name = '{}'",
            file(2)
        ))
        .unwrap();
    change(&scene, &file(2), "bytes = 3");

    // A pass that stops for its limits goes on, and finds the same.
    let order = ViewOrder {
        requests: Some(1),
        time: Some(Duration::from_secs(60)),
        ..ViewOrder::default()
    };
    let mut goes = 1;
    while !view(&scene, &order).whole {
        goes += 1;
        assert!(goes < 20, "a pass comes further each time");
    }
    assert!(goes > 1, "one request is no whole pass");
    let expected = [
        (DriftKind::SiteOnly, "0.fits".to_owned()),
        (DriftKind::RucioState, "1.fits".to_owned()),
        (DriftKind::RucioDiffers, "2.fits".to_owned()),
        (DriftKind::RucioOnly, "stray.fits".to_owned()),
    ];
    assert_eq!(named(&scene), expected);
    // With as many requests as it takes it asks for rules, too.
    whole(&scene);
    let details: Vec<String> = found(&scene).into_iter().map(|one| one.detail).collect();
    assert!(details[1].contains("BAD"), "{details:?}");
    assert!(details[2].contains("3 bytes"), "{details:?}");
    assert!(
        details[3].contains("AVAILABLE") && details[3].contains("no rule keeps it"),
        "{details:?}"
    );
    assert_eq!(scene.standing(run), (files, 0), "nothing is changed");
    say(
        "a replica is gone, bad, known otherwise, or unknown here",
        "each is found, and nothing is changed",
    );

    let daemon = Daemon::start(&scene.b.site);
    for (way, args) in [
        (
            "by the daemon",
            &["scan", "--rucio", "--anew", "--json"][..],
        ),
        ("by schedule", &["schedule", "run", "view"]),
    ] {
        let output = scene.b.site.run_command(args);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        say(&format!("asked for {way}"), "the same is found");
    }
    daemon.stop();
    let listed = ["findings", "list", "--kind", "rucio-only", "--json"];
    let listed = scene.b.site.directly(&listed);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains("stray.fits"), "{listed}");

    change(&scene, &file(1), "state = 'A'");
    let gone = format!("delete from replicas where name = '{stray}' and rse_id = {rse}");
    server.sql(&gone).unwrap();
    let report = whole(&scene);
    assert!(!report.is_well());
    let left = [expected[0].clone(), expected[2].clone()];
    assert_eq!(named(&scene), left);
    assert!(found(&scene).iter().all(|one| one.times == 5));
    say(
        "some of it is put right",
        "its findings go, the others are seen by each pass",
    );
}

/// An RSE that is closed for reading lists nothing: nothing is concluded. Nor is it about what something under way
/// concerns.
pub(crate) fn closed(server: &Rucio) {
    let scene = Scene::new(server, "SEEN_CLOSED", Naming::Identity);
    let run = "u/seen_closed/run";
    scene.bring(run);
    scene.pass();
    change(&scene, &format!("{run}/calexp/0.fits"), "state = 'D'");
    whole(&scene);
    let before = named(&scene);
    assert_eq!(before, [(DriftKind::RucioState, "0.fits".to_owned())]);
    let open_for_reading = |is_open: bool| {
        let body = serde_json::json!({"availability_read": is_open});
        let rse = format!("/rses/{}", scene.b.rse.name);
        server.must("PUT", &rse, Some(&body)).unwrap();
    };
    open_for_reading(false);
    let report = whole(&scene);
    let files = u64::from(FILES);
    assert_eq!((report.counts.agree, report.counts.undecided), (0, files));
    assert_eq!(named(&scene), before, "{report:?}");
    open_for_reading(true);
    shown(
        "the RSE is closed for reading",
        "nothing is found lost, and what was found stays",
    );

    // As a registration leaves it that was broken off.
    let registry = scene.b.site.site().state_directory.join("registry.sqlite3");
    let registry = rusqlite::Connection::open(registry).unwrap();
    let begin = "INSERT INTO registering (run_id, epoch, sequence, digest, stage, rows_done, claims_done, claims,
             overlaps, datasets_added, artifacts_waiting)
         SELECT run_id, 9, 9, x'00', 0, 0, 0, 1, 0, 0, 0 FROM run WHERE name = ?1";
    assert_eq!(registry.execute(begin, [run]).unwrap(), 1);
    change(&scene, &format!("{run}/calexp/0.fits"), "state = 'A'");
    change(&scene, &format!("{run}/calexp/1.fits"), "state = 'D'");
    let report = whole(&scene);
    // By either way.
    let both = 2 * files;
    assert_eq!((report.counts.agree, report.counts.undecided), (0, both));
    assert_eq!(named(&scene), before, "{report:?}");
    registry.execute("DELETE FROM registering", []).unwrap();
    drop(registry);
    whole(&scene);
    let after = [(DriftKind::RucioState, "1.fits".to_owned())];
    assert_eq!(named(&scene), after);
    shown(
        "something concerns a run meanwhile",
        "nothing is found or heals before it is over",
    );
}

/// One comparison at a time: a second is refused, and the first goes on.
pub(crate) fn second(server: &Rucio) {
    let scene = Scene::new(server, "SEEN_SECOND", Naming::Identity);
    scene.bring("u/seen_second/run");
    scene.pass();
    let site = scene.b.site.open();
    let syncing = &site.assembly.syncing;
    let (rucio, order) = (syncing.rucio().unwrap(), ViewOrder::default());
    let mut within = None;
    let reports = syncing.view(rucio, &order, &mut || {
        within.get_or_insert_with(|| {
            syncing
                .view(rucio, &order, &mut go_on)
                .unwrap_err()
                .to_string()
        });
        go_on()
    });
    assert!(reports.unwrap().remove(0).unwrap().whole);
    let refused = SyncError::Viewing.to_string();
    assert_eq!(within, Some(refused));
    shown("a second comparison is asked for", "it is refused");
}

/// Where Rucio gives no answer, nothing heals and nothing is found.
pub(crate) fn away(server: &Rucio) {
    let scene = Scene::new(server, "SEEN_AWAY", Naming::Identity);
    let run = "u/seen_away/run";
    scene.bring(run);
    scene.pass();
    let name = format!("{run}/calexp/0.fits");
    change(&scene, &name, "state = 'D'");
    whole(&scene);
    let before = named(&scene);
    assert_eq!(before, [(DriftKind::RucioState, "0.fits".to_owned())]);
    scene.configure_b("size", "http://127.0.0.1:9", "");
    let site = scene.b.site.open();
    let syncing = &site.assembly.syncing;
    let reports = syncing.view(syncing.rucio().unwrap(), &ViewOrder::default(), &mut go_on);
    assert!(reports.unwrap().remove(0).is_err());
    drop(site);
    assert_eq!(named(&scene), before);
    shown("Rucio is away", "what was found stays, nothing is found");
}
