//! The four contents of a manifest, and what each may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
