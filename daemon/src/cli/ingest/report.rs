//! What `ingest` tells of each file.

use std::fmt;
use std::path::{Path, PathBuf};

use runsync_manifest::generation::Generation;
use runsync_manifest::name::RunName;
use serde::Serialize;

use super::place::Refused;
use crate::ingest::refuse::is_held;
use crate::ledger::record::{ManifestRow, ManifestState};

/// What became of one file.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    file: PathBuf,
    /// `registered`, `held`, another state of the ledger, or what kept it from having one.
    state: &'static str,
    /// Its path in the root, once the ledger knows it.
    path: Option<String>,
    run: Option<RunName>,
    generation: Option<Generation>,
    artifacts: Option<Confirmed>,
    reason: Option<String>,
    hint: Option<String>,
}

/// How much of the run is confirmed.
#[derive(Debug, Serialize)]
pub(super) struct Confirmed {
    /// Claims with a datastore record.
    pub(super) confirmed: u64,
    /// All claims.
    pub(super) of: u64,
}

impl Taken {
    /// A file whose state is in the ledger.
    pub(super) fn new(file: &Path, row: &ManifestRow, artifacts: Option<Confirmed>) -> Self {
        let summary = row.summary.as_ref();
        let registered = row.state == ManifestState::Registered;
        Self {
            file: file.to_owned(),
            state: if is_held(row) {
                "held"
            } else {
                row.state.as_str()
            },
            path: Some(row.location.path.clone()),
            run: summary.map(|summary| summary.run.name.clone()),
            generation: summary.map(|summary| summary.generation),
            artifacts,
            reason: row.reason.clone().filter(|_| !registered),
            hint: row.hint.clone(),
        }
    }

    /// A file that the ledger does not know.
    pub(super) fn refused(file: &Path, refused: &Refused) -> Self {
        Self {
            file: file.to_owned(),
            state: refused.state,
            path: None,
            run: None,
            generation: None,
            artifacts: None,
            reason: Some(refused.reason.clone()),
            hint: refused.hint.clone(),
        }
    }

    /// Whether all is done that can be done with it.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.state, "registered" | "held")
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.state)?;
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        } else if let (Some(run), Some(generation)) = (&self.run, self.generation) {
            write!(f, ": run {run}, generation {generation}")?;
        }
        if let Some(Confirmed { confirmed, of }) = self.artifacts {
            write!(f, ", {confirmed} of {of} artifacts confirmed")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}
