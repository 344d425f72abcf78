//! What a removal may take away without being approved by its number, and what it waits for.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use toml::de::DeValue;

use crate::bytes::Bytes;
use crate::duration;
use crate::problem::Reason;
use crate::raw::Section;
use crate::value::{Value, text};

/// More runs than anybody names by hand.
const RUNS_MAX: usize = 100;
/// A processing run of the largest kind.
const DATASETS_MAX: u64 = 1_000_000;
/// What a night of a large camera comes to.
const BYTES_MAX: u64 = 20 << 40;
/// What is on its way comes within a day, or its transfer has failed.
const LATE_ARRIVALS: Duration = Duration::from_secs(24 * 60 * 60);
/// A quarter: whoever means to take more away knows that it is much.
const SHARE_MAX: Percent = Percent(25);

/// A share of something, written as `"25%"`: a bare number could be taken for a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    /// Whether `part` is more than this share of `whole`.
    pub fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 100 > u128::from(whole) * u128::from(self.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Value for Percent {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint = "a share carries its sign, such as \"25%\"";
        let text = text(value, "a share").map_err(|reason| reason.hint(hint))?;
        let number = text.strip_suffix('%').and_then(|text| text.parse().ok());
        match number {
            Some(number @ 0..=100) => Ok(Self(number)),
            Some(_) | None => Err(Reason::new("must be from \"0%\" to \"100%\"").hint(hint)),
        }
    }
}

/// A time that may be none at all: `"0s"`.
#[derive(Debug, Clone, Copy)]
struct Grace(Duration);

impl Value for Grace {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        match text(value, "a duration") {
            Ok("0s" | "0") => Ok(Self(Duration::ZERO)),
            _ => Duration::read(value).map(Self),
        }
    }
}

/// What a removal may take away without being approved by its number, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// Runs.
    pub runs_max: usize,
    /// Datasets of all of them.
    pub datasets_max: u64,
    /// Sum of the sizes of their artifacts, in bytes.
    #[serde(serialize_with = "bytes")]
    pub bytes_max: u64,
    /// Share of all datasets of the site.
    pub share_max: Percent,
    /// How long artifacts that had not been seen here are waited for, and deleted where they still
    /// arrive; none: not at all.
    #[serde(serialize_with = "duration::serialize")]
    pub late_arrivals: Duration,
}

impl Default for Removal {
    fn default() -> Self {
        Self {
            runs_max: RUNS_MAX,
            datasets_max: DATASETS_MAX,
            bytes_max: BYTES_MAX,
            share_max: SHARE_MAX,
            late_arrivals: LATE_ARRIVALS,
        }
    }
}

impl Removal {
    /// Reads `[removal]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Self {
        let removal = Self {
            runs_max: section.or("runs_max", RUNS_MAX),
            datasets_max: section.or("datasets_max", DATASETS_MAX),
            bytes_max: section.or("bytes_max", Bytes(BYTES_MAX)).0,
            share_max: section.or("share_max", SHARE_MAX),
            late_arrivals: section.or("late_arrivals", Grace(LATE_ARRIVALS)).0,
        };
        section.finish();
        removal
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn bytes<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
    Bytes(*bytes).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_compared_exactly() {
        let quarter = Percent(25);
        assert!(!quarter.is_exceeded_by(25, 100));
        assert!(quarter.is_exceeded_by(26, 100));
        assert!(!Percent(100).is_exceeded_by(u64::MAX, u64::MAX));
        assert!(Percent(0).is_exceeded_by(1, u64::MAX));
        assert!(!Percent(0).is_exceeded_by(0, 0));
    }
}
