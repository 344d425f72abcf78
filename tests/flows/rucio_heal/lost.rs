//! A file that is deleted behind Rucio's back.

use harness::{Naming, Rucio};
use runsync::ledger::scans::DriftKind;
use runsync::registry::record::Presence;

use crate::living::{DAY, Living};
use crate::proof::shown;
use crate::scene::FILES;

pub(crate) fn identity(server: &Rucio) {
    heals(server, "HEAL_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    heals(server, "HEAL_HASH", Naming::Hash);
}

/// The artifact that is deleted.
const GONE: u32 = 3;

/// Found by two scans, declared, carried again and confirmed: by jobs and by Rucio's daemons alone.
fn heals(server: &Rucio, name: &str, naming: Naming) {
    let living = Living::new(server, name, naming);
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);
    living.bring();
    say("a run is brought by Rucio", "confirmed by the job `sync`");

    living.delete(GONE);
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::Lost, 1)]);
    assert_eq!(living.exists(GONE), Presence::Yes);
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    let said = living.said("repair");
    assert!(
        said.contains("0 repaired, 1 not seen long enough"),
        "{said}"
    );
    say(
        "a file is deleted, and one scan has passed",
        "found, and nothing is repaired or declared",
    );

    living.live(DAY);
    declared(&living);
    say(
        "a second scan a day later",
        "its record is taken back, `exists` says pending, its replica is declared bad: once, and no other",
    );
    seen_by_rucio(&living);
    say(
        "`rucio-scan` before it is carried again",
        "nothing is found: no record says that it is here",
    );

    living.carry_again();
    living.live(1);
    living.is_whole();
    say(
        "Rucio carries it again",
        "confirmed by the next `sync`, equal to its origin's, no finding",
    );

    living.live(2 * DAY);
    living.is_whole();
    assert_eq!(living.repairs().len(), 1);
    assert_eq!(living.heard().len(), 1);
    for job in ["scan", "view"] {
        let said = living.said(job);
        assert!(said.contains("0 findings"), "{job}: {said}");
    }
    say("two days more", "every scan and `rucio-scan` is clean");
    told(&living);
    say(
        "`repair history`",
        "has what was done, why, by whom and what Rucio was told",
    );
}

/// Somebody else has declared a replica bad that is recorded here: what `rucio-scan` says, and that it heals.
pub(crate) fn declared_by_another(server: &Rucio) {
    let living = Living::new(server, "HEAL_ANOTHER", Naming::Identity);
    living.bring();
    let b = &living.scene.b;
    let replicas = serde_json::json!([
        {"scope": b.scope, "name": living.path(GONE), "rse": b.rse.name},
    ]);
    let bad = serde_json::json!({"replicas": replicas, "reason": "somebody says so"});
    server.rest("POST", "/replicas/bad", Some(&bad)).unwrap();
    assert_eq!(living.heard(), [format!("{GONE}.fits B 1")]);
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::RucioState, 1)]);
    let found = living.found();
    assert!(found[0].detail.contains("BAD"), "{found:?}");
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::RucioState, 2)]);
    assert_eq!(living.repairs(), []);
    assert_eq!(living.standing(), (FILES.into(), 0));
    shown(
        "Identity: somebody else declares a replica bad",
        "`rucio-scan` finds its state, and nothing is repaired: the file is right",
    );
    living.carry_again();
    living.live(DAY);
    living.is_whole();
    shown(
        "Identity: Rucio carries that one again",
        "the finding goes with the next `rucio-scan`",
    );
}

/// What the second scan and the repair after it come to.
fn declared(living: &Living<'_>) {
    assert_eq!(living.standing(), (u64::from(FILES) - 1, 1));
    assert_eq!(living.exists(GONE), Presence::Pending);
    assert_eq!(living.heard(), [format!("{GONE}.fits B 1")]);
    let said = living.said("repair");
    assert!(said.contains("1 repaired, 1 declared to Rucio"), "{said}");
    let repairs = living.repairs();
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    assert_eq!(repairs[0].path.as_str(), living.path(GONE));
    assert_eq!(repairs[0].declared.as_deref(), Some("bad"));
}

/// What Rucio's view comes to while the replica is bad.
fn seen_by_rucio(living: &Living<'_>) {
    assert!(!living.scene.is_available(&living.run, FILES));
    let said = living.said("view");
    assert!(said.contains("0 findings"), "{said}");
    assert_eq!(living.found(), []);
}

/// What an operator is told afterwards.
fn told(living: &Living<'_>) {
    let history = living.scene.b.site.answer(&["repair", "history", "--json"]);
    let history: serde_json::Value = serde_json::from_str(history.trim()).unwrap();
    let row = if history.is_array() {
        &history[0]
    } else {
        &history
    };
    for (key, value) in [
        ("act", "forget"),
        ("kind", "lost"),
        ("account", "schedule"),
        ("declared", "bad"),
        ("path", &living.path(GONE)),
    ] {
        assert_eq!(row[key], value, "{row}");
    }
}
