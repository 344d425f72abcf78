//! What every ledger keeps of scans.

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;

use super::conformance::{Open, Site};
use crate::file_identity::FileIdentity;
use crate::ledger::Ledger;
use crate::ledger::scans::{
    Drift, DriftFilter, DriftFinding, DriftKind, DriftSide, Ignored, ScanRow, Span, after,
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn root(name: &str) -> RootName {
    name.parse().unwrap()
}

pub(super) fn drift(path: &str, kind: DriftKind, inode: u64) -> Drift {
    Drift {
        path: path.parse().unwrap(),
        kind,
        detail: format!("{kind} at {path}"),
        size: Some(7),
        identity: (kind != DriftKind::Lost).then_some(FileIdentity {
            size: 7,
            modified_ns: 1,
            inode,
        }),
        claimed: kind != DriftKind::Dark,
        run: "u/test/run".parse().ok(),
        folded: path.to_lowercase(),
    }
}

pub(super) fn all() -> DriftFilter {
    DriftFilter {
        root: None,
        kind: None,
        side: None,
        span: Span::all(),
        ignored: true,
    }
}

pub(super) fn found(ledger: &dyn Ledger, filter: &DriftFilter) -> Vec<DriftFinding> {
    ledger.drift(filter, None, usize::MAX).unwrap()
}

fn paths(findings: &[DriftFinding]) -> Vec<&str> {
    findings.iter().map(|one| one.path.as_str()).collect()
}

/// A pass over all of a root that has seen this.
pub(super) fn pass(
    ledger: &dyn Ledger,
    name: &str,
    second: i64,
    seen: &[Drift],
    concluded: &[Span],
) -> ScanRow {
    let scan = ledger.begin_scan(&root(name), "", "", at(second)).unwrap();
    ledger.note_scan(&scan, seen, concluded).unwrap();
    scan
}

pub(crate) fn a_pass_of_a_scan_has_a_number_of_its_own_and_goes_on(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let (one, other) = (root("one"), root("other"));
    assert_eq!(ledger.scan(&one, "").unwrap(), None);
    let begun = ledger.begin_scan(&one, "u", "u/", at(1)).unwrap();
    assert_eq!((begun.number, begun.position.as_deref()), (1, Some("u/")));
    assert_eq!(ledger.begin_scan(&other, "", "", at(2)).unwrap().number, 2);
    let further = ScanRow {
        position: Some("u/b".to_owned()),
        tried_at: at(3),
        counts: "{\"files\":3}".to_owned(),
        ..begun.clone()
    };
    ledger.note_scan(&further, &[], &[]).unwrap();
    assert_eq!(ledger.scan(&one, "u").unwrap().unwrap(), further);
    assert_eq!(ledger.scan(&one, "").unwrap(), None);
    let done = ScanRow {
        position: None,
        finished_at: Some(at(4)),
        ..further
    };
    ledger.note_scan(&done, &[], &[]).unwrap();
    let again = ledger.begin_scan(&one, "u", "u/", at(5)).unwrap();
    assert_eq!((again.number, again.finished_at), (3, Some(at(4))));
    assert_eq!(again.counts, "{}");
    // One that was begun anew meanwhile is not gone on with.
    ledger.note_scan(&done, &[], &[]).unwrap();
    assert_eq!(ledger.scan(&one, "u").unwrap().unwrap(), again);
    let names = ledger.scans().unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|row| (row.root.as_str(), &*row.scope))
        .collect();
    assert_eq!(names, [("one", "u"), ("other", "")]);
}

pub(crate) fn drift_is_counted_by_passes_and_heals_where_they_conclude(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let (lost, dark) = (DriftKind::Lost, DriftKind::Dark);
    let seen = [
        drift("a", lost, 0),
        drift("b/1", dark, 1),
        drift("c", dark, 2),
    ];
    let scan = pass(ledger, "one", 1, &seen, &[Span::all()]);
    // The same pass sees a part of it again: after a crash, or by a folder alone.
    ledger.note_scan(&scan, &seen[..1], &[]).unwrap();
    assert!(found(ledger, &all()).iter().all(|one| one.times == 1));
    // Another root's is not touched by any of this.
    pass(ledger, "other", 2, &[drift("b/1", dark, 1)], &[]);

    let holes = [
        Span {
            from: String::new(),
            until: Some("b/".to_owned()),
        },
        Span {
            from: "b0".to_owned(),
            until: None,
        },
    ];
    let now = [drift("a", lost, 0), drift("c", dark, 9)];
    pass(ledger, "one", 3, &now, &holes);
    let findings = found(ledger, &all());
    assert_eq!(paths(&findings), ["a", "b/1", "c", "b/1"]);
    let told: Vec<_> = findings
        .iter()
        .map(|one| (one.times, one.first_seen, one.last_seen))
        .collect();
    // What lies in a hole stays as it was; another file is another finding.
    let expected = [
        (2, at(1), at(3)),
        (1, at(1), at(1)),
        (1, at(3), at(3)),
        (1, at(2), at(2)),
    ];
    assert_eq!(told, expected);

    pass(
        ledger,
        "one",
        4,
        &[],
        &[Span {
            from: "a".to_owned(),
            until: Some(after("a")),
        }],
    );
    assert_eq!(paths(&found(ledger, &all())), ["b/1", "c", "b/1"]);
    pass(
        ledger,
        "one",
        5,
        &[drift("c", DriftKind::Corrupt, 9)],
        &[Span::all()],
    );
    let findings = found(ledger, &all());
    assert_eq!(paths(&findings), ["c", "b/1"]);
    assert_eq!(
        (findings[0].kind, findings[0].times),
        (DriftKind::Corrupt, 1)
    );
}

