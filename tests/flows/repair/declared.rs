//! What Rucio is told, and what is left where that would be of no use.

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use runsync::clock::Clock;
use runsync::datastore::LocalRoot;
use runsync::datastore::faulty::Faulty;
use runsync::ledger::repairs::WhichRepairs;
use runsync::ledger::scans::DriftKind::{Corrupt, Lost};
use runsync::recovery::repair::{RepairError, RepairOrder, RootRepaired};

use crate::fake::{FakeRucio, HERE};
use crate::scene::{PATHS, RUN, bytes, found, is};
use crate::site::{
    EVERYTHING, configured, plan_by, presence, repair, repair_by, repairing_of, scan_twice, state,
};
use crate::support::{OpenSite, TestSite, artifact};

/// What a site says beside what each here says.
#[derive(Debug, Clone, Copy)]
struct Says {
    level: &'static str,
    /// TOML of its root.
    root: &'static str,
    /// Lines of `[repair]`.
    repair: &'static str,
    /// TOML that follows `[rucio]`.
    rucio: &'static str,
}

const NOTHING: Says = Says {
    level: "size",
    root: "",
    repair: "",
    rucio: "",
};

const RUCIO_DELETES: Says = Says {
    root: "deleter = \"rucio\"",
    ..NOTHING
};

/// A site that is whole, and whose artifacts this Rucio has there and elsewhere.
fn site(rucio: &FakeRucio, says: Says) -> TestSite {
    let Says {
        level,
        root,
        repair,
        rucio: more,
    } = says;
    let policy = EVERYTHING.replace("share_max", &format!("{repair}\nshare_max"));
    let section = rucio.section();
    let toml = format!("rse = \"{HERE}\"\n{root}\n{section}{more}\n{policy}");
    let site = configured(&toml);
    site.configure(level, &toml);
    let artifacts = PATHS.map(|path| (path, bytes(path)));
    rucio.knows(&site, &artifacts);
    site
}

/// Loses the files at these paths, and has two scans see it.
fn lose(site: &TestSite, paths: &[&str]) -> OpenSite {
    for path in paths {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    let open = site.open();
    scan_twice(site, &open);
    open
}

/// Puts another file in the place of an artifact, and has two scans see it.
fn spoil(site: &TestSite, path: &str, bytes: &[u8]) -> OpenSite {
    site.put(path, bytes);
    let open = site.open();
    scan_twice(site, &open);
    open
}

fn repaired(open: &OpenSite) -> RootRepaired {
    repair(open).roots.remove(0)
}

/// Sees that a repair leaves all as it is, and why it says so.
fn is_left((site, open): (&TestSite, &OpenSite), word: &str) {
    let (before, findings) = (state(site, open), found(open));
    let report = repaired(open);
    assert_eq!((report.repaired(), report.left), (0, 1), "{report:?}");
    let why = &report.left_named[0].why;
    assert!(why.contains(word), "{why}");
    assert!(state(site, open) == before);
    assert_eq!(found(open), findings);
}

#[test]
fn what_is_lost_is_declared_bad() {
    let rucio = FakeRucio::start();
    let site = site(&rucio, NOTHING);
    let open = lose(&site, &[PATHS[1]]);
    let report = repaired(&open);
    assert_eq!((report.repaired(), report.declared), (1, 1), "{report:?}");
    assert_eq!(report.suspicious, 0);
    assert_eq!(rucio.told(), [format!("bad {}", PATHS[1])]);
    assert_eq!(presence(&open, 2), "Pending");
}

#[test]
fn where_policy_never_declares_nothing_is_told_and_nothing_repaired() {
    let rucio = FakeRucio::start();
    let never = Says {
        repair: "declare = \"never\"",
        ..NOTHING
    };
    let site = site(&rucio, never);
    let open = lose(&site, &[PATHS[1]]);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &RepairOrder::default());
    assert_eq!((plan.total.artifacts, plan.roots[0].declared), (1, 0));
    is_left((&site, &open), "declare = \"never\"");
    assert_eq!(presence(&open, 2), "Yes");
    assert_eq!(rucio.told(), [""; 0]);
    assert_eq!(rucio.count("POST /replicas/bad"), 0);
    // What Rucio does not have here anyway needs no word to it.
    rucio.loses(PATHS[1]);
    assert_eq!(repaired(&open).repaired(), 1);
    assert_eq!(rucio.told(), [""; 0]);
}

