//! What leaves collections: a run's places and tags, and collections themselves.

use std::slice;

use runsync_manifest::name::{CollectionName, RunKey};
use rusqlite::Connection;

use super::collections::{self, Found};
use super::failure::Failure;
use super::{chains, names, tags};
use crate::registry::collection::{
    Actor, CollectionError, CollectionPlan, Kind, Links, PlannedCollection,
};
use crate::registry::removal::{Extent, OfChain, RunPart};

pub(super) fn links(connection: &Connection, run: &RunKey) -> Result<Links, Failure> {
    let Some(run_id) = names::find_run(connection, run)? else {
        return Ok(Links::default());
    };
    Ok(Links {
        chains: chains::with_member(connection, "run_id", run_id)?,
        tags: tags::count_of_run(connection, run_id)?,
    })
}

pub(super) fn plan(
    connection: &Connection,
    names: &[CollectionName],
) -> Result<CollectionPlan, Failure> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    let planned = names.iter().map(|name| planned(connection, name, &names));
    Ok(CollectionPlan::new(planned.collect::<Result<_, _>>()?))
}

fn planned(
    connection: &Connection,
    name: &CollectionName,
    all: &[CollectionName],
) -> Result<PlannedCollection, Failure> {
    let Found { id, row } = removable(connection, name)?;
    let mut chains = chains::with_member(connection, "collection_id", id)?;
    chains.retain(|chain| !all.contains(chain));
    Ok(PlannedCollection { row, chains })
}

fn removable(connection: &Connection, name: &CollectionName) -> Result<Found, Failure> {
    let found = collections::get(connection, name)?;
    match found.row.kind {
        Kind::Tagged | Kind::Chained => Ok(found),
        Kind::Run => {
            let (name, found) = (name.clone(), Kind::Run);
            let expected = "a tagged collection or a chain: `remove-runs` removes runs";
            Err(CollectionError::OtherKind {
                name,
                found,
                expected,
            }
            .into())
        }
    }
}

/// Removes collections as a plan says, which is made anew and compared.
pub(super) fn remove(
    connection: &Connection,
    names: &[CollectionName],
    approved: &str,
    by: &Actor,
) -> Result<(), Failure> {
    let plan = plan(connection, names)?;
    if plan.id != approved {
        let approved = approved.to_owned();
        return Err(CollectionError::PlanChanged { approved }.into());
    }
    for planned in &plan.collections {
        collections::check_owner(&planned.row, by)?;
    }
    for planned in &plan.collections {
        let Found { id, .. } = removable(connection, &planned.row.name)?;
        remove_one(connection, id)?;
    }
    Ok(())
}

/// What the commit of a removal of a chain's runs does about the chain, before they are hidden.
pub(super) fn of_removal(
    connection: &Connection,
    chain: &OfChain<'_>,
    parts: &[(RunPart, Extent)],
) -> Result<(), Failure> {
    collections::existing(connection, chain.name, Kind::Chained, chain.by)?;
    if let Some(plan) = chain.plan {
        remove(connection, slice::from_ref(chain.name), plan, chain.by)?;
    }
    for (part, _) in parts {
        check_unreferenced(connection, &part.run)?;
    }
    Ok(())
}

/// Somebody may have put it into a chain since the plan was made.
fn check_unreferenced(connection: &Connection, run: &RunKey) -> Result<(), Failure> {
    let Some(run_id) = names::find_run(connection, run)? else {
        return Ok(());
    };
    let chains = chains::with_member(connection, "run_id", run_id)?;
    if chains.is_empty() {
        return Ok(());
    }
    let run = run.name.clone();
    Err(CollectionError::Referenced { run, chains }.into())
}

fn remove_one(connection: &Connection, id: i64) -> Result<(), Failure> {
    chains::lose_collection(connection, id)?;
    for statement in [
        "DELETE FROM chain_member WHERE chain_id = ?1",
        "DELETE FROM tag WHERE collection_id = ?1",
        "DELETE FROM collection WHERE collection_id = ?1",
    ] {
        connection.prepare_cached(statement)?.execute([id])?;
    }
    Ok(())
}
