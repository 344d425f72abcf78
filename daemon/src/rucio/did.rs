//! Data identifiers, as Rucio names them.

use std::fmt;

use runsync_manifest::name::Scope;
use serde::{Deserialize, Serialize};

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
