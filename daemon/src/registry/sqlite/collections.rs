//! Finds, lists and changes collections, runs among them.

use runsync_manifest::name::{CollectionName, RepositoryId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::failure::Failure;
use super::{chains, rows, tags};
use crate::registry::collection::{
    Actor, Change, Collection, CollectionError, CollectionRow, Kind,
};

/// A run that has not been removed, in a query over `run`.
const RUN_IS_THERE: &str = "epoch IS NOT NULL AND (datasets > 0 OR floor_epoch IS NULL \
     OR (epoch, sequence) > (floor_epoch, floor_sequence))";

/// What [`found`] reads, by name and origin: collections of which `collections` is true, and runs of
/// which `runs` is. Each is walked in the order of its names, and the two are merged.
fn select(collections: &str, runs: &str) -> String {
    format!(
        "SELECT name, kind, x'' AS origin, owner, hidden, 0 AS datasets, collection_id
             FROM collection WHERE {collections}
         UNION ALL
         SELECT name, 'run', origin, owner, hidden, datasets, run_id
             FROM run WHERE {runs} AND {RUN_IS_THERE}
         ORDER BY name, origin"
    )
}

/// A run or collection by its number.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) row: CollectionRow,
}

fn found(connection: &Connection, row: &Row<'_>) -> Result<Found, Failure> {
    let kind = rows::parse(row, 1, "kind of collection")?;
    let id = row.get(6)?;
    let (members, deleted) = match kind {
        Kind::Run => (rows::counter(row, 5)?, 0),
        Kind::Tagged => (tags::count(connection, id)?, 0),
        Kind::Chained => chains::count(connection, id)?,
    };
    let row = CollectionRow {
        name: rows::parse(row, 0, "collection name")?,
        kind,
        origin: origin(row)?,
        owner: row.get(3)?,
        hidden: row.get(4)?,
        members,
        deleted,
    };
    Ok(Found { id, row })
}

fn origin(row: &Row<'_>) -> Result<Option<RepositoryId>, Failure> {
    let origin = row.get_ref(2)?;
    if origin == ValueRef::Blob(&[]) {
        return Ok(None);
    }
    Ok(Some(RepositoryId(Uuid::from_bytes(row.get(2)?))))
}

pub(super) fn page(
    connection: &Connection,
    prefix: Option<&str>,
    hidden: bool,
    after: Option<(&str, RepositoryId)>,
    limit: usize,
) -> Result<Vec<CollectionRow>, Failure> {
    // Nothing has an empty name.
    let (name, origin) = after.unwrap_or(("", RepositoryId(Uuid::nil())));
    // `0` is the character after `/`: between the two lie all names below the prefix.
    let asked = "(?1 IS NULL OR name = ?1 OR (name > ?1 || '/' AND name < ?1 || '0')) \
         AND (?4 OR NOT hidden)";
    let sql = select(
        &format!("name > ?2 AND {asked}"),
        &format!("(name, origin) > (?2, ?3) AND {asked}"),
    );
    let sql = format!("{sql} LIMIT ?5");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_and_then(
            params![prefix, name, origin.0.as_bytes(), hidden, limit],
            |row| Ok(found(connection, row)?.row),
        )?
        .collect()
}

/// The run or collection of that name.
pub(super) fn find(
    connection: &Connection,
    name: &CollectionName,
) -> Result<Option<Found>, Failure> {
    let mut statement = connection.prepare_cached(&select("name = ?1", "name = ?1"))?;
    let named = statement.query_and_then([name.as_str()], |row| found(connection, row))?;
    let mut named = named.collect::<Result<Vec<_>, _>>()?;
    let only = named.pop();
    // A collection comes before a run that came later under its name.
    match named.into_iter().next() {
        Some(first) if first.row.kind != Kind::Run => Ok(Some(first)),
        None => Ok(only),
        Some(_) => Err(ambiguous(connection, name)?),
    }
}

fn ambiguous(connection: &Connection, name: &CollectionName) -> Result<Failure, Failure> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM run WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))?;
    let name = name.clone();
    let count = usize::try_from(count).unwrap_or_default();
    Ok(CollectionError::Ambiguous { name, count }.into())
}

