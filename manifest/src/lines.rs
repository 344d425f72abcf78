//! Cuts a stream of bytes into lines and hashes them, in bounded memory.

use std::io::Read;
use std::ops::Range;

use sha2::Digest as _;

use crate::checksum::Sha256;
use crate::error::{Limit, ReadError};
use crate::limits::Limits;
use crate::unpack::Unpack;

/// 256 KiB to begin with; it grows to the longest line allowed and no further.
const BUFFER_BYTES: usize = 256 << 10;

/// The lines of a manifest.
pub(crate) struct Lines<R> {
    source: Unpack<R>,
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// Where the bytes read so far end.
    end: usize,
    /// Up to where they were hashed.
    hashed: usize,
    hash: sha2::Sha256,
    line_bytes_max: usize,
    /// The number of the line last returned.
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, limits: Limits) -> Result<Self, ReadError> {
        let line_bytes_max = usize::try_from(limits.line_bytes_max).unwrap_or(usize::MAX);
        Ok(Self {
            source: Unpack::new(input, limits)?,
            buffer: vec![0; BUFFER_BYTES.min(line_bytes_max.saturating_add(1))],
            start: 0,
            end: 0,
            hashed: 0,
            hash: sha2::Sha256::new(),
            line_bytes_max,
            number: 0,
        })
    }

    /// The number of the line last returned, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Finds the next whole line; where it lies is told without its `\n`.
    pub(crate) fn next(&mut self) -> Result<Range<usize>, ReadError> {
        let mut searched = 0;
        let length = loop {
            let open = self.buffer.get(self.start..self.end).unwrap_or_default();
            let fresh = open.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', fresh) {
                break searched + at;
            }
            searched = open.len();
            self.check_length(searched)?;
            if !self.read_more()? {
                return Err(ReadError::Incomplete {
                    line: self.number + 1,
                });
            }
        };
        self.check_length(length)?;
        let range = self.start..self.start + length;
        self.start = range.end + 1;
        self.number += 1;
        Ok(range)
    }

    /// Whether nothing more comes, not even a byte.
    pub(crate) fn at_end(&mut self) -> Result<bool, ReadError> {
        Ok(self.start == self.end && !self.read_more()?)
    }

    /// A line just found, as text.
    pub(crate) fn text(&self, range: Range<usize>) -> Result<&str, ReadError> {
        let bytes = self.buffer.get(range).unwrap_or_default();
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

    /// The SHA-256 of all bytes before a line just found.
    pub(crate) fn digest_before(&mut self, line: &Range<usize>) -> Sha256 {
        self.hash_up_to(line.start);
        Sha256(self.hash.clone().finalize().into())
    }

    fn hash_up_to(&mut self, end: usize) {
        self.hash
            .update(self.buffer.get(self.hashed..end).unwrap_or_default());
        self.hashed = end;
    }

    fn check_length(&self, length: usize) -> Result<(), ReadError> {
        if length > self.line_bytes_max {
            return Err(ReadError::LimitExceeded {
                line: self.number + 1,
                limit: Limit::LineBytes,
                most: self.line_bytes_max as u64,
            });
        }
        Ok(())
    }

    /// Makes room, keeping the open line, and reads once; false at the end.
    fn read_more(&mut self) -> Result<bool, ReadError> {
        self.hash_up_to(self.start);
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.hashed = 0;
        if self.end == self.buffer.len() {
            let most = self.line_bytes_max.saturating_add(1);
            let length = self.buffer.len().saturating_mul(2).min(most);
            self.buffer.resize(length, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = self.source.read(room, self.number + 1)?;
        self.end += count;
        Ok(count > 0)
    }
}
