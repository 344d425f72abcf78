//! Sizes in bytes, which carry their units: `"64MiB"`.

use std::fmt;

use serde::{Serialize, Serializer};
use toml::de::DeValue;

use crate::problem::Reason;
use crate::value::{Value, text};

/// A number of bytes, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// Largest first, so that the largest one that divides a size is met first. The decimal ones are
/// read and never written.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Value for Bytes {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint = "a size carries its unit, such as \"512B\", \"64KiB\", \"10MiB\" or \"1GB\"";
        let text = text(value, "a size").map_err(|reason| reason.hint(hint))?;
        parse(text)
            .map(Self)
            .ok_or_else(|| Reason::new("is no size").hint(hint))
    }
}

fn parse(text: &str) -> Option<u64> {
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS
            .iter()
            .filter(|(unit, _)| unit.ends_with("iB") || *unit == "B")
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("512B", 512),
            ("64KiB", 65_536),
            ("10 MiB", 10 << 20),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_without_unit_or_beyond_64_bits_are_refused() {
        for text in ["", "64", "B", "-1B", "1.5MiB", "64mib", "99999999999TiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_written_size_is_read_as_the_same() {
        for bytes in [0, 1, 1000, 1024, 65_536, 1 << 40, u64::MAX] {
            assert_eq!(parse(&Bytes(bytes).to_string()), Some(bytes));
        }
        assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
    }
}
