//! Merges the dimension records of a run's manifests into what one snapshot says.
//!
//! Every file of dimension records leaves a manifest. The registry does not tell which of them brought a record, so
//! what is merged is read from the manifests themselves, by generation: the first definition of a record stays, as it
//! does when they are registered.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use runsync_manifest::dimension::DimensionRecords;
use runsync_manifest::header::UniverseVersion;

use super::error::AdoptError;
use super::flow::Place;
use crate::datastore::DatastoreError;
use crate::ingest::parse;
use crate::ledger::record::ManifestRow;
use crate::registry::record::RowSource;

/// All records are held to be merged; those of a whole survey come to some tens of megabytes.
const MERGED_BYTES_MAX: usize = 256 << 20;

/// Dimension records of several manifests.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The latest universe that any of them names.
    pub(super) universe: Option<UniverseVersion>,
    /// Records, canonical JSON, by element and key.
    records: BTreeMap<(Box<str>, Box<str>), Box<str>>,
    bytes: usize,
}

impl Merged {
    /// False where they are more than may be held.
    fn add(&mut self, checked: &parse::Checked) -> Result<bool, AdoptError> {
        let universe = &checked.header.universe;
        if (self.universe.as_ref()).is_none_or(|known| known.version < universe.version) {
            self.universe = Some(universe.clone());
        }
        let all = checked.rows.dimensions(&mut |row| {
            if self.bytes <= MERGED_BYTES_MAX {
                self.records
                    .entry((row.element.into(), row.key.into()))
                    .or_insert_with(|| {
                        self.bytes += row.element.len() + row.key.len() + row.record.len();
                        row.record.into()
                    });
            }
            Ok(())
        });
        all.map_err(AdoptError::Scratch)?;
        Ok(self.bytes <= MERGED_BYTES_MAX)
    }

    /// Whether all that a manifest says is in it.
    pub(super) fn holds(&self, rows: &dyn RowSource) -> Result<bool, AdoptError> {
        let mut holds = true;
        let all = rows.dimensions(&mut |row| {
            let key = (row.element.into(), row.key.into());
            holds &= self
                .records
                .get(&key)
                .is_some_and(|one| **one == *row.record);
            Ok(())
        });
        all.map_err(AdoptError::Scratch)?;
        Ok(holds)
    }

    /// As lines of a manifest, one for each element.
    pub(super) fn into_lines(self) -> Result<Vec<DimensionRecords>, AdoptError> {
        let mut lines: Vec<DimensionRecords> = Vec::new();
        for ((element, _), record) in self.records {
            let record = serde_json::from_str(&record).map_err(AdoptError::Garbled)?;
            match lines.last_mut() {
                Some(last) if *last.element == *element => last.records.push(record),
                Some(_) | None => lines.push(DimensionRecords {
                    element: element.into(),
                    records: vec![record],
                }),
            }
        }
        Ok(lines)
    }
}

impl Place {
    /// The dimension records of manifests of the root, in their order; `None` where one is not there as it was
    /// registered, or all are more than may be held.
    pub(super) fn merge<'a>(
        &self,
        manifests: impl IntoIterator<Item = &'a ManifestRow>,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Merged>, AdoptError> {
        let mut merged = Merged::default();
        for row in manifests {
            let Some(checked) = self.read_manifest(row, progress)? else {
                return Ok(None);
            };
            if !merged.add(&checked)? {
                return Ok(None);
            }
        }
        Ok(Some(merged))
    }

    /// The manifest as it was registered; `None` where it is not there so.
    fn read_manifest(
        &self,
        row: &ManifestRow,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<parse::Checked>, AdoptError> {
        if row.location.root != self.flow.root().name {
            return Ok(None);
        }
        let site = self.flow.site();
        let file = match self.flow.datastore().open_manifest(&row.location.path) {
            Ok((file, _)) => file,
            Err(DatastoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let checked = parse::check(file, site.limits, &site.scratch, &mut |_| progress())?;
        let registered = row.summary.as_ref().and_then(|summary| summary.digest);
        Ok(Some(checked).filter(|checked| registered == Some(checked.trailer.sha256)))
    }
}
