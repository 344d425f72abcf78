//! What repairs came to.

use std::collections::BTreeMap;

use runsync_config::root::RootName;
use serde::Serialize;
use uuid::Uuid;

use super::declare::Told;
use super::plan::{Extent, LEFT_NAMED, Left, RepairPlan, RootPlan};
use crate::ledger::repairs::RepairAct;

/// What was repaired in a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootRepaired {
    /// The root.
    pub root: RootName,
    /// Why nothing was done there; none: something may have been.
    pub refused: Option<String>,
    /// What stopped it before its end; none: it came there.
    pub stopped: Option<String>,
    /// What else an operator should know.
    pub notes: Vec<String>,
    /// What was done, and to how much.
    pub acts: BTreeMap<RepairAct, Extent>,
    /// Replicas that were declared to Rucio, bad or suspicious.
    pub declared: u64,
    /// Those of them that were declared suspicious alone: `[repair] declare` says no more, or the account may not say
    /// more. Rucio counts these, and copies none anew.
    pub suspicious: u64,
    /// Repairs that had been begun before, and are finished now.
    pub finished: u64,
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
}

impl RootRepaired {
    pub(super) fn of(plan: &RootPlan) -> Self {
        Self {
            root: plan.root.clone(),
            refused: plan.refused.clone(),
            stopped: None,
            notes: plan.notes.clone(),
            acts: BTreeMap::new(),
            declared: 0,
            suspicious: 0,
            finished: 0,
            unripe: plan.unripe,
            reported: plan.reported,
            left: plan.left,
            left_named: plan.left_named.clone(),
            more: plan.more,
        }
    }

    /// Nothing is done in a root whose plan is larger than may be done unasked.
    pub(super) fn refuse_as_too_large(&mut self, plan: &RepairPlan) {
        let (above, id, root) = (plan.above.join("; "), &plan.id, &self.root);
        self.refused.get_or_insert_with(|| {
            format!("{above}; stop the daemon, look through it with `runsync repair --root {root} --dry-run`, and approve it: `--root {root} --approve {id}`")
        });
    }

    pub(super) fn leave(&mut self, left: Left) {
        self.left += 1;
        if self.left_named.len() < LEFT_NAMED {
            self.left_named.push(left);
        }
    }

    pub(super) fn tell<'t>(&mut self, told: impl Iterator<Item = &'t Told>) {
        for told in told.filter(|told| **told != Told::BadBefore) {
            self.declared += 1;
            self.suspicious += u64::from(*told == Told::Suspicious);
        }
    }

    /// Whether nothing is left that was found.
    pub fn is_well(&self) -> bool {
        self.refused.is_none()
            && self.stopped.is_none()
            && self.unripe + self.reported + self.left == 0
            && !self.more
    }

    /// Whether it was refused, or stopped before its end.
    pub fn has_failed(&self) -> bool {
        self.refused.is_some() || self.stopped.is_some()
    }

    /// How many artifacts were repaired.
    pub fn repaired(&self) -> u64 {
        self.acts.values().map(|extent| extent.artifacts).sum()
    }
}

/// What a repair came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// The repair.
    pub repair: Uuid,
    /// The number of its plan.
    pub plan: String,
    /// By root.
    pub roots: Vec<RootRepaired>,
}

impl RepairReport {
    /// Whether nothing is left that was found.
    pub fn is_well(&self) -> bool {
        self.roots.iter().all(RootRepaired::is_well)
    }

    /// Whether the repair of a root could not be done, and not only artifacts were left.
    pub fn has_failed(&self) -> bool {
        self.roots.iter().any(RootRepaired::has_failed)
    }
}
