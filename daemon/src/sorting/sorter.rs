//! Sorts byte records in bounded memory: an arena, and sorted runs on disk once it is full.
//!
//! Records compare byte by byte, so a caller encodes its key first and in an order that
//! bytes keep. Equal records collapse into one. A full arena is sorted and written by a thread of
//! its own while the next one fills. The files have no names: a crash leaves nothing behind.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::arena::Arena;
use super::merge::{Ahead, Merge};
use super::run;

/// Takes records in any order.
#[derive(Debug)]
pub(crate) struct Sorter {
    scratch: PathBuf,
    arena_bytes: usize,
    arena: Arena,
    /// An arena on its way to disk; it comes back empty, with its run.
    spilling: Option<JoinHandle<io::Result<(File, Arena)>>>,
    runs: Vec<Arc<File>>,
    common: Option<Vec<u8>>,
}

/// Records of one sorter, sorted; read as often as wanted.
#[derive(Debug)]
pub(crate) struct Sorted {
    arena: Arena,
    runs: Vec<Arc<File>>,
    common: usize,
}

impl Sorter {
    /// A sorter that holds `budget_bytes` of records in memory and the rest in nameless
    /// files in `scratch`.
    pub(crate) fn new(scratch: &Path, budget_bytes: usize) -> Self {
        Self {
            scratch: scratch.to_owned(),
            // One fills while the other is written.
            arena_bytes: budget_bytes / 2,
            arena: Arena::default(),
            spilling: None,
            runs: Vec::new(),
            common: None,
        }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        self.note_common(record);
        self.arena.push(record)?;
        if self.arena.memory_bytes() >= self.arena_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Keeps what all records start with.
    fn note_common(&mut self, record: &[u8]) {
        match &mut self.common {
            Some(common) if record.starts_with(common) => {}
            Some(common) => {
                let same = common.iter().zip(record).take_while(|(a, b)| a == b);
                let length = same.count();
                common.truncate(length);
            }
            None => self.common = Some(record.to_vec()),
        }
    }

    fn common(&self) -> usize {
        self.common.as_ref().map_or(0, Vec::len)
    }

    /// Sends what is still in memory on its way, where [`sort`](Self::sort) would have to wait for it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let on_disk = self.spilling.is_some() || !self.runs.is_empty();
        if on_disk && self.arena.len() > 0 {
            self.spill()?;
        }
        Ok(())
    }

    /// Sorts what is there.
    pub(crate) fn sort(mut self) -> io::Result<Sorted> {
        self.flush()?;
        let common = self.common();
        if let Some(emptied) = self.written()? {
            self.arena = emptied;
        }
        if self.runs.is_empty() {
            self.arena.sort(common);
        } else {
            self.arena = Arena::default();
        }
        Ok(Sorted {
            arena: self.arena,
            runs: self.runs,
            common,
        })
    }

    fn spill(&mut self) -> io::Result<()> {
        let emptied = self.written()?.unwrap_or_default();
        let mut full = std::mem::replace(&mut self.arena, emptied);
        let (scratch, common) = (self.scratch.clone(), self.common());
        let spilling = thread::Builder::new()
            .name("sort".to_owned())
            .spawn(move || {
                full.sort(common);
                let run = run::write(&full, &scratch)?;
                full.clear();
                Ok((run, full))
            })?;
        self.spilling = Some(spilling);
        Ok(())
    }

    /// Waits until the arena on its way to disk is there, and gives it back empty.
    fn written(&mut self) -> io::Result<Option<Arena>> {
        let Some(spilling) = self.spilling.take() else {
            return Ok(None);
        };
        let lost = |_| Err(io::Error::other("the thread that sorts has panicked"));
        let (run, emptied) = spilling.join().unwrap_or_else(lost)?;
        self.runs.push(Arc::new(run));
        Ok(Some(emptied))
    }
}

impl Sorted {
    /// Bytes of records held in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes()
    }

    /// Whether records lie on disk: only then is a walk worth a thread.
    pub(crate) fn is_on_disk(&self) -> bool {
        !self.runs.is_empty()
    }

    /// A cursor over the records, smallest first, equal ones once.
    pub(crate) fn cursor(&self) -> io::Result<Cursor<'_>> {
        if self.is_on_disk() {
            return Ok(Cursor::Merge(self.merge()?));
        }
        Ok(Cursor::Memory {
            arena: &self.arena,
            position: 0,
        })
    }

    /// As [`cursor`](Self::cursor), for a caller who has much to do with each record: a thread
    /// merges ahead.
    pub(crate) fn cursor_ahead(&self) -> io::Result<Cursor<'_>> {
        if self.is_on_disk() {
            return Ok(Cursor::Ahead(self.merge()?.ahead()?));
        }
        self.cursor()
    }

    fn merge(&self) -> io::Result<Merge> {
        Merge::new(&self.runs, self.common)
    }
}

/// Lends records in order.
#[derive(Debug)]
pub(crate) enum Cursor<'a> {
    /// All are in memory.
    Memory { arena: &'a Arena, position: usize },
    /// Merged when asked for.
    Merge(Merge),
    /// Merged by another thread.
    Ahead(Ahead),
}

impl Cursor<'_> {
    /// The next record.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        match self {
            Self::Memory { arena, position } => Ok(next_in_memory(arena, position)),
            Self::Merge(merge) => merge.next(),
            Self::Ahead(ahead) => ahead.next(),
        }
    }
}

fn next_in_memory<'a>(arena: &'a Arena, position: &mut usize) -> Option<&'a [u8]> {
    if *position >= arena.len() {
        return None;
    }
    let record = arena.get(*position);
    *position += 1;
    while *position < arena.len() && arena.get(*position) == record {
        *position += 1;
    }
    Some(record)
}

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
        let read = |mut cursor: Cursor<'_>| {
            let mut read = Vec::new();
            while let Some(record) = cursor.next().unwrap() {
                read.push(record.to_vec());
            }
            read
        };
        let once = read(records.cursor().unwrap());
        let ahead = read(records.cursor_ahead().unwrap());
        assert_eq!(once, ahead, "a second cursor reads the same");
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
        let long = vec![7; 1 << 20];
        let records = vec![long.clone(), vec![1], long.clone(), vec![9]];
        assert_eq!(sorted_with(&records, 1), vec![vec![1], long, vec![9]]);
    }
}
