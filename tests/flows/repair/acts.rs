//! What repairs do.

use std::fs;

use runsync::ledger::repairs::{RepairAct, RepairRow, WhichRepairs};
use runsync::recovery::repair::RepairOrder;

use crate::scene::{DAY, PATHS, bytes, found, full, is, order, scan};
use crate::site::{
    LATER, deleting, plan_by, presence, repair, repair_by, scan_twice, site, state, with_root,
};
use crate::support::{OpenSite, artifact};
use runsync::ledger::scans::DriftKind::{Corrupt, Dark, Lost};

fn history(open: &OpenSite) -> Vec<RepairRow> {
    open.ledger()
        .repairs(WhichRepairs::Done, None, usize::MAX)
        .unwrap()
}

#[test]
fn a_lost_artifact_is_forgotten_waited_for_and_recorded_again_when_it_is_back() {
    let site = site();
    let mut open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    scan_twice(&site, &open);
    assert_eq!(presence(&open, 2), "Yes");
    let report = repair(&open);
    assert_eq!(report.roots[0].acts[&RepairAct::Forget].artifacts, 1);
    assert!(report.is_well(), "{report:?}");
    assert_eq!(presence(&open, 2), "Pending");
    assert_eq!(found(&open), []);
    let done = history(&open);
    assert_eq!((done.len(), done[0].account.as_str()), (1, "alice"));
    assert_eq!(done[0].path.as_str(), PATHS[1]);
    assert!(
        scan(&open, &order())
            .findings
            .values()
            .all(|count| *count == 0)
    );

    site.put(PATHS[1], &bytes(PATHS[1]));
    assert_eq!(open.confirm(), 1);
    assert_eq!(presence(&open, 2), "Yes");
    assert!(scan(&open, &full()).is_well());
}

#[test]
fn a_dark_file_is_set_aside_and_brought_back() {
    let site = site();
    let open = site.open();
    site.put("u/stray/x.fits", b"nobody's");
    scan_twice(&site, &open);
    let before = state(&site, &open);
    let report = repair(&open);
    assert_eq!(report.roots[0].acts[&RepairAct::Quarantine].artifacts, 1);
    assert!(!site.root().join("u/stray/x.fits").is_file());
    let aside = history(&open)[0].aside.clone().unwrap();
    assert!(aside.ends_with("/u/stray/x.fits"), "{aside}");
    assert_eq!(fs::read(site.root().join(&aside)).unwrap(), b"nobody's");
    assert!(scan(&open, &full()).is_well(), "no scan looks there");

    let path = "u/stray/x.fits".parse().unwrap();
    let repairing = &open.assembly.repairing;
    site.put("u/stray/x.fits", b"another");
    let taken = repairing.bring_back(None, &path).unwrap();
    assert!(taken.failed.unwrap().contains("already"));
    fs::remove_file(site.root().join("u/stray/x.fits")).unwrap();
    assert_eq!(repairing.bring_back(None, &path).unwrap().failed, None);
    assert_eq!(state(&site, &open), before);
    assert!(repairing.bring_back(None, &path).is_err());
}

#[test]
fn a_dark_file_is_deleted_by_order_alone_and_only_where_its_root_allows_it() {
    let site = site();
    let open = site.open();
    site.put("dark", b"nobody's");
    scan_twice(&site, &open);
    let before = state(&site, &open);
    let report = repair_by(&open.assembly.repairing, &deleting());
    assert!(format!("{report:?}").contains("scan_deletes"));
    assert_eq!(state(&site, &open), before);

    let site = with_root("scan_deletes = true");
    let open = site.open();
    site.put("dark", b"nobody's");
    scan_twice(&site, &open);
    let report = repair_by(&open.assembly.repairing, &deleting());
    assert_eq!(report.roots[0].acts[&RepairAct::Delete].bytes, 8);
    assert!(!site.root().join("dark").is_file());
    assert_eq!(found(&open), []);
    assert_eq!(history(&open)[0].act, RepairAct::Delete);
}

#[test]
fn a_file_that_a_dataset_names_is_recorded_again_where_it_is_right() {
    let site = site();
    let open = site.open();
    let root = "main".parse().unwrap();
    let (right, wrong) = (PATHS[2].parse().unwrap(), PATHS[3].parse().unwrap());
    open.registry().forget_at(&root, &[&right, &wrong]).unwrap();
    site.put(PATHS[3], &artifact(99, 50));
    scan_twice(&site, &open);
    assert_eq!(presence(&open, 3), "No");
    let report = repair(&open);
    assert_eq!(report.roots[0].acts[&RepairAct::Register].artifacts, 1);
    assert_eq!(
        (presence(&open, 3), presence(&open, 4)),
        ("Yes".into(), "No".into())
    );
    assert!(format!("{report:?}").contains("not what its dataset says"));
    assert_eq!(found(&open), [is(Dark, PATHS[3])]);
    let run = open
        .registry()
        .run(&site.run("u/test/run"))
        .unwrap()
        .unwrap();
    assert_eq!((run.claims, run.waiting), (7, 0));
}

