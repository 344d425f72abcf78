//! Whatever the order, the registry ends alike.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use runsync_manifest::generation::Generation;

use super::support::{Manifest, Open, Site, claim, claims, dataset, run};
use crate::registry::memory_rows::MemoryClaim;

fn register_all(site: &Site<'_>, manifests: &[&Manifest]) {
    for manifest in manifests {
        site.register(manifest).unwrap();
        site.check_counters();
    }
}

pub(crate) fn two_generations_end_alike_in_either_order(open: &Open) {
    let key = run("u/a");
    let first = Manifest::new(&key, 1, claims(1..=6));
    let mut changed = claims(4..=9);
    changed[0].path = "moved/4.fits".to_owned();
    changed[1].size += 1;
    changed[2].formatter = None;
    let second = Manifest::new(&key, 2, changed);
    let (forward, backward) = (Site::new(open), Site::new(open));
    register_all(&forward, &[&first, &second]);
    register_all(&backward, &[&second, &first]);
    assert_eq!(forward.dump(), backward.dump());
    assert_eq!(forward.waiting(&key), backward.waiting(&key));
    let row = forward.registry().run(&key).unwrap().unwrap();
    assert_eq!(row.generation, Some(second.generation));
    assert_eq!(row.datasets, 9);
    for site in [&forward, &backward] {
        site.confirm_all(&key);
        site.check_counters();
    }
    assert_eq!(forward.dump(), backward.dump());
}

pub(crate) fn what_has_not_changed_stays_confirmed(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=4)))
        .unwrap();
    site.confirm_all(&key);
    let mut changed = claims(1..=4);
    changed[0].formatter = None;
    changed[1].path = "moved".to_owned();
    let registered = site.register(&Manifest::new(&key, 2, changed)).unwrap();
    assert_eq!(
        (registered.datasets_added, registered.artifacts_waiting),
        (0, 1)
    );
    assert_eq!(site.waiting_paths(&key), ["moved"]);
    site.check_counters();
}

pub(crate) fn moved_artifacts_are_waited_for_where_they_are_now(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let shared = vec![
        claim(1, "shared", 1),
        claim(2, "shared", 1),
        claim(3, "alone", 3),
    ];
    site.register(&Manifest::new(&key, 1, shared)).unwrap();
    // One of two leaves the shared artifact: it is still waited for.
    site.register(&Manifest::new(
        &key,
        2,
        vec![claim(1, "one", 1), claim(3, "three", 3)],
    ))
    .unwrap();
    assert_eq!(site.waiting_paths(&key), ["one", "shared", "three"]);
    site.register(&Manifest::new(&key, 3, vec![claim(2, "two", 1)]).trusted())
        .unwrap();
    assert_eq!(site.waiting_paths(&key), ["one", "three"]);
    site.check_counters();
}

/// What a generation says of one dataset: nothing, or where it lies and of which content.
type Word = Option<(u8, u8)>;

fn manifest(sequence: u32, words: &[Word], trust: bool) -> Manifest {
    let said = |(n, word): (usize, &Word)| -> Option<MemoryClaim> {
        let (place, content) = (*word)?;
        let n = u32::try_from(n).unwrap();
        // A dataset's paths are its own, so that no conflict arises, which order would decide.
        Some(claim(
            n,
            &format!("{n}/{place}"),
            10 * n + u32::from(content),
        ))
    };
    let claims = words.iter().enumerate().filter_map(said).collect();
    let manifest = Manifest::new(&run("u/a"), sequence, claims);
    Manifest { trust, ..manifest }
}

pub(crate) fn any_order_of_generations_ends_alike(open: &Open) {
    let word = prop::option::weighted(0.7, (0..2_u8, 0..2_u8));
    let generation = prop::collection::vec(word, 5);
    let history = prop::collection::vec(generation, 1..5);
    let order = history.prop_flat_map(|history| {
        let indices: Vec<usize> = (0..history.len()).chain(0..history.len()).collect();
        let steps = Just(indices).prop_shuffle();
        (
            Just(history),
            steps,
            prop::collection::vec(any::<bool>(), 8),
            1..6_u64,
            0..4_u32,
        )
    });
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&order, |(history, steps, confirm, batch_rows, floor)| {
            let raise_floor = |site: &Site<'_>| {
                if floor > 0 {
                    let floor = Generation {
                        epoch: 1,
                        sequence: floor,
                    };
                    site.registry().raise_floor(&run("u/a"), floor).unwrap();
                }
            };
            let manifests: Vec<_> = (1..)
                .zip(&history)
                .map(|(sequence, words)| manifest(sequence, words, false))
                .collect();
            let straight = Site::new(open);
            register_all(&straight, &manifests.iter().collect::<Vec<_>>());
            straight.confirm_all(&run("u/a"));
            raise_floor(&straight);
            let mut shuffled = Site::with_batches(open, batch_rows);
            for (step, confirm) in steps.into_iter().zip(confirm.into_iter().cycle()) {
                register_all(&shuffled, &[&manifests[step]]);
                if confirm {
                    shuffled.confirm_all(&run("u/a"));
                    raise_floor(&shuffled);
                    shuffled.reopen();
                }
            }
            shuffled.confirm_all(&run("u/a"));
            raise_floor(&shuffled);
            shuffled.check_counters();
            prop_assert_eq!(shuffled.dump(), straight.dump());
            Ok(())
        })
        .unwrap();
}

pub(crate) fn datasets_below_the_floor_are_not_dumped(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=3)))
        .unwrap();
    site.register(&Manifest::new(&key, 2, claims(3..=5)))
        .unwrap();
    let floor = Generation {
        epoch: 1,
        sequence: 2,
    };
    site.registry().raise_floor(&key, floor).unwrap();
    let dump = site.dump();
    let has = |n| dump.contains(&dataset(n).to_string());
    assert_eq!([1, 2, 3, 4, 5].map(has), [false, false, true, true, true]);
    assert_eq!(
        dump.lines()
            .filter(|line| line.starts_with("record "))
            .count(),
        3
    );
}
