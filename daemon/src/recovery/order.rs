//! What a scan is asked to do.

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;

use super::budget::Limits;

/// Which artifacts a scan reads, to compare their checksums with their records.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Checks {
    /// None but those that were found lost or corrupt before.
    None,
    /// Also a share of the others, between 0 and 1: which ones differs from pass to pass.
    Sampled(f64),
    /// All.
    Full,
}

/// What a scan is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Only this root.
    pub root: Option<RootName>,
    /// Only what lies below this folder.
    pub below: Option<ArtifactPath>,
    /// How much it may use.
    pub limits: Limits,
    /// What it reads.
    pub checks: Checks,
    /// Whether it begins anew where a pass is under way.
    pub anew: bool,
}

impl Checks {
    /// The share of artifacts that is read.
    pub(super) fn share(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Sampled(share) => share,
            Self::Full => 1.0,
        }
    }
}

impl Order {
    /// The part of a root that is scanned, as the ledger calls it.
    pub(super) fn scope(&self) -> &str {
        self.below.as_ref().map_or("", ArtifactPath::as_str)
    }
}
