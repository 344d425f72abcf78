//! Rucio is away, or there is more than one pass may ask for.

use harness::{Naming, Rucio};
use runsync::ledger::record::HintKind;
use runsync::sync::{Measure, SyncReport};

use crate::between::Between;
use crate::proof::shown;
use crate::scene::{FILES, Scene, go_on};

pub(crate) fn away(server: &Rucio) {
    let scene = Scene::new(server, "AWAY", Naming::Hash);
    let run = "u/away/run";
    scene.bring(run);
    server.stop_server().unwrap();
    let error = scene.try_pass().unwrap_err();
    assert!(error.is_about_rucio(), "{error:?}");
    let hints = [scene.hint(HintKind::Arrived, &scene.manifest(run, "1-1"))];
    let error = scene.try_take(&hints).unwrap_err();
    assert!(error.is_about_rucio(), "{error:?}");
    let site = scene.open_b();
    let pass = site
        .ledger()
        .sync_pass(&"main".parse().unwrap())
        .unwrap()
        .unwrap();
    assert!(
        pass.problem.is_some() && pass.finished_at.is_none(),
        "{pass:?}"
    );
    drop(site);
    assert!(scene.run_at_b(run).is_none());
    shown("Rucio is away", "a pass says so, and hints are kept");
    server.restart_server().unwrap();
    assert_eq!(scene.pass().confirmed, u64::from(FILES));
    let site = scene.open_b();
    let pass = site
        .ledger()
        .sync_pass(&"main".parse().unwrap())
        .unwrap()
        .unwrap();
    assert!(
        pass.problem.is_none() && pass.finished_at.is_some(),
        "{pass:?}"
    );
    shown("it is back", "the pass goes through");
}

/// A pass that may ask for little goes on where the last one stopped, also after a restart.
pub(crate) fn in_parts(server: &Rucio) {
    const RUNS: usize = 3;
    let scene = Scene::new(server, "PARTS", Naming::Hash);
    let run = |number: usize| format!("u/parts/{number}");
    for number in 0..RUNS {
        scene.publish(&run(number), "1-1", 0..FILES);
    }
    scene.transfer();
    let between = Between::new(server.port());
    scene.configure_b("size", &between.url(), "[rucio.sync]\nrequests_max = 1\n");
    let mut parts = Vec::new();
    loop {
        // Each in a process of its own, as it were.
        let site = scene.open_b();
        let syncing = &site.assembly.syncing;
        let rucio = syncing.rucio().unwrap();
        let measure = Measure::Part(&rucio.config().sync);
        let report: SyncReport = syncing.pass(rucio, None, measure, &mut go_on).unwrap();
        let whole = report.whole;
        parts.push(report);
        if whole {
            break;
        }
        assert!(parts.len() < 20, "{parts:?}");
    }
    assert!(parts.len() > 1, "{parts:?}");
    for number in 0..RUNS {
        assert_eq!(scene.standing(&run(number)), (FILES.into(), 0));
    }
    let confirmed: u64 = parts.iter().map(|part| part.confirmed).sum();
    assert_eq!(confirmed, RUNS as u64 * u64::from(FILES));
    shown(
        "a pass that may ask for one thing at a time",
        &format!(
            "{} parts, each in a process of its own: the same end",
            parts.len()
        ),
    );
}
