//! How `ingest` tells of each file to people.

use std::fmt;

use serde::Serialize;

use crate::ingest::hand_in::{Confirmed, Taken};

/// What became of one file; as JSON the same as a daemon gives.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Report(pub(super) Taken);

impl Report {
    /// Whether all is done that can be done with it.
    pub(super) fn is_in(&self) -> bool {
        self.0.is_in()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(taken) = self;
        write!(f, "{}: {}", taken.file.display(), taken.state)?;
        if let Some(reason) = &taken.reason {
            write!(f, ": {reason}")?;
        } else if let (Some(run), Some(generation)) = (&taken.run, taken.generation) {
            write!(f, ": run {run}, generation {generation}")?;
        }
        if let Some(Confirmed { confirmed, of }) = taken.artifacts {
            write!(f, ", {confirmed} of {of} artifacts confirmed")?;
        }
        match &taken.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}
