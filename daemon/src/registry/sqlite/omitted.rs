//! Lists the datasets of a run that its origin leaves out.
//!
//! Both sides come by UUID: the run's datasets from the registry, page by page, and those that stay
//! from a manifest. The list is written in batches and means nothing until a removal is committed
//! that names it, so it may be long.

use std::ops::ControlFlow;

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{DatasetId, RunKey};
use rusqlite::{Connection, params};

use super::failure::Failure;
use super::hidden::Hidden;
use super::removal;
use super::{names, rows};
use crate::registry::RegistryError;
use crate::registry::record::{ClaimCursor, RowSource};
use crate::registry::removal::{Extent, RunPart, Which};
use crate::sqlite::Database;

/// Datasets looked at together.
const PAGE: i64 = 50_000;

/// What stays of a run: datasets that a manifest names.
struct Kept<'a> {
    claims: Option<Box<dyn ClaimCursor + 'a>>,
    next: Option<DatasetId>,
}

impl<'a> Kept<'a> {
    fn of(rows: Option<&'a dyn RowSource>) -> Result<Self, Failure> {
        let mut kept = Self {
            claims: rows.map(RowSource::by_dataset).transpose()?,
            next: None,
        };
        kept.advance()?;
        Ok(kept)
    }

    fn advance(&mut self) -> Result<(), Failure> {
        self.next = match &mut self.claims {
            Some(claims) => claims.next()?.map(|claim| claim.uuid),
            None => None,
        };
        Ok(())
    }

    /// Asked with UUIDs in ascending order.
    fn names(&mut self, dataset: DatasetId) -> Result<bool, Failure> {
        while self.next.is_some_and(|next| next < dataset) {
            self.advance()?;
        }
        Ok(self.next == Some(dataset))
    }
}

/// What is left out of a run: its datasets below a generation that are not kept.
struct Omitted<'a> {
    run_id: i64,
    below: Generation,
    kept: Kept<'a>,
    after: Vec<u8>,
}

impl<'a> Omitted<'a> {
    fn of(
        run_id: i64,
        below: Generation,
        kept: Option<&'a dyn RowSource>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            run_id,
            below,
            kept: Kept::of(kept)?,
            after: Vec::new(),
        })
    }

    /// Those of the next page; `None` after the last.
    fn page(&mut self, connection: &Connection) -> Result<Option<Vec<DatasetId>>, Failure> {
        let Generation { epoch, sequence } = self.below;
        let page: Vec<DatasetId> = connection
            .prepare_cached(
                "SELECT uuid FROM dataset INDEXED BY dataset_by_run
                 WHERE run_id = ?1 AND uuid > ?2 AND (epoch, sequence) < (?3, ?4)
                 ORDER BY uuid LIMIT ?5",
            )?
            .query_map(
                params![self.run_id, self.after, epoch, sequence, PAGE],
                |row| rows::dataset_id(row, 0),
            )?
            .collect::<Result<_, _>>()?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.after = last.0.as_bytes().to_vec();
        let mut omitted = Vec::new();
        for dataset in page {
            if !self.kept.names(dataset)? {
                omitted.push(dataset);
            }
        }
        Ok(Some(omitted))
    }
}

/// How many datasets are left out, of those that readers see.
pub(super) fn count(
    connection: &Connection,
    run: &RunKey,
    below: Generation,
    kept: Option<&dyn RowSource>,
) -> Result<u64, Failure> {
    let Some(run_id) = names::find_run(connection, run)? else {
        return Ok(0);
    };
    if Hidden::load(connection)?.hides_datasets(run_id) {
        return Ok(0);
    }
    let mut omitted = Omitted::of(run_id, below, kept)?;
    let mut count = 0;
    while let Some(page) = omitted.page(connection)? {
        count += page.len() as u64;
    }
    Ok(count)
}

/// Lists them anew, and measures what they hold.
pub(super) fn list(
    database: &Database,
    run: &RunKey,
    below: Generation,
    kept: Option<&dyn RowSource>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Extent, Failure> {
    let begun = database.write(|begun| {
        let missing = || RegistryError::RunMissing { run: run.clone() };
        let run_id = names::find_run(begun, run)?.ok_or_else(missing)?;
        if Hidden::load(begun)?.concerns(run_id) {
            let run = run.clone();
            return Err(RegistryError::RemovalUnderWay { run }.into());
        }
        begun
            .prepare_cached("DELETE FROM omitted WHERE run_id = ?1")?
            .execute([run_id])?;
        Ok::<_, Failure>(run_id)
    });
    let run_id = begun?;
    let mut omitted = Omitted::of(run_id, below, kept)?;
    let mut listed = 0;
    loop {
        let page = database.write(|begun| {
            let page = omitted.page(begun)?;
            let mut add = begun
                .prepare_cached("INSERT OR IGNORE INTO omitted (run_id, uuid) VALUES (?1, ?2)")?;
            for dataset in page.iter().flatten() {
                add.execute(params![run_id, dataset.0.as_bytes()])?;
            }
            Ok::<_, Failure>(page)
        })?;
        let Some(page) = page else { break };
        listed += page.len() as u64;
        if progress(listed).is_break() {
            return Err(RegistryError::Interrupted.into());
        }
    }
    let which = Which::Omitted;
    let run = run.clone();
    let extent = |connection: &Connection| removal::extent(connection, &RunPart { run, which });
    database.read(extent)
}
