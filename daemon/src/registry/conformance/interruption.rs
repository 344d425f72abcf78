//! Registrations that stop in the middle, and others that come between.

use std::sync::atomic::{AtomicBool, Ordering};

use runsync_manifest::checksum::Sha256;

use super::support::{Failing, Manifest, Open, Site, claim, claims, dataset, run};
use crate::registry::RegistryError;
use crate::registry::memory_rows::{MemoryClaim, MemoryRows};
use crate::registry::record::Presence;

const BATCH_ROWS: u64 = 4;

/// Datasets with one artifact, with components, and with a shared artifact.
fn mixed() -> Vec<MemoryClaim> {
    let mut all = claims(1..=6);
    for component in ["image", "wcs"] {
        for n in [7, 8] {
            let mut part = claim(n, &format!("parts/{n}/{component}"), n);
            part.component = component.to_owned();
            all.push(part);
        }
    }
    all.extend([9, 10, 11].map(|n| claim(n, "shared.zip", 50)));
    all
}

fn interrupt(site: &Site<'_>, claims: Vec<MemoryClaim>, after: u64) -> bool {
    let failing = Failing::after(MemoryRows::new(claims), after);
    let manifest = Manifest::over(&run("u/a"), 1, Box::new(failing));
    let outcome = site
        .registry()
        .register(&[manifest.registration()], &mut |_| {
            std::ops::ControlFlow::Continue(())
        });
    match outcome {
        Ok(outcomes) => {
            assert!(outcomes.iter().all(Result::is_ok));
            false
        }
        Err(RegistryError::Rows(_)) => true,
        Err(error) => panic!("{error:?}"),
    }
}

pub(crate) fn an_interrupted_registration_goes_on_from_every_row(open: &Open) {
    for trust in [false, true] {
        let whole = |sequence| {
            let manifest = Manifest::new(&run("u/a"), sequence, mixed());
            Manifest { trust, ..manifest }
        };
        let undisturbed = Site::new(open);
        undisturbed.register(&whole(1)).unwrap();
        let mut after = 0;
        loop {
            let mut site = Site::with_batches(open, BATCH_ROWS);
            let failing = Failing::after(MemoryRows::new(mixed()), after);
            let mut manifest = Manifest::over(&run("u/a"), 1, Box::new(failing));
            manifest.trust = trust;
            let outcome = site
                .registry()
                .register(&[manifest.registration()], &mut |_| {
                    std::ops::ControlFlow::Continue(())
                });
            let interrupted = outcome.is_err();
            site.reopen();
            let registered = site.register(&whole(1)).unwrap();
            if interrupted {
                assert_eq!(registered.datasets_added, 11);
                let artifacts = if trust { 0 } else { 11 };
                assert_eq!(registered.artifacts_waiting, artifacts);
            }
            assert_eq!(site.dump(), undisturbed.dump());
            site.check_counters();
            if !interrupted {
                break;
            }
            after += 1;
        }
        assert!(after > 30, "only {after} rows were read");
    }
}

pub(crate) fn another_generation_may_come_between(open: &Open) {
    let first = mixed;
    let second = || {
        let mut second = mixed();
        for claim in second.iter_mut().step_by(2) {
            claim.path.push_str(".moved");
        }
        second.retain(|claim| claim.uuid != dataset(2));
        second.push(claim(20, "new", 20));
        // What shares an artifact moves together.
        for claim in &mut second {
            if claim.path.starts_with("shared") {
                claim.path = "shared.moved".to_owned();
            }
        }
        second
    };
    let undisturbed = Site::new(open);
    for (sequence, claims) in [(1, first()), (2, second())] {
        undisturbed
            .register(&Manifest::new(&run("u/a"), sequence, claims))
            .unwrap();
    }
    let mut after = 0;
    loop {
        let mut site = Site::with_batches(open, BATCH_ROWS);
        let interrupted = interrupt(&site, first(), after);
        site.reopen();
        site.register(&Manifest::new(&run("u/a"), 2, second()))
            .unwrap();
        site.register(&Manifest::new(&run("u/a"), 1, first()))
            .unwrap();
        assert_eq!(site.dump(), undisturbed.dump(), "after {after} rows");
        site.check_counters();
        assert_eq!(site.waiting(&run("u/a")), undisturbed.waiting(&run("u/a")));
        if !interrupted {
            break;
        }
        after += 1;
    }
}

pub(crate) fn a_fork_does_not_go_on_where_the_other_stopped(open: &Open) {
    let site = Site::with_batches(open, BATCH_ROWS);
    assert!(interrupt(&site, claims(1..=12), 15));
    let mut fork = Manifest::new(&run("u/a"), 1, claims(101..=112));
    fork.digest = Sha256([99; 32]);
    let registered = site.register(&fork).unwrap();
    assert_eq!(registered.datasets_added, 12);
    let answers = site
        .registry()
        .exists(&[dataset(101), dataset(112)])
        .unwrap();
    assert!(answers.iter().all(|one| one.presence == Presence::Pending));
    site.check_counters();
}

pub(crate) fn readers_see_whole_datasets_while_rows_are_written(open: &Open) {
    let site = Site::with_batches(open, 7);
    let mut parts = Vec::new();
    for n in 1..=200 {
        for component in ["image", "psf", "wcs"] {
            let mut part = claim(n, &format!("parts/{n}/{component}"), n);
            part.component = component.to_owned();
            parts.push(part);
        }
    }
    let manifest = Manifest::new(&run("u/a"), 1, parts).trusted();
    let all: Vec<_> = (1..=200).map(dataset).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::SeqCst) {
                for answer in site.registry().exists(&all).unwrap() {
                    assert!([0, 3].contains(&answer.records.len()), "{answer:?}");
                }
                if let Some(row) = site.registry().run(&manifest.run).unwrap() {
                    assert_eq!(row.claims, 3 * row.datasets);
                }
                looks += 1;
            }
            looks
        });
        site.register(&manifest).unwrap();
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
    site.check_counters();
}
