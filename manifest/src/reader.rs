//! Reads a manifest as a stream: bytes in, checked lines out.
//!
//! Memory is bounded by the longest allowed line. Nothing is returned as whole
//! before the trailer was read and its counts and digest agree: what a caller
//! keeps of the lines before that is provisional.
//!
//! A file that ends too early is [`ReadError::Incomplete`] and may yet arrive;
//! whatever else is wrong stays wrong.

use std::fmt;
use std::io::Read;

use crate::dimension::DimensionRecords;
use crate::entry::DatasetEntry;
use crate::error::{Fault, ReadError};
use crate::header::Header;
use crate::limits::Limits;
use crate::line::{self, Kind};
use crate::lines::Lines;
use crate::rules::Rules;
use crate::skim;
use crate::trailer::Trailer;
use crate::version;

/// One line between header and trailer.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// Records of a dimension element.
    Dimension(DimensionRecords),
    /// One artifact of one dataset.
    Dataset {
        /// What the line says.
        entry: DatasetEntry<'a>,
        /// Index of its dataset type in [`Header::dataset_types`].
        dataset_type: usize,
    },
}

/// A reader that has read the header.
pub struct Reader<R> {
    lines: Lines<R>,
    header: Header,
    rules: Rules,
    trailer: Option<Trailer>,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("header", &self.header)
            .field("rules", &self.rules)
            .field("trailer", &self.trailer)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Opens a manifest, plain or zstd (told by its first bytes), and reads its header.
    ///
    /// `input` is read in large pieces and needs no buffer of its own.
    pub fn new(input: R, limits: Limits) -> Result<Self, ReadError> {
        Self::over(Lines::new(input, limits)?, limits)
    }

    fn over(mut lines: Lines<R>, limits: Limits) -> Result<Self, ReadError> {
        let range = lines.next()?;
        let header = read_header(lines.text(range)?)?;
        let rules = Rules::new(&header, limits.entries_max)
            .map_err(|fault| ReadError::Invalid { line: 1, fault })?;
        Ok(Self {
            lines,
            header,
            rules,
            trailer: None,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the line last returned; the header is line 1.
    pub fn line_number(&self) -> u64 {
        self.lines.number()
    }

    /// The next line, checked; `None` once the trailer was read and found to match.
    ///
    /// After an error the reader is spent: what it returns then means nothing.
    #[expect(clippy::should_implement_trait, reason = "lends from its own buffer")]
    pub fn next(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        if self.trailer.is_some() {
            return Ok(None);
        }
        let range = self.lines.next()?;
        let number = self.lines.number();
        let kind = match line::kind_at_a_glance(self.lines.bytes(range.clone())) {
            Some(kind) => kind,
            None => line::kind_of(self.lines.text(range.clone())?, number)?,
        };
        match kind {
            Kind::Header => Err(skim::out_of_order(number, kind.as_str(), "the header")),
            Kind::Dimension => {
                let records = line::parse(self.lines.text(range)?, number)?;
                self.rules
                    .dimension(&records)
                    .map_err(|fault| broken(number, fault))?;
                Ok(Some(Line::Dimension(records)))
            }
            Kind::Dataset => {
                let entry = line::parse(self.lines.text(range)?, number)?;
                let dataset_type = self
                    .rules
                    .dataset(&entry)
                    .map_err(|fault| broken(number, fault))?;
                Ok(Some(Line::Dataset {
                    entry,
                    dataset_type,
                }))
            }
            Kind::Trailer => {
                let (counts, total_bytes) = (self.rules.counts(), self.rules.total_bytes());
                let trailer =
                    skim::check_trailer(&mut self.lines, range, counts, Some(total_bytes))?;
                self.trailer = Some(trailer);
                Ok(None)
            }
        }
    }

    /// Reads on from the header to the trailer without a look into the lines between: see
    /// [`skim`](mod@crate::skim). Instead of [`next`](Self::next), not after it.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is cut, exceeds a limit, or its trailer does not match.
    pub fn skim(mut self) -> Result<Trailer, ReadError> {
        skim::to_trailer(&mut self.lines)
    }

    /// The trailer; `None` before [`next`](Self::next) has returned `None`.
    pub fn trailer(&self) -> Option<&Trailer> {
        self.trailer.as_ref()
    }

    /// [`trailer`](Self::trailer), owned, once reading is over.
    pub fn into_trailer(self) -> Option<Trailer> {
        self.trailer
    }
}

impl<R: Read + Send + 'static> Reader<R> {
    /// As [`new`](Self::new); a thread reads, unpacks and hashes ahead, as far as a few blocks of
    /// 256 KiB. Worth its cost from some hundred kilobytes on.
    pub fn ahead(input: R, limits: Limits) -> Result<Self, ReadError> {
        Self::over(Lines::ahead(input, limits)?, limits)
    }
}

fn read_header(text: &str) -> Result<Header, ReadError> {
    // The format first: a later one may have changed everything else.
    let format = line::format_of(text);
    if let Ok(format) = format {
        version::may_read(format)?;
    }
    let kind = line::kind_of(text, 1)?;
    if kind != Kind::Header {
        return Err(ReadError::Invalid {
            line: 1,
            fault: Fault::field_text("kind", kind.as_str(), "`header` in the first line"),
        });
    }
    format.and_then(|_| line::parse(text, 1))
}

fn broken(line: u64, fault: Fault) -> ReadError {
    if let Fault::Limit { limit, most } = fault {
        return ReadError::LimitExceeded { line, limit, most };
    }
    ReadError::Invalid { line, fault }
}
