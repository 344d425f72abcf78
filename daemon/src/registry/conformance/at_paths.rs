//! What runs say of the artifacts at given paths; these are forgotten, and waited for again.

use runsync_manifest::name::{ArtifactPath, RunKey};

use super::support::{Manifest, ONE_COMMIT, Open, Site, claim, claims, dataset, root, run};
use crate::registry::conflict::Conflict;
use crate::registry::record::{ArtifactAt, ArtifactStanding, ClaimAt, Presence};
use crate::registry::removal::{Operation, Removal, RunPart};

fn paths_of(site: &Site<'_>, key: &RunKey) -> Vec<ArtifactPath> {
    let records = site.registry().records(key, None, usize::MAX).unwrap();
    records.into_iter().map(|record| record.path).collect()
}

fn standings(site: &Site<'_>, paths: &[&ArtifactPath]) -> Vec<Vec<ArtifactStanding>> {
    let found = site.registry().claims_at(&root(), paths).unwrap();
    let standing = |claims: &Vec<ClaimAt>| claims.iter().map(|claim| claim.standing).collect();
    found.iter().map(standing).collect()
}

fn presence(site: &Site<'_>, number: u32) -> Presence {
    let found = site.registry().exists(&[dataset(number)]).unwrap();
    found.first().unwrap().presence
}

/// Commits that a run's artifacts go.
fn hide(site: &Site<'_>, key: &RunKey) -> uuid::Uuid {
    let part = RunPart::whole(key.clone());
    let extent = site.registry().extent(&part).unwrap();
    let removal = Removal {
        id: uuid::Uuid::new_v4(),
        operation: Operation::Unstore,
        account: "alice",
        at: jiff::Timestamp::from_second(7).unwrap(),
        parts: &[(part, extent)],
        floors: &[],
        journals: &[],
        notices: &[],
        chain: None,
    };
    site.registry().remove(&removal).unwrap();
    removal.id
}

pub(crate) fn artifacts_are_paged_by_path_whoever_names_them(open: &Open) {
    let site = Site::new(open);
    let (one, two) = (run("u/a"), run("u/b"));
    site.register(&Manifest::new(&one, 1, claims(1..=5)))
        .unwrap();
    site.register(&Manifest::new(&two, 1, claims(6..=9)))
        .unwrap();
    site.confirm_all(&one);
    let mut paths = [paths_of(&site, &one), paths_of(&site, &two)].concat();
    paths.sort();
    let forgotten = paths.first().unwrap();
    site.registry().forget_at(&root(), &[forgotten]).unwrap();
    let page = |from: &str, until: Option<&str>, limit| {
        let page = site
            .registry()
            .artifacts_between(&root(), from, until, limit);
        page.unwrap()
    };
    let of = |page: &[ArtifactAt]| -> Vec<ArtifactPath> {
        page.iter().map(|artifact| artifact.path.clone()).collect()
    };
    let all = page("", None, usize::MAX);
    assert_eq!(of(&all), paths);
    for artifact in &all {
        let claims = site.registry().claims_at(&root(), &[&artifact.path]);
        let claim = claims.unwrap().concat().remove(0);
        let said = (claim.standing, claim.size, claim.checksums, claim.busy);
        let told = (
            artifact.standing,
            artifact.size,
            artifact.checksums,
            artifact.busy,
        );
        assert_eq!(told, said);
    }
    assert_eq!(all[0].standing, ArtifactStanding::Absent);
    let (from, until) = (paths[2].as_str(), paths[7].as_str());
    assert_eq!(of(&page(from, Some(until), 100)), paths[2..7]);
    assert_eq!(of(&page(from, None, 3)), paths[2..5]);
    assert_eq!(page(until, Some(until), 3), []);
    assert_eq!(page("", None, 0), []);
    let elsewhere = "other".parse().unwrap();
    let nothing = site.registry().artifacts_between(&elsewhere, "", None, 3);
    assert_eq!(nothing.unwrap(), []);
    // What is on its way out is told to be.
    hide(&site, &one);
    let busy = page("", None, usize::MAX);
    let busy = busy.iter().filter(|artifact| artifact.busy);
    assert_eq!(busy.count(), 5);
}

pub(crate) fn what_runs_say_of_paths_is_answered_in_the_order_asked(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=3)))
        .unwrap();
    let paths = paths_of(&site, &key);
    let unknown: ArtifactPath = "u/a/unknown".parse().unwrap();
    let waiting = site.waiting(&key);
    let first = waiting.iter().find(|one| one.path == paths[0]).unwrap();
    site.registry()
        .confirm(&key, &root(), std::slice::from_ref(first))
        .unwrap();
    let asked = [&paths[2], &unknown, &paths[0]];
    let found = standings(&site, &asked);
    let (awaited, confirmed) = (ArtifactStanding::Awaited, ArtifactStanding::Confirmed);
    assert_eq!(found, [vec![awaited], vec![], vec![confirmed]]);
    let claims = site.registry().claims_at(&root(), &asked).unwrap();
    let said = claims.last().unwrap().first().unwrap();
    assert_eq!((&said.run, said.size), (&key, first.size));
    assert!(said.wanted && !said.busy);
}

