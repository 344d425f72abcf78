//! What goes wrong while a manifest is made.

use std::fmt;
use std::io;

use runsync_manifest::error::{NameError, WriteError};
use runsync_manifest::name::{ArtifactPath, DatasetId, RunName};
use thiserror::Error;

use crate::datastore::DatastoreError;

/// A place in an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as the operator named it.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// A manifest that cannot be made.
#[derive(Debug, Error)]
pub enum CreateError {
    /// An input file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// An input line is not of its language.
    #[error("{place}, column {column}: {problem}")]
    Syntax {
        /// Where.
        place: Place,
        /// Column, from 1.
        column: u64,
        /// What the parser says.
        problem: String,
    },
    /// A field is missing.
    #[error("{place}, field `{field}`: is missing")]
    Missing {
        /// Where what lacks it begins.
        place: Place,
        /// The field.
        field: String,
    },
    /// A field's value is not usable.
    #[error("{place}, field `{field}`: found {found}, expected {expected}")]
    Field {
        /// Where.
        place: Place,
        /// The field.
        field: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A name breaks the rules for such names.
    #[error("{place}, field `{field}`")]
    Name {
        /// Where.
        place: Place,
        /// The field.
        field: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// One dataset is described in two ways.
    #[error("{place}: dataset {dataset} {problem}")]
    Contradiction {
        /// Where the second description stands.
        place: Place,
        /// The dataset.
        dataset: DatasetId,
        /// How they differ.
        problem: &'static str,
    },
    /// The export holds no such run, or several and none was chosen.
    #[error("{file} holds {}, expected {}", runs(found), expected_run(asked.as_ref()))]
    Run {
        /// The file.
        file: String,
        /// The run that was asked for.
        asked: Option<RunName>,
        /// The runs that it holds.
        found: Vec<RunName>,
    },
    /// Artifacts are not in the root.
    #[error("cannot find {count} of the artifacts in the datastore root; the first is `{first}`")]
    Absent {
        /// How many.
        count: u64,
        /// The first by path.
        first: ArtifactPath,
    },
    /// An artifact is not a regular file, or a symbolic link is on the way to it.
    #[error("artifact `{path}` is not a regular file inside the datastore root")]
    Irregular {
        /// Its path.
        path: ArtifactPath,
    },
    /// The datastore cannot be asked.
    #[error("cannot look at {count} artifacts from `{first}` on")]
    Look {
        /// How many were asked for.
        count: usize,
        /// The first of them.
        first: ArtifactPath,
        /// What the datastore says.
        source: DatastoreError,
    },
    /// An artifact cannot be opened.
    #[error("cannot open artifact `{path}`")]
    Open {
        /// Its path.
        path: ArtifactPath,
        /// What the datastore says.
        source: DatastoreError,
    },
    /// An artifact cannot be read to its end.
    #[error("cannot read artifact `{path}`")]
    Artifact {
        /// Its path.
        path: ArtifactPath,
        /// What the system says.
        source: io::Error,
    },
    /// An artifact changed its size while it was read.
    #[error("artifact `{path}` changed while it was read: {before} bytes, then {after}")]
    Changed {
        /// Its path.
        path: ArtifactPath,
        /// Size when it was opened.
        before: u64,
        /// Bytes read.
        after: u64,
    },
    /// Claims that were not measured cannot be written.
    #[error("artifact `{path}` was not measured")]
    Unmeasured {
        /// Its path.
        path: ArtifactPath,
    },
    /// The manifest cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl CreateError {
    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Look { .. } | Self::Open { .. } | Self::Artifact { .. } => {
                "check that the file is there and readable by this account"
            }
            Self::Syntax { .. }
            | Self::Missing { .. }
            | Self::Field { .. }
            | Self::Name { .. }
            | Self::Contradiction { .. } => "correct the input and run the command again",
            Self::Run { .. } => "choose one of the runs with --run",
            Self::Absent { .. } => "put the files in place, or give the root that holds them",
            Self::Irregular { .. } => "put a regular file in its place: links are not followed",
            Self::Changed { .. } => "wait until the run is complete, then run the command again",
            Self::Unmeasured { .. } => "measure the artifacts before writing",
            Self::Write(_) => "correct the input, or check the place that is written to",
        }
    }

    /// The input field that is wrong, where there is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Missing { field, .. } | Self::Field { field, .. } | Self::Name { field, .. } => {
                Some(field)
            }
            Self::Write(error) => error.field(),
            Self::Read { .. }
            | Self::Syntax { .. }
            | Self::Contradiction { .. }
            | Self::Run { .. }
            | Self::Absent { .. }
            | Self::Irregular { .. }
            | Self::Look { .. }
            | Self::Open { .. }
            | Self::Artifact { .. }
            | Self::Changed { .. }
            | Self::Unmeasured { .. } => None,
        }
    }
}

fn expected_run(asked: Option<&RunName>) -> String {
    asked.map_or_else(|| "one run".to_owned(), |run| format!("`{run}`"))
}

fn runs(found: &[RunName]) -> String {
    const NAMED_MAX: usize = 5;
    let named: Vec<_> = found
        .iter()
        .take(NAMED_MAX)
        .map(|run| format!("`{run}`"))
        .collect();
    match found.len() {
        0 => "no run".to_owned(),
        1 => format!("the run {}", named.join("")),
        count => format!("{count} runs (such as {})", named.join(", ")),
    }
}
