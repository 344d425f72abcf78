//! Removing the runs that a chain's name owns: which go, and what is refused.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use runsync::datastore::LocalRoot;
use runsync::registry::collection::{Actor, Chaining, Change, CollectionError, Datasets};
use runsync::registry::removal::Operation;
use runsync::registry::{Registry, RegistryError};
use runsync::removal::{
    Consent, Ground, NamedRoot, Outcome, Phase, Plan, RemovalError, Removing, Request, Requester,
};
use runsync_manifest::content::Content;
use runsync_manifest::name::{CollectionName, RepositoryId};
use support::{Manifest, OpenSite, TestSite, artifact, entry};
use uuid::Uuid;

const CHAIN: &str = "u/a/DM-1";
/// A run that was replaced in the chain by [`NEW`].
const OLD: &str = "u/a/DM-1/20261126T120000Z";
const NEW: &str = "u/a/DM-1/20261127T120000Z";
const INPUT: &str = "HSC/raw/all";
/// Runs that look as if they were the chain's.
const OTHERS: [&str; 4] = [
    "u/a/DM-10/20261127T120000Z",
    "u/a/DM-1/20261127T120000Z-extra",
    "u/a/DM-1/20261127T120000Z/sub",
    "u/a/DM-1/20261327T120000Z",
];

fn go_on(_: Phase) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn alice() -> Requester {
    Requester {
        account: "alice".to_owned(),
        uid: Some(1000),
        daemon: false,
        any: false,
    }
}

fn named(name: &str) -> CollectionName {
    name.parse().unwrap()
}

/// A site with one dataset in each run, and the chain of [`NEW`] and [`INPUT`].
fn site() -> (TestSite, OpenSite) {
    let site = TestSite::new("size");
    for (number, run) in (1_u32..).zip([OLD, NEW, INPUT].into_iter().chain(OTHERS)) {
        let bytes = artifact(number.into(), 50);
        let path = path(run);
        site.put(&path, &bytes);
        site.place(
            &Manifest::new(site.repository, run, "1-1", Content::Additions)
                .with_dimensions(10)
                .with_entries([entry(number.into(), number.into(), 0, &path, &bytes)]),
        );
    }
    let mut open = site.open();
    open.work();
    open.confirm();
    chain(open.registry(), CHAIN, &[NEW, INPUT]);
    (site, open)
}

fn path(run: &str) -> String {
    format!("data/{}.fits", run.replace('/', "_"))
}

fn chain(registry: &dyn Registry, name: &str, members: &[&str]) {
    let change = Change::Chain {
        members: members.iter().copied().map(named).collect(),
        how: Chaining::Set,
    };
    let changed = registry.change_collection(&named(name), &change, &alice().actor());
    changed.unwrap();
}

fn request(operation: Operation) -> Request {
    Request::of_chain(operation, named(CHAIN))
}

fn plan(open: &OpenSite, operation: Operation) -> Plan {
    let plan = open.assembly.removing.plan(&request(operation));
    plan.unwrap()
}

fn runs(plan: &Plan) -> Vec<String> {
    let runs = plan.runs.iter();
    runs.map(|run| run.run.name.to_string()).collect()
}

fn remove(open: &OpenSite, operation: Operation) -> Result<Outcome, RemovalError> {
    let removing = &open.assembly.removing;
    let consent = consent(&removing.plan(&request(operation))?);
    removing.remove(&request(operation), &consent, &alice(), &mut go_on)
}

fn consent(plan: &Plan) -> Consent {
    Consent {
        plan: plan.id.clone(),
        approved: false,
    }
}

/// Which runs are in the registry with their artifacts; the others have neither.
fn left(site: &TestSite, open: &OpenSite) -> Vec<String> {
    let mut left = Vec::new();
    for row in open.registry().runs(None).unwrap() {
        let run = row.key.name.to_string();
        let is_there = fs::exists(site.root().join(path(&run))).unwrap();
        assert_eq!(row.datasets, u64::from(is_there), "{run}");
        if is_there {
            left.push(run);
        }
    }
    left
}

fn all_but(gone: &[&str]) -> Vec<String> {
    let mut all = [[INPUT, OLD, NEW].as_slice(), OTHERS.as_slice()].concat();
    all.sort_unstable();
    let stays = all.into_iter().filter(|run| !gone.contains(run));
    stays.map(str::to_owned).collect()
}

fn journals(site: &TestSite) -> usize {
    let folder = fs::read_dir(site.root().join("runsync/journal"));
    folder.into_iter().flatten().count()
}

fn refusal(error: RemovalError) -> CollectionError {
    let RemovalError::Registry(RegistryError::Collection(error)) = error else {
        panic!("{error:?}");
    };
    error
}

/// Nothing has changed.
fn check_untouched(site: &TestSite, open: &OpenSite) {
    assert_eq!(left(site, open), all_but(&[]));
    assert_eq!(journals(site), 0);
    assert_eq!(open.registry().removals().unwrap(), []);
    let chain = open.registry().collection(&named(CHAIN)).unwrap().unwrap();
    assert_eq!((chain.row.members, chain.row.deleted), (2, 0));
}