pub(crate) fn forgotten_artifacts_leave_their_datasets_and_wait_again(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=4)))
        .unwrap();
    let at = |number: u32| -> ArtifactPath { claims([number])[0].path.parse().unwrap() };
    let (one, two) = (at(1), at(2));
    let gone = [&one, &two];
    // What is waited for is not forgotten.
    assert_eq!(site.registry().forget_at(&root(), &gone).unwrap(), 0);
    site.confirm_all(&key);
    assert_eq!(site.registry().forget_at(&root(), &gone).unwrap(), 2);
    assert_eq!(site.registry().forget_at(&root(), &gone).unwrap(), 0);
    site.check_counters();
    assert_eq!(presence(&site, 1), Presence::No);
    assert_eq!(presence(&site, 3), Presence::Yes);
    let row = site.registry().run(&key).unwrap().unwrap();
    assert_eq!((row.datasets, row.claims, row.waiting), (4, 2, 0));
    assert!(site.registry().has_absent(&key).unwrap());
    // It waits again, and is confirmed like any other.
    assert_eq!(site.registry().await_at(&root(), &gone).unwrap(), 2);
    assert_eq!(site.registry().await_at(&root(), &gone).unwrap(), 0);
    site.check_counters();
    assert_eq!(presence(&site, 1), Presence::Pending);
    assert_eq!(site.confirm_all(&key), 2);
    site.check_counters();
    assert_eq!(presence(&site, 1), Presence::Yes);
}

pub(crate) fn a_shared_artifact_is_forgotten_by_all_of_its_datasets(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    let shared = vec![claim(1, "u/a/one", 1), claim(2, "u/a/one", 1)];
    site.register(&Manifest::new(&key, 1, shared)).unwrap();
    site.confirm_all(&key);
    let path: ArtifactPath = "u/a/one".parse().unwrap();
    assert_eq!(site.registry().forget_at(&root(), &[&path]).unwrap(), 2);
    site.check_counters();
    assert_eq!(site.registry().await_at(&root(), &[&path]).unwrap(), 2);
    site.check_counters();
    assert_eq!(site.confirm_all(&key), 1);
    site.check_counters();
}

pub(crate) fn what_is_unwanted_or_on_its_way_out_is_left_alone(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=2)))
        .unwrap();
    site.confirm_all(&key);
    let paths = paths_of(&site, &key);
    let asked: Vec<&ArtifactPath> = paths.iter().collect();
    let removal = hide(&site, &key);
    assert_eq!(site.registry().forget_at(&root(), &asked).unwrap(), 0);
    let busy = |claims: &Vec<ClaimAt>| claims.iter().all(|claim| claim.busy);
    let found = site.registry().claims_at(&root(), &asked).unwrap();
    assert!(found.iter().all(busy), "{found:?}");
    site.registry().may_reap(removal).unwrap();
    while site
        .registry()
        .reap(usize::try_from(ONE_COMMIT).unwrap())
        .unwrap()
    {}
    assert_eq!(site.registry().await_at(&root(), &asked).unwrap(), 0);
    let found = site.registry().claims_at(&root(), &asked).unwrap();
    assert!(
        found
            .iter()
            .flatten()
            .all(|claim| !claim.wanted && !claim.busy)
    );
    site.check_counters();
}

pub(crate) fn the_path_of_a_forgotten_artifact_stays_its_datasets(open: &Open) {
    let site = Site::new(open);
    let (first, second) = (run("u/a"), run("u/b"));
    site.register(&Manifest::new(&first, 1, vec![claim(1, "x/one", 1)]))
        .unwrap();
    site.confirm_all(&first);
    let path: ArtifactPath = "x/one".parse().unwrap();
    assert_eq!(site.registry().forget_at(&root(), &[&path]).unwrap(), 1);
    let other = Manifest::new(&second, 1, vec![claim(2, "x/one", 2)]);
    let refused = site.register(&other).unwrap_err();
    assert!(matches!(refused[..], [Conflict::PathHeld { .. }]));
    // Another run may name the very same artifact; one look then does for both.
    site.register(&Manifest::new(&second, 1, vec![claim(2, "x/one", 1)]))
        .unwrap();
    let (awaited, absent) = (ArtifactStanding::Awaited, ArtifactStanding::Absent);
    assert_eq!(standings(&site, &[&path]), [vec![absent, awaited]]);
    assert_eq!(site.registry().await_at(&root(), &[&path]).unwrap(), 1);
    assert_eq!(standings(&site, &[&path]), [vec![awaited, awaited]]);
    site.check_counters();
}

pub(crate) fn what_is_recalled_waits_again_and_what_is_right_is_recorded_again(open: &Open) {
    let site = Site::new(open);
    let key = run("u/a");
    site.register(&Manifest::new(&key, 1, claims(1..=3)))
        .unwrap();
    let artifacts = site.waiting(&key);
    site.confirm_all(&key);
    let before = site.registry().run(&key).unwrap().unwrap();
    let one = artifacts.first().unwrap();
    let registry = site.registry();
    assert_eq!(registry.recall_at(&root(), &[&one.path]).unwrap(), 1);
    assert_eq!(registry.recall_at(&root(), &[&one.path]).unwrap(), 0);
    assert_eq!(site.waiting(&key), std::slice::from_ref(one));
    let waits = registry.run(&key).unwrap().unwrap();
    assert_eq!((waits.claims, waits.waiting), (before.claims, 1));
    // What waits is confirmed by whoever has looked, and not recorded by that.
    let recorded = registry.record_at(&root(), std::slice::from_ref(one));
    assert_eq!(recorded.unwrap(), 0);
    registry
        .confirm(&key, &root(), std::slice::from_ref(one))
        .unwrap();
    assert_eq!(registry.run(&key).unwrap().unwrap(), before);
    registry.forget_at(&root(), &[&one.path]).unwrap();
    let mut wrong = one.clone();
    wrong.size += 1;
    assert_eq!(registry.record_at(&root(), &[wrong]).unwrap(), 0);
    let recorded = registry.record_at(&root(), std::slice::from_ref(one));
    assert_eq!(recorded.unwrap(), 1);
    assert_eq!(registry.run(&key).unwrap().unwrap(), before);
    // What is on its way out is left alone.
    hide(&site, &key);
    assert_eq!(registry.recall_at(&root(), &[&one.path]).unwrap(), 0);
}