#[test]
fn a_corrupt_artifact_is_forgotten_and_set_aside_and_a_right_one_may_come() {
    let site = site();
    let mut open = site.open();
    let wrong = artifact(99, 50);
    site.put(PATHS[5], &wrong);
    scan_twice(&site, &open);
    assert_eq!(found(&open), [is(Corrupt, PATHS[5])]);
    let report = repair(&open);
    assert_eq!(report.roots[0].acts[&RepairAct::Unstore].artifacts, 1);
    assert_eq!(presence(&open, 6), "Pending");
    let aside = history(&open)[0].aside.clone().unwrap();
    assert_eq!(fs::read(site.root().join(aside)).unwrap(), wrong);
    site.put(PATHS[5], &bytes(PATHS[5]));
    assert_eq!(open.confirm(), 1);
    assert!(scan(&open, &full()).is_well());
}

#[test]
fn what_policy_only_reports_stays() {
    let site = crate::scene::site_with("[repair]\nshare_max = 0.25", DAY * 2);
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    scan_twice(&site, &open);
    let before = state(&site, &open);
    let report = repair(&open);
    assert_eq!(
        (report.roots[0].reported, report.roots[0].repaired()),
        (1, 0)
    );
    assert!(!report.is_well());
    assert_eq!(state(&site, &open), before);
}

#[test]
fn nothing_is_done_before_two_passes_lie_apart() {
    let site = site();
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    let before = state(&site, &open);
    // One pass, however long ago; then a second one that is too soon after a third.
    scan(&open, &full());
    site.pass(LATER);
    let report = repair(&open);
    assert_eq!((report.roots[0].unripe, report.roots[0].repaired()), (1, 0));
    // Another file in its place, which is another finding.
    site.put(PATHS[1], b"short");
    scan(&open, &full());
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    scan(&open, &full());
    let report = repair(&open);
    assert_eq!((report.roots[0].unripe, report.roots[0].repaired()), (1, 0));
    assert_eq!(state(&site, &open), before);
    site.pass(LATER);
    scan(&open, &full());
    assert_eq!(repair(&open).roots[0].repaired(), 1);
}

#[test]
fn passes_over_a_part_alone_do_not_tell_how_much_of_a_root_is_amiss() {
    let site = site();
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    let part = runsync::recovery::Order {
        below: Some("u/test/run".parse().unwrap()),
        ..full()
    };
    scan(&open, &part);
    site.pass(LATER);
    scan(&open, &part);
    assert_eq!(repair(&open).roots[0].unripe, 1);
    scan(&open, &full());
    assert_eq!(repair(&open).roots[0].repaired(), 1);
}

#[test]
fn a_plan_is_the_same_while_it_would_do_the_same_and_caps_need_approval() {
    let site = crate::scene::site_with(
        &crate::site::EVERYTHING.replace("share_max", "artifacts_max = 1\nshare_max"),
        DAY * 2,
    );
    let open = site.open();
    for path in &PATHS[1..3] {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    scan_twice(&site, &open);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &RepairOrder::default());
    assert_eq!(plan, plan_by(repairing, &RepairOrder::default()));
    assert_eq!((plan.total.artifacts, plan.above.len()), (2, 1));
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    let refused = repairing.run(&plan, ("alice", false), go_on).unwrap_err();
    assert!(refused.hint().unwrap().contains(&plan.id));
    let lost = RepairOrder {
        kind: Some(Dark),
        ..RepairOrder::default()
    };
    assert_eq!(plan_by(repairing, &lost).total.artifacts, 0);
    site.put(PATHS[1], &bytes(PATHS[1]));
    let other = plan_by(repairing, &RepairOrder::default());
    assert_ne!(other.id, plan.id);
    // The plan of before is carried out where it is still right.
    let report = repairing.run(&plan, ("alice", true), go_on).unwrap();
    assert_eq!((report.roots[0].repaired(), report.roots[0].left), (1, 1));
    assert_eq!(
        (presence(&open, 2), presence(&open, 3)),
        ("Yes".into(), "Pending".into())
    );
    assert_eq!(found(&open), [is(Lost, PATHS[1])]);
}
