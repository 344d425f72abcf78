//! Reads a manifest in blocks of whole lines and hashes them, in bounded memory.
//!
//! Unpacking and hashing need nothing of what the lines say, so they can run ahead of whoever
//! reads them, on a thread of their own. A block comes with the hash of all bytes before its last
//! line: the trailer, if there is one, is the last line of the last block.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::error::{Limit, ReadError};
use crate::limits::Limits;
use crate::unpack::Unpack;

/// 16 KiB to begin with: most manifests are no larger.
const READ_BYTES: usize = 16 << 10;
/// 256 KiB: system calls do not count any more, and a few blocks still fit the cache.
const READ_BYTES_MAX: usize = 256 << 10;
/// Blocks that wait for whoever reads them.
const BLOCKS_AHEAD: usize = 4;

/// Whole lines; at the end of a cut file the start of one.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    /// Where the last line starts.
    pub(crate) last_line: usize,
    /// The hash of all bytes of the manifest before the last line.
    pub(crate) hash: Sha256,
}

/// Where blocks come from.
pub(crate) enum Blocks<R> {
    /// Read when asked for.
    Now(Box<Source<R>>),
    /// Read ahead by a thread; `None` is the end.
    Ahead(Receiver<Result<Option<Block>, ReadError>>),
}

impl<R: Read> Blocks<R> {
    /// The next block; `None` at the end. `used` is one that is no longer needed.
    pub(crate) fn next(&mut self, used: Block, line: u64) -> Result<Option<Block>, ReadError> {
        match self {
            Self::Now(source) => source.next(used.bytes),
            Self::Ahead(blocks) => blocks.recv().unwrap_or_else(|_| {
                let source = io::Error::other("the thread that reads ahead has ended early");
                Err(ReadError::Io { line, source })
            }),
        }
    }
}

/// A manifest's bytes.
pub(crate) struct Source<R> {
    input: Unpack<R>,
    /// What was read beyond the last whole line.
    rest: Vec<u8>,
    hash: Sha256,
    read_bytes: usize,
    line_bytes_max: usize,
    /// Whole lines read.
    lines: u64,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(input: R, limits: Limits) -> Result<Self, ReadError> {
        Ok(Self {
            input: Unpack::new(input, limits)?,
            rest: Vec::new(),
            hash: Sha256::new(),
            read_bytes: READ_BYTES,
            line_bytes_max: usize::try_from(limits.line_bytes_max).unwrap_or(usize::MAX),
            lines: 0,
        })
    }

    /// Reads up to the end of at least one line; the block takes over `bytes`. Where the file ends
    /// within a line, the last block is what there is of it.
    fn next(&mut self, mut bytes: Vec<u8>) -> Result<Option<Block>, ReadError> {
        bytes.clear();
        bytes.append(&mut self.rest);
        loop {
            let start = bytes.len();
            let count = self.read_on(&mut bytes)?;
            if count == 0 {
                return Ok((!bytes.is_empty()).then(|| self.block(bytes)));
            }
            let fresh = bytes.get(start..).unwrap_or_default();
            if let Some(at) = memchr::memrchr(b'\n', fresh) {
                let end = start + at + 1;
                self.rest
                    .extend_from_slice(bytes.get(end..).unwrap_or_default());
                bytes.truncate(end);
                return Ok(Some(self.block(bytes)));
            }
            if bytes.len() > self.line_bytes_max {
                return Err(ReadError::LimitExceeded {
                    line: self.lines + 1,
                    limit: Limit::LineBytes,
                    most: self.line_bytes_max as u64,
                });
            }
        }
    }

    /// Reads once, more at a time where there is much to read.
    fn read_on(&mut self, bytes: &mut Vec<u8>) -> Result<usize, ReadError> {
        let start = bytes.len();
        bytes.resize(start + self.read_bytes, 0);
        let room = bytes.get_mut(start..).unwrap_or_default();
        let count = self.input.read(room, self.lines + 1)?;
        bytes.truncate(start + count);
        if count == self.read_bytes {
            self.read_bytes = (2 * self.read_bytes).min(READ_BYTES_MAX);
        }
        Ok(count)
    }

    fn block(&mut self, bytes: Vec<u8>) -> Block {
        self.lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        let before_end = bytes.split_last().map_or(&[][..], |(_, rest)| rest);
        let last_line = memchr::memrchr(b'\n', before_end).map_or(0, |at| at + 1);
        let (before, last) = bytes.split_at(last_line);
        self.hash.update(before);
        let hash = self.hash.clone();
        self.hash.update(last);
        Block {
            bytes,
            last_line,
            hash,
        }
    }
}

impl<R: Read + Send + 'static> Source<R> {
    /// Hands the source to a thread that reads ahead. It ends when the source does, or when
    /// nobody waits for its blocks any more.
    pub(crate) fn ahead(self) -> Result<Blocks<R>, ReadError> {
        let (blocks, received) = sync_channel(BLOCKS_AHEAD);
        thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || self.send_all(&blocks))
            .map_err(|source| ReadError::Io { line: 1, source })?;
        Ok(Blocks::Ahead(received))
    }

    fn send_all(mut self, to: &SyncSender<Result<Option<Block>, ReadError>>) {
        loop {
            let block = self.next(Vec::new());
            let more = matches!(block, Ok(Some(_)));
            if to.send(block).is_err() || !more {
                return;
            }
        }
    }
}