/// The run or collection of that name, which must be there.
pub(super) fn get(connection: &Connection, name: &CollectionName) -> Result<Found, Failure> {
    let missing = || CollectionError::Missing { name: name.clone() };
    Ok(find(connection, name)?.ok_or_else(missing)?)
}

pub(super) fn collection(
    connection: &Connection,
    name: &CollectionName,
) -> Result<Option<Collection>, Failure> {
    let Some(Found { id, row }) = find(connection, name)? else {
        return Ok(None);
    };
    let places = match row.kind {
        Kind::Chained => chains::members(connection, id)?,
        Kind::Run | Kind::Tagged => Vec::new(),
    };
    Ok(Some(Collection { row, places }))
}

pub(super) fn change(
    connection: &Connection,
    name: &CollectionName,
    change: &Change,
    by: &Actor,
) -> Result<u64, Failure> {
    match change {
        Change::Chain { members, how } => chains::chain(connection, name, members, *how, by),
        Change::DropDeleted => chains::drop_deleted(connection, name, by),
        Change::Associate { datasets } => tags::associate(connection, name, datasets, by),
        Change::Disassociate { datasets } => tags::disassociate(connection, name, datasets, by),
        Change::Hide => flag(connection, name, true, by),
        Change::Unhide => flag(connection, name, false, by),
    }
}

fn flag(
    connection: &Connection,
    name: &CollectionName,
    hidden: bool,
    by: &Actor,
) -> Result<u64, Failure> {
    let Found { id, row } = get(connection, name)?;
    check_owner(&row, by)?;
    let sql = match row.kind {
        Kind::Run => "UPDATE run SET hidden = ?2 WHERE run_id = ?1 AND hidden <> ?2",
        Kind::Tagged | Kind::Chained => {
            "UPDATE collection SET hidden = ?2 WHERE collection_id = ?1 AND hidden <> ?2"
        }
    };
    let changed = connection
        .prepare_cached(sql)?
        .execute(params![id, hidden])?;
    Ok(changed as u64)
}

pub(super) fn check_owner(row: &CollectionRow, by: &Actor) -> Result<(), Failure> {
    if by.may_change(row.owner.as_deref()) {
        return Ok(());
    }
    let (name, owner) = (row.name.clone(), row.owner.clone());
    Err(CollectionError::NotYours { name, owner }.into())
}

/// The number of a collection of that kind that is there and may be changed.
pub(super) fn existing(
    connection: &Connection,
    name: &CollectionName,
    kind: Kind,
    by: &Actor,
) -> Result<i64, Failure> {
    let Found { id, row } = get(connection, name)?;
    check_kind(&row, kind)?;
    check_owner(&row, by)?;
    Ok(id)
}

/// The same; it is made where there is none.
pub(super) fn existing_or_new(
    connection: &Connection,
    name: &CollectionName,
    kind: Kind,
    by: &Actor,
) -> Result<i64, Failure> {
    if is_taken(connection, name)? {
        return existing(connection, name, kind, by);
    }
    Ok(connection
        .prepare_cached(
            "INSERT INTO collection (name, kind, owner, hidden) VALUES (?1, ?2, ?3, 0)",
        )?
        .insert(params![name.as_str(), kind.as_str(), by.account])?)
}

/// Whether the name is a collection's, or was a run's: a run that is removed may come back.
fn is_taken(connection: &Connection, name: &CollectionName) -> Result<bool, Failure> {
    if find(connection, name)?.is_some() {
        return Ok(true);
    }
    let run = connection
        .prepare_cached("SELECT 1 FROM run WHERE name = ?1 LIMIT 1")?
        .query_row([name.as_str()], |_| Ok(()))
        .optional()?;
    if run.is_some() {
        return Err(other_kind(name, Kind::Run, Kind::Chained));
    }
    Ok(false)
}

fn check_kind(row: &CollectionRow, kind: Kind) -> Result<(), Failure> {
    if row.kind == kind {
        return Ok(());
    }
    Err(other_kind(&row.name, row.kind, kind))
}

pub(super) fn other_kind(name: &CollectionName, found: Kind, wanted: Kind) -> Failure {
    let name = name.clone();
    let expected = wanted.phrase();
    CollectionError::OtherKind {
        name,
        found,
        expected,
    }
    .into()
}
