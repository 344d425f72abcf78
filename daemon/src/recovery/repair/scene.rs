//! What is known of a root while it is repaired.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::repair::Repair as Policy;
use runsync_config::root::RootName;

use super::RepairError;
use super::flow::{RepairPhase, RepairProgress};
use crate::clock::later;
use crate::datastore::{Datastore, DatastoreError};
use crate::ingest::Flow;
use crate::ledger::Ledger;
use crate::ledger::repairs::Watch;
use crate::ledger::scans::Span;
use crate::recovery::behind::Behind;
use crate::recovery::untouchable::Untouchable;
use crate::registry::Registry;

/// A root, and what is known of it.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) flow: &'a Flow,
    pub(super) policy: &'a Policy,
    pub(super) behind: Behind,
    pub(super) watch: Watch,
    /// Artifacts that are recorded there, counted once.
    pub(super) records: OnceLock<u64>,
}

impl<'a> Scene<'a> {
    pub(super) fn of(flow: &'a Flow, policy: &'a Policy) -> Result<Self, RepairError> {
        let site = flow.site();
        Ok(Self {
            flow,
            policy,
            behind: Behind::find(&*site.ledger, &*site.registry, &flow.root().name)?,
            watch: site.ledger.watch(site.clock.now())?,
            records: OnceLock::new(),
        })
    }

    pub(super) fn root(&self) -> &RootName {
        &self.flow.root().name
    }

    pub(super) fn registry(&self) -> &dyn Registry {
        &*self.flow.site().registry
    }

    pub(super) fn ledger(&self) -> &dyn Ledger {
        &*self.flow.site().ledger
    }

    pub(super) fn datastore(&self) -> &dyn Datastore {
        &**self.flow.datastore()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.flow.site().clock.now()
    }

    /// What is untouchable in a stretch of paths; `progress` hears meanwhile that it is at this.
    pub(super) fn untouchable(
        &self,
        span: &Span,
        phase: RepairPhase,
        progress: &mut RepairProgress<'_>,
    ) -> Result<Untouchable, RepairError> {
        let go_on = &mut || progress(phase);
        let untouchable = Untouchable::find(self.flow, &self.behind, span, go_on)?;
        if untouchable.is_broken_off() {
            return Err(RepairError::Interrupted);
        }
        Ok(untouchable)
    }

    pub(super) fn failed(&self, source: DatastoreError) -> RepairError {
        RepairError::Datastore {
            root: self.root().clone(),
            source,
        }
    }

    /// Why no time is believed now: the clock has leapt, and has not yet run on for as long as passes must
    /// lie apart.
    pub(super) fn doubt(&self) -> Option<String> {
        let (before, after) = self.watch.leap?;
        let believed = later(after, self.policy.apart);
        (self.now() < believed).then(|| {
            format!(
                "the clock was set from {before:.0} to {after:.0}, or nothing was done here between these: nothing is repaired before {believed:.0}, and only what two passes have seen since"
            )
        })
    }

    /// Whether a file that last changed then has been so for that long. What is older than the last leap of the
    /// clock counts from there.
    pub(super) fn is_old(&self, changed_ns: i64, age: Duration) -> bool {
        let changed = Timestamp::from_nanosecond(changed_ns.into()).ok();
        let leap = self.watch.leap.map(|(_, after)| after);
        changed.is_some_and(|changed| {
            let from = leap.map_or(changed, |leap| leap.max(changed));
            later(from, age) <= self.now()
        })
    }
}
