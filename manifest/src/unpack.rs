//! The bytes of a manifest, unpacked where they are packed, counted against the limits.
//!
//! Which of the two is told by the first four bytes. zstd is driven step by step
//! here rather than through its `Read` wrapper, because three things must be told
//! apart that the wrapper makes one: the file could not be read, it ends within a
//! frame, it is damaged.

use std::io::{self, Read};

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::error::{Limit, ReadError};
use crate::limits::Limits;

/// The first bytes of a zstd frame.
const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first bytes of a skippable frame, less the low half of the first one.
const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// `ZSTD_error_frameParameter_windowTooLarge` of `zstd_errors.h`.
const WINDOW_TOO_LARGE: usize = 16;

/// The ratio is meaningless for the first few blocks.
pub(crate) const RATIO_COUNTS_FROM_BYTES: u64 = 1 << 20;

/// 128 KiB: what zstd asks for.
const BUFFER_BYTES: usize = 128 << 10;
/// 4 KiB: enough to tell packed from plain, little to copy where it is plain.
const START_BYTES: usize = 4 << 10;

/// A source of unpacked bytes.
pub(crate) struct Unpack<R> {
    input: R,
    /// Packed bytes that were read ahead.
    buffer: Vec<u8>,
    /// How far they are used up.
    used: usize,
    ended: bool,
    frame: Option<Frame>,
    limits: Limits,
    packed_bytes: u64,
    unpacked_bytes: u64,
}

struct Frame {
    context: DCtx<'static>,
    open: bool,
}

impl<R: Read> Unpack<R> {
    /// Reads the first bytes of `input` and decides how to go on.
    pub(crate) fn new(input: R, limits: Limits) -> Result<Self, ReadError> {
        let mut unpack = Self {
            input,
            buffer: Vec::new(),
            used: 0,
            ended: false,
            frame: None,
            limits,
            packed_bytes: 0,
            unpacked_bytes: 0,
        };
        while unpack.buffer.len() < FRAME_MAGIC.len() && !unpack.ended {
            unpack.fetch(START_BYTES, 1)?;
        }
        if is_packed(&unpack.buffer) {
            unpack.frame = Some(Frame::new(limits.zstd_window_log_max)?);
        }
        Ok(unpack)
    }

    /// Unpacks into `to`, which is not empty; 0 at the end. `line` is for errors.
    pub(crate) fn read(&mut self, to: &mut [u8], line: u64) -> Result<usize, ReadError> {
        let count = if self.frame.is_some() {
            self.read_packed(to, line)?
        } else {
            self.read_plain(to, line)?
        };
        self.unpacked_bytes += count as u64;
        let most = self.limits.unpacked_bytes_max;
        if self.unpacked_bytes > most {
            return Err(exceeded(line, Limit::UnpackedBytes, most));
        }
        let most = self.limits.unpacked_ratio_max;
        if self.unpacked_bytes > RATIO_COUNTS_FROM_BYTES
            && self.unpacked_bytes > most.saturating_mul(self.packed_bytes)
        {
            return Err(exceeded(line, Limit::UnpackedRatio, most));
        }
        Ok(count)
    }

    fn read_plain(&mut self, to: &mut [u8], line: u64) -> Result<usize, ReadError> {
        if self.used == self.buffer.len() {
            if self.ended {
                // What comes to a growing file after its end was seen is for another reading:
                // its first bytes may yet turn out to be a frame's.
                return Ok(0);
            }
            let count = read_some(&mut self.input, to, line)?;
            self.count_packed(count, line)?;
            return Ok(count);
        }
        let ahead = self.buffer.get(self.used..).unwrap_or_default();
        let mut count = 0;
        for (to, from) in to.iter_mut().zip(ahead) {
            *to = *from;
            count += 1;
        }
        self.used += count;
        Ok(count)
    }

    fn read_packed(&mut self, to: &mut [u8], line: u64) -> Result<usize, ReadError> {
        loop {
            if self.used == self.buffer.len() && !self.ended {
                self.fetch(BUFFER_BYTES, line)?;
            }
            let Some(frame) = &mut self.frame else {
                return Ok(0);
            };
            let ahead = self.buffer.get(self.used..).unwrap_or_default();
            let exhausted = ahead.is_empty();
            if exhausted && !frame.open {
                return Ok(0);
            }
            let (used, made) = frame.step(ahead, to, self.limits.zstd_window_log_max, line)?;
            self.used += used;
            if made > 0 {
                return Ok(made);
            }
            if exhausted {
                return Err(ReadError::Incomplete { line });
            }
        }
    }

    /// Reads more packed bytes once those that were read ahead are used up.
    fn fetch(&mut self, most: usize, line: u64) -> Result<(), ReadError> {
        let kept = if self.used == self.buffer.len() {
            self.used = 0;
            0
        } else {
            self.buffer.len()
        };
        self.buffer.resize(kept + most, 0);
        let room = self.buffer.get_mut(kept..).unwrap_or_default();
        let outcome = read_some(&mut self.input, room, line);
        let count = *outcome.as_ref().unwrap_or(&0);
        self.buffer.truncate(kept + count);
        outcome?;
        self.ended = count == 0;
        self.count_packed(count, line)
    }

    fn count_packed(&mut self, count: usize, line: u64) -> Result<(), ReadError> {
        self.packed_bytes += count as u64;
        let most = self.limits.packed_bytes_max;
        if self.packed_bytes > most {
            return Err(exceeded(line, Limit::PackedBytes, most));
        }
        Ok(())
    }
}

impl Frame {
    fn new(window_log_max: u32) -> Result<Self, ReadError> {
        let failed = |problem| ReadError::Damaged { line: 1, problem };
        let mut context = DCtx::try_create().ok_or(failed("no memory for the decoder"))?;
        context
            .set_parameter(DParameter::WindowLogMax(window_log_max))
            .map_err(|code| failed(get_error_name(code)))?;
        Ok(Self {
            context,
            open: false,
        })
    }

    /// Unpacks once; how many bytes were used and made.
    fn step(
        &mut self,
        from: &[u8],
        to: &mut [u8],
        window_log_max: u32,
        line: u64,
    ) -> Result<(usize, usize), ReadError> {
        let mut input = InBuffer::around(from);
        let mut output = OutBuffer::around(to);
        match self.context.decompress_stream(&mut output, &mut input) {
            Ok(hint) => {
                self.open = hint != 0;
                Ok((input.pos(), output.pos()))
            }
            Err(code) if code.wrapping_neg() == WINDOW_TOO_LARGE => {
                let most = 1_u64.checked_shl(window_log_max).unwrap_or(u64::MAX);
                Err(exceeded(line, Limit::WindowBytes, most))
            }
            Err(code) => Err(ReadError::Damaged {
                line,
                problem: get_error_name(code),
            }),
        }
    }
}

fn exceeded(line: u64, limit: Limit, most: u64) -> ReadError {
    ReadError::LimitExceeded { line, limit, most }
}

fn is_packed(start: &[u8]) -> bool {
    let Some([first, rest @ ..]) = start.first_chunk::<4>() else {
        return false;
    };
    let [magic, same @ ..] = SKIPPABLE_MAGIC;
    [*first, rest[0], rest[1], rest[2]] == FRAME_MAGIC || (first & 0xf0 == magic && *rest == same)
}

/// Reads once, again where a signal came between.
fn read_some(input: &mut impl Read, to: &mut [u8], line: u64) -> Result<usize, ReadError> {
    loop {
        match input.read(to) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(ReadError::Io { line, source }),
        }
    }
}