#[test]
fn where_policy_says_so_what_is_lost_is_suspicious_alone() {
    let rucio = FakeRucio::start();
    let suspicious = Says {
        repair: "declare = \"suspicious\"",
        ..NOTHING
    };
    let site = site(&rucio, suspicious);
    let open = lose(&site, &[PATHS[1]]);
    let report = repaired(&open);
    assert_eq!((report.repaired(), report.declared), (1, 1), "{report:?}");
    assert_eq!(report.suspicious, 1);
    assert_eq!(rucio.told(), [format!("suspicious {}", PATHS[1])]);
    assert_eq!(rucio.count("POST /replicas/bad"), 0);
    assert_eq!(presence(&open, 2), "Pending");
    let done = open.ledger().repairs(WhichRepairs::Done, None, 10).unwrap();
    assert_eq!(done[0].declared.as_deref(), Some("suspicious"));
}

/// Rucio's word is a record there, and it goes on to call what is suspicious available.
#[test]
fn at_level_trust_nothing_is_forgotten_that_is_not_declared_bad() {
    let rucio = FakeRucio::start();
    let trust = Says {
        level: "trust",
        ..NOTHING
    };
    let site = site(&rucio, trust);
    let open = lose(&site, &[PATHS[1]]);
    rucio.lets_declare_bad(false);
    is_left((&site, &open), "suspicious it would still be available");
    assert_eq!((presence(&open, 2), rucio.told()), ("Yes".into(), vec![]));
    drop(open);
    rucio.lets_declare_bad(true);
    let open = site.open();
    assert_eq!(repaired(&open).repaired(), 1);
    assert_eq!(rucio.told(), [format!("bad {}", PATHS[1])]);
    assert_eq!(presence(&open, 2), "Pending");
}

#[test]
fn a_corrupt_file_that_is_rucios_to_delete_is_left_where_it_is_not_declared_bad() {
    let rucio = FakeRucio::start();
    let suspicious = Says {
        level: "checksum",
        repair: "declare = \"suspicious\"",
        ..RUCIO_DELETES
    };
    let site = site(&rucio, suspicious);
    let open = spoil(&site, PATHS[5], &artifact(99, 50));
    is_left((&site, &open), "suspicious it would still be available");
    assert_eq!(presence(&open, 6), "Yes");
    // Nor may it be where Rucio has no replica here, for then it will not replace the file.
    rucio.loses(PATHS[5]);
    is_left((&site, &open), "its file is Rucio's to replace");
    assert_eq!(rucio.told(), [""; 0]);
}

#[test]
fn a_corrupt_file_that_is_rucios_to_delete_is_declared_bad_and_stays() {
    let rucio = FakeRucio::start();
    let checksum = Says {
        level: "checksum",
        ..RUCIO_DELETES
    };
    let site = site(&rucio, checksum);
    let wrong = artifact(99, 50);
    let mut open = spoil(&site, PATHS[5], &wrong);
    let report = repaired(&open);
    assert_eq!((report.repaired(), report.declared), (1, 1), "{report:?}");
    assert_eq!(rucio.told(), [format!("bad {}", PATHS[5])]);
    assert_eq!((open.confirm(), presence(&open, 6)), (0, "Pending".into()));
    assert_eq!(fs::read(site.root().join(PATHS[5])).unwrap(), wrong);
    site.put(PATHS[5], &bytes(PATHS[5]));
    assert_eq!(open.confirm(), 1);
}

/// It would be taken for right again at once.
#[test]
fn at_level_size_a_corrupt_file_of_its_size_that_is_rucios_to_delete_keeps_its_record() {
    let rucio = FakeRucio::start();
    let site = site(&rucio, RUCIO_DELETES);
    let open = spoil(&site, PATHS[5], &artifact(99, 50));
    is_left((&site, &open), "until then it keeps its record");
    assert_eq!(rucio.told(), [format!("bad {}", PATHS[5])]);
    assert_eq!(presence(&open, 6), "Yes");
    assert_eq!(found(&open), [is(Corrupt, PATHS[5])]);
    // What was told counts, though nothing came of it.
    let since = site.clock.now() - jiff::SignedDuration::from_hours(24);
    assert_eq!(open.ledger().repaired_since(since).unwrap().declared, 1);
    // It is bad by now, which is not told again.
    is_left((&site, &open), "until then it keeps its record");
    assert_eq!(rucio.told().len(), 1);
    drop(open);
    // One of another size is not taken for right.
    let mut open = spoil(&site, PATHS[4], b"short");
    assert_eq!(repaired(&open).repaired(), 1);
    assert_eq!((open.confirm(), presence(&open, 5)), (0, "Pending".into()));
    assert_eq!(fs::read(site.root().join(PATHS[4])).unwrap(), b"short");
}

