//! Writes a manifest as a stream: records in, canonical bytes out.

use std::io::Write;

use crate::dimension::DimensionRecords;
use crate::entry::DatasetEntry;
use crate::error::WriteError;
use crate::header::Header;
use crate::signature::SigningKey;
use crate::trailer::Trailer;

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Plain,
    /// One zstd frame at this level.
    Zstd(i32),
}

/// A writer that has written the header.
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Starts a manifest: checks the header and writes it.
    pub fn new(output: W, packing: Packing, header: &Header) -> Result<Self, WriteError> {
        let _ = (output, packing, header);
        todo!()
    }

    /// Writes a dimension line. Only before the first dataset line.
    pub fn dimension(&mut self, records: &DimensionRecords) -> Result<(), WriteError> {
        let _ = (records, &self.output);
        todo!()
    }

    /// Writes a dataset line. The caller brings them in UUID order (readers take any).
    pub fn dataset(&mut self, entry: &DatasetEntry<'_>) -> Result<(), WriteError> {
        let _ = entry;
        todo!()
    }

    /// Writes the trailer, ends the packing, and returns the output (not synced).
    pub fn finish(self, key: Option<&SigningKey>) -> Result<(W, Trailer), WriteError> {
        let _ = key;
        todo!()
    }
}
