//! Collections: what is in them, what they lose, and who may change them.

use jiff::Timestamp;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::CollectionName;
use uuid::Uuid;

use super::support::{Manifest, Open, Site, claims, dataset, run};
use crate::registry::collection::{
    Actor, Chaining, Change, Collection, CollectionError, CollectionRow, Datasets, Kind,
};
use crate::registry::removal::{Extent, Operation, Removal, RunPart};
use crate::registry::{Registry, RegistryError};

type Changed = Result<u64, RegistryError>;

pub(super) fn named(name: &str) -> CollectionName {
    name.parse().unwrap()
}

fn actor(account: &str) -> Actor {
    Actor {
        account: account.to_owned(),
        any: account == "root",
    }
}

fn change(registry: &dyn Registry, name: &str, change: &Change, account: &str) -> Changed {
    registry.change_collection(&named(name), change, &actor(account))
}

pub(super) fn chain(
    registry: &dyn Registry,
    name: &str,
    members: &[&str],
    how: Chaining,
) -> Changed {
    let members = members.iter().map(|name| named(name)).collect();
    change(registry, name, &Change::Chain { members, how }, "alice")
}

fn uuids(numbers: impl IntoIterator<Item = u32>) -> Datasets {
    Datasets::Uuids(numbers.into_iter().map(dataset).collect())
}

fn of_run(name: &str, dataset_type: Option<&str>) -> Datasets {
    Datasets::OfRun {
        run: name.parse().unwrap(),
        dataset_type: dataset_type.map(|name| name.parse().unwrap()),
    }
}

fn associate(registry: &dyn Registry, name: &str, datasets: Datasets) -> Changed {
    change(registry, name, &Change::Associate { datasets }, "alice")
}

fn disassociate(registry: &dyn Registry, name: &str, datasets: Datasets) -> Changed {
    change(registry, name, &Change::Disassociate { datasets }, "alice")
}

fn get(registry: &dyn Registry, name: &str) -> Collection {
    registry.collection(&named(name)).unwrap().unwrap()
}

/// The places of a chain as people see them.
pub(super) fn places(registry: &dyn Registry, name: &str) -> Vec<String> {
    let places = get(registry, name).places.into_iter();
    places
        .map(|place| match place.kind {
            Some(_) => place.name.to_string(),
            None => format!("[deleted] {}", place.name),
        })
        .collect()
}

fn listed(registry: &dyn Registry, prefix: Option<&str>, all: bool) -> Vec<CollectionRow> {
    registry
        .collections_after(prefix, all, None, usize::MAX)
        .unwrap()
}

fn listed_names(registry: &dyn Registry, prefix: Option<&str>, all: bool) -> Vec<String> {
    let rows = listed(registry, prefix, all).into_iter();
    rows.map(|row| row.name.to_string()).collect()
}

fn refusal<T: std::fmt::Debug>(refused: Result<T, RegistryError>) -> CollectionError {
    let refused = refused.unwrap_err();
    let RegistryError::Collection(error) = refused else {
        panic!("{refused:?}");
    };
    error
}

/// A site with run `u/a` of datasets 0 to 9 and run `u/b` of 10 to 19.
pub(super) fn site(open: &Open) -> Site<'_> {
    let site = Site::new(open);
    for (name, numbers) in [("u/a", 0..10), ("u/b", 10..20)] {
        let manifest = Manifest::new(&run(name), 1, claims(numbers));
        site.register(&manifest).unwrap();
    }
    site
}

/// Removes a run as the removal flow does, up to its commit.
fn remove_run(registry: &dyn Registry, name: &str) -> Uuid {
    let id = Uuid::new_v4();
    let run = run(name);
    let generation = Generation {
        epoch: 1,
        sequence: 1,
    };
    let removal = Removal {
        id,
        operation: Operation::RemoveRuns,
        account: "alice",
        at: Timestamp::UNIX_EPOCH,
        parts: &[(RunPart::whole(run.clone()), Extent::default())],
        floors: &[(run, generation)],
        journals: &[],
        notices: &[],
        chain: None,
    };
    registry.remove(&removal).unwrap();
    id
}

