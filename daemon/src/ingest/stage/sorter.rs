//! Sorts byte records in bounded memory: an arena, and sorted runs on disk once it is full.
//!
//! Records compare byte by byte, so a caller encodes its key first and in an order that
//! bytes keep. Equal records collapse into one. The files have no names: a crash leaves
//! nothing behind.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of each run that a cursor holds in memory.
const READ_BUFFER_BYTES: usize = 128 * 1024;
/// A record's length on disk, little-endian.
const LENGTH_BYTES: usize = 4;

/// Takes records in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    scratch: PathBuf,
    budget_bytes: usize,
    arena: Arena,
    runs: Vec<File>,
    last: Vec<u8>,
}

/// Records of one sorter, sorted; read as often as wanted.
#[derive(Debug)]
pub(super) struct Sorted {
    arena: Arena,
    runs: Vec<File>,
}

impl Sorter {
    /// A sorter that holds `budget_bytes` of records in memory and the rest in nameless
    /// files in `scratch`.
    pub(super) fn new(scratch: &Path, budget_bytes: usize) -> Self {
        Self {
            scratch: scratch.to_owned(),
            budget_bytes,
            arena: Arena::default(),
            runs: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        if !self.last.is_empty() && self.last == record {
            return Ok(());
        }
        self.last.clear();
        self.last.extend_from_slice(record);
        self.arena.push(record)?;
        if self.arena.memory_bytes() >= self.budget_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Sorts what is there.
    pub(super) fn sort(mut self) -> io::Result<Sorted> {
        if self.runs.is_empty() {
            self.arena.sort();
        } else {
            self.spill()?;
            self.arena = Arena::default();
        }
        Ok(Sorted {
            arena: self.arena,
            runs: self.runs,
        })
    }

    fn spill(&mut self) -> io::Result<()> {
        self.arena.sort();
        let mut writer = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&self.scratch)?);
        for position in 0..self.arena.len() {
            let record = self.arena.get(position);
            writer.write_all(&length(record)?.to_le_bytes())?;
            writer.write_all(record)?;
        }
        self.runs.push(
            writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?,
        );
        self.arena.clear();
        Ok(())
    }
}

fn length(record: &[u8]) -> io::Result<u32> {
    u32::try_from(record.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record of 4 GiB or more"))
}

impl Sorted {
    /// Bytes of records held in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes()
    }

    /// A cursor over the records, smallest first, equal ones once.
    pub(super) fn cursor(&self) -> io::Result<Cursor<'_>> {
        let runs = self
            .runs
            .iter()
            .map(RunReader::new)
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Cursor {
            arena: &self.arena,
            position: 0,
            heap: runs.into_iter().flatten().collect(),
            current: Vec::new(),
        })
    }
}

/// Lends records in order.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    arena: &'a Arena,
    position: usize,
    heap: BinaryHeap<RunReader<'a>>,
    current: Vec<u8>,
}

impl Cursor<'_> {
    /// The next record.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.heap.is_empty() && self.position == 0 && self.arena.len() == 0 {
            return Ok(None);
        }
        if self.arena.len() > 0 {
            return Ok(self.next_in_memory());
        }
        self.next_of_runs()
    }

    fn next_in_memory(&mut self) -> Option<&[u8]> {
        let position = self.position;
        if position >= self.arena.len() {
            return None;
        }
        let record = self.arena.get(position);
        self.position += 1;
        while self.position < self.arena.len() && self.arena.get(self.position) == record {
            self.position += 1;
        }
        Some(record)
    }

    fn next_of_runs(&mut self) -> io::Result<Option<&[u8]>> {
        let mut first = true;
        loop {
            let Some(mut least) = self.heap.peek_mut() else {
                return Ok((!first).then_some(self.current.as_slice()));
            };
            if first {
                self.current.clear();
                self.current.extend_from_slice(least.record());
                first = false;
            } else if least.record() != self.current.as_slice() {
                return Ok(Some(self.current.as_slice()));
            }
            if !least.advance()? {
                std::collections::binary_heap::PeekMut::pop(least);
            }
        }
    }
}

