//! Removals of a chain's runs: what their commit does about the chain, and when it refuses.

use jiff::Timestamp;
use uuid::Uuid;

use super::collections::{chain, named, places, site};
use super::support::{Open, run};
use crate::registry::collection::{Actor, Chaining, CollectionError};
use crate::registry::removal::{Extent, OfChain, Operation, Removal, RunPart};
use crate::registry::{Registry, RegistryError};

fn alice() -> Actor {
    Actor {
        account: "alice".to_owned(),
        any: false,
    }
}

/// Removes `u/a` as a run of a chain; `plan` is the number by which the chain goes, too.
fn remove(
    registry: &dyn Registry,
    chain: &str,
    plan: Option<&str>,
    by: &Actor,
) -> Result<(), RegistryError> {
    registry.remove(&Removal {
        id: Uuid::new_v4(),
        operation: plan.map_or(Operation::Cleanup, |_| Operation::Purge),
        account: &by.account,
        at: Timestamp::UNIX_EPOCH,
        parts: &[(RunPart::whole(run("u/a")), Extent::default())],
        floors: &[],
        journals: &[],
        notices: &[],
        chain: Some(OfChain {
            name: &named(chain),
            by,
            plan,
        }),
    })
}

fn number(registry: &dyn Registry, chain: &str) -> String {
    registry.plan_collections(&[named(chain)]).unwrap().id
}

fn refusal(refused: Result<(), RegistryError>) -> CollectionError {
    match refused {
        Err(RegistryError::Collection(error)) => error,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_chain_goes_in_the_commit_that_removes_its_runs(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    chain(registry, "c/1", &["u/a", "u/b"], Chaining::Set).unwrap();
    chain(registry, "c/2", &["u/b", "c/1"], Chaining::Set).unwrap();
    let plan = number(registry, "c/1");
    let before = registry.changes().unwrap();
    remove(registry, "c/1", Some(&plan), &alice()).unwrap();
    assert_eq!(registry.changes().unwrap(), before + 1);
    assert_eq!(registry.collection(&named("c/1")).unwrap(), None);
    assert_eq!(places(registry, "c/2"), ["u/b", "[deleted] c/1"]);
    assert_eq!(registry.run(&run("u/a")).unwrap().unwrap().datasets, 0);
    assert_eq!(registry.run(&run("u/b")).unwrap().unwrap().datasets, 10);
}

pub(crate) fn a_chain_stays_where_only_what_it_has_lost_is_removed(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    chain(registry, "c/1", &["u/b"], Chaining::Set).unwrap();
    remove(registry, "c/1", None, &alice()).unwrap();
    assert_eq!(places(registry, "c/1"), ["u/b"]);
    assert_eq!(registry.run(&run("u/a")).unwrap().unwrap().datasets, 0);
}

pub(crate) fn a_removal_of_a_chains_runs_is_refused_as_a_whole(open: &Open) {
    let site = site(open);
    let registry = site.registry();
    chain(registry, "c/1", &["u/a", "u/b"], Chaining::Set).unwrap();
    let plan = number(registry, "c/1");
    let bob = Actor {
        account: "bob".to_owned(),
        any: false,
    };
    let refused = refusal(remove(registry, "c/1", Some(&plan), &bob));
    assert!(matches!(refused, CollectionError::NotYours { .. }));
    let refused = refusal(remove(registry, "c/none", None, &alice()));
    assert!(matches!(refused, CollectionError::Missing { .. }));
    let refused = refusal(remove(registry, "u/b", None, &alice()));
    assert!(matches!(refused, CollectionError::OtherKind { .. }));
    // A member would be cleaned up.
    let refused = refusal(remove(registry, "c/1", None, &alice()));
    assert_eq!(refused.to_string(), "run `u/a` is in chain `c/1`");
    chain(registry, "c/2", &["u/a"], Chaining::Set).unwrap();
    let refused = refusal(remove(registry, "c/1", Some(&plan), &alice()));
    assert_eq!(refused.to_string(), "run `u/a` is in chain `c/2`");
    chain(registry, "c/2", &["c/1"], Chaining::Set).unwrap();
    let refused = refusal(remove(registry, "c/1", Some(&plan), &alice()));
    assert!(matches!(refused, CollectionError::PlanChanged { .. }));
    assert_eq!(places(registry, "c/1"), ["u/a", "u/b"]);
    assert_eq!(places(registry, "c/2"), ["c/1"]);
    assert_eq!(registry.removals().unwrap(), []);
    assert_eq!(registry.run(&run("u/a")).unwrap().unwrap().datasets, 10);
}