fn reap(registry: &dyn Registry, removal: Uuid) {
    registry.may_reap(removal).unwrap();
    while registry.reap(3).unwrap() {}
}

pub(crate) fn a_chain_keeps_its_order(open: &Open) {
    let mut site = site(open);
    let registry = site.registry();
    associate(registry, "u/t", uuids([1])).unwrap();
    let steps: [(&[&str], Chaining, &[&str]); 6] = [
        (&["u/b", "u/t"], Chaining::Set, &["u/b", "u/t"]),
        (&["u/a"], Chaining::Extend, &["u/b", "u/t", "u/a"]),
        (&["u/a", "u/t"], Chaining::Prepend, &["u/a", "u/t", "u/b"]),
        (&["u/a"], Chaining::Extend, &["u/t", "u/b", "u/a"]),
        (&["u/b"], Chaining::Remove, &["u/t", "u/a"]),
        (&["u/b", "u/a", "u/b"], Chaining::Set, &["u/b", "u/a"]),
    ];
    for (members, how, expected) in steps {
        let count = chain(registry, "u/c", members, how).unwrap();
        assert_eq!(count, expected.len() as u64);
        assert_eq!(places(registry, "u/c"), expected, "{how:?} {members:?}");
    }
    site.reopen();
    let registry = site.registry();
    assert_eq!(places(registry, "u/c"), ["u/b", "u/a"]);
    let absent = refusal(chain(registry, "u/c", &["u/t"], Chaining::Remove));
    assert!(matches!(absent, CollectionError::NoMember { .. }));
    let missing = refusal(chain(registry, "u/c", &["u/none"], Chaining::Extend));
    assert!(matches!(missing, CollectionError::Missing { .. }));
    assert_eq!(places(registry, "u/c"), ["u/b", "u/a"]);
}

pub(crate) fn chains_are_nested_and_cycles_refused(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    chain(registry, "c/1", &["u/a"], Chaining::Set).unwrap();
    chain(registry, "c/2", &["c/1", "u/b"], Chaining::Set).unwrap();
    chain(registry, "c/3", &["c/2", "c/1"], Chaining::Set).unwrap();
    assert_eq!(get(registry, "c/3").places[0].kind, Some(Kind::Chained));
    for (name, member) in [
        ("c/1", "c/3"),
        ("c/1", "c/2"),
        ("c/2", "c/2"),
        ("c/9", "c/9"),
    ] {
        let refused = refusal(chain(registry, name, &[member], Chaining::Extend));
        assert!(
            matches!(refused, CollectionError::Cycle { .. }),
            "{refused:?}"
        );
    }
    assert_eq!(places(registry, "c/1"), ["u/a"]);
    assert_eq!(registry.collection(&named("c/9")).unwrap(), None);
}

pub(crate) fn a_name_is_of_one_collection_or_of_runs(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    associate(registry, "u/t", uuids([1])).unwrap();
    for refused in [
        chain(registry, "u/a", &["u/b"], Chaining::Set),
        chain(registry, "u/t", &["u/b"], Chaining::Set),
        associate(registry, "u/a", uuids([1])),
        associate(registry, "u/x", of_run("u/t", None)),
    ] {
        let refused = refusal(refused);
        assert!(matches!(refused, CollectionError::OtherKind { .. }));
    }
    remove_run(registry, "u/a");
    let refused = refusal(chain(registry, "u/a", &["u/b"], Chaining::Set));
    assert!(
        matches!(refused, CollectionError::OtherKind { .. }),
        "it may come back"
    );
}

