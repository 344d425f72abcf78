//! A sorted run on disk: records with their lengths, in a file without a name.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::arena::{Arena, length};

/// A record's length on disk, little-endian.
const LENGTH_BYTES: usize = 4;

/// Writes the records of a sorted arena.
pub(super) fn write(arena: &Arena, scratch: &Path) -> io::Result<File> {
    let mut writer = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(scratch)?);
    for position in 0..arena.len() {
        let record = arena.get(position);
        writer.write_all(&length(record)?.to_le_bytes())?;
        writer.write_all(record)?;
    }
    writer.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Appends a record as it stands in a run.
pub(super) fn append(record: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    to.extend_from_slice(&length(record)?.to_le_bytes());
    to.extend_from_slice(record);
    Ok(())
}

/// The record that starts at `at`, and where the next one does; `None` where there is no whole one.
pub(super) fn record_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (head, rest) = bytes.get(at..)?.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*head) as usize;
    Some((rest.get(..length)?, at + LENGTH_BYTES + length))
}

/// Reads a run by position, so that several readers can share its file.
#[derive(Debug)]
pub(super) struct RunReader {
    file: Arc<File>,
    offset: u64,
    buffer_bytes: usize,
    buffer: Vec<u8>,
    start: usize,
    length: usize,
}

impl RunReader {
    /// A reader at the first record; `None` for an empty run.
    pub(super) fn new(file: Arc<File>, buffer_bytes: usize) -> io::Result<Option<Self>> {
        let mut reader = Self {
            file,
            offset: 0,
            buffer_bytes,
            buffer: Vec::new(),
            start: 0,
            length: 0,
        };
        Ok(reader.advance()?.then_some(reader))
    }

    pub(super) fn record(&self) -> &[u8] {
        self.buffer
            .get(self.start..self.start + self.length)
            .unwrap_or_default()
    }

    /// Moves on to the next record; false at the end.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        self.start += self.length;
        self.length = 0;
        if !self.fill(LENGTH_BYTES)? {
            return Ok(false);
        }
        let Some((head, _)) = self
            .buffer
            .get(self.start..)
            .and_then(|rest| rest.split_first_chunk::<LENGTH_BYTES>())
        else {
            return Ok(false);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if !self.fill(LENGTH_BYTES + length)? {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a sorted run is cut",
            ));
        }
        self.start += LENGTH_BYTES;
        self.length = length;
        Ok(true)
    }

    /// Makes sure that `wanted` bytes stand at `start`; false where the file has fewer.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        let have = self.buffer.len() - self.start;
        if have >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.resize(wanted.max(self.buffer_bytes), 0);
        let mut filled = have;
        while filled < self.buffer.len() {
            let into = self.buffer.get_mut(filled..).unwrap_or_default();
            match self.file.read_at(into, self.offset) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(filled);
        Ok(filled >= wanted)
    }
}