#[test]
fn a_purge_removes_the_chain_and_the_runs_that_its_name_owns_and_no_input() {
    let (site, open) = site();
    chain(open.registry(), "u/all", &[CHAIN, INPUT]);
    let plan = plan(&open, Operation::Purge);
    assert_eq!(runs(&plan), [OLD, NEW]);
    assert!(plan.runs.iter().all(|run| run.links.chains.is_empty()));
    let removal = plan.chain.unwrap().removal.unwrap();
    assert_eq!(removal.collections[0].chains, [named("u/all")]);
    let outcome = remove(&open, Operation::Purge).unwrap();
    assert_eq!((outcome.runs, outcome.deletions.deleted), (2, 2));
    assert!(outcome.done);
    assert_eq!(left(&site, &open), all_but(&[OLD, NEW]));
    assert_eq!(open.registry().collection(&named(CHAIN)).unwrap(), None);
    let all = open
        .registry()
        .collection(&named("u/all"))
        .unwrap()
        .unwrap();
    assert_eq!((all.places[0].kind, all.row.deleted), (None, 1));
    assert_eq!(journals(&site), 0);
    let again = refusal(remove(&open, Operation::Purge).unwrap_err());
    assert!(matches!(again, CollectionError::Missing { .. }));
}

#[test]
fn a_cleanup_removes_runs_that_were_replaced_and_the_chain_stays() {
    let (site, open) = site();
    let planned = plan(&open, Operation::Cleanup);
    assert_eq!(runs(&planned), [OLD]);
    assert!(remove(&open, Operation::Cleanup).unwrap().done);
    assert_eq!(left(&site, &open), all_but(&[OLD]));
    let kept = open.registry().collection(&named(CHAIN)).unwrap().unwrap();
    assert_eq!((kept.row.members, kept.row.deleted), (2, 0));
    // What has been removed is not there to be removed again.
    let again = plan(&open, Operation::Cleanup);
    assert!(again.is_empty() && runs(&again).is_empty());
}

#[test]
fn a_purge_of_a_chain_without_runs_of_its_own_removes_the_chain() {
    let (site, open) = site();
    chain(open.registry(), "u/empty", &[INPUT]);
    let request = Request::of_chain(Operation::Purge, named("u/empty"));
    let removing = &open.assembly.removing;
    let plan = removing.plan(&request).unwrap();
    assert!(!plan.is_empty() && plan.runs.is_empty());
    let outcome = removing.remove(&request, &consent(&plan), &alice(), &mut go_on);
    assert!(outcome.unwrap().done);
    assert_eq!(left(&site, &open), all_but(&[]));
    assert_eq!(open.registry().collection(&named("u/empty")).unwrap(), None);
    assert_eq!(open.registry().removals().unwrap(), []);
    assert_eq!(journals(&site), 0);
}

#[test]
fn a_run_that_another_chain_has_in_it_keeps_a_purge_from_doing_anything() {
    let (site, open) = site();
    chain(open.registry(), "u/b/mine", &[OLD]);
    for operation in [Operation::Purge, Operation::Cleanup] {
        let refused = refusal(remove(&open, operation).unwrap_err());
        assert_eq!(
            refused.to_string(),
            format!("run `{OLD}` is in chain `u/b/mine`")
        );
    }
    check_untouched(&site, &open);
}

#[test]
fn a_run_that_is_put_into_a_chain_before_the_commit_stays() {
    for (operation, name, members) in [
        (Operation::Purge, "u/b/mine", [OLD, INPUT]),
        (Operation::Cleanup, CHAIN, [OLD, INPUT]),
    ] {
        let (site, open) = site();
        let removing = &open.assembly.removing;
        let planned = plan(&open, operation);
        let registry = Arc::clone(&open.assembly.parts.registry);
        let meanwhile = &mut |phase| {
            if phase == Phase::Committing {
                chain(&*registry, name, &members);
            }
            ControlFlow::Continue(())
        };
        let refused = removing.remove(&request(operation), &consent(&planned), &alice(), meanwhile);
        let refused = refusal(refused.unwrap_err());
        assert_eq!(
            refused.to_string(),
            format!("run `{OLD}` is in chain `{name}`")
        );
        check_untouched(&site, &open);
    }
}

#[test]
fn a_chain_that_another_one_takes_in_before_the_commit_stays() {
    let (site, open) = site();
    let planned = plan(&open, Operation::Purge);
    let registry = Arc::clone(&open.assembly.parts.registry);
    let meanwhile = &mut |phase| {
        if phase == Phase::Committing {
            chain(&*registry, "u/all", &[CHAIN]);
        }
        ControlFlow::Continue(())
    };
    let request = request(Operation::Purge);
    let removing = &open.assembly.removing;
    let refused = removing.remove(&request, &consent(&planned), &alice(), meanwhile);
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, RemovalError::PlanChanged { approved } if *approved == planned.id),
        "{refused}"
    );
    check_untouched(&site, &open);
}

