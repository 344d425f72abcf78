//! Parts of runs that are hidden, reaped, unwanted and brought back; what is told of removals.

use std::ops::ControlFlow;

use jiff::Timestamp;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{ArtifactPath, ManifestId, RunKey};
use uuid::Uuid;

use super::support::{Manifest, Open, Site, checksums, claim, claims, dataset, root, run};
use crate::registry::RegistryError;
use crate::registry::conflict::Conflict;
use crate::registry::record::{Presence, RowSource};
use crate::registry::removal::{
    Extent, JournalRef, Notice, Operation, Removal, RemovalRow, RunPart, Which,
};

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn generation(sequence: u32) -> Generation {
    Generation { epoch: 1, sequence }
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn of_type(key: &RunKey, name: &str) -> RunPart {
    RunPart::of_type(key.clone(), Some(name.parse().unwrap()))
}

/// A removal that nothing has to be deleted for.
fn removal(operation: Operation, parts: &[(RunPart, Extent)]) -> Removal<'_> {
    Removal {
        id: Uuid::new_v4(),
        operation,
        account: "alice",
        at: second(7),
        parts,
        floors: &[],
        journals: &[],
        notices: &[],
        chain: None,
    }
}

/// Commits a removal of a part, and returns what it looks like.
fn hide(site: &Site<'_>, operation: Operation, part: RunPart) -> RemovalRow {
    let extent = site.registry().extent(&part).unwrap();
    let parts = [(part, extent)];
    let removal = removal(operation, &parts);
    site.registry().remove(&removal).unwrap();
    site.registry().removals().unwrap().remove(0)
}

fn reap(site: &Site<'_>, removal: &RemovalRow, most: usize) {
    site.registry().may_reap(removal.id).unwrap();
    while site.registry().reap(most).unwrap() {}
    assert_eq!(site.registry().removals().unwrap(), []);
    site.check_counters();
}

fn presence(site: &Site<'_>, numbers: &[u32]) -> Vec<Presence> {
    let asked: Vec<_> = numbers.iter().map(|&number| dataset(number)).collect();
    let answers = site.registry().exists(&asked).unwrap();
    answers.into_iter().map(|answer| answer.presence).collect()
}

/// Run `u/a` of datasets 0 to 9, alternately of two types, all but 8 and 9 confirmed.
fn site(open: &Open) -> (Site<'_>, RunKey) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(0..10)))
        .unwrap();
    let mut waiting = site.waiting(&key);
    let stays = ["/8.fits", "/9.fits"];
    waiting.retain(|one| !stays.iter().any(|end| one.path.as_str().ends_with(end)));
    assert_eq!(site.registry().confirm(&key, &root(), &waiting).unwrap(), 8);
    (site, key)
}

pub(crate) fn the_records_of_one_type_go_and_its_datasets_stay(open: &Open) {
    let (site, key) = site(open);
    let types = site.registry().dataset_types().unwrap();
    assert_eq!(types.len(), 2);
    let first = types[0].name.as_str();
    let of_first: Vec<u32> = (0..10)
        .filter(|&number| claim(number, "", 0).dataset_type == 0)
        .collect();
    let before = site.registry().run(&key).unwrap().unwrap();
    let part = of_type(&key, first);
    let extent = site.registry().extent(&part).unwrap();
    assert_eq!(extent.datasets, of_first.len() as u64);
    let row = hide(&site, Operation::Forget, part.clone());
    assert_eq!(row.parts, std::slice::from_ref(&part));
    let after = site.registry().run(&key).unwrap().unwrap();
    assert_eq!(after.datasets, before.datasets, "datasets stay");
    assert_eq!(after.claims, before.claims - extent.claims);
    assert_eq!(after.bytes, before.bytes - extent.bytes);
    assert_eq!(
        presence(&site, &of_first),
        vec![Presence::No; of_first.len()]
    );
    assert_eq!(
        site.registry()
            .datasets(&key, None, None, 20)
            .unwrap()
            .len(),
        10
    );
    reap(&site, &row, 2);
    assert_eq!(
        presence(&site, &of_first),
        vec![Presence::No; of_first.len()]
    );
    let others: Vec<u32> = (0..10)
        .filter(|number| !of_first.contains(number))
        .collect();
    let shown = presence(&site, &others);
    assert!(!shown.contains(&Presence::No), "{shown:?}");
    assert_eq!(site.registry().extent(&part).unwrap().claims, 0);
}