pub(crate) fn a_tag_twice_is_one_and_taken_away_once(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    assert_eq!(associate(registry, "u/t", uuids([1, 12, 1])).unwrap(), 2);
    assert_eq!(associate(registry, "u/t", uuids([1, 2])).unwrap(), 1);
    assert_eq!(get(registry, "u/t").row.members, 3);
    assert_eq!(disassociate(registry, "u/t", uuids([1, 1, 5])).unwrap(), 1);
    assert_eq!(get(registry, "u/t").row.members, 2);
    let refused = refusal(associate(registry, "u/t", uuids([3, 99])));
    assert!(matches!(refused, CollectionError::NoDataset { uuid } if uuid == dataset(99)));
    assert_eq!(get(registry, "u/t").row.members, 2);
}

pub(crate) fn all_of_a_run_is_tagged_or_one_type_of_it(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    // Every third dataset is of the second type.
    let backgrounds = || of_run("u/a", Some("calexpBackground"));
    assert_eq!(associate(registry, "u/t", backgrounds()).unwrap(), 4);
    assert_eq!(associate(registry, "u/t", of_run("u/a", None)).unwrap(), 6);
    assert_eq!(associate(registry, "u/t", of_run("u/b", None)).unwrap(), 10);
    assert_eq!(disassociate(registry, "u/t", backgrounds()).unwrap(), 4);
    assert_eq!(
        associate(registry, "u/t", of_run("u/a", Some("raw"))).unwrap(),
        0
    );
    assert_eq!(get(registry, "u/t").row.members, 16);
    assert_eq!(registry.links(&run("u/a")).unwrap().tags, 6);
}

pub(crate) fn a_tagged_collection_has_one_dataset_of_a_data_id(open: &Open) {
    let site = site(open);
    // Datasets of their own at the data IDs of `u/a`.
    let mut twins = claims(30..40);
    for (n, twin) in (0..).zip(&mut twins) {
        twin.data_id = claims([n])[0].data_id.clone();
        twin.dataset_type = claims([n])[0].dataset_type;
    }
    site.register(&Manifest::new(&run("u/twin"), 1, twins))
        .unwrap();
    let registry = site.registry();
    associate(registry, "u/t", uuids([1, 12])).unwrap();
    for datasets in [uuids([30, 31]), of_run("u/twin", None)] {
        let refused = refusal(associate(registry, "u/t", datasets));
        let CollectionError::Twin { tagged, uuid, .. } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((tagged, uuid), (dataset(1), dataset(31)));
    }
    assert_eq!(get(registry, "u/t").row.members, 2);
    assert_eq!(associate(registry, "u/t", uuids([30])).unwrap(), 1);
}

pub(crate) fn what_is_hidden_is_left_out_of_lists_and_found_by_name(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    chain(registry, "u/c", &["u/a", "u/b"], Chaining::Set).unwrap();
    for name in ["u/c", "u/a"] {
        assert_eq!(change(registry, name, &Change::Hide, "root").unwrap(), 1);
        assert_eq!(change(registry, name, &Change::Hide, "root").unwrap(), 0);
    }
    assert_eq!(listed_names(registry, None, false), ["u/b"]);
    assert_eq!(listed_names(registry, None, true), ["u/a", "u/b", "u/c"]);
    assert!(get(registry, "u/c").row.hidden && get(registry, "u/a").row.hidden);
    assert_eq!(places(registry, "u/c"), ["u/a", "u/b"]);
    assert_eq!(registry.run(&run("u/a")).unwrap().unwrap().datasets, 10);
    assert_eq!(
        change(registry, "u/c", &Change::Unhide, "alice").unwrap(),
        1
    );
    assert_eq!(listed_names(registry, None, false), ["u/b", "u/c"]);
}

