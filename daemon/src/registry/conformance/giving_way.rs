//! An adopted run gives way to its owner.

use std::ops::ControlFlow;

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RunKey};
use uuid::Uuid;

use super::support::{Manifest, Open, Site, claim, claims, dataset, run};
use crate::registry::RegistryError;
use crate::registry::conflict::Conflict;
use crate::registry::record::{GivenWay, Presence};

fn adopted(name: &str) -> RunKey {
    RunKey {
        origin: RepositoryId(Uuid::from_u128(99)),
        ..run(name)
    }
}

fn give_way(site: &Site<'_>, to: &Manifest) -> GivenWay {
    let go_on = &mut |_| ControlFlow::Continue(());
    site.registry()
        .give_way(&adopted("u/a"), &to.registration(), go_on)
        .unwrap()
}

/// What stands against a manifest that the adopted run gives way to.
fn left_to_say(site: &Site, manifest: &Manifest) -> Vec<Conflict> {
    let go_on = &mut |_| ControlFlow::Continue(());
    site.registry()
        .conflicts_beside(&manifest.registration(), &[adopted("u/a")], 9, go_on)
        .unwrap()
}

pub(crate) fn what_the_owner_names_goes_over_as_it_is(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&adopted("u/a"), 1, claims(1..=7)))
        .unwrap();
    let mut waiting = site.waiting(&adopted("u/a"));
    waiting.truncate(4);
    let confirmed = site
        .registry()
        .confirm(&adopted("u/a"), &super::support::root(), &waiting)
        .unwrap();
    assert_eq!(confirmed, 4);
    let held = |site: &Site<'_>| {
        let datasets: Vec<_> = (1..=7).map(dataset).collect();
        let found = site.registry().exists(&datasets).unwrap();
        let yes = found.iter().filter(|one| one.presence == Presence::Yes);
        yes.count()
    };
    assert_eq!(held(&site), 4);

    // The owner names five of the seven, and one more.
    let manifest = Manifest::new(&run("u/a"), 1, claims((1..=5).chain([20])));
    let refused = site.register(&manifest).unwrap_err();
    assert!(matches!(
        refused.first(),
        Some(Conflict::DatasetHeld { .. })
    ));
    assert_eq!(left_to_say(&site, &manifest), []);
    let given = give_way(&site, &manifest);
    assert_eq!((given.moved, given.dropped), (5, 0));
    site.check_counters();
    assert_eq!(held(&site), 4, "nothing is less known than it was");
    let registered = site.register(&manifest).unwrap();
    assert_eq!(registered.datasets_added, 1);
    site.check_counters();
    assert_eq!(held(&site), 4, "an equal claim stays confirmed");
    let row = site.registry().run(&run("u/a")).unwrap().unwrap();
    assert_eq!((row.datasets, row.generation), (6, Some(Generation::FIRST)));
    let left = site.registry().run(&adopted("u/a")).unwrap().unwrap();
    assert_eq!(left.datasets, 2);
    let holders = site
        .registry()
        .holders(&[dataset(1), dataset(6), dataset(50)]);
    let runs: Vec<_> = holders
        .unwrap()
        .into_iter()
        .map(|holder| holder.map(|holder| holder.run))
        .collect();
    assert_eq!(runs, [Some(run("u/a")), Some(adopted("u/a")), None]);
    // Once more it changes nothing.
    let before = site.dump();
    assert_eq!(give_way(&site, &manifest), GivenWay::default());
    assert_eq!(site.dump(), before);
}

pub(crate) fn what_contradicts_the_owner_is_dropped(open: &Open) {
    let site = Site::new(open);
    let mut renamed = claim(1, "calexp/2/1.fits", 1);
    renamed.data_id = r#"{"detector":77,"instrument":"HSC"}"#.to_owned();
    let same = claim(2, "calexp/4/2.fits", 2);
    // Another dataset, with other bytes where the owner has its own.
    let in_the_way = claim(30, "calexp/1/3.fits", 30);
    let beside = claim(31, "beside", 31);
    let rows = vec![renamed, same, in_the_way, beside];
    site.register(&Manifest::new(&adopted("u/a"), 1, rows))
        .unwrap();
    let manifest = Manifest::new(&run("u/a"), 1, claims(1..=3));
    assert_eq!(left_to_say(&site, &manifest), []);
    let given = give_way(&site, &manifest);
    assert_eq!((given.moved, given.dropped), (1, 2));
    let mut examples = given.examples;
    examples.sort();
    let mut expected = vec![dataset(1), dataset(30)];
    expected.sort();
    assert_eq!(examples, expected);
    site.check_counters();
    site.register(&manifest).unwrap();
    site.check_counters();
    let left = site.registry().run(&adopted("u/a")).unwrap().unwrap();
    assert_eq!(left.datasets, 1);
    // Paths and data IDs of what was dropped are free.
    let later = Manifest::new(&adopted("u/a"), 2, vec![claim(40, "calexp/1/40.fits", 40)]);
    site.register(&later).unwrap();
    site.check_counters();
}

pub(crate) fn what_others_hold_stands_against_the_owner_all_the_same(open: &Open) {
    let site = Site::new(open);
    // A generation that is above the owner's is the adopted run's own.
    site.register(&Manifest::new(&adopted("u/a"), 7, claims(1..=5)))
        .unwrap();
    let others = vec![
        claim(6, "calexp/2/6.fits", 6),
        claim(60, "calexp/4/7.fits", 60),
    ];
    site.register(&Manifest::new(&run("u/b"), 1, others))
        .unwrap();
    let mut named = claims(1..=6);
    named[1].path = "calexp/4/7.fits".to_owned();
    let manifest = Manifest::new(&run("u/a"), 1, named);
    let left = left_to_say(&site, &manifest);
    let [
        Conflict::DatasetHeld { uuid, .. },
        Conflict::PathHeld { held_by, .. },
    ] = &left[..]
    else {
        panic!("{left:?}");
    };
    assert_eq!((*uuid, *held_by), (dataset(6), dataset(60)));
}

pub(crate) fn giving_way_in_parts_ends_alike(open: &Open) {
    let whole = Site::new(open);
    let parts = Site::new(open);
    for site in [&whole, &parts] {
        site.register(&Manifest::new(&adopted("u/a"), 1, claims(1..=9)))
            .unwrap();
    }
    let manifest = Manifest::new(&run("u/a"), 1, claims(1..=9));
    give_way(&whole, &manifest);
    let some = Manifest::new(&run("u/a"), 1, claims(4..=6));
    let stopped = parts
        .registry()
        .give_way(&adopted("u/a"), &some.registration(), &mut |_| {
            ControlFlow::Break(())
        });
    assert!(matches!(stopped, Err(RegistryError::Interrupted)));
    give_way(&parts, &manifest);
    for site in [&whole, &parts] {
        site.register(&manifest).unwrap();
        site.check_counters();
    }
    assert_eq!(whole.dump(), parts.dump());
    // Other runs keep what they have.
    let other = Manifest::new(&run("u/b"), 1, claims(1..=2));
    assert_eq!(give_way(&whole, &other), GivenWay::default());
}