pub(crate) fn what_is_unwanted_waits_for_nothing_until_it_is_restored(open: &Open) {
    let (site, key) = site(open);
    let registry = site.registry();
    let row = hide(&site, Operation::Unstore, RunPart::whole(key.clone()));
    reap(&site, &row, 3);
    let unwanted = registry.unwanted().unwrap();
    assert_eq!(unwanted.len(), 1);
    assert_eq!(
        (unwanted[0].account.as_str(), unwanted[0].since),
        ("alice", second(7))
    );
    // What comes is known, and neither waited for nor counted.
    site.register(&Manifest::new(&key, 2, claims(5..15)))
        .unwrap();
    site.check_counters();
    let row = registry.run(&key).unwrap().unwrap();
    assert_eq!(
        (row.datasets, row.claims, row.waiting, row.bytes),
        (15, 0, 0, 0)
    );
    site.register(&Manifest::new(&key, 3, claims(14..16)).trusted())
        .unwrap();
    assert_eq!(presence(&site, &[0, 5, 14, 15]), [Presence::No; 4]);
    let one_type = of_type(&key, registry.dataset_types().unwrap()[0].name.as_str());
    let refused = registry.restore(&[one_type]).unwrap_err();
    assert!(matches!(refused, RegistryError::UnwantedWhole { .. }));
    assert_eq!(registry.unwanted().unwrap().len(), 1, "nothing is changed");

    registry.restore(&[RunPart::whole(key.clone())]).unwrap();
    assert!(registry.bring_back(4).unwrap());
    site.check_counters();
    let part = (RunPart::whole(key.clone()), Extent::default());
    let refused = registry.remove(&removal(Operation::Forget, &[part]));
    assert!(
        matches!(refused, Err(RegistryError::Restoring { .. })),
        "it is being brought back"
    );
    while registry.bring_back(4).unwrap() {}
    site.check_counters();
    assert_eq!(site.confirm_all(&key), 16);
    assert_eq!(presence(&site, &[0, 5, 14, 15]), [Presence::Yes; 4]);
    assert_eq!(registry.unwanted().unwrap(), []);
}

pub(crate) fn a_later_generation_wants_what_was_forgotten(open: &Open) {
    let (site, key) = site(open);
    let row = hide(&site, Operation::Forget, RunPart::whole(key.clone()));
    reap(&site, &row, 100);
    assert_eq!(site.registry().unwanted().unwrap(), []);
    site.register(&Manifest::new(&key, 2, claims(0..2)))
        .unwrap();
    site.check_counters();
    assert_eq!(site.waiting(&key).len(), 2);
    // Its path is the dataset's all the same.
    let at_5 = claims(5..6)[0].path.clone();
    let other_at_5 = Manifest::new(&run("u/b"), 1, vec![claim(50, &at_5, 99)]);
    let refused = site.register(&other_at_5).unwrap_err();
    assert!(matches!(refused[0], Conflict::PathHeld { .. }));
}

pub(crate) fn what_a_generation_leaves_out_is_listed_hidden_and_reaped(open: &Open) {
    let (site, key) = site(open);
    let registry = site.registry();
    site.register(&Manifest::new(&key, 4, claims(9..12)))
        .unwrap();
    let kept = Manifest::new(&key, 3, claims(2..5));
    let kept: &dyn RowSource = kept.registration().rows;
    let below = generation(3);
    let left_out = [0, 1, 5, 6, 7, 8];
    assert_eq!(registry.omitted(&key, below, Some(kept)).unwrap(), 6);
    let changed = site.dump();
    let extent = registry
        .list_omitted(&key, below, Some(kept), &mut go_on)
        .unwrap();
    assert_eq!((extent.datasets, extent.claims), (6, 6));
    assert_eq!(site.dump(), changed, "readers notice nothing");
    // Another list takes its place.
    registry
        .list_omitted(&key, generation(2), None, &mut go_on)
        .unwrap();
    let extent = registry
        .list_omitted(&key, below, Some(kept), &mut go_on)
        .unwrap();
    let part = RunPart {
        run: key.clone(),
        which: Which::Omitted,
    };
    assert_eq!(registry.extent(&part).unwrap(), extent);
    let mut named = Vec::new();
    registry
        .artifacts_of(std::slice::from_ref(&part), &root(), &mut |artifact| {
            named.push(artifact.datasets[0].0);
            ControlFlow::Continue(())
        })
        .unwrap();
    named.sort_unstable();
    let mut expected = left_out.map(dataset);
    expected.sort_unstable();
    assert_eq!(named, expected);
    let parts = [(part, extent)];
    let floors = [(key.clone(), below)];
    let follow = Removal {
        floors: &floors,
        ..removal(Operation::Follow, &parts)
    };
    registry.remove(&follow).unwrap();
    let all: Vec<u32> = (0..12).collect();
    let known = |number: &u32| presence(&site, &[*number])[0] != Presence::No;
    let shown: Vec<u32> = all.into_iter().filter(known).collect();
    assert_eq!(shown, [2, 3, 4, 9, 10, 11]);
    assert_eq!(registry.datasets(&key, None, None, 20).unwrap().len(), 6);
    let row = registry.run(&key).unwrap().unwrap();
    assert_eq!(
        (row.datasets, row.followed, row.floor),
        (6, Some(below), Some(below))
    );
    let listed = registry.list_omitted(&key, below, None, &mut go_on);
    assert!(matches!(listed, Err(RegistryError::RemovalUnderWay { .. })));
    let row = registry.removals().unwrap().remove(0);
    reap(&site, &row, 2);
    // Their data IDs and paths are free.
    let again = Manifest::new(&key, 5, vec![claim(0, &claims(1..2)[0].path.clone(), 7)]);
    site.register(&again).unwrap();
    site.check_counters();
}