pub(crate) fn pages_of_collections_follow_each_other(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    for name in ["u/a1", "u/a/1", "t", "u"] {
        chain(registry, name, &["u/b"], Chaining::Set).unwrap();
    }
    let all = listed(registry, None, false);
    assert_eq!(
        listed_names(registry, None, false),
        ["t", "u", "u/a", "u/a/1", "u/a1", "u/b"]
    );
    assert_eq!(listed_names(registry, Some("u/a"), false), ["u/a", "u/a/1"]);
    assert_eq!(all[2].origin, Some(run("u/a").origin));
    assert_eq!((all[2].kind, all[2].members), (Kind::Run, 10));
    for most in 1..4 {
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let last: Option<&CollectionRow> = after.as_ref();
            let at = last.map(|row| {
                let nil = runsync_manifest::name::RepositoryId(Uuid::nil());
                (row.name.as_str(), row.origin.unwrap_or(nil))
            });
            let page = registry.collections_after(None, false, at, most).unwrap();
            let ended = page.len() < most;
            after = page.last().cloned();
            paged.extend(page);
            if ended {
                break;
            }
        }
        assert_eq!(paged, all, "{most}");
    }
}

pub(crate) fn only_its_owner_changes_a_collection(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    chain(registry, "u/c", &["u/a"], Chaining::Set).unwrap();
    associate(registry, "u/t", uuids([1])).unwrap();
    let members = vec![named("u/b")];
    let how = Chaining::Extend;
    let datasets = || uuids([2]);
    for (name, one) in [
        ("u/c", Change::Chain { members, how }),
        ("u/c", Change::DropDeleted),
        ("u/c", Change::Hide),
        (
            "u/t",
            Change::Associate {
                datasets: datasets(),
            },
        ),
        (
            "u/t",
            Change::Disassociate {
                datasets: datasets(),
            },
        ),
        ("u/t", Change::Unhide),
    ] {
        let refused = refusal(change(registry, name, &one, "bob"));
        assert_eq!(refused.to_string(), format!("`{name}` is owned by alice"));
        change(registry, name, &one, "root").unwrap();
    }
    assert_eq!(get(registry, "u/c").row.owner.as_deref(), Some("alice"));
    let refused = refusal(change(registry, "u/a", &Change::Hide, "alice"));
    assert_eq!(refused.to_string(), "`u/a` is owned by nobody of this site");
    let plan = registry.plan_collections(&[named("u/t")]).unwrap();
    let refused = registry.remove_collections(&[named("u/t")], &plan.id, &actor("bob"));
    assert!(matches!(refusal(refused), CollectionError::NotYours { .. }));
}

pub(crate) fn a_removed_run_leaves_its_place_in_chains(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    chain(registry, "c/1", &["u/b", "u/a"], Chaining::Set).unwrap();
    chain(registry, "c/2", &["u/a", "c/1", "u/b"], Chaining::Set).unwrap();
    chain(registry, "c/3", &["u/b"], Chaining::Set).unwrap();
    let links = registry.links(&run("u/a")).unwrap();
    assert_eq!(links.chains, [named("c/1"), named("c/2")]);
    assert_eq!(registry.broken_chains().unwrap(), []);
    let removal = remove_run(registry, "u/a");
    for reaped in [false, true] {
        if reaped {
            reap(registry, removal);
        }
        assert_eq!(places(registry, "c/1"), ["u/b", "[deleted] u/a"]);
        assert_eq!(places(registry, "c/2"), ["[deleted] u/a", "c/1", "u/b"]);
        assert_eq!(places(registry, "c/3"), ["u/b"]);
        assert_eq!(listed_names(registry, Some("u"), true), ["u/b"]);
    }
    let row = get(registry, "c/2").row;
    assert_eq!((row.members, row.deleted), (3, 1));
    let broken = registry.broken_chains().unwrap();
    assert_eq!(broken.len(), 2);
    assert_eq!(
        (&*broken[0].owner, &*broken[0].deleted),
        ("alice", &["u/a".to_owned()][..])
    );
    let missing = refusal(chain(registry, "c/3", &["u/a"], Chaining::Extend));
    assert!(matches!(missing, CollectionError::Missing { .. }));
    // A run that comes back takes no place by itself.
    let again = Manifest::new(&run("u/a"), 2, claims(0..10));
    site.register(&again).unwrap();
    assert_eq!(places(registry, "c/1"), ["u/b", "[deleted] u/a"]);
    assert_eq!(
        change(registry, "c/1", &Change::DropDeleted, "alice").unwrap(),
        1
    );
    assert_eq!(places(registry, "c/1"), ["u/b"]);
    chain(registry, "c/2", &["u/a"], Chaining::Prepend).unwrap();
    assert_eq!(places(registry, "c/2"), ["u/a", "c/1", "u/b"]);
    assert_eq!(registry.broken_chains().unwrap(), []);
}

