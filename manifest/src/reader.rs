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
use std::ops::Range;

use crate::dimension::DimensionRecords;
use crate::entry::DatasetEntry;
use crate::error::{Fault, ReadError};
use crate::header::Header;
use crate::limits::Limits;
use crate::line::{self, Kind};
use crate::lines::Lines;
use crate::rules::Rules;
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
        let mut lines = Lines::new(input, limits)?;
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
        let kind = line::kind_of(self.lines.text(range.clone())?, number)?;
        match kind {
            Kind::Header => Err(ReadError::Invalid {
                line: number,
                fault: Fault::Order {
                    kind: kind.as_str(),
                    after: "the header",
                },
            }),
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
                self.trailer = Some(self.read_trailer(range)?);
                Ok(None)
            }
        }
    }

    /// The trailer; `None` before [`next`](Self::next) has returned `None`.
    pub fn trailer(&self) -> Option<&Trailer> {
        self.trailer.as_ref()
    }

    /// [`trailer`](Self::trailer), owned, once reading is over.
    pub fn into_trailer(self) -> Option<Trailer> {
        self.trailer
    }

    fn read_trailer(&mut self, range: Range<usize>) -> Result<Trailer, ReadError> {
        let line = self.lines.number();
        let digest = self.lines.digest_before(&range);
        let trailer: Trailer = line::parse(self.lines.text(range)?, line)?;
        let counts = self.rules.counts();
        same(
            line,
            "counts.dimension",
            trailer.counts.dimension,
            counts.dimension,
        )?;
        same(
            line,
            "counts.dataset",
            trailer.counts.dataset,
            counts.dataset,
        )?;
        same(
            line,
            "total_bytes",
            trailer.total_bytes,
            self.rules.total_bytes(),
        )?;
        same(line, "sha256", trailer.sha256, digest)?;
        if !self.lines.at_end()? {
            return Err(ReadError::Invalid {
                line: line + 1,
                fault: Fault::Order {
                    kind: "further",
                    after: "the trailer",
                },
            });
        }
        Ok(trailer)
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

fn same<T: Copy + PartialEq + fmt::Display>(
    line: u64,
    field: &'static str,
    stated: T,
    found: T,
) -> Result<(), ReadError> {
    if stated == found {
        return Ok(());
    }
    Err(ReadError::Mismatch {
        line,
        field,
        stated: stated.to_string(),
        found: found.to_string(),
    })
}
