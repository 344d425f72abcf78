//! What comparing with Rucio's view has seen, and found.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::RseName;
use serde::{Deserialize, Serialize};

use crate::ledger::scans::DriftKind;

/// What a pass has seen so far, in one or several goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewCounts {
    /// Artifacts that are recorded here and that Rucio should have.
    pub records: u64,
    /// Of these, those that Rucio has here, available and alike.
    pub agree: u64,
    /// Artifacts of runs that are not in Rucio: nothing is asked about them.
    pub not_of_rucio: u64,
    /// Artifacts about which nothing was concluded: something is under way, or Rucio does not list what it has.
    pub undecided: u64,
    /// Names of files in Rucio's scopes, wherever their replicas are.
    pub names: u64,
    /// Replicas at this RSE.
    pub replicas: u64,
    /// Of these, those that are awaited here: comparing runs takes them in.
    pub awaited: u64,
    /// Of these, manifests, and names that no artifact can have.
    pub others: u64,
    /// Requests to Rucio.
    pub requests: u64,
}

/// What came of comparing one root with Rucio's view of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewReport {
    /// The root.
    pub root: RootName,
    /// The RSE that it is.
    pub rse: RseName,
    /// Whether both ways through are at their end; else the next one goes on.
    pub whole: bool,
    /// When the pass began.
    pub begun_at: Timestamp,
    /// When a pass last went through.
    pub finished_at: Option<Timestamp>,
    /// What the pass has seen so far.
    pub counts: ViewCounts,
    /// Findings there are now, without those to be left out.
    pub findings: BTreeMap<DriftKind, u64>,
}

impl ViewCounts {
    /// Adds what was seen on another way through.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            agree: self.agree + other.agree,
            not_of_rucio: self.not_of_rucio + other.not_of_rucio,
            undecided: self.undecided + other.undecided,
            names: self.names + other.names,
            replicas: self.replicas + other.replicas,
            awaited: self.awaited + other.awaited,
            others: self.others + other.others,
            requests: self.requests + other.requests,
        }
    }
}

impl ViewReport {
    /// Whether nothing was found.
    pub fn is_well(&self) -> bool {
        self.findings.values().all(|count| *count == 0)
    }
}
