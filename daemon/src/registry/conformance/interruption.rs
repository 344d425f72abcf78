//! Registrations that stop in the middle, and others that come between.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use runsync_manifest::checksum::Sha256;

use super::support::{Failing, Manifest, Open, Site, claim, claims, dataset, root, run};
use crate::registry::RegistryError;
use crate::registry::conflict::Conflict;
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

/// Registers in commits of `batch_rows`, confirming after each whatever is waited for; from
/// commit to commit, or interrupted after each and opened again.
fn confirming_meanwhile(open: &Open, batch_rows: u64, interrupting: bool) -> Site<'_> {
    let key = run("u/a");
    let mut site = Site::with_batches(open, batch_rows);
    // With something else in the run, records must be read before they are waited for.
    for (sequence, claims) in [(1, mixed()), (2, [mixed(), claims([30])].concat())] {
        let manifest = Manifest::new(&key, sequence, claims);
        loop {
            let mut commits = 0;
            let outcome = site
                .registry()
                .register(&[manifest.registration()], &mut |_| {
                    site.confirm_all(&key);
                    commits += 1;
                    if interrupting && commits > 1 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
            match outcome {
                Ok(outcomes) => break assert!(outcomes.iter().all(Result::is_ok)),
                Err(RegistryError::Interrupted) => site.reopen(),
                Err(error) => panic!("{error:?}"),
            }
        }
        site.confirm_all(&key);
    }
    site
}

pub(crate) fn a_shared_artifact_confirmed_between_two_commits_is_waited_for_no_more(open: &Open) {
    for (batch_rows, interrupting) in [1, 2, 3].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let site = confirming_meanwhile(open, batch_rows, interrupting);
        assert_eq!(site.waiting(&run("u/a")), []);
        assert_eq!(site.registry().waiting_runs().unwrap(), []);
        site.check_counters();
    }
}

pub(crate) fn what_is_not_waited_for_yet_is_not_confirmed(open: &Open) {
    let key = run("u/a");
    let undisturbed = Site::new(open);
    let manifest = Manifest::new(&key, 1, mixed());
    undisturbed.register(&manifest).unwrap();
    let artifacts = undisturbed.waiting(&key);
    let site = Site::with_batches(open, 3);
    site.registry()
        .register(&[manifest.registration()], &mut |_| {
            let waiting = site.waiting(&key).len() as u64;
            let confirmed = site.registry().confirm(&key, &root(), &artifacts).unwrap();
            assert_eq!(confirmed, waiting);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(site.waiting(&key), []);
    assert_eq!(site.registry().waiting_runs().unwrap(), []);
    site.check_counters();
}

pub(crate) fn an_unfinished_registration_is_known_by_its_digest(open: &Open) {
    let site = Site::with_batches(open, BATCH_ROWS);
    assert!(interrupt(&site, mixed(), 15));
    let manifest = Manifest::new(&run("u/a"), 1, mixed());
    let unfinished = site.registry().registering().unwrap();
    assert_eq!(unfinished.len(), 1);
    let one = &unfinished[0];
    assert_eq!(
        (&one.run, one.generation, one.digest),
        (&manifest.run, manifest.generation, manifest.digest)
    );
    site.register(&manifest).unwrap();
    assert_eq!(site.registry().registering().unwrap(), []);
}

pub(crate) fn what_contradicts_a_manifest_between_its_commits_is_an_error(open: &Open) {
    let site = Site::with_batches(open, BATCH_ROWS);
    let manifest = Manifest::new(&run("u/a"), 1, claims(1..=12));
    let other = Manifest::new(&run("u/b"), 1, claims(1..=12));
    let mut commits = 0;
    let failed = site
        .registry()
        .register(&[manifest.registration()], &mut |_| {
            commits += 1;
            // The first commit writes no row.
            if commits == 2 {
                site.register(&other).unwrap();
            }
            ControlFlow::Continue(())
        });
    let Err(RegistryError::Contradicted(conflict)) = failed else {
        panic!("{failed:?}");
    };
    assert!(matches!(*conflict, Conflict::DatasetHeld { .. }));
    // Told like any other when the manifest is brought again, and known as unfinished.
    assert!(site.register(&manifest).is_err());
    assert_eq!(site.registry().registering().unwrap().len(), 1);
    site.check_counters();
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