pub(crate) fn tags_of_a_removed_run_vanish_at_once_and_its_rows_are_reaped(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    associate(registry, "u/t", uuids(5..15)).unwrap();
    associate(registry, "u/all", of_run("u/a", None)).unwrap();
    assert_eq!(registry.links(&run("u/a")).unwrap().tags, 15);
    let removal = remove_run(registry, "u/a");
    let counts = || ["u/t", "u/all"].map(|name| get(registry, name).row.members);
    assert_eq!(counts(), [5, 0]);
    assert_eq!(registry.links(&run("u/a")).unwrap().tags, 0);
    for datasets in [uuids([1]), of_run("u/a", None)] {
        refusal(associate(registry, "u/t", datasets));
    }
    reap(registry, removal);
    assert_eq!(counts(), [5, 0]);
    // Nothing is left of the tags that the same datasets would have again.
    let again = Manifest::new(&run("u/a"), 2, claims(0..10));
    site.register(&again).unwrap();
    assert_eq!(counts(), [5, 0]);
    assert_eq!(registry.links(&run("u/a")).unwrap().tags, 0);
}

pub(crate) fn a_removed_collection_leaves_its_place_and_its_members(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    associate(registry, "u/t", uuids([1, 2])).unwrap();
    chain(registry, "c/1", &["u/a", "u/t"], Chaining::Set).unwrap();
    chain(registry, "c/2", &["c/1", "u/t", "u/b"], Chaining::Set).unwrap();
    let names = [named("u/t"), named("c/1")];
    let plan = registry.plan_collections(&names).unwrap();
    let planned: Vec<_> = plan.collections.iter().collect();
    assert_eq!((planned[0].row.members, planned[1].row.members), (2, 2));
    // `c/1` goes itself.
    assert_eq!(planned[1].chains, [named("c/2")]);
    registry
        .remove_collections(&names, &plan.id, &actor("alice"))
        .unwrap();
    assert_eq!(
        places(registry, "c/2"),
        ["[deleted] c/1", "[deleted] u/t", "u/b"]
    );
    assert_eq!(listed_names(registry, None, true), ["c/2", "u/a", "u/b"]);
    assert_eq!(registry.run(&run("u/a")).unwrap().unwrap().datasets, 10);
    // Nothing of the old ones is in new ones of their names.
    associate(registry, "u/t", uuids([3])).unwrap();
    assert_eq!(get(registry, "u/t").row.members, 1);
    assert_eq!(registry.links(&run("u/a")).unwrap().chains, []);
    site.check_counters();
}

pub(crate) fn a_removal_of_collections_that_would_do_something_else_is_refused(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    associate(registry, "u/t", uuids([1, 2])).unwrap();
    let names = [named("u/t")];
    let plan = registry.plan_collections(&names).unwrap();
    chain(registry, "c/1", &["u/t"], Chaining::Set).unwrap();
    let refused = registry.remove_collections(&names, &plan.id, &actor("alice"));
    assert!(matches!(
        refusal(refused),
        CollectionError::PlanChanged { .. }
    ));
    assert_eq!(get(registry, "u/t").row.members, 2);
    let run = refusal(registry.plan_collections(&[named("u/a")]));
    assert_eq!(
        run.to_string(),
        "`u/a` is a run, not a tagged collection or a chain: `remove-runs` removes runs"
    );
    let none = refusal(registry.plan_collections(&[named("u/none")]));
    assert!(matches!(none, CollectionError::Missing { .. }));
}
