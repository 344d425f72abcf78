//! What comparing with Rucio has done, and found.

use runsync_config::root::RootName;
use runsync_manifest::name::RunName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Late runs that are named; the others are findings as well.
const LATE_NAMED: usize = 1_000;

/// What comparing with Rucio has done, and found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SyncReport {
    /// Requests that it took.
    pub requests: u64,
    /// Whether all was gone through; false where the rest is left for the next pass.
    pub whole: bool,
    /// Manifests that have come and had not been seen.
    pub manifests: u64,
    /// Manifests that Rucio has at other RSEs and does not bring here.
    pub manifests_elsewhere: u64,
    /// Runs that were compared.
    pub runs: u64,
    /// Artifacts that got their record.
    pub confirmed: u64,
    /// Artifacts that are being read by the loop that confirms.
    pub reading: u64,
    /// Names that were given to files which Rucio keeps under others.
    pub linked: u64,
    /// Claims that wait again because Rucio has, or is to have, their artifacts here again.
    pub awaited_again: u64,
    /// Claims that were forgotten because Rucio has deleted their artifacts.
    pub forgotten: u64,
    /// Artifacts that are not what, or not where, their manifests say; each is a finding.
    pub wrong: u64,
    /// Artifacts that were declared to Rucio.
    pub declared: u64,
    /// Artifacts that are still waited for.
    pub waiting: u64,
    /// Runs that are late, and why.
    pub late: Vec<LateRun>,
}

/// A run that is late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LateRun {
    /// The run.
    #[schema(value_type = String)]
    pub run: RunName,
    /// The root that it should be in.
    #[schema(value_type = String)]
    pub root: RootName,
    /// Artifacts that are waited for.
    pub waiting: u64,
    /// Why they do not come, by Rucio.
    pub reason: String,
}

impl SyncReport {
    pub(super) fn late(&mut self, run: LateRun) {
        if self.late.len() < LATE_NAMED {
            self.late.push(run);
        }
    }

    /// Whether nothing is late, and all is what it should be.
    pub fn is_well(&self) -> bool {
        self.late.is_empty() && self.wrong == 0 && self.manifests_elsewhere == 0
    }

    /// Whether anything was done.
    pub fn has_changed(&self) -> bool {
        [
            self.manifests,
            self.confirmed,
            self.linked,
            self.awaited_again,
            self.forgotten,
            self.declared,
        ]
        .iter()
        .any(|count| *count > 0)
    }
}