#[test]
fn what_is_no_chain_of_ones_own_is_refused() {
    let (site, open) = site();
    let removing = &open.assembly.removing;
    let tags = Change::Associate {
        datasets: Datasets::OfRun {
            run: INPUT.parse().unwrap(),
            dataset_type: None,
        },
    };
    let registry = open.registry();
    let tagged = registry.change_collection(&named("u/t"), &tags, &alice().actor());
    tagged.unwrap();
    for (name, told) in [
        ("u/none", "there is no collection `u/none`"),
        (INPUT, "`HSC/raw/all` is a run, not a chain"),
        ("u/t", "`u/t` is a tagged collection, not a chain"),
    ] {
        for operation in [Operation::Purge, Operation::Cleanup] {
            let refused = removing.plan(&Request::of_chain(operation, named(name)));
            assert_eq!(refusal(refused.unwrap_err()).to_string(), told);
        }
    }
    let bob = Requester {
        account: "bob".to_owned(),
        ..alice()
    };
    let request = request(Operation::Purge);
    let plan = removing.plan(&request).unwrap();
    let refused = removing.remove(&request, &consent(&plan), &bob, &mut go_on);
    let refused = refusal(refused.unwrap_err());
    assert_eq!(refused.to_string(), "`u/a/DM-1` is owned by alice");
    check_untouched(&site, &open);
    let root = Requester { any: true, ..bob };
    let removed = removing.remove(&request, &consent(&plan), &root, &mut go_on);
    assert!(removed.unwrap().done);
}

#[test]
fn what_is_asked_for_is_one_chain_or_runs() {
    let (_site, open) = site();
    let of_chain = |operation| Request::of_chain(operation, named(CHAIN));
    for (request, told) in [
        (
            Request {
                runs: vec![OLD.parse().unwrap()],
                ..of_chain(Operation::Purge)
            },
            "`purge` takes one chain, and no runs",
        ),
        (
            Request {
                chain: None,
                ..of_chain(Operation::Cleanup)
            },
            "`cleanup` takes one chain, and no runs",
        ),
        (
            of_chain(Operation::RemoveRuns),
            "`remove-runs` takes runs, and no chain",
        ),
    ] {
        let refused = open.assembly.removing.plan(&request).unwrap_err();
        assert_eq!(refused.to_string(), told);
    }
}

#[test]
fn a_run_of_another_origin_is_refused_by_its_name() {
    let (site, open) = site();
    let parts = &open.assembly.parts;
    // The same site, as one sees it that is not the runs' origin.
    let removing = Removing::new(Ground {
        site: "SITE_B".parse().unwrap(),
        repository: RepositoryId(Uuid::from_u128(7)),
        host: "here".to_owned(),
        caps: runsync_config::removal::Removal::default(),
        signing_key_file: site.site().signing_key_file,
        registry: Arc::clone(&parts.registry),
        ledger: Arc::clone(&parts.ledger),
        registration: runsync::assembly::registration_lock(&site.site()).unwrap(),
        roots: vec![NamedRoot {
            name: "main".parse().unwrap(),
            datastore: Arc::new(LocalRoot::open(&site.root()).unwrap()),
            rse: None,
            deleter: runsync_config::root::Deleter::Runsync,
        }],
        rucio: None,
        peers: Arc::default(),
        clock: Arc::clone(&parts.clock),
    });
    for operation in [Operation::Purge, Operation::Cleanup] {
        let refused = removing.plan(&request(operation)).unwrap_err();
        assert!(matches!(&refused, RemovalError::Foreign { name } if name.as_str() == OLD));
    }
}

#[test]
fn the_number_of_a_plan_covers_the_chain_that_goes() {
    let (_site, open) = site();
    let before = plan(&open, Operation::Purge).id;
    assert_eq!(plan(&open, Operation::Purge).id, before);
    assert_ne!(plan(&open, Operation::Cleanup).id, before);
    let cleanup = plan(&open, Operation::Cleanup).id;
    chain(open.registry(), "u/all", &[CHAIN]);
    let after = plan(&open, Operation::Purge).id;
    assert_ne!(after, before, "another chain would show [deleted]");
    assert_eq!(plan(&open, Operation::Cleanup).id, cleanup);
    let stale = Consent {
        plan: before,
        approved: true,
    };
    let removing = &open.assembly.removing;
    let refused = removing.remove(&request(Operation::Purge), &stale, &alice(), &mut go_on);
    assert!(matches!(refused, Err(RemovalError::PlanChanged { .. })));
    // Somebody makes a chain of the same members anew, and it is theirs.
    let names = [named("u/all"), named(CHAIN)];
    let number = open.registry().plan_collections(&names).unwrap().id;
    let actor = alice().actor();
    open.registry()
        .remove_collections(&names, &number, &actor)
        .unwrap();
    let bob = Actor {
        account: "bob".to_owned(),
        any: false,
    };
    let change = Change::Chain {
        members: vec![named(NEW), named(INPUT)],
        how: Chaining::Set,
    };
    let made = open
        .registry()
        .change_collection(&named(CHAIN), &change, &bob);
    made.unwrap();
    assert_ne!(plan(&open, Operation::Purge).id, stale.plan);
}
