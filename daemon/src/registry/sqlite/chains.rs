//! Chains: places in order, each a run, a collection, or what was there.

use std::collections::BTreeMap;

use runsync_manifest::name::CollectionName;
use rusqlite::{Connection, OptionalExtension, params};

use super::collections::{self, Found};
use super::failure::Failure;
use super::rows;
use crate::registry::collection::{Actor, BrokenChain, Chaining, CollectionError, Kind, Member};

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Run(i64),
    Collection(i64, Kind),
    Deleted,
}

/// A place, by the name of what is there or was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: CollectionName,
    target: Target,
}

/// The places of a chain in order.
const PLACES: &str = "SELECT coalesce(run.name, member.name, chain_member.deleted),
         chain_member.run_id, chain_member.collection_id, member.kind
     FROM chain_member
     LEFT JOIN run ON run.run_id = chain_member.run_id
     LEFT JOIN collection AS member ON member.collection_id = chain_member.collection_id
     WHERE chain_id = ?1 ORDER BY position";

/// A way down from ?1 to ?2, along chains.
const REACHES: &str = "WITH RECURSIVE below (id) AS (
         SELECT ?1
         UNION
         SELECT chain_member.collection_id FROM below
         JOIN chain_member ON chain_member.chain_id = below.id
         WHERE chain_member.collection_id IS NOT NULL
     )
     SELECT 1 FROM below WHERE id = ?2";

/// Places, and those that show `[deleted]`.
pub(super) fn count(connection: &Connection, chain_id: i64) -> Result<(u64, u64), Failure> {
    connection
        .prepare_cached("SELECT count(*), count(deleted) FROM chain_member WHERE chain_id = ?1")?
        .query_row([chain_id], |row| {
            Ok(rows::count(row, 0).and_then(|all| Ok((all, rows::count(row, 1)?))))
        })?
}

fn places(connection: &Connection, chain_id: i64) -> Result<Vec<Place>, Failure> {
    connection
        .prepare_cached(PLACES)?
        .query_and_then([chain_id], |row| {
            let target = match (row.get(1)?, row.get(2)?) {
                (Some(run_id), _) => Target::Run(run_id),
                (None, Some(id)) => {
                    Target::Collection(id, rows::parse(row, 3, "kind of collection")?)
                }
                (None, None) => Target::Deleted,
            };
            let name = rows::parse(row, 0, "collection name")?;
            Ok(Place { name, target })
        })?
        .collect()
}

pub(super) fn members(connection: &Connection, chain_id: i64) -> Result<Vec<Member>, Failure> {
    let member = |Place { name, target }| {
        let kind = match target {
            Target::Run(_) => Some(Kind::Run),
            Target::Collection(_, kind) => Some(kind),
            Target::Deleted => None,
        };
        Member { name, kind }
    };
    let places = places(connection, chain_id)?;
    Ok(places.into_iter().map(member).collect())
}

/// Changes what is in a chain, and returns how many places it has then.
pub(super) fn chain(
    connection: &Connection,
    name: &CollectionName,
    members: &[CollectionName],
    how: Chaining,
    by: &Actor,
) -> Result<u64, Failure> {
    let chain_id = match how {
        Chaining::Set | Chaining::Prepend | Chaining::Extend => {
            collections::existing_or_new(connection, name, Kind::Chained, by)?
        }
        Chaining::Remove => collections::existing(connection, name, Kind::Chained, by)?,
    };
    let mut old = places(connection, chain_id)?;
    let mut given = Vec::new();
    match how {
        Chaining::Set => {
            given = resolve(connection, (name, chain_id), members)?;
            old.clear();
        }
        Chaining::Prepend | Chaining::Extend => {
            given = resolve(connection, (name, chain_id), members)?;
            old.retain(|place| !members.contains(&place.name));
        }
        Chaining::Remove => remove_named(name, &mut old, members)?,
    }
    match how {
        Chaining::Extend => old.append(&mut given),
        Chaining::Set | Chaining::Prepend | Chaining::Remove => {
            old.splice(0..0, given);
        }
    }
    write(connection, chain_id, &old)
}

fn resolve(
    connection: &Connection,
    chain: (&CollectionName, i64),
    members: &[CollectionName],
) -> Result<Vec<Place>, Failure> {
    let mut places: Vec<Place> = Vec::with_capacity(members.len());
    for name in members {
        // Named twice, it is at the first place.
        if !places.iter().any(|place| place.name == *name) {
            places.push(resolve_one(connection, chain, name)?);
        }
    }
    Ok(places)
}

