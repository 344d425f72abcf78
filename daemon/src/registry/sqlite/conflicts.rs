//! Finds what contradicts the registry, by probing in each table's own key order.
//!
//! The manifest is streamed once for each kind of conflict, never held; only the UUIDs of
//! datasets whose paths the manifest seems to take are collected.

use std::collections::HashSet;
use std::ops::ControlFlow;

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{DatasetId, RunKey};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::failure::Failure;
use super::hidden::{HIDES, Hidden};
use super::rows::{agree, checksums, count, dataset_id, generation};
use super::{names, rows};
use crate::registry::RegistryError;
use crate::registry::conflict::{Conflict, PathClaim};
use crate::registry::record::{ClaimRow, PathRow, Registration};

/// All kinds of conflicts, at most `limit`, but those with what runs in `giving_way` hold.
pub(super) fn find(
    connection: &Connection,
    registration: &Registration<'_>,
    giving_way: &[RunKey],
    limit: usize,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Vec<Conflict>, Failure> {
    if let Some(conflict) = removal_under_way(connection, registration.run)? {
        return Ok(vec![conflict]);
    }
    let mut looked = Looked { rows: 0, progress };
    let mut search = Search::new(connection, registration, limit)?;
    search.let_give_way(giving_way)?;
    search.dimension_keys(&mut looked)?;
    search.datasets(&mut looked)?;
    if search.datasets_known {
        search.data_ids(&mut looked)?;
        search.paths(&mut looked)?;
    }
    Ok(search.found)
}

/// What a registration that was interrupted meets on its way out: its run, or an artifact at one of
/// its paths. Everything else it was compared with before its first row.
pub(super) fn outgoing(
    connection: &Connection,
    registration: &Registration<'_>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Option<Conflict>, Failure> {
    if Hidden::load(connection)?.is_empty() {
        return Ok(None);
    }
    if let Some(conflict) = removal_under_way(connection, registration.run)? {
        return Ok(Some(conflict));
    }
    let search = Search::new(connection, registration, 1)?;
    let Some(root_id) = search.root_id else {
        return Ok(None);
    };
    let mut looked = Looked { rows: 0, progress };
    let mut found = None;
    search.contradicted_paths(root_id, &mut looked, |claim, holder| {
        if holder.hidden {
            found = Some(search.path_held(claim, holder)?);
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// Rows of a removed run that are not reaped yet would pass for registered ones.
pub(super) fn removal_under_way(
    connection: &Connection,
    run: &RunKey,
) -> Result<Option<Conflict>, Failure> {
    let Some(run_id) = names::find_run(connection, run)? else {
        return Ok(None);
    };
    let concerned = Hidden::load(connection)?.concerns(run_id);
    Ok(concerned.then(|| Conflict::RemovalUnderWay { run: run.clone() }))
}

/// Most bytes that a run's claims may add up to: a column holds no larger number.
const BYTES_MAX: u64 = i64::MAX.cast_unsigned();

/// Rows looked at between two words about it.
const ROWS_A_WORD: u64 = 4096;

/// Tells how many rows have been looked at.
struct Looked<'a> {
    rows: u64,
    progress: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
}

impl Looked<'_> {
    fn at_another(&mut self) -> Result<(), Failure> {
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_A_WORD) && (self.progress)(self.rows).is_break() {
            return Err(RegistryError::Interrupted.into());
        }
        Ok(())
    }
}

struct Search<'a> {
    connection: &'a Connection,
    registration: &'a Registration<'a>,
    run_id: Option<i64>,
    root_id: Option<i64>,
    dataset_type_ids: Vec<Option<i64>>,
    /// Whether anything is registered that rows could contradict.
    datasets_known: bool,
    /// Runs that nothing is asked of: what they hold goes over, or is dropped.
    giving_way: Vec<i64>,
    limit: usize,
    found: Vec<Conflict>,
}

/// A dataset's artifact at a path.
pub(super) struct Holder {
    pub(super) uuid: DatasetId,
    run_id: i64,
    generation: Generation,
    /// Whether it is on its way out.
    hidden: bool,
}

impl<'a> Search<'a> {
    /// Looks up what rows refer to by number, and with it finds types that differ.
    fn new(
        connection: &'a Connection,
        registration: &'a Registration<'a>,
        limit: usize,
    ) -> Result<Self, Failure> {
        let mut search = Self {
            connection,
            registration,
            run_id: names::find_run(connection, registration.run)?,
            root_id: names::find_root(connection, registration.root)?,
            dataset_type_ids: Vec::new(),
            datasets_known: connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM dataset)",
                [],
                |row| row.get(0),
            )?,
            giving_way: Vec::new(),
            limit,
            found: Vec::new(),
        };
        for manifest in registration.dataset_types {
            let known = names::find_dataset_type(connection, &manifest.name)?;
            let id = known.as_ref().map(|(id, _)| *id);
            search.dataset_type_ids.push(id);
            if let Some((_, registered)) = known
                && !names::same_definition(&registered, manifest)
                && !search.full()
            {
                search.found.push(Conflict::DatasetTypeDiffers {
                    registered,
                    manifest: manifest.clone(),
                });
            }
        }
        Ok(search)
    }

    /// A run that is being removed gives nothing away.
    fn let_give_way(&mut self, runs: &[RunKey]) -> Result<(), Failure> {
        if runs.is_empty() {
            return Ok(());
        }
        let hidden = Hidden::load(self.connection)?;
        for run in runs {
            let run_id = names::find_run(self.connection, run)?;
            let run_id = run_id.filter(|run_id| !hidden.concerns(*run_id));
            self.giving_way.extend(run_id);
        }
        Ok(())
    }

    fn full(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn dataset_type_id(&self, index: usize) -> Option<i64> {
        self.dataset_type_ids.get(index).copied().flatten()
    }

    fn dimension_keys(&mut self, looked: &mut Looked<'_>) -> Result<(), Failure> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT 1 FROM dimension_record WHERE element = ?1 AND key = ?2")?;
        let mut keys = self.registration.rows.dimension_keys()?;
        while !self.full()
            && let Some((element, key)) = keys.next()?
        {
            looked.at_another()?;
            if !statement.exists([element, key])? {
                self.found.push(Conflict::DimensionMissing {
                    element: element.to_owned(),
                    key: key.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Compares datasets with those registered, and adds up what they bring.
    fn datasets(&mut self, looked: &mut Looked<'_>) -> Result<(), Failure> {
        let left = self.room()?;
        if !self.datasets_known && self.registration.rows.bytes() <= left {
            return Ok(());
        }
        let mut claims = self.registration.rows.by_dataset()?;
        let mut held = self.connection.prepare_cached(
            "SELECT run_id, dataset_type_id, data_id, epoch, sequence FROM dataset
             WHERE uuid = ?1",
        )?;
        let mut last = None;
        let mut counts = true;
        let mut room = Some(left);
        while !self.full()
            && let Some(claim) = claims.next()?
        {
            looked.at_another()?;
            if last != Some(claim.uuid) {
                last = Some(claim.uuid);
                counts = !self.datasets_known || self.dataset(&mut held, &claim)?;
            }
            if counts && let Some(left) = room {
                room = left.checked_sub(claim.size);
                if room.is_none() && !self.full() {
                    self.found.push(Conflict::RunTooLarge {
                        run: self.registration.run.clone(),
                        bytes: (BYTES_MAX - left).saturating_add(claim.size),
                    });
                }
            }
        }
        Ok(())
    }

    /// Bytes that the run can still take.
    fn room(&self) -> Result<u64, Failure> {
        let bytes = match self.run_id {
            Some(run_id) => names::bytes_of_run(self.connection, run_id)?,
            None => 0,
        };
        Ok(BYTES_MAX.saturating_sub(bytes))
    }

    /// Compares a dataset with what is registered under its UUID. Returns whether its claims
    /// count: unless the run holds it in the same or a higher generation.
    fn dataset(
        &mut self,
        held: &mut CachedStatement<'_>,
        claim: &ClaimRow<'_>,
    ) -> Result<bool, Failure> {
        let mut held = held.query([claim.uuid.0.as_bytes()])?;
        let Some(row) = held.next()? else {
            return Ok(true);
        };
        let run_id: i64 = row.get(0)?;
        let dataset_type_id: i64 = row.get(1)?;
        if self.giving_way.contains(&run_id) {
            return Ok(true);
        }
        let data_id = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        if self.run_id != Some(run_id)
            || self.dataset_type_id(claim.dataset_type) != Some(dataset_type_id)
            || data_id != claim.data_id
        {
            let conflict = dataset_held(
                self.connection,
                claim.uuid,
                (run_id, dataset_type_id, data_id.to_owned()),
            )?;
            self.found.push(conflict);
        }
        Ok(generation(row, 3)?.is_none_or(|held| held < self.registration.generation))
    }

    fn data_ids(&mut self, looked: &mut Looked<'_>) -> Result<(), Failure> {
        let Some(run_id) = self.run_id else {
            return Ok(());
        };
        let mut statement = self.connection.prepare_cached(HELD_DATA_ID)?;
        let mut datasets = self.registration.rows.by_data_id()?;
        while !self.full()
            && let Some(dataset) = datasets.next()?
        {
            looked.at_another()?;
            let Some(dataset_type_id) = self.dataset_type_id(dataset.dataset_type) else {
                continue;
            };
            let held_by = statement
                .query_row(params![run_id, dataset_type_id, dataset.data_id], |row| {
                    dataset_id(row, 0)
                })
                .optional()?;
            if let Some(held_by) = held_by.filter(|held_by| *held_by != dataset.uuid)
                && let Some(dataset_type) =
                    self.registration.dataset_types.get(dataset.dataset_type)
            {
                self.found.push(Conflict::DataIdHeld {
                    run: self.registration.run.clone(),
                    dataset_type: dataset_type.name.clone(),
                    data_id: dataset.data_id.to_owned(),
                    uuid: dataset.uuid,
                    held_by,
                });
            }
        }
        Ok(())
    }

    /// A holder that the manifest itself names with its higher generation gives its paths up,
    /// which only a walk by UUID can tell: so first all contradictions are seen, then those
    /// holders are struck out, then what is left is told.
    fn paths(&mut self, looked: &mut Looked<'_>) -> Result<(), Failure> {
        let Some(root_id) = self.root_id else {
            return Ok(());
        };
        let mut may_give_up = HashSet::new();
        let mut found = std::mem::take(&mut self.found);
        self.contradicted_paths(root_id, looked, |claim, holder| {
            if self.giving_way.contains(&holder.run_id) && !holder.hidden {
                return Ok(true);
            }
            if self.may_give_up(holder) {
                may_give_up.insert(holder.uuid);
            } else {
                found.push(self.path_held(claim, holder)?);
            }
            Ok(found.len() < self.limit)
        })?;
        self.strike_named(&mut may_give_up, looked)?;
        if !may_give_up.is_empty() {
            self.contradicted_paths(root_id, looked, |claim, holder| {
                if found.len() < self.limit && may_give_up.contains(&holder.uuid) {
                    found.push(self.path_held(claim, holder)?);
                }
                Ok(found.len() < self.limit)
            })?;
        }
        self.found = found;
        Ok(())
    }

    fn may_give_up(&self, holder: &Holder) -> bool {
        self.run_id == Some(holder.run_id) && holder.generation < self.registration.generation
    }

    fn strike_named(
        &self,
        holders: &mut HashSet<DatasetId>,
        looked: &mut Looked<'_>,
    ) -> Result<(), Failure> {
        let mut claims = self.registration.rows.by_dataset()?;
        while !holders.is_empty()
            && let Some(claim) = claims.next()?
        {
            looked.at_another()?;
            holders.remove(&claim.uuid);
        }
        Ok(())
    }

    /// Calls `each` with every claim of weight and every holder that contradicts it, once for
    /// each path and holder, until `each` answers false.
    fn contradicted_paths(
        &self,
        root_id: i64,
        looked: &mut Looked<'_>,
        mut each: impl FnMut(&PathRow<'_>, &Holder) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut at_path = prepare_at_path(self.connection)?;
        let mut generation_of = self
            .connection
            .prepare_cached("SELECT run_id, epoch, sequence FROM dataset WHERE uuid = ?1")?;
        let mut claims = self.registration.rows.by_path()?;
        let mut path = String::new();
        let mut contradicting = Vec::new();
        while let Some(claim) = claims.next()? {
            looked.at_another()?;
            if claim.path != path {
                claim.path.clone_into(&mut path);
                contradicting =
                    contradictions(&mut at_path, root_id, &path, (claim.size, &claim.checksums))?;
            }
            if contradicting.is_empty() {
                continue;
            }
            let held = generation_of
                .query_row([claim.uuid.0.as_bytes()], |row| {
                    let gives_way = self.giving_way.contains(&row.get(0)?);
                    Ok(generation(row, 1)?.filter(|_| !gives_way))
                })
                .optional()?
                .flatten();
            if held.is_some_and(|held| held >= self.registration.generation) {
                continue;
            }
            for holder in contradicting.drain(..) {
                if !each(&claim, &holder)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn path_held(&self, claim: &PathRow<'_>, holder: &Holder) -> Result<Conflict, Failure> {
        Ok(Conflict::PathHeld {
            root: self.registration.root.clone(),
            path: rows::path(claim.path.to_owned())?,
            held_by: holder.uuid,
            claim: PathClaim {
                uuid: claim.uuid,
                generation: self.registration.generation,
                size: claim.size,
                checksums: claim.checksums,
            },
        })
    }
}

/// Finds the dataset that holds a data ID; an entry whose dataset is not there holds nothing.
pub(super) const HELD_DATA_ID: &str = "SELECT by_data_id.uuid \
     FROM dataset_by_data_id AS by_data_id \
     CROSS JOIN dataset ON dataset.uuid = by_data_id.uuid \
     WHERE by_data_id.run_id = ?1 AND by_data_id.dataset_type_id = ?2 AND by_data_id.data_id = ?3";

pub(super) fn prepare_at_path(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    let columns = rows::CHECKSUM_COLUMNS;
    connection.prepare_cached(&format!(
        "SELECT {columns}, record.size, record.uuid, dataset.run_id, dataset.epoch, dataset.sequence,
             EXISTS (SELECT 1 FROM hidden WHERE {HIDES})
         FROM record_by_path AS by_path
         CROSS JOIN record ON record.uuid = by_path.uuid AND record.component = by_path.component
             AND record.root_id = by_path.root_id AND record.path = by_path.path
         CROSS JOIN dataset ON dataset.uuid = record.uuid
         WHERE by_path.root_id = ?1 AND by_path.path = ?2"
    ))
}

pub(super) fn contradictions(
    at_path: &mut CachedStatement<'_>,
    root_id: i64,
    path: &str,
    artifact: (u64, &runsync_manifest::checksum::Checksums),
) -> Result<Vec<Holder>, Failure> {
    let mut found = Vec::new();
    let mut held = at_path.query(params![root_id, path])?;
    while let Some(row) = held.next()? {
        // An artifact that is on its way out is nobody's to name.
        let hidden: bool = row.get(8)?;
        if !hidden && agree(artifact, (count(row, 3)?, &checksums(row)?)) {
            continue;
        }
        found.push(Holder {
            uuid: dataset_id(row, 4)?,
            run_id: row.get(5)?,
            hidden,
            generation: generation(row, 6)?
                .ok_or_else(|| rows::damaged("generation", &"nothing"))?,
        });
    }
    found.dedup_by_key(|holder| holder.uuid);
    Ok(found)
}

/// The conflict over a UUID that is registered as (run, dataset type, data ID).
pub(super) fn dataset_held(
    connection: &Connection,
    uuid: DatasetId,
    (run_id, dataset_type_id, held_data_id): (i64, i64, String),
) -> Result<Conflict, Failure> {
    Ok(Conflict::DatasetHeld {
        uuid,
        held_run: names::run_key(connection, run_id)?,
        held_type: names::dataset_type_name(connection, dataset_type_id)?,
        held_data_id,
    })
}
