//! What repairs are about to do, and have done; and whether the site's clock can be believed.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scans::DriftKind;
use crate::file_identity::FileIdentity;

/// What the site knows of its clock: every sweep, scan and repair leaves the time that it saw. Where that
/// lies before an earlier one, or very far after it, the clock has leapt, and what was seen before says
/// nothing about how long ago that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The last leap: the time before it, and the time after it. None: there was none.
    pub leap: Option<(Timestamp, Timestamp)>,
}

/// What is done about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairAct {
    /// The record of a lost artifact goes; the artifact is waited for again.
    Forget,
    /// A file that a dataset names gets its record again.
    Register,
    /// A file that nothing names is moved into quarantine.
    Quarantine,
    /// A file that nothing names is deleted.
    Delete,
    /// The record of a corrupt artifact goes, and its file is moved into quarantine.
    Unstore,
    /// Rucio is told of a replica that it does not know of.
    AddReplica,
}

impl RepairAct {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Forget,
        Self::Register,
        Self::Quarantine,
        Self::Delete,
        Self::Unstore,
        Self::AddReplica,
    ];

    /// Whether it takes records back: what Rucio has to know of.
    pub const fn takes_records_back(self) -> bool {
        match self {
            Self::Forget | Self::Unstore => true,
            Self::Register | Self::Quarantine | Self::Delete | Self::AddReplica => false,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forget => "forget",
            Self::Register => "register",
            Self::Quarantine => "quarantine",
            Self::Delete => "delete",
            Self::Unstore => "unstore",
            Self::AddReplica => "add-replica",
        }
    }
}

impl fmt::Display for RepairAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RepairAct {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let act = Self::ALL.into_iter().find(|act| act.as_str() == text);
        act.ok_or(())
    }
}

/// The repair of one artifact, as it is about to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRepair {
    /// The repair that it belongs to.
    pub repair: Uuid,
    /// The number of its plan.
    pub plan: String,
    /// The root.
    pub root: RootName,
    /// Where.
    pub path: ArtifactPath,
    /// What was found there.
    pub kind: DriftKind,
    /// What is done.
    pub act: RepairAct,
    /// What was found, for people.
    pub detail: String,
    /// Size in bytes: the file's, or the record's where there is none.
    pub size: Option<u64>,
    /// The file that it is about.
    pub identity: Option<FileIdentity>,
    /// Where the file is moved to, in the root.
    pub aside: Option<String>,
    /// Who has it done.
    pub account: String,
    /// When it is begun.
    pub begun_at: Timestamp,
    /// What its replica was declared to Rucio to be.
    pub declared: Option<String>,
    /// Whether somebody approved of the very plan.
    pub approved: bool,
}

/// Replicas of which Rucio is about to be told that they are bad, or suspicious.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeclaration {
    /// The repair that tells it.
    pub repair: Uuid,
    /// The root.
    pub root: RootName,
    /// How many.
    pub replicas: u64,
    /// Whether somebody approved of the very plan.
    pub approved: bool,
    /// When.
    pub at: Timestamp,
}

/// How much was repaired without approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Artifacts.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Replicas that were declared to Rucio, whatever came of them here.
    pub declared: u64,
}

/// The repair of one artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairRow {
    /// Its number: a later one has a higher one.
    pub id: u64,
    /// The repair that it belongs to.
    pub repair: Uuid,
    /// The number of its plan.
    pub plan: String,
    /// The root.
    pub root: RootName,
    /// Where.
    pub path: ArtifactPath,
    /// What was found there.
    pub kind: DriftKind,
    /// What is done.
    pub act: RepairAct,
    /// What was found, for people.
    pub detail: String,
    /// Size in bytes: the file's, or the record's where there was none.
    pub size: Option<u64>,
    /// The file that it is about.
    pub identity: Option<FileIdentity>,
    /// Where the file was moved to, in the root.
    pub aside: Option<String>,
    /// Who had it done.
    pub account: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was known to be done; none: it is not known.
    pub done_at: Option<Timestamp>,
    /// What its replica was declared to Rucio to be.
    pub declared: Option<String>,
    /// When its file was brought back from quarantine.
    pub restored_at: Option<Timestamp>,
}

/// Which repairs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichRepairs<'a> {
    /// All that are done.
    Done,
    /// Those that were begun in a root and are not known to be done.
    Begun(&'a RootName),
    /// Those whose file lies in quarantine.
    Aside,
}

/// What became of a repair that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairEnd {
    /// Its number.
    pub id: u64,
    /// Whether it is done: then what was found there is so no more. Else it is as if it had not been begun.
    pub done: bool,
}
