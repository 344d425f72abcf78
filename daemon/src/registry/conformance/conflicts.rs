//! What keeps a manifest out, and for how long.

use std::ops::ControlFlow;

use runsync_manifest::name::RunKey;

use super::support::{Manifest, ONE_COMMIT, Open, Site, claim, claims, dataset, run};
use crate::registry::RegistryError;
use crate::registry::conflict::Conflict;
use crate::registry::memory_rows::{MemoryClaim, MemoryRows};

fn stands(site: &Site<'_>, conflict: &Conflict) -> bool {
    // Through its stored form, as a blocked manifest's is.
    let stored = serde_json::to_string(conflict);
    assert!(stored.is_ok());
    site.registry().still_stands(conflict).unwrap()
}

pub(crate) fn a_dataset_registered_elsewhere_is_held(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&run("u/a"), 1, claims(1..=3)))
        .unwrap();
    let before = site.dump();
    let conflicts = site
        .register(&Manifest::new(
            &run("u/b"),
            1,
            vec![claim(2, "elsewhere", 2)],
        ))
        .unwrap_err();
    assert_eq!(conflicts.len(), 1);
    let Conflict::DatasetHeld { uuid, held_run, .. } = &conflicts[0] else {
        panic!("{conflicts:?}");
    };
    assert_eq!((*uuid, held_run), (dataset(2), &run("u/a")));
    assert!(conflicts[0].may_resolve());
    assert!(stands(&site, &conflicts[0]));
    // Another data ID or dataset type under the same UUID is none the better.
    let mut renamed = claim(2, "calexp/4/2.fits", 2);
    renamed.data_id = r#"{"detector":77}"#.to_owned();
    let mut retyped = claim(1, "calexp/2/1.fits", 1);
    retyped.dataset_type = 1;
    let conflicts = site
        .register(&Manifest::new(&run("u/a"), 2, vec![renamed, retyped]))
        .unwrap_err();
    assert_eq!(conflicts.len(), 2);
    assert_eq!(site.dump(), before);
}

pub(crate) fn a_data_id_has_one_dataset_in_a_run(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&run("u/a"), 1, claims(1..=3)))
        .unwrap();
    let mut twin = claim(1, "twin", 9);
    twin.uuid = dataset(1001);
    let conflicts = site
        .register(&Manifest::new(&run("u/a"), 2, vec![twin.clone()]))
        .unwrap_err();
    let [conflict] = &conflicts[..] else {
        panic!("{conflicts:?}");
    };
    let Conflict::DataIdHeld { uuid, held_by, .. } = conflict else {
        panic!("{conflict:?}");
    };
    assert_eq!((*uuid, *held_by), (dataset(1001), dataset(1)));
    assert!(conflict.may_resolve() && stands(&site, conflict));
    // In another run it is another dataset.
    site.register(&Manifest::new(&run("u/b"), 1, vec![twin]))
        .unwrap();
    site.check_counters();
}

pub(crate) fn a_path_has_one_artifact(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&run("u/a"), 1, vec![claim(1, "one", 1)]))
        .unwrap();
    for wrong in [claim(2, "one", 2), {
        let mut wrong = claim(2, "one", 1);
        wrong.size += 1;
        wrong
    }] {
        let conflicts = site
            .register(&Manifest::new(&run("u/b"), 1, vec![wrong]))
            .unwrap_err();
        let [Conflict::PathHeld { held_by, claim, .. }] = &conflicts[..] else {
            panic!("{conflicts:?}");
        };
        assert_eq!((*held_by, claim.uuid), (dataset(1), dataset(2)));
        assert!(conflicts[0].may_resolve() && stands(&site, &conflicts[0]));
    }
    // In another root the path is another artifact's.
    let mut elsewhere = Manifest::new(&run("u/b"), 1, vec![claim(2, "one", 2)]);
    elsewhere.root = "other".parse().unwrap();
    site.register(&elsewhere).unwrap();
}

pub(crate) fn a_path_is_free_once_a_later_generation_has_left_it(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&run("u/a"), 1, vec![claim(1, "one", 1)]))
        .unwrap();
    let blocked = Manifest::new(&run("u/b"), 1, vec![claim(2, "one", 2)]);
    let conflicts = site.register(&blocked).unwrap_err();
    site.register(&Manifest::new(&run("u/a"), 2, vec![claim(1, "moved", 1)]))
        .unwrap();
    assert!(!stands(&site, &conflicts[0]));
    site.register(&blocked).unwrap();
    site.check_counters();
}

