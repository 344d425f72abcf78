//! Data identifiers, as Rucio names them.

use std::fmt;
use std::str::FromStr;

use runsync_manifest::name::Scope;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A data identifier: what Rucio calls a file, a Rucio dataset or a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Did {
    /// Its scope.
    pub scope: Scope,
    /// Its name within the scope.
    pub name: String,
}

impl Did {
    /// The identifier of that name.
    pub fn new(scope: &Scope, name: impl Into<String>) -> Self {
        Self {
            scope: scope.clone(),
            name: name.into(),
        }
    }
}

/// A text that names no data identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no data identifier: it is a scope, a colon, and a name")]
pub struct NoDid(String);

impl FromStr for Did {
    type Err = NoDid;

    fn from_str(text: &str) -> Result<Self, NoDid> {
        let parts = text.split_once(':').filter(|(_, name)| !name.is_empty());
        let did = parts.and_then(|(scope, name)| Some(Self::new(&scope.parse().ok()?, name)));
        did.ok_or_else(|| NoDid(text.to_owned()))
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scope, self.name)
    }
}

/// What a data identifier stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DidKind {
    /// A file.
    File,
    /// A Rucio dataset: files.
    Dataset,
    /// A container: Rucio datasets and containers.
    Container,
}

impl fmt::Display for DidKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Dataset => "Rucio dataset",
            Self::Container => "container",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back() {
        for text in ["hsc:u/a/run", "hsc:a:b"] {
            assert_eq!(text.parse::<Did>().unwrap().to_string(), text);
        }
        for text in ["", "u/a/run", ":u/a", "hsc:"] {
            text.parse::<Did>().unwrap_err();
        }
    }
}
