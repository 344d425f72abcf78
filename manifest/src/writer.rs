//! Writes a manifest as a stream: records in, canonical bytes out.
//!
//! The bytes of a line depend on its content alone: compact JSON, `kind` first,
//! then the fields in the order of their type, the keys of data IDs and records
//! sorted. What a reader would refuse is not written: both obey the same rules.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use sha2::Digest as _;
use zstd::stream::write::Encoder;

use crate::checksum::Sha256;
use crate::dimension::{DimensionRecord, DimensionRecords, canonical_record};
use crate::entry::DatasetEntry;
use crate::error::{Fault, Limit, WriteError};
use crate::header::Header;
use crate::limits::Limits;
use crate::line::Kind;
use crate::rules::Rules;
use crate::signature::SigningKey;
use crate::trailer::Trailer;
use crate::unpack::RATIO_COUNTS_FROM_BYTES;

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Plain,
    /// One zstd frame at this level, 1 to [`ZSTD_LEVEL_MAX`].
    Zstd(i32),
}

/// The highest zstd level that stays within the window that readers allow.
pub const ZSTD_LEVEL_MAX: i32 = 19;

/// Records of a dimension line are spread over several lines once they are about
/// this long, so that readers need not keep more at a time.
const DIMENSION_LINE_BYTES: usize = 32 << 10;

/// 64 KiB: lines are handed on in pieces of at least this size.
const BUFFER_BYTES: usize = 64 << 10;

/// A writer that has written the header. After an error it writes nothing more.
pub struct Writer<W: Write> {
    output: Output<W>,
    /// Lines that were not handed on yet.
    buffer: Vec<u8>,
    hash: sha2::Sha256,
    rules: Rules,
    limits: Limits,
    /// The number of the line last written.
    number: u64,
    unpacked_bytes: u64,
    /// Set while a line is under way, and so for ever after one that failed.
    broken_off: bool,
}

enum Output<W: Write> {
    Plain(W),
    Zstd(Encoder<'static, Counted<W>>),
}

/// Counts the packed bytes on their way.
struct Counted<W> {
    output: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("rules", &self.rules)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Starts a manifest: checks the header and writes it, in the form that
    /// [`Header::canonical`] gives it.
    pub fn new(output: W, packing: Packing, header: &Header) -> Result<Self, WriteError> {
        let header = header.canonical();
        let limits = Limits::default();
        let rules = Rules::new(&header, limits.entries_max).map_err(|fault| broken(1, fault))?;
        let mut writer = Self {
            output: Output::new(output, packing)?,
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            hash: sha2::Sha256::new(),
            rules,
            limits,
            number: 0,
            unpacked_bytes: 0,
            broken_off: false,
        };
        writer.line(Kind::Header, &header)?;
        Ok(writer)
    }

    /// Writes dimension records, in as many lines as keep each short. Only before
    /// the first dataset.
    pub fn dimension(&mut self, records: &DimensionRecords) -> Result<(), WriteError> {
        let mut line: Vec<DimensionRecord> = Vec::new();
        let mut bytes = 0;
        for record in &records.records {
            let length = canonical_record(record)
                .map_err(|source| unserializable(Kind::Dimension, source))?
                .len();
            if !line.is_empty() && bytes + length > DIMENSION_LINE_BYTES {
                self.dimension_line(&records.element, std::mem::take(&mut line))?;
                bytes = 0;
            }
            bytes += length;
            line.push(record.clone());
        }
        if line.is_empty() {
            return Ok(());
        }
        self.dimension_line(&records.element, line)
    }

    /// Writes a dataset line. The caller brings them in UUID order (readers take any).
    pub fn dataset(&mut self, entry: &DatasetEntry<'_>) -> Result<(), WriteError> {
        let number = self.begin()?;
        self.rules
            .dataset(entry)
            .map_err(|fault| broken(number, fault))?;
        self.line(Kind::Dataset, entry)
    }