pub(crate) fn drift_is_filtered_paged_and_left_out(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let seen = [
        drift("a", DriftKind::Lost, 0),
        drift("b/1", DriftKind::Dark, 1),
        drift("b/2", DriftKind::Lost, 0),
        drift("b0", DriftKind::Corrupt, 2),
    ];
    pass(ledger, "one", 1, &seen, &[]);
    pass(ledger, "other", 2, &seen[..1], &[]);
    let of = |filter: DriftFilter| {
        let found = found(ledger, &filter);
        paths(&found).join(" ")
    };
    let one = Some(root("one"));
    assert_eq!(
        of(DriftFilter {
            root: one.clone(),
            ..all()
        }),
        "a b/1 b/2 b0"
    );
    let kind = Some(DriftKind::Lost);
    assert_eq!(of(DriftFilter { kind, ..all() }), "a b/2 a");
    let folder = "b".parse().unwrap();
    let below = DriftFilter {
        span: Span::below(Some(&folder)),
        ..all()
    };
    assert_eq!(of(below.clone()), "b/1 b/2");

    let (mut paged, mut after) = (Vec::new(), None);
    while let Some(last) = {
        let at = after
            .as_ref()
            .map(|(root, path): &(RootName, String)| (root, path.as_str()));
        let page = ledger.drift(&all(), at, 2).unwrap();
        paged.extend(page.clone());
        page.last().cloned()
    } {
        after = Some((last.root, last.path.to_string()));
    }
    assert_eq!(paged, found(ledger, &all()));

    let word = Ignored {
        by: "alice".to_owned(),
        why: "known".to_owned(),
        at: at(9),
    };
    assert!(
        ledger
            .ignore_drift(&root("one"), "b/1", Some(&word))
            .unwrap()
    );
    assert!(
        !ledger
            .ignore_drift(&root("one"), "nothing", Some(&word))
            .unwrap()
    );
    let shown = DriftFilter {
        ignored: false,
        ..below
    };
    assert_eq!(of(shown.clone()), "b/2");
    let counts = ledger.drift_counts(&shown).unwrap();
    assert_eq!(
        counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
        [1, 0, 0, 0, 0, 0, 0, 0]
    );
    let kept = ledger
        .drift(&all(), Some((&root("one"), "a")), 1)
        .unwrap()
        .remove(0);
    assert_eq!(kept.ignored, Some(word));
    // The same found again stays left out.
    pass(ledger, "one", 10, &seen[1..2], &[]);
    assert_eq!(of(shown.clone()), "b/2");
    assert!(ledger.ignore_drift(&root("one"), "b/1", None).unwrap());
    assert_eq!(of(shown), "b/1 b/2");
}

pub(crate) fn sides_of_a_path_are_found_and_heal_apart(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    pass(ledger, "one", 1, &[drift("a", DriftKind::Lost, 0)], &[]);
    let of_rucio = |side: DriftSide, second, seen: &[Drift], concluded: &[Span]| {
        let scan = ledger.begin_scan(&root("one"), side.scope(), "", at(second));
        ledger.note_scan(&scan.unwrap(), seen, concluded).unwrap();
    };
    let (records, replicas) = (DriftSide::Records, DriftSide::Replicas);
    let seen = drift("a", DriftKind::SiteOnly, 0);
    of_rucio(records, 2, &[seen], &[Span::all()]);
    let seen = ["a", "b"].map(|path| drift(path, DriftKind::RucioOnly, 0));
    of_rucio(replicas, 3, &seen, &[Span::all()]);
    let kinds = || {
        let found = found(ledger, &all());
        found.iter().map(|one| one.kind).collect::<Vec<_>>()
    };
    let (lost, site_only, rucio_only) =
        (DriftKind::Lost, DriftKind::SiteOnly, DriftKind::RucioOnly);
    assert_eq!(kinds(), [lost, site_only, rucio_only, rucio_only]);
    // A page that ends amid the findings of a path has them all.
    let page = ledger.drift(&all(), None, 1).unwrap();
    assert_eq!(paths(&page), ["a", "a", "a"]);
    let page = ledger.drift(&all(), Some((&root("one"), "a")), 1).unwrap();
    assert_eq!(paths(&page), ["b"]);
    let of_records = DriftFilter {
        side: Some(records),
        ..all()
    };
    let counts = ledger.drift_counts(&of_records).unwrap();
    let counts: u64 = counts.iter().map(|(_, count)| count).sum();
    assert_eq!(counts, 1);
    of_rucio(records, 4, &[], &[Span::all()]);
    assert_eq!(kinds(), [lost, rucio_only, rucio_only]);
    pass(ledger, "one", 5, &[], &[Span::all()]);
    assert_eq!(kinds(), [rucio_only, rucio_only]);
}

