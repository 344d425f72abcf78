//! Holds the rows of one manifest in bounded memory, in every order that a registry asks for.
//!
//! [`parse`](super::parse) stages rows while it reads; what comes out is checked against
//! itself (no UUID with two contents, no data ID twice, no path with two contents), so the
//! registry need only compare it with what it holds.

mod contradiction;

mod dimensions;

mod encode;

use std::io;
use std::path::Path;

use runsync_manifest::dimension::DimensionRecords;
use runsync_manifest::entry::DatasetEntry;
use runsync_manifest::header::DatasetType;

pub use self::contradiction::Contradiction;
use self::dimensions::{DimensionStaging, StagedDimensions};
use crate::registry::record::{
    ClaimCursor, ClaimRow, DataIdCursor, DataIdRow, DimensionKeyCursor, DimensionRow, PathCursor,
    PathRow, RowSource,
};
use crate::sorting::{Cursor, Sorted, Sorter};

/// Memory of each of the three row sorters. Together with SQLite's page cache they keep a
/// registration of any size well below 150 MB.
const ROW_BUDGET_BYTES: usize = 16 << 20;

/// Takes the lines of a manifest.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    dataset_types: &'a [DatasetType],
    dimensions: DimensionStaging,
    by_dataset: Sorter,
    by_data_id: Sorter,
    by_path: Sorter,
    data_id: Vec<u8>,
    buffer: Vec<u8>,
    lines: u64,
}

/// The rows of a manifest that does not contradict itself.
#[derive(Debug)]
pub struct StagedRows {
    dimensions: StagedDimensions,
    by_dataset: Sorted,
    by_data_id: Sorted,
    by_path: Sorted,
    counts: contradiction::Counts,
}

/// Why rows cannot be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Scratch files cannot be written or read.
    #[error("cannot use scratch files for staged rows")]
    Scratch(#[from] io::Error),
    /// The manifest contradicts itself.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

impl<'a> Staging<'a> {
    pub(super) fn new(scratch: &Path, dataset_types: &'a [DatasetType]) -> io::Result<Self> {
        Ok(Self {
            dataset_types,
            dimensions: DimensionStaging::new(scratch)?,
            by_dataset: Sorter::new(scratch, ROW_BUDGET_BYTES),
            by_data_id: Sorter::new(scratch, ROW_BUDGET_BYTES),
            by_path: Sorter::new(scratch, ROW_BUDGET_BYTES),
            data_id: Vec::new(),
            buffer: Vec::new(),
            lines: 0,
        })
    }

    /// Takes a dimension line.
    pub(super) fn dimension(&mut self, line: &DimensionRecords) -> io::Result<()> {
        self.dimensions.records(line)
    }

    /// Takes a dataset line; `dataset_type` is an index into the header's.
    pub(super) fn dataset(
        &mut self,
        entry: &DatasetEntry<'_>,
        dataset_type: usize,
    ) -> io::Result<()> {
        self.lines += 1;
        self.data_id.clear();
        entry.data_id.write_canonical(&mut self.data_id);
        let data_id = std::str::from_utf8(&self.data_id)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let claim = ClaimRow {
            uuid: entry.uuid,
            component: entry.component.as_deref().unwrap_or_default(),
            dataset_type,
            data_id,
            path: &entry.path,
            size: entry.size,
            checksums: entry.checksums,
            formatter: entry.formatter.as_deref(),
        };
        encode::claim(&claim, &mut self.buffer);
        self.by_dataset.push(&self.buffer)?;
        let ClaimRow {
            uuid,
            component,
            path,
            size,
            checksums,
            ..
        } = claim;
        encode::data_id(
            &DataIdRow {
                dataset_type,
                data_id,
                uuid,
            },
            &mut self.buffer,
        );
        self.by_data_id.push(&self.buffer)?;
        encode::path(
            &PathRow {
                path,
                uuid,
                component,
                size,
                checksums,
            },
            &mut self.buffer,
        );
        self.by_path.push(&self.buffer)?;
        let types = self.dataset_types.get(dataset_type);
        types
            .into_iter()
            .flat_map(|found| &found.dimensions)
            .try_for_each(|dimension| self.dimensions.needs(dimension, &entry.data_id))
    }

    /// Sorts, and checks the manifest against itself.
    pub(super) fn finish(mut self) -> Result<StagedRows, StageError> {
        for sorter in [
            &mut self.by_dataset,
            &mut self.by_data_id,
            &mut self.by_path,
        ] {
            sorter.flush()?;
        }
        let mut rows = StagedRows {
            dimensions: self.dimensions.finish()?,
            by_dataset: self.by_dataset.sort()?,
            by_data_id: self.by_data_id.sort()?,
            by_path: self.by_path.sort()?,
            counts: contradiction::Counts::default(),
        };
        rows.counts = contradiction::check(&rows, self.dataset_types, self.lines)?;
        Ok(rows)
    }
}

impl StagedRows {
    /// Bytes of rows held in memory, not on disk.
    pub fn memory_bytes(&self) -> usize {
        let rows = [&self.by_dataset, &self.by_data_id, &self.by_path];
        let rows: usize = rows.into_iter().map(Sorted::memory_bytes).sum();
        rows + self.dimensions.memory_bytes()
    }

    /// Dataset lines that repeat another line word for word.
    pub fn repeated_lines(&self) -> u64 {
        self.counts.repeated
    }
}

impl RowSource for StagedRows {
    fn claims(&self) -> u64 {
        self.counts.claims
    }

    fn datasets(&self) -> u64 {
        self.counts.datasets
    }

    fn bytes(&self) -> u64 {
        self.counts.bytes
    }

    fn dimensions(
        &self,
        each: &mut dyn FnMut(DimensionRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.dimensions.each(each)
    }

    fn dimension_keys(&self) -> io::Result<Box<dyn DimensionKeyCursor + '_>> {
        Ok(Box::new(self.dimensions.keys()?))
    }

    fn by_dataset(&self) -> io::Result<Box<dyn ClaimCursor + '_>> {
        Ok(Box::new(Decoding(self.by_dataset.cursor_ahead()?)))
    }

    fn by_data_id(&self) -> io::Result<Box<dyn DataIdCursor + '_>> {
        Ok(Box::new(Decoding(self.by_data_id.cursor_ahead()?)))
    }

    fn by_path(&self) -> io::Result<Box<dyn PathCursor + '_>> {
        Ok(Box::new(Decoding(self.by_path.cursor_ahead()?)))
    }
}

/// A cursor whose records are rows.
struct Decoding<'a>(Cursor<'a>);

impl ClaimCursor for Decoding<'_> {
    fn next(&mut self) -> io::Result<Option<ClaimRow<'_>>> {
        self.0.next()?.map(encode::read_claim).transpose()
    }
}

impl DataIdCursor for Decoding<'_> {
    fn next(&mut self) -> io::Result<Option<DataIdRow<'_>>> {
        self.0.next()?.map(encode::read_data_id).transpose()
    }
}

impl PathCursor for Decoding<'_> {
    fn next(&mut self) -> io::Result<Option<PathRow<'_>>> {
        self.0.next()?.map(encode::read_path).transpose()
    }
}
