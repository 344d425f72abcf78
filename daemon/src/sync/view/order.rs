//! What comparing with Rucio's view is asked to do.

use std::time::Duration;

use runsync_config::root::RootName;

/// What comparing with Rucio's view is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewOrder {
    /// Only these roots; all that are RSEs where none is named.
    pub roots: Vec<RootName>,
    /// Most requests to Rucio; none: as many as it takes.
    pub requests: Option<u64>,
    /// Most time; none: as long as it takes.
    pub time: Option<Duration>,
    /// Whether it begins anew where a pass is under way.
    pub anew: bool,
}
