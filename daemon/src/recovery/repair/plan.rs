//! What a repair would do. A plan's number is the digest of what it says, so that it is the same plan only while
//! it would do the same.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::HEXLOWER;
use runsync_config::root::RootName;
use runsync_manifest::checksum::Checksums;
use runsync_manifest::name::{ArtifactPath, RunKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::file_identity::FileIdentity;
use crate::ledger::repairs::{RepairAct, Repaired};
use crate::ledger::scans::DriftKind;

/// Characters of a plan's number.
const NUMBER_CHARS: usize = 16;
/// Artifacts that are named of those that are left, and of those that would be repaired, in a root.
pub(super) const LEFT_NAMED: usize = 100;

/// How much that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Extent {
    /// Artifacts.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Extent {
    pub(super) fn add(&mut self, bytes: Option<u64>) {
        self.artifacts += 1;
        self.bytes = self.bytes.saturating_add(bytes.unwrap_or(0));
    }
}

/// An artifact that is left as it is, though policy would have something done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Where.
    pub path: ArtifactPath,
    /// What was found there.
    pub kind: DriftKind,
    /// Why it is left.
    pub why: String,
}

/// What is done about one artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) path: ArtifactPath,
    pub(super) kind: DriftKind,
    pub(super) act: RepairAct,
    pub(super) detail: String,
    pub(super) size: Option<u64>,
    /// The file that was found.
    pub(super) identity: Option<FileIdentity>,
    /// What its record or its dataset says of it, and for which runs; none where nothing names it.
    pub(super) said: Option<Said>,
    /// Whether Rucio brings it again; else it is not waited for once its record is gone.
    pub(super) is_brought: bool,
}

/// What runs say of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) size: u64,
    pub(super) checksums: Checksums,
    pub(super) runs: Vec<RunKey>,
}

/// What would be done in one root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootPlan {
    /// The root.
    pub root: RootName,
    /// Why nothing is done there; none: something may be.
    pub refused: Option<String>,
    /// What else an operator should know.
    pub notes: Vec<String>,
    /// Artifacts that are recorded there.
    pub records: u64,
    /// Of these, those that are lost, corrupt or irregular.
    pub amiss: u64,
    /// Files that are dark.
    pub dark: u64,
    /// Records and files that the last scan could not look at.
    pub unseen: u64,
    /// What would be done, and to how much.
    pub acts: BTreeMap<RepairAct, Extent>,
    /// The first artifacts of these.
    pub planned_named: Vec<Planned>,
    /// Replicas that would be declared to Rucio, at most.
    pub declared: u64,
    /// Findings that have not been seen long enough.
    pub unripe: u64,
    /// Findings about which policy has nothing done.
    pub reported: u64,
    /// Findings that are left for other reasons.
    pub left: u64,
    /// The first of these.
    pub left_named: Vec<Left>,
    /// Whether there are more than one repair takes up: another goes on.
    pub more: bool,
    /// Repairs that were begun and not finished.
    pub unfinished: u64,
    #[serde(skip)]
    pub(super) items: Vec<Item>,
    /// What Rucio is to be told.
    #[serde(skip)]
    pub(super) replicas: Vec<Item>,
}

impl RootPlan {
    pub(super) fn new(root: RootName) -> Self {
        Self {
            root,
            refused: None,
            notes: Vec::new(),
            records: 0,
            amiss: 0,
            dark: 0,
            unseen: 0,
            acts: BTreeMap::new(),
            planned_named: Vec::new(),
            declared: 0,
            unripe: 0,
            reported: 0,
            left: 0,
            left_named: Vec::new(),
            more: false,
            unfinished: 0,
            items: Vec::new(),
            replicas: Vec::new(),
        }
    }

    pub(super) fn leave(&mut self, left: Left) {
        self.left += 1;
        if self.left_named.len() < LEFT_NAMED {
            self.left_named.push(left);
        }
    }

