//! The stages of a registration, one table each.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::conflicts::HELD_DATA_ID;
use super::datasets::{self, ClaimGroups};
use super::failure::Failure;
use super::load::{Marker, Stage};
use super::unwanted::UnwantedTypes;
use super::{names, rows};
use crate::registry::RegistryError;
use crate::registry::conflict::Conflict;
use crate::registry::record::{DataIdCursor, DataIdRow, PathCursor, PathRow, Registration};

/// Numbers that a registration's rows refer to.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) run_id: i64,
    pub(super) root_id: i64,
    dataset_types: Vec<i64>,
    formatters: HashMap<String, i64>,
    /// Types of the run that this site does not want.
    pub(super) unwanted: UnwantedTypes,
}

impl Ids {
    /// Looks the numbers up; gives them to what is new.
    pub(super) fn of(
        connection: &Connection,
        registration: &Registration<'_>,
    ) -> Result<Self, Failure> {
        let run_id = names::run(connection, registration.run)?;
        Ok(Self {
            run_id,
            unwanted: UnwantedTypes::of(connection, run_id)?,
            root_id: names::root(connection, registration.root)?,
            dataset_types: registration
                .dataset_types
                .iter()
                .map(|dataset_type| names::dataset_type(connection, dataset_type))
                .collect::<Result<_, _>>()?,
            formatters: HashMap::new(),
        })
    }

    pub(super) fn dataset_type(&self, index: usize) -> Result<i64, Failure> {
        self.dataset_types.get(index).copied().ok_or_else(|| {
            RegistryError::DatasetTypeIndex {
                index,
                defined: self.dataset_types.len(),
            }
            .into()
        })
    }

    pub(super) fn formatter(
        &mut self,
        connection: &Connection,
        name: Option<&str>,
    ) -> Result<Option<i64>, Failure> {
        let Some(name) = name else { return Ok(None) };
        if let Some(&id) = self.formatters.get(name) {
            return Ok(Some(id));
        }
        let id = names::formatter(connection, name)?;
        self.formatters.insert(name.to_owned(), id);
        Ok(Some(id))
    }
}

/// What one step has done.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Rows of the source taken.
    pub(super) rows: u64,
    /// Whether the source has no more.
    pub(super) ended: bool,
    pub(super) datasets_added: u64,
    pub(super) artifacts_waiting: u64,
}

/// The rows of a stage that are still to be written.
pub(super) enum StageRows<'a> {
    DataIds(Box<dyn DataIdCursor + 'a>),
    Paths(Box<dyn PathCursor + 'a>),
    Datasets(ClaimGroups<'a>),
    Waiting {
        claims: Box<dyn PathCursor + 'a>,
        /// Whether a claim may be another's or confirmed already, so that its record must be read.
        look: bool,
        /// The path of the last claim that waits: what shares it is the same artifact, and
        /// between two commits it may have been confirmed.
        last: String,
    },
}

impl<'a> StageRows<'a> {
    /// Opens the rows of the marker's stage and passes over those that are done.
    pub(super) fn open(
        connection: &Connection,
        registration: &'a Registration<'a>,
        ids: &Ids,
        marker: &Marker,
    ) -> Result<Self, Failure> {
        let source = registration.rows;
        match marker.stage {
            Stage::DataIds => {
                let mut datasets = source.by_data_id()?;
                for _ in 0..marker.rows_done {
                    datasets.next()?;
                }
                Ok(Self::DataIds(datasets))
            }
            Stage::Paths => {
                let (claims, _) = paths_after(registration, marker.rows_done)?;
                Ok(Self::Paths(claims))
            }
            Stage::Datasets => {
                let mut claims = source.by_dataset()?;
                for _ in 0..marker.rows_done {
                    claims.next()?;
                }
                Ok(Self::Datasets(ClaimGroups::over(claims)?))
            }
            Stage::Waiting | Stage::Done => {
                let (claims, last) = paths_after(registration, marker.rows_done)?;
                let look = marker.overlaps
                    || !ids.unwanted.is_empty()
                    || marker.datasets_added != source.datasets()
                    || claims_of_run(connection, ids.run_id)? != source.claims();
                // Where records are read, the last claim done may have been passed over.
                let last = if look { String::new() } else { last };
                Ok(Self::Waiting { claims, look, last })
            }
        }
    }

    /// Writes up to `budget` rows.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        registration: &Registration<'_>,
        ids: &mut Ids,
        budget: u64,
    ) -> Result<Step, Failure> {
        match self {
            Self::DataIds(rows) => data_ids(connection, registration, ids, rows.as_mut(), budget),
            Self::Paths(rows) => paths(connection, ids, rows.as_mut(), budget),
            Self::Datasets(groups) => {
                datasets::write(connection, registration, ids, groups, budget)
            }
            Self::Waiting { claims, look, last } => {
                waiting(connection, ids, (claims.as_mut(), last), *look, budget)
            }
        }
    }
}

/// The claims after `rows_done`, and the path of the last of those done.
fn paths_after<'a>(
    registration: &'a Registration<'a>,
    rows_done: u64,
) -> Result<(Box<dyn PathCursor + 'a>, String), Failure> {
    let mut claims = registration.rows.by_path()?;
    let mut last = String::new();
    for done in 1..=rows_done {
        let claim = claims.next()?;
        if let Some(claim) = claim.filter(|_| done == rows_done) {
            claim.path.clone_into(&mut last);
        }
    }
    Ok((claims, last))
}

fn claims_of_run(connection: &Connection, run_id: i64) -> Result<u64, Failure> {
    Ok(connection
        .prepare_cached("SELECT claims FROM run WHERE run_id = ?1")?
        .query_row([run_id], |row| rows::counter(row, 0))?)
}

