//! Rows of a manifest held in memory: for tests and benchmarks.
//!
//! The product stages rows on disk; nothing here bounds memory.

use std::io;

use runsync_manifest::checksum::Checksums;
use runsync_manifest::name::DatasetId;

use super::record::{
    ClaimCursor, ClaimRow, DataIdCursor, DataIdRow, DimensionKeyCursor, DimensionRow, PathCursor,
    PathRow, RowSource,
};

/// A claim that owns its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryClaim {
    /// The dataset.
    pub uuid: DatasetId,
    /// Component, empty for the whole dataset.
    pub component: String,
    /// Index into the registration's dataset types.
    pub dataset_type: usize,
    /// Canonical data ID.
    pub data_id: String,
    /// Path in the root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Checksums.
    pub checksums: Checksums,
    /// Formatter.
    pub formatter: Option<String>,
}

/// A [`RowSource`] over vectors.
#[derive(Debug, Clone, Default)]
pub struct MemoryRows {
    claims: Vec<MemoryClaim>,
    datasets: Vec<usize>,
    paths: Vec<usize>,
    dimensions: Vec<(String, String, String)>,
    dimension_keys: Vec<(String, String)>,
}

impl MemoryRows {
    /// Sorts claims into each order that may be asked for.
    pub fn new(mut claims: Vec<MemoryClaim>) -> Self {
        claims.sort_unstable_by(|a, b| (a.uuid, &a.component).cmp(&(b.uuid, &b.component)));
        let by = |order: &mut Vec<usize>, key: fn(&MemoryClaim) -> (usize, &str)| {
            order.sort_by(|&a, &b| claims.get(a).map(key).cmp(&claims.get(b).map(key)));
        };
        let mut paths: Vec<usize> = (0..claims.len()).collect();
        by(&mut paths, |claim| (0, &claim.path));
        let mut datasets: Vec<usize> = (0..claims.len()).collect();
        datasets.dedup_by_key(|&mut index| claims.get(index).map(|claim| claim.uuid));
        by(&mut datasets, |claim| (claim.dataset_type, &claim.data_id));
        Self {
            claims,
            datasets,
            paths,
            dimensions: Vec::new(),
            dimension_keys: Vec::new(),
        }
    }

    /// Brings dimension records, as (element, key, record).
    #[must_use]
    pub fn with_dimensions(self, dimensions: Vec<(String, String, String)>) -> Self {
        Self { dimensions, ..self }
    }

    /// Refers to dimension records that the registry must have, as (element, key).
    #[must_use]
    pub fn with_dimension_keys(self, mut dimension_keys: Vec<(String, String)>) -> Self {
        dimension_keys.sort_unstable();
        dimension_keys.dedup();
        Self {
            dimension_keys,
            ..self
        }
    }
}

impl RowSource for MemoryRows {
    fn claims(&self) -> u64 {
        self.claims.len() as u64
    }

    fn datasets(&self) -> u64 {
        self.datasets.len() as u64
    }

    fn bytes(&self) -> u64 {
        let sizes = self.claims.iter().map(|claim| claim.size);
        sizes.fold(0, u64::saturating_add)
    }

    fn dimensions(
        &self,
        each: &mut dyn FnMut(DimensionRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.dimensions
            .iter()
            .try_for_each(|(element, key, record)| {
                each(DimensionRow {
                    element,
                    key,
                    record,
                })
            })
    }

    fn dimension_keys(&self) -> io::Result<Box<dyn DimensionKeyCursor + '_>> {
        Ok(Box::new(Cursor(Box::new(self.dimension_keys.iter()))))
    }

    fn by_dataset(&self) -> io::Result<Box<dyn ClaimCursor + '_>> {
        Ok(Box::new(Cursor(Box::new(self.claims.iter()))))
    }

    fn by_data_id(&self) -> io::Result<Box<dyn DataIdCursor + '_>> {
        let claims = self.datasets.iter().filter_map(|&at| self.claims.get(at));
        Ok(Box::new(Cursor(Box::new(claims))))
    }

    fn by_path(&self) -> io::Result<Box<dyn PathCursor + '_>> {
        let claims = self.paths.iter().filter_map(|&at| self.claims.get(at));
        Ok(Box::new(Cursor(Box::new(claims))))
    }
}

struct Cursor<'a, T>(Box<dyn Iterator<Item = &'a T> + 'a>);

impl ClaimCursor for Cursor<'_, MemoryClaim> {
    fn next(&mut self) -> io::Result<Option<ClaimRow<'_>>> {
        Ok(self.0.next().map(|claim| ClaimRow {
            uuid: claim.uuid,
            component: &claim.component,
            dataset_type: claim.dataset_type,
            data_id: &claim.data_id,
            path: &claim.path,
            size: claim.size,
            checksums: claim.checksums,
            formatter: claim.formatter.as_deref(),
        }))
    }
}

impl DataIdCursor for Cursor<'_, MemoryClaim> {
    fn next(&mut self) -> io::Result<Option<DataIdRow<'_>>> {
        Ok(self.0.next().map(|claim| DataIdRow {
            dataset_type: claim.dataset_type,
            data_id: &claim.data_id,
            uuid: claim.uuid,
        }))
    }
}

impl PathCursor for Cursor<'_, MemoryClaim> {
    fn next(&mut self) -> io::Result<Option<PathRow<'_>>> {
        Ok(self.0.next().map(|claim| PathRow {
            path: &claim.path,
            uuid: claim.uuid,
            component: &claim.component,
            size: claim.size,
            checksums: claim.checksums,
        }))
    }
}

impl DimensionKeyCursor for Cursor<'_, (String, String)> {
    fn next(&mut self) -> io::Result<Option<(&str, &str)>> {
        Ok(self
            .0
            .next()
            .map(|(element, key)| (element.as_str(), key.as_str())))
    }
}
