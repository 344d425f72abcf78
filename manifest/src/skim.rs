//! Reads a manifest for its digest and its trailer alone, several times as fast as reading it.
//!
//! What a skim returns is whole: its trailer is there, with the right digest and counts, and
//! nothing follows it. What stands in its lines nobody has looked at. So a skim serves where that
//! is known already (a digest accepted before) or is looked at later.

use std::io::Read;
use std::ops::Range;

use crate::error::{Fault, ReadError};
use crate::limits::Limits;
use crate::line::{self, Kind};
use crate::lines::Lines;
use crate::trailer::{Counts, Trailer};

/// The trailer of a manifest that is whole. Not even the header is looked into.
///
/// # Errors
///
/// Where the file cannot be read, is cut, exceeds a limit, or its trailer does not match.
pub fn trailer(input: impl Read, limits: Limits) -> Result<Trailer, ReadError> {
    let mut lines = Lines::new(input, limits)?;
    lines.next()?;
    to_trailer(&mut lines)
}

/// Reads from the line after the header to the trailer.
pub(crate) fn to_trailer<R: Read>(lines: &mut Lines<R>) -> Result<Trailer, ReadError> {
    let mut counts = Counts::default();
    loop {
        let range = lines.next()?;
        let number = lines.number();
        let kind = match line::kind_at_a_glance(lines.bytes(range.clone())) {
            Some(kind) => kind,
            None => line::kind_of(lines.text(range.clone())?, number)?,
        };
        match kind {
            Kind::Header => return Err(out_of_order(number, kind.as_str(), "the header")),
            Kind::Dimension => counts.dimension += 1,
            Kind::Dataset => counts.dataset += 1,
            Kind::Trailer => return check_trailer(lines, range, counts, None),
        }
    }
}

/// Parses the trailer, compares it with what came before it, and sees that nothing comes after.
pub(crate) fn check_trailer<R: Read>(
    lines: &mut Lines<R>,
    range: Range<usize>,
    counts: Counts,
    total_bytes: Option<u64>,
) -> Result<Trailer, ReadError> {
    let line = lines.number();
    let digest = lines.digest_before(&range);
    let trailer: Trailer = line::parse(lines.text(range)?, line)?;
    let stated = trailer.counts;
    same(line, "counts.dimension", stated.dimension, counts.dimension)?;
    same(line, "counts.dataset", stated.dataset, counts.dataset)?;
    let total_bytes = total_bytes.unwrap_or(trailer.total_bytes);
    same(line, "total_bytes", trailer.total_bytes, total_bytes)?;
    let Some(digest) = digest else {
        return Err(out_of_order(line + 1, "further", "the trailer"));
    };
    same(line, "sha256", trailer.sha256, digest)?;
    if !lines.at_end()? {
        return Err(out_of_order(line + 1, "further", "the trailer"));
    }
    Ok(trailer)
}

/// A line that stands where none of its kind may.
pub(crate) fn out_of_order(line: u64, kind: &'static str, after: &'static str) -> ReadError {
    let fault = Fault::Order { kind, after };
    ReadError::Invalid { line, fault }
}

fn same<T: Copy + PartialEq + std::fmt::Display>(
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
