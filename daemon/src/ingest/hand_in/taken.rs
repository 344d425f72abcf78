//! What became of a manifest that was handed in.

use std::path::{Path, PathBuf};

use runsync_manifest::generation::Generation;
use runsync_manifest::name::RunName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::place::Refused;
use crate::ingest::refuse::is_held;
use crate::ledger::record::{ManifestRow, ManifestState};
use crate::schema::GenerationSchema;

/// What became of one file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Taken {
    /// What the caller calls it.
    #[schema(value_type = String)]
    pub file: PathBuf,
    /// `registered`, `held`, another state of the ledger, or what kept it from having one.
    pub state: String,
    /// Its path in the root, once the ledger knows it.
    pub path: Option<String>,
    /// Its run.
    #[schema(value_type = Option<String>)]
    pub run: Option<RunName>,
    /// Its generation.
    #[schema(value_type = Option<GenerationSchema>)]
    pub generation: Option<Generation>,
    /// How much of the run is confirmed.
    pub artifacts: Option<Confirmed>,
    /// Why it is not registered.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How much of the run is confirmed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Confirmed {
    /// Claims with a datastore record.
    pub confirmed: u64,
    /// All claims.
    pub of: u64,
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
            }
            .to_owned(),
            path: Some(row.location.path.clone()),
            run: summary.map(|summary| summary.run.name.clone()),
            generation: summary.map(|summary| summary.generation),
            artifacts,
            reason: row.reason.clone().filter(|_| !registered),
            hint: row.hint.clone(),
        }
    }

    /// A file that the ledger does not know.
    pub fn refused(file: &Path, refused: &Refused) -> Self {
        Self {
            file: file.to_owned(),
            state: refused.state.to_owned(),
            path: None,
            run: None,
            generation: None,
            artifacts: None,
            reason: Some(refused.reason.clone()),
            hint: refused.hint.clone(),
        }
    }

    /// Whether all is done that can be done with it.
    pub fn is_in(&self) -> bool {
        matches!(self.state.as_str(), "registered" | "held")
    }
}