pub(crate) fn a_claim_that_counts_for_nothing_conflicts_with_nothing(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    // Generation 3 has `one` for dataset 2, where generation 1 had dataset 1.
    let first = Manifest::new(&key, 1, vec![claim(1, "one", 1)]);
    site.register(&Manifest::new(&key, 3, vec![claim(2, "one", 2)]))
        .unwrap();
    let conflicts = site.register(&first).unwrap_err();
    assert!(matches!(conflicts[..], [Conflict::PathHeld { .. }]));
    assert!(stands(&site, &conflicts[0]));
    site.register(&Manifest::new(&key, 2, vec![claim(1, "moved", 1)]))
        .unwrap();
    assert!(!stands(&site, &conflicts[0]));
    let before = site.dump();
    site.register(&first).unwrap();
    assert_eq!(site.dump(), before);
    site.check_counters();
}

pub(crate) fn a_manifest_may_move_its_own_artifacts(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(
        &key,
        1,
        vec![claim(1, "one", 1), claim(2, "two", 2)],
    ))
    .unwrap();
    site.confirm_all(&key);
    // The two swap places, and a third takes over nothing of anybody's.
    let swapped = vec![claim(1, "two", 1), claim(2, "one", 2), claim(3, "three", 3)];
    site.register(&Manifest::new(&key, 2, swapped)).unwrap();
    assert_eq!(site.waiting_paths(&key), ["one", "three", "two"]);
    site.check_counters();
    // But what it does not name itself stays where it is.
    let conflicts = site
        .register(&Manifest::new(
            &key,
            3,
            vec![claim(1, "one", 1), claim(3, "two", 3)],
        ))
        .unwrap_err();
    assert_eq!(conflicts.len(), 1);
    let Conflict::PathHeld { held_by, .. } = &conflicts[0] else {
        panic!("{conflicts:?}");
    };
    assert_eq!(*held_by, dataset(2));
}

pub(crate) fn a_dataset_type_has_one_definition(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&run("u/a"), 1, claims(1..=2)))
        .unwrap();
    let mut other = Manifest::new(&run("u/b"), 1, claims(4..=5));
    other.dataset_types[0].dimensions.reverse();
    assert!(site.register(&other).is_ok());
    other.dataset_types[0].storage_class = "ExposureI".parse().unwrap();
    let conflicts = site.register(&other).unwrap_err();
    assert!(matches!(
        conflicts[..],
        [Conflict::DatasetTypeDiffers { .. }]
    ));
    assert!(conflicts[0].may_resolve());
    assert!(stands(&site, &conflicts[0]));
}

/// The most bytes that a run can have.
const MOST: u64 = i64::MAX.cast_unsigned();

fn sized(n: u32, size: u64) -> MemoryClaim {
    MemoryClaim {
        size,
        ..claim(n, &format!("sized/{n}"), n)
    }
}

fn assert_too_large(conflict: &Conflict, key: &RunKey) {
    let Conflict::RunTooLarge { run, bytes } = conflict else {
        panic!("{conflict:?}");
    };
    assert_eq!(run, key);
    assert!(*bytes > MOST);
    assert!(!conflict.may_resolve());
}

pub(crate) fn a_run_takes_no_more_bytes_than_can_be_counted(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let bytes = || site.registry().run(&key).unwrap().unwrap().bytes;
    // Neither one size alone, nor one manifest's sizes, nor those of several.
    for too_large in [
        vec![sized(1, MOST + 1)],
        vec![sized(1, u64::MAX), sized(2, u64::MAX)],
        vec![sized(1, MOST), sized(2, 1)],
    ] {
        let conflicts = site
            .register(&Manifest::new(&key, 1, too_large))
            .unwrap_err();
        assert_eq!(conflicts.len(), 1);
        assert_too_large(&conflicts[0], &key);
        assert!(stands(&site, &conflicts[0]));
    }
    site.register(&Manifest::new(&key, 1, vec![sized(1, MOST - 1)]))
        .unwrap();
    site.register(&Manifest::new(&key, 2, vec![sized(2, 1), sized(3, 0)]))
        .unwrap();
    assert_eq!(bytes(), MOST);
    let conflicts = site
        .register(&Manifest::new(&key, 3, vec![sized(3, 1)]))
        .unwrap_err();
    assert_too_large(&conflicts[0], &key);
    site.check_counters();
    // Another run has room of its own, and what grows smaller makes room.
    site.register(&Manifest::new(&run("u/b"), 1, vec![sized(9, MOST)]))
        .unwrap();
    site.register(&Manifest::new(&key, 4, vec![sized(1, 0), sized(2, 0)]))
        .unwrap();
    assert_eq!(bytes(), 0);
    site.register(&Manifest::new(&key, 5, vec![sized(3, MOST)]))
        .unwrap();
    assert_eq!(bytes(), MOST);
    site.check_counters();
}