pub(crate) fn rows_are_reaped_only_once_no_journal_is_open_or_all_of_them_are_late(open: &Open) {
    let (site, key) = site(open);
    let registry = site.registry();
    let parts = [(RunPart::whole(key.clone()), Extent::default())];
    let journals = [JournalRef {
        root: root(),
        digest: runsync_manifest::checksum::Sha256([7; 32]),
        late_until: None,
    }];
    let removal = Removal {
        journals: &journals,
        ..removal(Operation::DropCopy, &parts)
    };
    registry.remove(&removal).unwrap();
    registry.may_reap(removal.id).unwrap();
    assert!(!registry.reap(100).unwrap(), "its journal is open");
    assert_eq!(registry.removals().unwrap()[0].parts.len(), 1);
    registry
        .wait_for_late(removal.id, &root(), second(99))
        .unwrap();
    while registry.reap(3).unwrap() {}
    let row = registry.removals().unwrap().remove(0);
    assert!(row.is_late());
    assert_eq!(
        (row.parts, row.journals[0].late_until),
        (vec![], Some(second(99)))
    );
    let path: ArtifactPath = claims(1..2)[0].path.parse().unwrap();
    assert_eq!(registry.claimed(&root(), &[&path]).unwrap(), [false]);
    site.register(&Manifest::new(&key, 9, claims(1..2)))
        .unwrap();
    assert_eq!(registry.claimed(&root(), &[&path]).unwrap(), [true]);
    registry.journal_closed(removal.id, &root()).unwrap();
    assert_eq!(registry.removals().unwrap(), []);
}

pub(crate) fn what_is_to_be_told_is_committed_with_its_removal(open: &Open) {
    let (mut site, key) = site(open);
    let notice = |sequence: u32| Notice {
        manifest: ManifestId(Uuid::from_u128(sequence.into())),
        run: key.clone(),
        generation: generation(sequence),
        created_at: second(sequence.into()),
        at_once: sequence == 2,
    };
    let parts = [(RunPart::whole(key.clone()), Extent::default())];
    let (notices, floors) = ([notice(2)], [(key.clone(), generation(2))]);
    let told = Removal {
        notices: &notices,
        floors: &floors,
        ..removal(Operation::RemoveRuns, &parts)
    };
    site.registry().remove(&told).unwrap();
    // Twice is once, and one that is refused tells nobody.
    site.registry().remove(&told).unwrap();
    let again = [notice(3)];
    let refused = Removal {
        notices: &again,
        ..removal(Operation::RemoveRuns, &parts)
    };
    site.registry().remove(&refused).unwrap_err();
    site.reopen();
    assert_eq!(site.registry().notices().unwrap(), notices);
    site.registry().notice_sent(notices[0].manifest).unwrap();
    assert_eq!(site.registry().notices().unwrap(), []);
}

pub(crate) fn an_interrupted_registration_meets_what_is_on_its_way_out(open: &Open) {
    let site = Site::with_batches(open, 4);
    let (a, b) = (run("u/a"), run("u/b"));
    site.register(&Manifest::new(&a, 1, claims(0..10))).unwrap();
    // It names an artifact of the other run, which has the same bytes.
    let shared = claims(3..4)[0].clone();
    let mut of_b = claims(20..40);
    of_b[0].path = shared.path;
    of_b[0].size = shared.size;
    of_b[0].checksums = checksums(3);
    let manifest = Manifest::new(&b, 1, of_b);
    let registration = manifest.registration();
    assert_eq!(
        site.registry().outgoing(&registration, &mut go_on).unwrap(),
        None
    );
    let interrupted = site.registry().register(&[registration], &mut |rows| {
        if rows > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(interrupted, Err(RegistryError::Interrupted)));
    let row = hide(&site, Operation::DropCopy, RunPart::whole(a));
    let registration = manifest.registration();
    let conflict = site.registry().outgoing(&registration, &mut go_on).unwrap();
    let conflict = conflict.unwrap();
    assert!(matches!(conflict, Conflict::PathHeld { .. }), "{conflict}");
    assert!(site.registry().still_stands(&conflict).unwrap());
    site.registry().may_reap(row.id).unwrap();
    while site.registry().reap(100).unwrap() {}
    assert!(!site.registry().still_stands(&conflict).unwrap());
    assert_eq!(
        site.registry().outgoing(&registration, &mut go_on).unwrap(),
        None
    );
    site.register(&manifest).unwrap();
    site.check_counters();
}
