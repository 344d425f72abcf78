//! What readers leave out: rows of removals that are committed and not reaped.
//!
//! There is next to always nothing, and then a reader pays one look into an empty table.

use std::collections::HashMap;

use runsync_manifest::name::DatasetId;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;

/// Stands for every dataset type.
pub(super) const EVERY_TYPE: i64 = 0;
/// Stands for the datasets that `omitted` lists, whatever their type.
pub(super) const OMITTED: i64 = -1;

/// Whether a row of `hidden` names a row of `dataset`.
pub(super) const HIDES: &str = "hidden.run_id = dataset.run_id \
     AND (hidden.dataset_type_id IN (0, dataset.dataset_type_id) \
         OR hidden.dataset_type_id = -1 AND EXISTS (SELECT 1 FROM omitted \
             WHERE omitted.run_id = dataset.run_id AND omitted.uuid = dataset.uuid))";

/// A hidden part of a run.
#[derive(Debug, Clone, Copy)]
struct Part {
    dataset_type_id: i64,
    datasets: bool,
}

/// All that is hidden.
#[derive(Debug, Default)]
pub(super) struct Hidden(HashMap<i64, Vec<Part>>);

impl Hidden {
    pub(super) fn load(connection: &Connection) -> Result<Self, Failure> {
        let mut statement =
            connection.prepare_cached("SELECT run_id, dataset_type_id, datasets FROM hidden")?;
        let mut rows = statement.query([])?;
        let mut hidden = Self::default();
        while let Some(row) = rows.next()? {
            let part = Part {
                dataset_type_id: row.get(1)?,
                datasets: row.get(2)?,
            };
            hidden.0.entry(row.get(0)?).or_default().push(part);
        }
        Ok(hidden)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything of the run is hidden.
    pub(super) fn concerns(&self, run_id: i64) -> bool {
        self.0.contains_key(&run_id)
    }

    /// Whether none of the run's datasets is shown.
    pub(super) fn hides_datasets(&self, run_id: i64) -> bool {
        self.parts(run_id)
            .any(|part| part.datasets && part.dataset_type_id == EVERY_TYPE)
    }

    /// Whether none of the run's records and claims is shown.
    pub(super) fn hides_all_records(&self, run_id: i64) -> bool {
        self.parts(run_id)
            .any(|part| part.dataset_type_id == EVERY_TYPE)
    }

    /// Whether a dataset's records and claims are left out.
    pub(super) fn hides_records_of(
        &self,
        connection: &Connection,
        dataset: DatasetId,
    ) -> Result<bool, Failure> {
        self.hides(connection, dataset, |_| true)
    }

    /// Whether a dataset is left out.
    pub(super) fn hides_dataset(
        &self,
        connection: &Connection,
        dataset: DatasetId,
    ) -> Result<bool, Failure> {
        self.hides(connection, dataset, |part| part.datasets)
    }

    fn hides(
        &self,
        connection: &Connection,
        dataset: DatasetId,
        counts: impl Fn(Part) -> bool,
    ) -> Result<bool, Failure> {
        let of = connection
            .prepare_cached("SELECT run_id, dataset_type_id FROM dataset WHERE uuid = ?1")?
            .query_row([dataset.0.as_bytes()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let Some((run_id, dataset_type_id)) = of else {
            return Ok(false);
        };
        for part in self.parts(run_id).filter(|&part| counts(part)) {
            let hides = if part.dataset_type_id == OMITTED {
                connection
                    .prepare_cached("SELECT 1 FROM omitted WHERE run_id = ?1 AND uuid = ?2")?
                    .exists(params![run_id, dataset.0.as_bytes()])?
            } else {
                [EVERY_TYPE, dataset_type_id].contains(&part.dataset_type_id)
            };
            if hides {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a query over `waiting` of a run adds to its conditions.
    pub(super) fn waiting_clause(&self, run_id: i64) -> String {
        self.clause(run_id, || {
            format!(
                "AND NOT EXISTS (SELECT 1 FROM dataset JOIN hidden ON {HIDES} \
                 WHERE dataset.uuid = waiting.uuid)"
            )
        })
    }

    /// What a query for the records of a run adds to its conditions over `dataset`.
    pub(super) fn records_clause(&self, run_id: i64) -> String {
        self.clause(run_id, || {
            format!("AND NOT EXISTS (SELECT 1 FROM hidden WHERE {HIDES})")
        })
    }

    /// What a query over `dataset` of a run adds to its conditions.
    pub(super) fn datasets_clause(&self, run_id: i64) -> String {
        self.clause(run_id, || {
            format!("AND NOT EXISTS (SELECT 1 FROM hidden WHERE hidden.datasets AND {HIDES})")
        })
    }

    fn clause(&self, run_id: i64, clause: impl Fn() -> String) -> String {
        if self.concerns(run_id) {
            clause()
        } else {
            String::new()
        }
    }

    fn parts(&self, run_id: i64) -> impl Iterator<Item = Part> {
        self.0.get(&run_id).into_iter().flatten().copied()
    }
}