    pub(super) fn take(&mut self, item: Item) {
        self.acts.entry(item.act).or_default().add(item.size);
        if self.planned_named.len() < LEFT_NAMED {
            self.planned_named.push(Planned {
                path: item.path.clone(),
                kind: item.kind,
                act: item.act,
            });
        }
        if item.act == RepairAct::AddReplica {
            self.replicas.push(item);
        } else {
            self.items.push(item);
        }
    }

    /// Whether nothing is to be done.
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.replicas.is_empty() && self.unfinished == 0
    }

    /// Whether nothing of what was asked for is left that was found, and is not to be left out.
    fn is_well(&self) -> bool {
        self.refused.is_none()
            && self.is_empty()
            && self.unripe + self.reported + self.left == 0
            && !self.more
    }
}

/// An artifact that would be repaired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Where.
    pub path: ArtifactPath,
    /// What was found there.
    pub kind: DriftKind,
    /// What would be done.
    pub act: RepairAct,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairPlan {
    /// Its number.
    pub id: String,
    /// By root.
    pub roots: Vec<RootPlan>,
    /// All of it.
    pub total: Extent,
    /// In which ways it is larger than a repair may be without approval.
    pub above: Vec<String>,
}

impl RepairPlan {
    pub(super) fn of(roots: Vec<RootPlan>, limits: &Limits) -> Self {
        let mut total = Extent::default();
        let mut digest = Sha256::new();
        for root in &roots {
            digest.update(format!("root {} {}\n", root.root, root.unfinished));
            for item in root.items.iter().chain(&root.replicas) {
                total.add(item.size);
                digest.update(format!(
                    "{}\0{}\0{:?}\0{}\n",
                    item.act, item.path, item.identity, item.detail
                ));
            }
        }
        let mut id = HEXLOWER.encode(&digest.finalize());
        id.truncate(NUMBER_CHARS);
        let declared = roots.iter().map(|root| root.declared).sum();
        let above = limits.above(total, declared);
        Self {
            id,
            roots,
            total,
            above,
        }
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.roots.iter().all(RootPlan::is_empty)
    }

    /// Whether something of an earlier repair is to be finished.
    pub fn has_begun(&self) -> bool {
        self.roots.iter().any(|root| root.unfinished > 0)
    }

    /// Whether a root may not be repaired at all.
    pub fn is_refused(&self) -> bool {
        self.roots.iter().any(|root| root.refused.is_some())
    }

    /// Whether nothing was found that is still so, and is not to be left out.
    pub fn is_well(&self) -> bool {
        self.roots.iter().all(RootPlan::is_well)
    }
}

/// What may be repaired without approval while two passes must lie apart.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) artifacts: u64,
    pub(super) bytes: u64,
    /// None: there is no Rucio.
    pub(super) declared: Option<u64>,
    pub(super) apart: Duration,
    /// What was repaired in that time.
    pub(super) repaired: Repaired,
}

impl Limits {
    /// In which ways a plan exceeds them.
    fn above(&self, total: Extent, declared: u64) -> Vec<String> {
        let repaired = self.repaired;
        let declared_max = self.declared.unwrap_or(u64::MAX);
        let artifacts = ("artifacts", "`[repair] artifacts_max`");
        let bytes = ("bytes", "`[repair] bytes_max`");
        let replicas = (
            "replicas to be declared to Rucio",
            "`[rucio.sync] declare_max`",
        );
        let parts = [
            (
                artifacts,
                total.artifacts,
                repaired.artifacts,
                self.artifacts,
            ),
            (bytes, total.bytes, repaired.bytes, self.bytes),
            (replicas, declared, repaired.declared, declared_max),
        ];
        let exceeds = |(_, planned, repaired, most): &(_, u64, u64, u64)| {
            *planned > 0 && planned.saturating_add(*repaired) > *most
        };
        let above = parts.into_iter().filter(exceeds);
        above
            .map(|((what, key), planned, repaired, most)| {
                let before = if repaired == 0 {
                    String::new()
                } else {
                    let apart = humantime::format_duration(self.apart);
                    format!(", and {repaired} of the last {apart},")
                };
                format!("{planned} {what}{before} are more than {most} ({key})")
            })
            .collect()
    }
}
