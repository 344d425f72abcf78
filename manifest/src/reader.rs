//! Reads a manifest as a stream: bytes in, checked lines out.
//!
//! Memory is bounded by the longest allowed line. Nothing is returned as whole
//! before the trailer was read and its counts and digest agree.

use std::io::Read;

use crate::dimension::DimensionRecords;
use crate::entry::DatasetEntry;
use crate::error::ReadError;
use crate::header::Header;
use crate::limits::Limits;
use crate::trailer::Trailer;

/// One line between header and trailer.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// Records of a dimension element.
    Dimension(DimensionRecords),
    /// One artifact of one dataset.
    Dataset(DatasetEntry<'a>),
}

/// A reader that has read the header.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
}

impl<R: Read> Reader<R> {
    /// Opens a manifest, plain or zstd (told by its first bytes), and reads its header.
    pub fn new(input: R, limits: Limits) -> Result<Self, ReadError> {
        let _ = (input, limits);
        todo!()
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the line last returned; the header is line 1.
    pub fn line_number(&self) -> u64 {
        todo!()
    }

    /// The next line, checked; `None` once the trailer was read and found to match.
    #[expect(clippy::should_implement_trait, reason = "lends from its own buffer")]
    pub fn next(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        let _ = &self.input;
        todo!()
    }

    /// The trailer; `None` before [`next`](Self::next) has returned `None`.
    pub fn trailer(&self) -> Option<&Trailer> {
        todo!()
    }
}
