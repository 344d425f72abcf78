//! What every ledger keeps of repairs, and of the clock.

use uuid::Uuid;

use super::conformance::{Open, Site};
use super::scan_conformance::{all, at, drift, found, pass, root};
use crate::ledger::repairs::{
    NewDeclaration, NewRepair, RepairAct, RepairEnd, Repaired, Watch, WhichRepairs,
};
use crate::ledger::scans::DriftKind;

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

pub(crate) fn what_was_seen_before_the_clock_leapt_counts_for_nothing(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let lost = [drift("a", DriftKind::Lost, 0)];
    let since = || found(ledger, &all()).remove(0).unchanged_since;
    let start = 20 * YEAR;
    pass(ledger, "one", start, &lost, &[]);
    assert_eq!(since(), None, "one pass alone has seen it");
    pass(ledger, "one", start + DAY, &lost, &[]);
    assert_eq!(since(), Some(at(start)));
    let another = [drift("a", DriftKind::Corrupt, 3)];
    pass(ledger, "one", start + 2 * DAY, &another, &[]);
    assert_eq!(since(), None, "it is another thing");
    pass(ledger, "one", start + 3 * DAY, &another, &[]);
    assert_eq!(since(), Some(at(start + 2 * DAY)));
    assert_eq!(ledger.watch(at(start + 3 * DAY)).unwrap().leap, None);
    for now in [start + 10 * YEAR, start - 10 * YEAR, start + 4 * DAY] {
        // Whoever notices first: here a sweep of another root.
        ledger.swept(&root("other"), at(now)).unwrap();
        assert_eq!(since(), None, "{now}");
        pass(ledger, "one", now + 1, &another, &[]);
        assert_eq!(since(), None, "{now}");
        pass(ledger, "one", now + DAY, &another, &[]);
        assert_eq!(since(), Some(at(now + 1)), "{now}");
        let Watch { leap } = ledger.watch(at(now + DAY)).unwrap();
        assert_eq!(leap.unwrap().1, at(now));
    }
    // Clocks of one site differ, and a site may be at rest.
    let now = start + 5 * DAY;
    for later in [-30 * 60, 50 * DAY] {
        assert_eq!(
            ledger.watch(at(now + later)).unwrap().leap.unwrap().1,
            at(start + 4 * DAY)
        );
    }
}

pub(crate) fn repairs_are_noted_before_and_after(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let seen = ["a", "b"].map(|path| drift(path, DriftKind::Corrupt, 3));
    pass(ledger, "one", 1, &seen, &[]);
    let new = |path: &str| NewRepair {
        repair: Uuid::from_u128(7),
        plan: "1234".to_owned(),
        root: root("one"),
        path: path.parse().unwrap(),
        kind: DriftKind::Corrupt,
        act: RepairAct::Unstore,
        detail: "it differs".to_owned(),
        size: Some(7),
        identity: seen[0].identity,
        aside: Some(format!("runsync/quarantine/7/{path}")),
        account: "alice".to_owned(),
        begun_at: at(2),
        declared: Some("bad".to_owned()),
        approved: path == "c",
    };
    let ids = ledger.begin_repairs(&[new("a"), new("b")]).unwrap();
    let (one, other) = (root("one"), root("other"));
    let count = |which| ledger.repairs(which, None, 10).unwrap().len();
    assert_eq!(count(WhichRepairs::Begun(&one)), 2);
    assert_eq!(count(WhichRepairs::Begun(&other)), 0);
    assert_eq!(
        (count(WhichRepairs::Done), count(WhichRepairs::Aside)),
        (0, 0)
    );
    let ends = [(ids[0], true), (ids[1], false)].map(|(id, done)| RepairEnd { id, done });
    ledger.end_repairs(&ends, at(3)).unwrap();
    // Told late and again, it changes nothing.
    let late = [(ids[0], false)].map(|(id, done)| RepairEnd { id, done });
    ledger.end_repairs(&late, at(4)).unwrap();
    let left = found(ledger, &all());
    assert_eq!((left.len(), left[0].path.as_str()), (1, "b"));
    assert_eq!(count(WhichRepairs::Begun(&one)), 0);
    let done = ledger.repairs(WhichRepairs::Done, None, 10).unwrap();
    assert_eq!((done.len(), done[0].done_at), (1, Some(at(3))));
    assert_eq!(done[0].declared.as_deref(), Some("bad"));
    assert_eq!(ledger.repairs(WhichRepairs::Aside, None, 10).unwrap(), done);
    assert_eq!(
        ledger
            .repairs(WhichRepairs::Done, Some(ids[0]), 10)
            .unwrap(),
        []
    );
    ledger.begin_repairs(&[new("c")]).unwrap();
    for (replicas, approved) in [(1, false), (5, true)] {
        let told = NewDeclaration {
            repair: Uuid::nil(),
            root: one.clone(),
            replicas,
            approved,
            at: at(2),
        };
        ledger.note_declaration(&told).unwrap();
    }
    let unasked = Repaired {
        artifacts: 1,
        bytes: 7,
        declared: 1,
    };
    assert_eq!(ledger.repaired_since(at(2)).unwrap(), unasked);
    assert_eq!(ledger.repaired_since(at(3)).unwrap(), Repaired::default());
    ledger.note_restored(ids[0], at(4)).unwrap();
    assert_eq!(
        (count(WhichRepairs::Done), count(WhichRepairs::Aside)),
        (1, 0)
    );
}
