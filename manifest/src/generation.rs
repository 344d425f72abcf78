//! Generations: what orders the manifests of a run. Never a clock.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::NameError;

/// The place of a manifest in its run's history: epoch first, then sequence.
///
/// An origin counts the sequence up; the epoch changes only where the origin must
/// overrule its own history (a revoked key, a fork).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Generation {
    /// Which history; starts at 1.
    pub epoch: u32,
    /// Place in it; starts at 1.
    pub sequence: u32,
}

impl Generation {
    /// The first manifest of a run.
    pub const FIRST: Self = Self {
        epoch: 1,
        sequence: 1,
    };

    /// The next one in the same epoch; `None` where the sequence is used up.
    pub fn next(self) -> Option<Self> {
        self.sequence
            .checked_add(1)
            .map(|sequence| Self { sequence, ..self })
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.sequence)
    }
}

impl FromStr for Generation {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError {
            what: "generation",
            name: text.chars().take(80).collect(),
            reason: "is not <epoch>-<sequence>, both from 1 up",
        };
        let (epoch, sequence) = text.split_once('-').ok_or_else(refused)?;
        let number = |digits: &str| digits.parse().ok().filter(|n| *n > 0).ok_or_else(refused);
        Ok(Self {
            epoch: number(epoch)?,
            sequence: number(sequence)?,
        })
    }
}