fn data_ids(
    connection: &Connection,
    registration: &Registration<'_>,
    ids: &Ids,
    datasets: &mut dyn DataIdCursor,
    budget: u64,
) -> Result<Step, Failure> {
    let mut add = connection.prepare_cached(
        "INSERT OR IGNORE INTO dataset_by_data_id (run_id, dataset_type_id, data_id, uuid)
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut step = Step::default();
    while step.rows < budget {
        let Some(dataset) = datasets.next()? else {
            step.ended = true;
            break;
        };
        step.rows += 1;
        let dataset_type_id = ids.dataset_type(dataset.dataset_type)?;
        let added = add.execute(params![
            ids.run_id,
            dataset_type_id,
            dataset.data_id,
            dataset.uuid.0.as_bytes()
        ])?;
        if added == 0 {
            take_data_id(
                connection,
                registration,
                (ids.run_id, dataset_type_id),
                &dataset,
            )?;
        }
    }
    Ok(step)
}

/// Takes a data ID that has an entry already, if that is this dataset's own or nobody's.
fn take_data_id(
    connection: &Connection,
    registration: &Registration<'_>,
    (run_id, dataset_type_id): (i64, i64),
    dataset: &DataIdRow<'_>,
) -> Result<(), Failure> {
    let held_by = connection
        .prepare_cached(HELD_DATA_ID)?
        .query_row(params![run_id, dataset_type_id, dataset.data_id], |row| {
            rows::dataset_id(row, 0)
        })
        .optional()?;
    match held_by {
        Some(held_by) if held_by == dataset.uuid => {}
        Some(held_by) => {
            return Err(Failure::Conflict(Box::new(Conflict::DataIdHeld {
                run: registration.run.clone(),
                dataset_type: names::dataset_type_name(connection, dataset_type_id)?,
                data_id: dataset.data_id.to_owned(),
                uuid: dataset.uuid,
                held_by,
            })));
        }
        None => {
            connection
                .prepare_cached(
                    "UPDATE dataset_by_data_id SET uuid = ?4
                     WHERE run_id = ?1 AND dataset_type_id = ?2 AND data_id = ?3",
                )?
                .execute(params![
                    run_id,
                    dataset_type_id,
                    dataset.data_id,
                    dataset.uuid.0.as_bytes()
                ])?;
        }
    }
    Ok(())
}

fn paths(
    connection: &Connection,
    ids: &Ids,
    claims: &mut dyn PathCursor,
    budget: u64,
) -> Result<Step, Failure> {
    let mut add = connection.prepare_cached(
        "INSERT OR IGNORE INTO record_by_path (root_id, path, uuid, component)
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut step = Step::default();
    while step.rows < budget {
        let Some(claim) = claims.next()? else {
            step.ended = true;
            break;
        };
        step.rows += 1;
        add.execute(params![
            ids.root_id,
            claim.path,
            claim.uuid.0.as_bytes(),
            claim.component
        ])?;
    }
    Ok(step)
}

/// Lets claims that are not confirmed wait for their artifacts.
///
/// Where nobody else has touched the run, no record need be read: [`confirm`](super::confirm)
/// confirms only what waits, so a claim that does not wait yet is not confirmed.
fn waiting(
    connection: &Connection,
    ids: &Ids,
    (claims, last): (&mut dyn PathCursor, &mut String),
    look: bool,
    budget: u64,
) -> Result<Step, Failure> {
    let mut waits = connection.prepare_cached(
        "SELECT 1 FROM waiting WHERE run_id = ?1 AND root_id = ?2 AND path = ?3 LIMIT 1",
    )?;
    let mut step = Step::default();
    while step.rows < budget {
        let Some(claim) = claims.next()? else {
            step.ended = true;
            break;
        };
        step.rows += 1;
        let counted = claim.path == last.as_str()
            || look && waits.exists(params![ids.run_id, ids.root_id, claim.path])?;
        let added = if look {
            wait_as_registered(connection, ids, &claim)?
        } else {
            wait_as_claimed(connection, ids, &claim)?
        };
        if added {
            step.artifacts_waiting += u64::from(!counted);
            claim.path.clone_into(last);
        }
    }
    Ok(step)
}

fn wait_as_claimed(
    connection: &Connection,
    ids: &Ids,
    claim: &PathRow<'_>,
) -> Result<bool, Failure> {
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO waiting
                 (run_id, root_id, path, uuid, component, size, adler32, md5, sha256)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            ids.run_id,
            ids.root_id,
            claim.path,
            claim.uuid.0.as_bytes(),
            claim.component,
            rows::size_column(claim.path, claim.size)?,
            rows::adler32_column(&claim.checksums),
            rows::md5_column(&claim.checksums),
            rows::sha256_column(&claim.checksums)
        ])?;
    Ok(added > 0)
}

/// What waits is what the record says: a higher generation may say something else of the artifact.
fn wait_as_registered(
    connection: &Connection,
    ids: &Ids,
    claim: &PathRow<'_>,
) -> Result<bool, Failure> {
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO waiting
                 (run_id, root_id, path, uuid, component, size, adler32, md5, sha256)
             SELECT ?1, root_id, path, uuid, component, size, adler32, md5, sha256 FROM record
             WHERE uuid = ?2 AND component = ?3 AND root_id = ?4 AND path = ?5 AND confirmed = 0",
        )?
        .execute(params![
            ids.run_id,
            claim.uuid.0.as_bytes(),
            claim.component,
            ids.root_id,
            claim.path
        ])?;
    Ok(added > 0)
}
