//! Cuts a manifest's bytes into lines, in bounded memory.

use std::io::Read;
use std::ops::Range;

use sha2::Digest as _;

use crate::checksum::Sha256;
use crate::error::{Limit, ReadError};
use crate::limits::Limits;
use crate::source::{Block, Blocks, Source};

/// The lines of a manifest.
pub(crate) struct Lines<R> {
    blocks: Blocks<R>,
    block: Block,
    /// Where the next line starts in the block.
    start: usize,
    line_bytes_max: usize,
    /// The number of the line last returned.
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, limits: Limits) -> Result<Self, ReadError> {
        let source = Source::new(input, limits)?;
        Ok(Self::over(Blocks::Now(Box::new(source)), limits))
    }

    fn over(blocks: Blocks<R>, limits: Limits) -> Self {
        Self {
            blocks,
            block: Block::default(),
            start: 0,
            line_bytes_max: usize::try_from(limits.line_bytes_max).unwrap_or(usize::MAX),
            number: 0,
        }
    }

    /// The number of the line last returned, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Finds the next whole line; where it lies is told without its `\n`.
    pub(crate) fn next(&mut self) -> Result<Range<usize>, ReadError> {
        let line = self.number + 1;
        if self.start == self.block.bytes.len() && !self.next_block()? {
            return Err(ReadError::Incomplete { line });
        }
        let rest = self.block.bytes.get(self.start..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).ok_or(ReadError::Incomplete { line })?;
        if length > self.line_bytes_max {
            return Err(ReadError::LimitExceeded {
                line,
                limit: Limit::LineBytes,
                most: self.line_bytes_max as u64,
            });
        }
        let range = self.start..self.start + length;
        self.start = range.end + 1;
        self.number = line;
        Ok(range)
    }

    fn next_block(&mut self) -> Result<bool, ReadError> {
        let used = std::mem::take(&mut self.block);
        self.start = 0;
        let next = self.blocks.next(used, self.number + 1)?;
        let is_there = next.is_some();
        self.block = next.unwrap_or_default();
        Ok(is_there)
    }

    /// Whether nothing more comes, not even a byte. The line last found is gone then.
    pub(crate) fn at_end(&mut self) -> Result<bool, ReadError> {
        if self.start < self.block.bytes.len() {
            return Ok(false);
        }
        Ok(!self.next_block()?)
    }

    /// A line just found.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.block.bytes.get(range).unwrap_or_default()
    }

    /// A line just found, as text.
    pub(crate) fn text(&self, range: Range<usize>) -> Result<&str, ReadError> {
        let bytes = self.bytes(range);
        let wrong = |at: usize, found| ReadError::NotText {
            line: self.number,
            column: at as u64 + 1,
            found,
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| wrong(error.valid_up_to(), "bytes that are not UTF-8"))?;
        if text.is_empty() {
            return Err(wrong(0, "an empty line"));
        }
        if text.starts_with('\u{feff}') {
            return Err(wrong(0, "a byte order mark"));
        }
        if let Some(at) = memchr::memchr(b'\r', bytes) {
            return Err(wrong(at, "a carriage return"));
        }
        Ok(text)
    }

    /// The SHA-256 of all bytes before a line just found; `None` where more lines follow it.
    pub(crate) fn digest_before(&self, line: &Range<usize>) -> Option<Sha256> {
        (line.start == self.block.last_line)
            .then(|| Sha256(self.block.hash.clone().finalize().into()))
    }
}

impl<R: Read + Send + 'static> Lines<R> {
    /// Lines that a thread reads, unpacks and hashes ahead.
    pub(crate) fn ahead(input: R, limits: Limits) -> Result<Self, ReadError> {
        let blocks = Source::new(input, limits)?.ahead()?;
        Ok(Self::over(blocks, limits))
    }
}
