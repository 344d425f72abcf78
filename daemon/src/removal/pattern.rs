//! The runs that a chain's name owns, which `purge` and `cleanup` remove: `<chain>/<timestamp>`.
//!
//! A pipeline names its output chain, and each run that it writes for it after the chain and the
//! time at which it began. A name is owned by whole parts: nothing beside that time, and nothing
//! below it. So what is in a chain and was not written for it, its inputs, is never chosen, and
//! `u/a/DM-10` has nothing that `u/a/DM-1` owns.

use jiff::civil::DateTime;
use runsync_manifest::name::{CollectionName, RunKey, RunName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RemovalError;
use super::request::{Plan, Request, Requester};
use crate::registry::collection::{Actor, CollectionError, CollectionPlan, CollectionRow, Kind};
use crate::registry::record::RunRow;
use crate::registry::removal::{OfChain, Operation};
use crate::registry::{Registry, RegistryError};

/// A time as pipelines write it into a run's name.
const TIMESTAMP: &str = "%Y%m%dT%H%M%SZ";

/// The chain whose runs a plan removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedChain {
    /// Its name.
    #[schema(value_type = String)]
    pub name: CollectionName,
    /// The account that may have this done; none: nobody of this site but root and the daemon's own.
    pub owner: Option<String>,
    /// What removing it, too, would do; none: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<CollectionPlan>,
}

impl Request {
    /// Asks for an operation on the runs of a chain.
    pub const fn of_chain(operation: Operation, chain: CollectionName) -> Self {
        Self {
            operation,
            runs: Vec::new(),
            chain: Some(chain),
            origin: None,
            dataset_type: None,
            now: false,
        }
    }
}

impl PlannedChain {
    /// Whether it is `name`, and goes.
    pub(super) fn takes_away(&self, name: &CollectionName) -> bool {
        self.removal.is_some() && self.name == *name
    }

    /// What the number of a plan is made of, as far as the chain is concerned.
    pub(super) fn text(&self) -> String {
        let owner = self.owner.as_deref().unwrap_or("-");
        let removal = self.removal.as_ref().map_or("-", |plan| &plan.id);
        format!("\nchain {} {owner} {removal}", self.name)
    }
}

/// Whether the name of `chain` owns `run`.
pub fn owns(chain: &CollectionName, run: &RunName) -> bool {
    let rest = run.as_str().strip_prefix(chain.as_str());
    let last = rest.and_then(|rest| rest.strip_prefix('/'));
    last.is_some_and(is_timestamp)
}

/// Whether it is a time such as `20261127T120000Z`, which there was or will be.
fn is_timestamp(text: &str) -> bool {
    // Signs, spaces and leap seconds are read, and never written.
    DateTime::strptime(TIMESTAMP, text)
        .is_ok_and(|time| time.strftime(TIMESTAMP).to_string() == text)
}

/// The chain that is asked for, and the runs that go; no chain where runs are asked for by name.
///
/// # Errors
///
/// Where there is no such chain, or another chain has one of the runs in it.
pub(super) fn choose(
    request: &Request,
    registry: &dyn Registry,
) -> Result<(Option<PlannedChain>, Vec<RunRow>), RemovalError> {
    let operation = request.operation;
    match &request.chain {
        None if !operation.is_of_chain() => Ok((None, Vec::new())),
        Some(chain) if operation.is_of_chain() && request.runs.is_empty() => {
            let row = find(chain, registry)?;
            let runs = owned(chain, operation, registry)?;
            Ok((Some(planned(row, operation, registry)?), runs))
        }
        Some(_) | None => Err(RemovalError::OtherSubject { operation }),
    }
}

fn find(chain: &CollectionName, registry: &dyn Registry) -> Result<CollectionRow, RemovalError> {
    let name = || chain.clone();
    let found = registry.collection(chain)?;
    let row = match found {
        Some(found) => found.row,
        None => return Err(refusal(CollectionError::Missing { name: name() })),
    };
    if row.kind == Kind::Chained {
        return Ok(row);
    }
    Err(refusal(CollectionError::OtherKind {
        name: name(),
        found: row.kind,
        expected: Kind::Chained.phrase(),
    }))
}

fn planned(
    row: CollectionRow,
    operation: Operation,
    registry: &dyn Registry,
) -> Result<PlannedChain, RemovalError> {
    let removal = match operation {
        Operation::Purge => Some(registry.plan_collections(std::slice::from_ref(&row.name))?),
        Operation::Cleanup
        | Operation::RemoveRuns
        | Operation::DropCopy
        | Operation::Follow
        | Operation::Unstore
        | Operation::Forget => None,
    };
    Ok(PlannedChain {
        name: row.name,
        owner: row.owner,
        removal,
    })
}

/// The runs to remove, by name and origin.
fn owned(
    chain: &CollectionName,
    operation: Operation,
    registry: &dyn Registry,
) -> Result<Vec<RunRow>, RemovalError> {
    let mut runs = registry.runs(Some(chain.as_str()))?;
    runs.retain(|row| owns(chain, &row.key.name) && is_there(row));
    let mut chosen = Vec::with_capacity(runs.len());
    for row in runs {
        let mut others = registry.links(&row.key)?.chains;
        let all = others.len();
        others.retain(|other| other != chain);
        let is_member = others.len() < all;
        if operation == Operation::Cleanup && is_member {
            continue;
        }
        check_unreferenced(&row.key, others)?;
        chosen.push(row);
    }
    Ok(chosen)
}