    /// Writes the trailer, ends the packing, and returns the output (not synced).
    ///
    /// # Errors
    ///
    /// Whatever writing returns; or [`Limit::UnpackedRatio`] for packed lines so much
    /// alike that a reader would take them for a bomb: write those plain.
    pub fn finish(mut self, key: Option<&SigningKey>) -> Result<(W, Trailer), WriteError> {
        self.begin()?;
        let sha256 = Sha256(self.hash.clone().finalize().into());
        let trailer = Trailer {
            counts: self.rules.counts(),
            total_bytes: self.rules.total_bytes(),
            sha256,
            signature: key.map(|key| key.sign(&sha256)),
        };
        self.line(Kind::Trailer, &trailer)?;
        self.output.write(&self.buffer)?;
        let line = self.number;
        let most = self.limits.unpacked_ratio_max;
        match self.output.finish()? {
            (_, Some(packed))
                if self.unpacked_bytes > RATIO_COUNTS_FROM_BYTES
                    && self.unpacked_bytes > most.saturating_mul(packed) =>
            {
                let limit = Limit::UnpackedRatio;
                Err(broken(line, Fault::Limit { limit, most }))
            }
            (output, _) => Ok((output, trailer)),
        }
    }

    fn dimension_line(
        &mut self,
        element: &str,
        records: Vec<DimensionRecord>,
    ) -> Result<(), WriteError> {
        let number = self.begin()?;
        let line = DimensionRecords {
            element: element.to_owned(),
            records,
        };
        self.rules
            .dimension(&line)
            .map_err(|fault| broken(number, fault))?;
        self.line(Kind::Dimension, &line)
    }

    /// Begins a line; its number. Refused once a line has failed: half of one may
    /// stand in the buffer, or be counted though it was not written.
    fn begin(&mut self) -> Result<u64, WriteError> {
        if std::mem::replace(&mut self.broken_off, true) {
            return Err(WriteError::BrokenOff);
        }
        Ok(self.number + 1)
    }

    /// Appends a line: `{"kind":"…",` and the fields.
    fn line(&mut self, kind: Kind, fields: &impl Serialize) -> Result<(), WriteError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(br#"{"kind":""#);
        self.buffer.extend_from_slice(kind.as_str().as_bytes());
        self.buffer.push(b'"');
        let brace = self.buffer.len();
        serde_json::to_writer(&mut self.buffer, fields)
            .map_err(|source| unserializable(kind, source))?;
        // The fields come as an object of their own; its brace becomes our comma.
        if let Some(brace) = self.buffer.get_mut(brace) {
            *brace = b',';
        }
        self.check_length(self.buffer.len() - start)?;
        self.buffer.push(b'\n');
        self.hash
            .update(self.buffer.get(start..).unwrap_or_default());
        self.number += 1;
        self.unpacked_bytes += (self.buffer.len() - start) as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.output.write(&self.buffer)?;
            self.buffer.clear();
        }
        self.broken_off = false;
        Ok(())
    }

    fn check_length(&self, length: usize) -> Result<(), WriteError> {
        let length = length as u64;
        let exceeded = |limit, most| broken(self.number + 1, Fault::Limit { limit, most });
        if length > self.limits.line_bytes_max {
            return Err(exceeded(Limit::LineBytes, self.limits.line_bytes_max));
        }
        let most = self.limits.unpacked_bytes_max;
        if self.unpacked_bytes + length + 1 > most {
            return Err(exceeded(Limit::UnpackedBytes, most));
        }
        Ok(())
    }
}

impl<W: Write> Output<W> {
    fn new(output: W, packing: Packing) -> Result<Self, WriteError> {
        match packing {
            Packing::Plain => Ok(Self::Plain(output)),
            Packing::Zstd(level) if (1..=ZSTD_LEVEL_MAX).contains(&level) => {
                let mut encoder = Encoder::new(Counted { output, bytes: 0 }, level)?;
                encoder.include_checksum(true)?;
                Ok(Self::Zstd(encoder))
            }
            Packing::Zstd(level) => Err(WriteError::Level { level }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// The output, and how many bytes it got where they are packed.
    fn finish(self) -> io::Result<(W, Option<u64>)> {
        let (mut output, packed) = match self {
            Self::Plain(output) => (output, None),
            Self::Zstd(encoder) => {
                let Counted { output, bytes } = encoder.finish()?;
                (output, Some(bytes))
            }
        };
        output.flush()?;
        Ok((output, packed))
    }
}

fn broken(line: u64, fault: Fault) -> WriteError {
    WriteError::Invalid { line, fault }
}

fn unserializable(kind: Kind, source: serde_json::Error) -> WriteError {
    WriteError::Json {
        kind: kind.as_str(),
        source,
    }
}