/// Counts are what there is, by whatever filter.
fn check_counts(ledger: &dyn Ledger) {
    let kinds = DriftKind::ALL.map(Some).into_iter().chain([None]);
    let sides = [None, Some(DriftSide::Datastore), Some(DriftSide::Replicas)];
    for (kind, side) in kinds.flat_map(|kind| sides.map(|side| (kind, side))) {
        for (name, ignored) in [(None, true), (None, false), (Some(root("one")), false)] {
            let filter = DriftFilter {
                root: name,
                kind,
                side,
                span: Span::all(),
                ignored,
            };
            let found = found(ledger, &filter);
            for (kind, count) in ledger.drift_counts(&filter).unwrap() {
                let there = found.iter().filter(|one| one.kind == kind).count();
                assert_eq!(count, there as u64, "{kind} by {filter:?}");
            }
        }
    }
}

pub(crate) fn findings_are_counted_however_they_come_change_and_go(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let seen = [
        drift("a", DriftKind::Lost, 0),
        drift("b/1", DriftKind::Dark, 1),
        drift("b/2", DriftKind::Dark, 2),
    ];
    check_counts(ledger);
    pass(ledger, "one", 1, &seen, &[]);
    pass(ledger, "other", 2, &seen, &[]);
    check_counts(ledger);
    let of_rucio = ledger.begin_scan(&root("one"), DriftSide::Replicas.scope(), "", at(3));
    let replica = drift("a", DriftKind::RucioOnly, 0);
    (ledger.note_scan(&of_rucio.unwrap(), &[replica], &[])).unwrap();
    check_counts(ledger);
    let word = Ignored {
        by: "alice".to_owned(),
        why: "known".to_owned(),
        at: at(9),
    };
    for word in [Some(&word), Some(&word), None, Some(&word)] {
        (ledger.ignore_drift(&root("one"), "b/1", word)).unwrap();
        check_counts(ledger);
    }
    // The same again, another file that is not left out, another kind, and what has healed.
    pass(ledger, "one", 10, &seen, &[]);
    check_counts(ledger);
    let changed = [
        drift("b/1", DriftKind::Dark, 7),
        drift("b/2", DriftKind::Corrupt, 2),
    ];
    pass(ledger, "one", 11, &changed, &[]);
    check_counts(ledger);
    pass(ledger, "one", 12, &[], &[Span::at("b/1"), Span::at("a")]);
    check_counts(ledger);
    pass(ledger, "other", 13, &[], &[Span::all()]);
    check_counts(ledger);
    assert_eq!(paths(&found(ledger, &all())), ["a", "b/2"]);
}

pub(crate) fn spellings_of_one_name_are_twins(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let seen = [
        drift("u/A", DriftKind::Dark, 1),
        drift("u/a", DriftKind::Lost, 0),
        drift("u/b", DriftKind::Lost, 0),
    ];
    pass(ledger, "one", 1, &seen, &[]);
    pass(ledger, "other", 2, &[drift("u/B", DriftKind::Dark, 1)], &[]);
    let findings = found(ledger, &all());
    let twins: Vec<_> = findings
        .iter()
        .map(|one| one.twin.as_ref().map(ArtifactPath::as_str))
        .collect();
    assert_eq!(twins, [Some("u/a"), Some("u/A"), None, None]);
}

pub(crate) fn an_old_fence_begins_no_scan(open: &Open) {
    let site = Site::new(open);
    let scan = site
        .ledger()
        .begin_scan(&root("one"), "", "", at(1))
        .unwrap();
    let _newer = open(site.folder.path(), &super::conformance::tenure(2)).unwrap();
    let refused = site.ledger().begin_scan(&root("one"), "", "", at(2));
    assert!(refused.unwrap_err().is_fenced());
    let refused = site
        .ledger()
        .note_scan(&scan, &[drift("a", DriftKind::Lost, 0)], &[]);
    assert!(refused.unwrap_err().is_fenced());
    assert_eq!(found(site.ledger(), &all()), []);
}