fn check_unreferenced(run: &RunKey, chains: Vec<CollectionName>) -> Result<(), RemovalError> {
    if chains.is_empty() {
        return Ok(());
    }
    let run = run.name.clone();
    Err(refusal(CollectionError::Referenced { run, chains }))
}

/// Of a run that was removed nothing is left but its row.
fn is_there(row: &RunRow) -> bool {
    row.generation.is_some() && (row.datasets > 0 || row.generation > row.floor)
}

fn refusal(error: CollectionError) -> RemovalError {
    RemovalError::Registry(error.into())
}

impl Plan {
    /// Checks that whoever asks may have this done with the chain.
    ///
    /// # Errors
    ///
    /// [`CollectionError::NotYours`] where it is another account's.
    pub fn check_owner(&self, asking: &Requester) -> Result<(), RemovalError> {
        let actor = asking.actor();
        match &self.chain {
            Some(chain) if !actor.may_change(chain.owner.as_deref()) => {
                let (name, owner) = (chain.name.clone(), chain.owner.clone());
                Err(refusal(CollectionError::NotYours { name, owner }))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What the commit has to see to, as far as the chain is concerned.
    pub(super) fn of_chain<'a>(&'a self, by: &'a Actor) -> Option<OfChain<'a>> {
        let chain = self.chain.as_ref()?;
        let plan = chain.removal.as_ref().map(|plan| plan.id.as_str());
        let name = &chain.name;
        Some(OfChain { name, by, plan })
    }

    /// Why it was not committed, in the words of this plan: nobody has seen the number of the chain's.
    pub(super) fn told_of(&self, error: RemovalError) -> RemovalError {
        let RemovalError::Registry(RegistryError::Collection(CollectionError::PlanChanged {
            ..
        })) = error
        else {
            return error;
        };
        RemovalError::PlanChanged {
            approved: self.id.clone(),
        }
    }

    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        let stays = |chain: &PlannedChain| chain.removal.is_none();
        self.runs.is_empty() && self.chain.as_ref().is_none_or(stays)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owns(chain: &str, run: &str) -> bool {
        super::owns(&chain.parse().unwrap(), &run.parse().unwrap())
    }

    #[test]
    fn a_chain_owns_the_runs_that_are_named_after_it_and_a_time() {
        assert!(owns("u/a/DM-1", "u/a/DM-1/20261127T120000Z"));
        assert!(owns("out", "out/20240229T235959Z"));
        assert!(owns(
            "a/20261127T120000Z",
            "a/20261127T120000Z/20261127T120000Z"
        ));
    }

    #[test]
    fn names_match_by_whole_parts() {
        for run in [
            "u/a/DM-1",
            "u/a/DM-10/20261127T120000Z",
            "u/a/DM-/20261127T120000Z",
            "u/a/DM-120261127T120000Z",
            "u/a/20261127T120000Z",
            "u/a/DM-1/20261127T120000Z-extra",
            "u/a/DM-1/extra-20261127T120000Z",
            "u/a/DM-1/20261127T120000Z/sub",
            "u/a/DM-1/sub/20261127T120000Z",
            "x/u/a/DM-1/20261127T120000Z",
            "U/a/DM-1/20261127T120000Z",
        ] {
            assert!(!owns("u/a/DM-1", run), "{run}");
        }
    }

    #[test]
    fn a_time_is_a_date_that_there_is() {
        for time in [
            "20261327T120000Z",
            "20260027T120000Z",
            "20261132T120000Z",
            "20230229T120000Z",
            "20261127T240000Z",
            "20261127T126000Z",
            "20261127T120060Z",
            "-0261127T120000Z",
            "20261127T120000",
            "20261127T120000z",
            "20261127t120000Z",
            "20261127 120000Z",
            "2026112T120000Z",
            "020261127T120000Z",
            "+2026112T120000Z",
            "2026112 T120000Z",
            "２0261127T120000Z",
            "*",
        ] {
            assert!(!owns("u/c", &format!("u/c/{time}")), "{time}");
        }
    }

    /// A time from 1970 on.
    fn time() -> impl Strategy<Value = String> {
        (0_i64..4_000_000_000).prop_map(|second| {
            let at = jiff::Timestamp::from_second(second).unwrap();
            at.strftime(TIMESTAMP).to_string()
        })
    }

    /// Names of few different parts, so that one is often the beginning of another.
    fn name() -> impl Strategy<Value = String> {
        let part = prop_oneof!["[a1]{1,2}", time()];
        prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #[test]
        fn every_time_below_a_chain_is_owned(chain in name(), time in time()) {
            let run = format!("{chain}/{time}");
            prop_assert!(owns(&chain, &run));
        }

        #[test]
        fn whatever_is_owned_has_the_parts_of_the_chain_and_one_more(
            chain in name(),
            run in name(),
        ) {
            let mut parts: Vec<&str> = run.split('/').collect();
            let last = parts.pop().unwrap();
            let below = parts == chain.split('/').collect::<Vec<_>>();
            prop_assert_eq!(owns(&chain, &run), below && is_timestamp(last));
        }

        #[test]
        fn a_run_has_one_chain_that_owns_it(a in name(), b in name(), run in name()) {
            prop_assert!(a == b || !owns(&a, &run) || !owns(&b, &run));
        }

        #[test]
        fn nothing_may_be_added_to_a_name(chain in name(), time in time(), more in "[0-9TZ/a-z-]{1,4}") {
            for run in [format!("{chain}/{time}{more}"), format!("{chain}{more}/{time}")] {
                if run.parse::<RunName>().is_ok() {
                    prop_assert!(!owns(&chain, &run), "{}", run);
                }
            }
        }
    }
}