pub(crate) fn manifests_of_one_call_are_too_large_together(open: &Open) {
    for batch_rows in [1_000, 1] {
        let site = Site::with_batches(open, batch_rows);
        let key = run("u/a");
        let manifests = [
            Manifest::new(&key, 1, vec![sized(1, MOST / 2), sized(2, 5)]),
            Manifest::new(&key, 2, vec![sized(3, MOST / 2), sized(4, 5)]),
            Manifest::new(&key, 3, vec![sized(5, 7), sized(6, 7)]),
        ];
        let registrations: Vec<_> = manifests.iter().map(Manifest::registration).collect();
        let outcomes = site
            .registry()
            .register(&registrations, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
        assert_too_large(outcomes[1].as_ref().unwrap_err(), &key);
        let row = site.registry().run(&key).unwrap().unwrap();
        assert_eq!((row.datasets, row.bytes), (4, MOST / 2 + 5 + 14));
        assert!(site.registry().registering().unwrap().is_empty());
        site.check_counters();
    }
}

pub(crate) fn what_is_registered_already_takes_no_room(open: &Open) {
    let site = Site::with_batches(open, 2);
    let all = || vec![sized(1, MOST - 9), sized(2, 2), sized(3, 3), sized(4, 4)];
    let manifest = Manifest::new(&run("u/a"), 1, all());
    // Stopped when some of its datasets are there.
    let stopped = site
        .registry()
        .register(&[manifest.registration()], &mut |_| match site
            .registry()
            .run(&manifest.run)
            .unwrap()
        {
            Some(row) if row.datasets > 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
    assert!(matches!(stopped, Err(RegistryError::Interrupted)));
    for _ in 0..2 {
        site.register(&manifest).unwrap();
    }
    site.register(&Manifest::new(&run("u/a"), 2, vec![sized(5, 0)]))
        .unwrap();
    let row = site.registry().run(&manifest.run).unwrap().unwrap();
    assert_eq!((row.datasets, row.bytes), (5, MOST));
    site.check_counters();
}

/// Enough rows that a look at them is told of.
const MANY: u32 = 5_000;

pub(crate) fn a_look_for_conflicts_tells_how_far_it_is(open: &Open) {
    let site = Site::new(open);
    let manifest = Manifest::new(&run("u/a"), 1, claims(1..=MANY));
    let look = |words: usize| {
        let mut rows = Vec::new();
        let found = site
            .registry()
            .conflicts(&manifest.registration(), 1, &mut |row| {
                rows.push(row);
                if rows.len() == words {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        (found, rows)
    };
    let (found, _) = look(usize::MAX);
    assert_eq!(found.unwrap(), []);
    site.register(&manifest).unwrap();
    // Now there is something to compare each row with.
    let (found, again) = look(usize::MAX);
    assert_eq!(found.unwrap(), []);
    assert!(!again.is_empty() && again.is_sorted(), "{again:?}");
    for words in 1..=again.len() {
        let (found, rows) = look(words);
        assert!(matches!(found, Err(RegistryError::Interrupted)));
        assert_eq!(rows, again[..words]);
    }
}

pub(crate) fn a_long_look_before_a_commit_is_heard_of_too(open: &Open) {
    for batch_rows in [ONE_COMMIT, 1_000] {
        let site = Site::with_batches(open, batch_rows);
        let manifests = [
            Manifest::new(&run("u/a"), 1, claims([0])),
            Manifest::new(&run("u/b"), 1, claims(1..=MANY)),
        ];
        let registrations: Vec<_> = manifests.iter().map(Manifest::registration).collect();
        let mut words = Vec::new();
        let stopped = site.registry().register(&registrations, &mut |rows| {
            words.push((rows, site.registry().changes().unwrap()));
            let told_twice = words.len() > 1 && words[words.len() - 2] == words[words.len() - 1];
            if told_twice || words.len() == 1 && batch_rows == ONE_COMMIT {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert!(matches!(stopped, Err(RegistryError::Interrupted)));
        assert!(site.registry().run(&run("u/b")).unwrap().is_none());
        assert!(site.registry().registering().unwrap().is_empty());
        site.check_counters();
    }
}

pub(crate) fn missing_dimension_records_are_named(open: &Open) {
    let site = Site::new(open);
    let key = |element: &str, key: &str| (element.to_owned(), key.to_owned());
    let needing = || {
        let keys = vec![key("visit", "1"), key("detector", "2"), key("visit", "1")];
        let rows = MemoryRows::new(claims(1..=2)).with_dimension_keys(keys);
        Manifest::over(&run("u/a"), 2, Box::new(rows))
    };
    let conflicts = site.register(&needing()).unwrap_err();
    assert_eq!(conflicts.len(), 2);
    let Conflict::DimensionMissing { element, .. } = &conflicts[0] else {
        panic!("{conflicts:?}");
    };
    assert_eq!(element, "detector");
    assert!(conflicts.iter().all(|one| stands(&site, one)));
    let bringing = |element: &str, key: &str| {
        let record = (element.to_owned(), key.to_owned(), "{}".to_owned());
        let rows = MemoryRows::new(Vec::new()).with_dimensions(vec![record]);
        Manifest::over(&run("u/dimensions"), 1, Box::new(rows))
    };
    site.register(&bringing("detector", "2")).unwrap();
    assert_eq!(site.register(&needing()).unwrap_err().len(), 1);
    site.register(&bringing("visit", "1")).unwrap();
    assert!(!conflicts.iter().any(|one| stands(&site, one)));
    site.register(&needing()).unwrap();
}

pub(crate) fn no_more_conflicts_than_asked_for(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&run("u/a"), 1, claims(1..=20)))
        .unwrap();
    let other = Manifest::new(&run("u/b"), 1, claims(1..=20));
    for limit in [0, 1, 7] {
        let conflicts = site
            .registry()
            .conflicts(&other.registration(), limit, &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(conflicts.len(), limit);
    }
}

pub(crate) fn conflicts_between_manifests_of_one_call_are_found(open: &Open) {
    // In one commit, and where each is large enough for commits of its own.
    for batch_rows in [1_000, 2] {
        let site = Site::with_batches(open, batch_rows);
        let mut twin = claim(1, "twin", 9);
        twin.uuid = dataset(1001);
        let manifests = [
            Manifest::new(&run("u/a"), 1, claims(1..=3)),
            Manifest::new(&run("u/a"), 2, [vec![twin], claims(30..=32)].concat()),
            Manifest::new(&run("u/b"), 1, [claims(1..=2), claims(40..=42)].concat()),
            Manifest::new(&run("u/c"), 1, claims(10..=13)),
        ];
        let registrations: Vec<_> = manifests.iter().map(Manifest::registration).collect();
        for registration in &registrations {
            assert!(
                site.registry()
                    .conflicts(registration, 9, &mut |_| ControlFlow::Continue(()))
                    .unwrap()
                    .is_empty()
            );
        }
        let mut progress = Vec::new();
        let outcomes = site
            .registry()
            .register(&registrations, &mut |rows| {
                progress.push(rows);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(outcomes.len(), 4);
        assert_eq!(outcomes[0].as_ref().unwrap().datasets_added, 3);
        assert!(matches!(outcomes[1], Err(Conflict::DataIdHeld { .. })));
        assert!(matches!(outcomes[2], Err(Conflict::DatasetHeld { .. })));
        assert_eq!(outcomes[3].as_ref().unwrap().datasets_added, 4);
        assert!(progress.is_sorted());
        assert_eq!(progress.last(), Some(&16));
        assert!(site.registry().run(&run("u/b")).unwrap().is_none());
        let answers = site.registry().exists(&[dataset(30), dataset(40)]).unwrap();
        assert!(answers.iter().all(|one| one.records.is_empty()));
        site.check_counters();
    }
}

pub(crate) fn many_small_manifests_share_a_commit(open: &Open) {
    let site = Site::new(open);
    let manifests: Vec<_> = (0..200)
        .map(|n| Manifest::new(&run(&format!("u/{n}")), 1, claims([2 * n, 2 * n + 1])))
        .collect();
    let registrations: Vec<_> = manifests.iter().map(Manifest::registration).collect();
    let before = site.registry().changes().unwrap();
    let outcomes = site
        .registry()
        .register(&registrations, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(site.registry().changes().unwrap(), before + 1);
    site.check_counters();
}