#[test]
fn what_rucio_has_no_replica_of_here_is_absent_and_not_awaited() {
    let rucio = FakeRucio::start();
    let site = site(&rucio, NOTHING);
    let open = lose(&site, &[PATHS[1], PATHS[2], PATHS[3]]);
    rucio.loses(PATHS[2]);
    rucio.forgets(PATHS[3]);
    let report = repaired(&open);
    assert_eq!((report.repaired(), report.declared), (3, 1), "{report:?}");
    assert_eq!(rucio.told(), [format!("bad {}", PATHS[1])]);
    // What it does not know at all may be published yet.
    let stand = [2, 3, 4].map(|number| presence(&open, number));
    assert_eq!(stand, ["Pending", "No", "Pending"]);
    let run = open.registry().run(&site.run(RUN)).unwrap().unwrap();
    assert_eq!(run.waiting, 2);
}

#[test]
fn more_declarations_than_their_limit_need_approval_and_none_is_made_without() {
    let rucio = FakeRucio::start();
    let one = Says {
        rucio: "[rucio.sync]\ndeclare_max = 1",
        ..NOTHING
    };
    let site = site(&rucio, one);
    let open = lose(&site, &[PATHS[1], PATHS[2]]);
    let before = state(&site, &open);
    let repairing = &open.assembly.repairing;
    let go_on = &mut |_| ControlFlow::Continue(());
    let plan = plan_by(repairing, &RepairOrder::default());
    let said = "2 replicas to be declared to Rucio are more than 1 (`[rucio.sync] declare_max`)";
    assert_eq!(plan.above, [said]);
    let refused = repairing.run(&plan, ("alice", false), go_on).unwrap_err();
    assert!(matches!(refused, RepairError::TooLarge { .. }), "{refused}");
    let by_policy = repairing.by_policy(None, "schedule", go_on).unwrap();
    let why = by_policy[0].refused.as_ref().unwrap();
    assert!(why.contains(said), "{why}");
    assert_eq!(rucio.told(), [""; 0]);
    assert!(state(&site, &open) == before);
    assert_eq!(found(&open), [is(Lost, PATHS[1]), is(Lost, PATHS[2])]);
    let report = repairing.run(&plan, ("alice", true), go_on).unwrap();
    assert_eq!(report.roots[0].declared, 2);
    assert_eq!(
        rucio.told(),
        [PATHS[1], PATHS[2]].map(|path| format!("bad {path}"))
    );
}

#[test]
fn what_was_declared_bad_before_is_told_to_nobody_again() {
    let rucio = FakeRucio::start();
    let checksum = Says {
        level: "checksum",
        ..RUCIO_DELETES
    };
    let site = site(&rucio, checksum);
    let mut open = spoil(&site, PATHS[5], &artifact(99, 50));
    rucio.says(PATHS[5], "BAD");
    let report = repaired(&open);
    assert_eq!((report.repaired(), report.declared), (1, 0), "{report:?}");
    assert_eq!(rucio.told(), [""; 0]);
    assert_eq!((open.confirm(), presence(&open, 6)), (0, "Pending".into()));
    let done = open.ledger().repairs(WhichRepairs::Done, None, 10).unwrap();
    assert_eq!(done[0].declared, None);
    drop(open);
    // One that Rucio has nowhere else is given up.
    let open = spoil(&site, PATHS[4], &artifact(98, 40));
    rucio.says(PATHS[4], "BAD");
    rucio.loses_others(PATHS[4]);
    is_left((&site, &open), "it gives it up");
}

#[test]
fn what_rucio_has_here_and_does_not_call_available_is_left() {
    let rucio = FakeRucio::start();
    let site = site(&rucio, NOTHING);
    let open = lose(&site, &[PATHS[1]]);
    rucio.closes(true);
    is_left((&site, &open), "closed for reading");
    rucio.closes(false);
    rucio.says(PATHS[1], "TEMPORARY_UNAVAILABLE");
    is_left((&site, &open), "as TEMPORARY_UNAVAILABLE");
    assert_eq!(rucio.told(), [""; 0]);
    // What it is carrying here comes without a word.
    rucio.says(PATHS[1], "COPYING");
    let report = repaired(&open);
    assert_eq!((report.repaired(), report.declared), (1, 0), "{report:?}");
    assert_eq!(presence(&open, 2), "Pending");
}

/// Rucio has no replica here, so that its record goes altogether: it comes back with the file that stays.
#[test]
fn what_is_not_brought_again_and_cannot_be_moved_has_its_record_again() {
    let rucio = FakeRucio::start();
    let site = site(&rucio, NOTHING);
    let open = spoil(&site, PATHS[5], &artifact(99, 50));
    rucio.loses(PATHS[5]);
    let (before, findings) = (state(&site, &open), found(&open));
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    root.refuse_to_move(PATHS[5]);
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as _);
    let report = repair_by(&repairing, &RepairOrder::default());
    assert_eq!((report.roots[0].repaired(), report.roots[0].left), (0, 1));
    assert_eq!(presence(&open, 6), "Yes");
    assert!(state(&site, &open) == before);
    assert_eq!(found(&open), findings);
}