fn resolve_one(
    connection: &Connection,
    chain: (&CollectionName, i64),
    name: &CollectionName,
) -> Result<Place, Failure> {
    let Found { id, row } = collections::get(connection, name)?;
    let target = match row.kind {
        Kind::Run => Target::Run(id),
        Kind::Tagged | Kind::Chained => Target::Collection(id, row.kind),
    };
    if row.kind == Kind::Chained && reaches(connection, id, chain.1)? {
        let (chain, member) = (chain.0.clone(), name.clone());
        return Err(CollectionError::Cycle { chain, member }.into());
    }
    let name = name.clone();
    Ok(Place { name, target })
}

fn reaches(connection: &Connection, from: i64, to: i64) -> Result<bool, Failure> {
    let way = connection
        .prepare_cached(REACHES)?
        .query_row([from, to], |_| Ok(()))
        .optional()?;
    Ok(way.is_some())
}

fn remove_named(
    chain: &CollectionName,
    places: &mut Vec<Place>,
    members: &[CollectionName],
) -> Result<(), Failure> {
    let is_there = |name: &&CollectionName| places.iter().any(|place| place.name == **name);
    if let Some(absent) = members.iter().find(|name| !is_there(name)) {
        let (chain, member) = (chain.clone(), absent.clone());
        return Err(CollectionError::NoMember { chain, member }.into());
    }
    places.retain(|place| !members.contains(&place.name));
    Ok(())
}

/// Writes all places anew.
fn write(connection: &Connection, chain_id: i64, places: &[Place]) -> Result<u64, Failure> {
    connection
        .prepare_cached("DELETE FROM chain_member WHERE chain_id = ?1")?
        .execute([chain_id])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO chain_member (chain_id, position, run_id, collection_id, deleted)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, place) in (0_i64..).zip(places) {
        let (run, collection, deleted) = match place.target {
            Target::Run(id) => (Some(id), None, None),
            Target::Collection(id, _) => (None, Some(id), None),
            Target::Deleted => (None, None, Some(place.name.as_str())),
        };
        insert.execute(params![chain_id, position, run, collection, deleted])?;
    }
    Ok(places.len() as u64)
}

pub(super) fn drop_deleted(
    connection: &Connection,
    name: &CollectionName,
    by: &Actor,
) -> Result<u64, Failure> {
    let chain_id = collections::existing(connection, name, Kind::Chained, by)?;
    let mut places = places(connection, chain_id)?;
    places.retain(|place| place.target != Target::Deleted);
    write(connection, chain_id, &places)
}

/// Puts `[deleted]` in the place of a run.
pub(super) fn lose_run(connection: &Connection, run_id: i64) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE chain_member SET run_id = NULL,
                 deleted = (SELECT name FROM run WHERE run.run_id = ?1)
             WHERE run_id = ?1",
        )?
        .execute([run_id])?;
    Ok(())
}

/// Puts `[deleted]` in the place of a collection.
pub(super) fn lose_collection(connection: &Connection, id: i64) -> Result<(), Failure> {
    connection
        .prepare_cached(
            "UPDATE chain_member SET collection_id = NULL,
                 deleted = (SELECT name FROM collection WHERE collection.collection_id = ?1)
             WHERE collection_id = ?1",
        )?
        .execute([id])?;
    Ok(())
}

/// Chains that have a run or a collection in them; `column` says which.
pub(super) fn with_member(
    connection: &Connection,
    column: &'static str,
    id: i64,
) -> Result<Vec<CollectionName>, Failure> {
    connection
        .prepare_cached(&format!(
            "SELECT name FROM collection WHERE collection_id IN
                 (SELECT chain_id FROM chain_member WHERE {column} = ?1) ORDER BY name"
        ))?
        .query_and_then([id], |row| rows::parse(row, 0, "collection name"))?
        .collect()
}

pub(super) fn broken(connection: &Connection) -> Result<Vec<BrokenChain>, Failure> {
    let mut chains = BTreeMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT chain_id, deleted FROM chain_member WHERE deleted IS NOT NULL
         ORDER BY chain_id, position",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let gone: &mut Vec<String> = chains.entry(row.get::<_, i64>(0)?).or_default();
        gone.push(row.get(1)?);
    }
    let mut owners =
        connection.prepare_cached("SELECT name, owner FROM collection WHERE collection_id = ?1")?;
    let mut broken = Vec::with_capacity(chains.len());
    for (id, deleted) in chains {
        let read = owners.query_and_then([id], |row| {
            let name = rows::parse(row, 0, "collection name")?;
            Ok::<_, Failure>((name, row.get(1)?))
        })?;
        for chain in read {
            let (name, owner) = chain?;
            let deleted = deleted.clone();
            broken.push(BrokenChain {
                name,
                owner,
                deleted,
            });
        }
    }
    broken.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(broken)
}
