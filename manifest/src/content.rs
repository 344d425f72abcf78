//! The four contents of a manifest, and what each may hold.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::NameError;

/// What a manifest says about its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// The run gains these datasets.
    Additions,
    /// The run is removed as a whole; no dimension or dataset line follows.
    Removal,
    /// The run holds exactly these datasets: a floor under its history.
    Snapshot,
    /// What a holder has of the run; compared, never registered. Signed by the
    /// holder, whom the header names.
    Inventory,
}

impl Content {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::Additions,
        Self::Removal,
        Self::Snapshot,
        Self::Inventory,
    ];

    /// The word in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Additions => "additions",
            Self::Removal => "removal",
            Self::Snapshot => "snapshot",
            Self::Inventory => "inventory",
        }
    }

    /// Whether dimension and dataset lines may stand between header and trailer.
    pub fn holds_datasets(self) -> bool {
        match self {
            Self::Additions | Self::Snapshot | Self::Inventory => true,
            Self::Removal => false,
        }
    }

    /// Whether the header names a holder: the one who speaks is then not the origin.
    pub fn has_holder(self) -> bool {
        match self {
            Self::Inventory => true,
            Self::Additions | Self::Removal | Self::Snapshot => false,
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Content {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|content| content.as_str() == text)
            .ok_or_else(|| NameError {
                what: "content",
                name: text.chars().take(80).collect(),
                reason: "is not `additions`, `removal`, `snapshot` or `inventory`",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_read_back_from_its_word() {
        for content in Content::ALL {
            assert_eq!(content.to_string().parse(), Ok(content));
            assert_eq!(
                serde_json::to_string(&content).unwrap(),
                format!("\"{content}\"")
            );
        }
        assert!("addition".parse::<Content>().is_err());
    }
}
