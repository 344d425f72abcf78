//! Merges sorted runs, in the thread that asks or in one that works ahead of it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::arena;
use super::run::{self, RunReader};

/// Memory of all read buffers of one merge, while its runs are not too many for that.
const BUFFERS_BYTES: usize = 2 << 20;
/// Least and most memory of one read buffer.
const BUFFER_BYTES: (usize, usize) = (16 << 10, 128 << 10);
/// Bytes of records that are handed over at once.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks that wait to be taken.
const BLOCKS_AHEAD: usize = 4;

/// Lends the records of several runs, smallest first, equal ones once.
#[derive(Debug)]
pub(crate) struct Merge {
    heads: BinaryHeap<Head>,
    current: Vec<u8>,
}

/// A run's next record, some of its bytes beside it.
#[derive(Debug)]
struct Head {
    prefix: u64,
    common: usize,
    run: Box<RunReader>,
}

impl Head {
    fn at(run: RunReader, common: usize) -> Self {
        Self {
            prefix: arena::prefix(run.record(), common),
            common,
            run: Box::new(run),
        }
    }

    fn advance(&mut self) -> io::Result<bool> {
        let more = self.run.advance()?;
        self.prefix = arena::prefix(self.run.record(), self.common);
        Ok(more)
    }
}

impl Merge {
    /// Merges `runs`, whose records all have the same first `common` bytes.
    pub(super) fn new(runs: &[Arc<File>], common: usize) -> io::Result<Self> {
        let (least, most) = BUFFER_BYTES;
        let buffer_bytes = (BUFFERS_BYTES / runs.len().max(1)).clamp(least, most);
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for file in runs {
            let run = RunReader::new(Arc::clone(file), buffer_bytes)?;
            heads.extend(run.map(|run| Head::at(run, common)));
        }
        Ok(Self {
            heads,
            current: Vec::new(),
        })
    }

    /// The next record.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut first = true;
        loop {
            let Some(mut least) = self.heads.peek_mut() else {
                return Ok((!first).then_some(self.current.as_slice()));
            };
            if first {
                self.current.clear();
                self.current.extend_from_slice(least.run.record());
                first = false;
            } else if least.run.record() != self.current.as_slice() {
                return Ok(Some(self.current.as_slice()));
            }
            if !least.advance()? {
                PeekMut::pop(least);
            }
        }
    }

    /// Goes on in a thread of its own, some blocks ahead. The thread ends with the last record, or
    /// when nobody waits for more.
    pub(super) fn ahead(self) -> io::Result<Ahead> {
        let (to, blocks) = sync_channel(BLOCKS_AHEAD);
        thread::Builder::new()
            .name("merge".to_owned())
            .spawn(move || self.send_all(&to))?;
        Ok(Ahead {
            blocks,
            block: Vec::new(),
            at: 0,
            ended: false,
        })
    }

    fn send_all(mut self, to: &SyncSender<io::Result<Vec<u8>>>) {
        loop {
            let block = self.block();
            let last = block.as_ref().map_or(true, Vec::is_empty);
            if to.send(block).is_err() || last {
                return;
            }
        }
    }

    /// The next records, as they stand in a run; empty at the end.
    fn block(&mut self) -> io::Result<Vec<u8>> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        while block.len() < BLOCK_BYTES
            && let Some(record) = self.next()?
        {
            run::append(record, &mut block)?;
        }
        Ok(block)
    }
}

/// Lends records that another thread merges.
#[derive(Debug)]
pub(crate) struct Ahead {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Ahead {
    /// The next record.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.at == self.block.len() && !self.ended {
            let lost = |_| Err(io::Error::other("the thread that merges has ended early"));
            self.block = self.blocks.recv().unwrap_or_else(lost)?;
            self.at = 0;
            self.ended = self.block.is_empty();
        }
        let Some((record, next)) = run::record_at(&self.block, self.at) else {
            return Ok(None);
        };
        self.at = next;
        Ok(Some(record))
    }
}

// The heap gives the greatest; the smallest record is the greatest head.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_record = || arena::compare(other.run.record(), self.run.record(), self.common);
        other.prefix.cmp(&self.prefix).then_with(by_record)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
