//! Shares that protect: small, and not to be taken for per cent.

use std::fmt;

use serde::{Serialize, Serializer};
use toml::de::DeValue;

use crate::problem::Reason;
use crate::value::Value;

/// Parts of a whole: finer shares are rounded.
const PARTS: u32 = 1_000_000;
/// The largest share that configuration may allow: above it a share protects nothing.
const MOST: f64 = 0.25;

/// A share of something, at most a quarter: `0.01`, or with its sign `"1%"`.
///
/// A bare number is a ratio. Whoever means per cent by it writes `1` or `5`, which is above a quarter and
/// refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// So many in a hundred.
    pub(crate) const fn percent(percent: u32) -> Self {
        Self(percent * (PARTS / 100))
    }

    /// Whether `part` is more than this share of `whole`.
    pub fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(PARTS) > u128::from(whole) * u128::from(self.0)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between nothing and a quarter of PARTS"
    )]
    fn of(ratio: f64) -> Option<Self> {
        (0.0..=MOST)
            .contains(&ratio)
            .then(|| Self((ratio * f64::from(PARTS)).round() as u32))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(PARTS))
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(f64::from(self.0) / f64::from(PARTS))
    }
}

impl Value for Ratio {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint = "a bare number is a ratio, and per cent carry their sign: 0.01 is \"1%\"";
        let number = if let Some(text) = value.as_str() {
            let percent = text.strip_suffix('%').map(str::trim_end);
            let percent = percent.and_then(|text| text.parse::<f64>().ok());
            percent.map(|percent| percent / 100.0)
        } else if let Some(number) = value.as_integer() {
            number.as_str().parse().ok()
        } else if let Some(number) = value.as_float() {
            number.as_str().parse().ok()
        } else {
            None
        };
        let number = number.ok_or_else(|| Reason::expected("a share", value).hint(hint))?;
        Self::of(number).ok_or_else(|| {
            Reason::new(format!(
                "must be from 0 to {MOST}: more would protect nothing"
            ))
            .hint(hint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Ratio, Reason> {
        Ratio::read(DeValue::parse(toml).unwrap().get_ref())
    }

    #[test]
    fn a_share_is_a_ratio_or_carries_its_sign() {
        for (text, expected) in [
            ("0.01", 1),
            ("'1%'", 1),
            ("'0.5 %'", 0),
            ("0.25", 25),
            ("0", 0),
        ] {
            let ratio = read(text).unwrap();
            assert!(!ratio.is_exceeded_by(expected, 100), "{text}");
            assert!(ratio.is_exceeded_by(expected + 1, 100), "{text}");
        }
        assert_eq!(read("0.01").unwrap(), Ratio::percent(1));
        assert_eq!(Ratio::percent(1).to_string(), "0.01");
    }

    #[test]
    fn per_cent_without_a_sign_and_shares_that_protect_nothing_are_refused() {
        for wrong in [
            "1", "5", "0.5", "1.0", "'26%'", "'0.01'", "-0.01", "nan", "'%'", "true",
        ] {
            let reason = read(wrong).unwrap_err();
            assert!(reason.hint.unwrap().contains("ratio"), "{wrong}");
        }
    }
}