/// Records one after another, and where each lies.
#[derive(Debug, Default)]
struct Arena {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// A record's place, with its first bytes beside it: most comparisons end there.
#[derive(Debug, Clone, Copy)]
struct Place {
    prefix: u64,
    start: u32,
    length: u32,
}

impl Arena {
    fn push(&mut self, record: &[u8]) -> io::Result<()> {
        let start = u32::try_from(self.bytes.len())
            .map_err(|_| io::Error::new(io::ErrorKind::OutOfMemory, "an arena of 4 GiB"))?;
        self.places.push(Place {
            prefix: prefix(record),
            start,
            length: length(record)?,
        });
        self.bytes.extend_from_slice(record);
        Ok(())
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Place>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    fn get(&self, position: usize) -> &[u8] {
        self.places
            .get(position)
            .map_or(&[], |place| record_at(&self.bytes, *place))
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by(|a, b| {
            a.prefix
                .cmp(&b.prefix)
                .then_with(|| record_at(bytes, *a).cmp(record_at(bytes, *b)))
        });
    }
}

fn record_at(bytes: &[u8], place: Place) -> &[u8] {
    let start = place.start as usize;
    bytes
        .get(start..start + place.length as usize)
        .unwrap_or_default()
}

fn prefix(record: &[u8]) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(record) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

/// Reads one sorted run by position, so that several cursors can share its file.
#[derive(Debug)]
struct RunReader<'a> {
    file: &'a File,
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    length: usize,
}

impl<'a> RunReader<'a> {
    /// A reader at the first record; `None` for an empty run.
    fn new(file: &'a File) -> io::Result<Option<Self>> {
        let mut reader = Self {
            file,
            offset: 0,
            buffer: Vec::new(),
            start: 0,
            length: 0,
        };
        Ok(reader.advance()?.then_some(reader))
    }

    fn record(&self) -> &[u8] {
        self.buffer
            .get(self.start..self.start + self.length)
            .unwrap_or_default()
    }

    /// Moves on to the next record; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
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
        self.buffer.resize(wanted.max(READ_BUFFER_BYTES), 0);
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

// The heap gives the greatest; the smallest record is the greatest reader.
impl Ord for RunReader<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.record().cmp(self.record())
    }
}

impl PartialOrd for RunReader<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RunReader<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.record() == other.record()
    }
}

impl Eq for RunReader<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted_with(records: &[Vec<u8>], budget_bytes: usize) -> Vec<Vec<u8>> {
        let scratch = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(scratch.path(), budget_bytes);
        for record in records {
            sorter.push(record).unwrap();
        }
        let records = sorter.sort().unwrap();
        let read = || {
            let mut cursor = records.cursor().unwrap();
            let mut read = Vec::new();
            while let Some(record) = cursor.next().unwrap() {
                read.push(record.to_vec());
            }
            read
        };
        let once = read();
        assert_eq!(once, read(), "a second cursor reads the same");
        assert_eq!(
            std::fs::read_dir(scratch.path()).unwrap().count(),
            0,
            "no file has a name"
        );
        once
    }

    proptest! {
        #[test]
        fn gives_each_record_once_in_order_whatever_the_memory(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..200),
            budget_bytes in 1usize..4000,
        ) {
            let mut expected = records.clone();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(sorted_with(&records, budget_bytes), expected);
        }
    }

    #[test]
    fn reads_records_longer_than_a_read_buffer() {
        let long = vec![7; READ_BUFFER_BYTES * 2];
        let records = vec![long.clone(), vec![1], long.clone(), vec![9]];
        assert_eq!(sorted_with(&records, 1), vec![vec![1], long, vec![9]]);
    }
}
