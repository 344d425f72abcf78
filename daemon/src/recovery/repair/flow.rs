//! Plans repairs, and carries plans out: by an operator's word, or by what policy allows.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use runsync_config::repair::Repair as Policy;
use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use tracing::info;
use uuid::Uuid;

use super::RepairError;
use super::act::{Acting, Order, go_on};
use super::plan::{Limits, RepairPlan, RootPlan};
use super::planning;
use super::replicas;
use super::report::{RepairReport, RootRepaired};
use super::restore::{self, Restoration};
use super::resume::resume;
use super::scene::Scene;
use super::share;
use crate::clock::earlier;
use crate::error_chain::error_chain;
use crate::ingest::Flow;
use crate::ledger::repairs::Repaired;
use crate::ledger::scans::DriftKind;
use crate::publish::Publishing;

/// Pause between two looks at whether another repair has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// How far a repair has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairPhase {
    /// So many findings of a root are looked through.
    Planning(u64),
    /// Another process registers; it is waited for.
    Waiting,
    /// Files are read, or Rucio is asked, which takes its time.
    Working,
    /// What an earlier repair had begun is settled.
    Resumed,
    /// Rucio was told, where it has to be.
    Declared,
    /// It is noted what is done next.
    Noted,
    /// Records are as they are to be.
    Records,
    /// One more file is.
    File,
    /// All files of some artifacts are, durably.
    Files,
    /// So many artifacts of a root are repaired, and their findings gone.
    Done(u64),
}

/// Hears how far a repair has come, and may break off: the next one finishes what was begun.
pub type RepairProgress<'a> = dyn FnMut(RepairPhase) -> ControlFlow<()> + 'a;

/// What is to be repaired.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairOrder {
    /// Only in this root.
    pub root: Option<RootName>,
    /// Only below this folder of the root.
    pub below: Option<ArtifactPath>,
    /// Only findings of this kind.
    pub kind: Option<DriftKind>,
    /// Whether files that nothing names are deleted, where their root allows it, and not set aside.
    pub delete_dark: bool,
}

/// Repairs what scans have found.
#[derive(Debug)]
pub struct Repairing {
    flows: Vec<Flow>,
    publishing: Arc<Publishing>,
    policy: Policy,
    /// What is repaired unasked counts together: two jobs do not count at once.
    by_policy: Mutex<()>,
}

impl Repairing {
    /// Repairs these roots by this policy.
    pub fn new(flows: Vec<Flow>, publishing: Arc<Publishing>, policy: Policy) -> Self {
        Self {
            flows,
            publishing,
            policy,
            by_policy: Mutex::default(),
        }
    }

    /// What would be done. Nothing but a mark of time in the ledger is changed.
    ///
    /// # Errors
    ///
    /// Where registry or ledger do not answer, or there is no such root. Of a root that does not answer the plan
    /// says so.
    pub fn plan(
        &self,
        order: &RepairOrder,
        progress: &mut RepairProgress<'_>,
    ) -> Result<RepairPlan, RepairError> {
        let mut plans = Vec::new();
        for flow in &self.flows {
            let name = &flow.root().name;
            if order.root.as_ref().is_none_or(|root| root == name) {
                let scene = Scene::of(flow, &self.policy)?;
                plans.push(planning::plan(&scene, order, progress)?);
            }
        }
        match (&order.root, plans.is_empty()) {
            (Some(root), true) => Err(RepairError::NoRoot { root: root.clone() }),
            _ => Ok(RepairPlan::of(plans, &self.limits()?)),
        }
    }

    /// What may be repaired without approval, and how much of that was.
    fn limits(&self) -> Result<Limits, RepairError> {
        let mut limits = Limits {
            artifacts: self.policy.artifacts_max,
            bytes: self.policy.bytes_max,
            declared: self
                .publishing
                .rucio()
                .ok()
                .map(|rucio| rucio.config().sync.declare_max),
            apart: self.policy.apart,
            repaired: Repaired::default(),
        };
        // All roots have one ledger.
        if let Some(flow) = self.flows.first() {
            let site = flow.site();
            let since = earlier(site.clock.now(), self.policy.apart);
            limits.repaired = site.ledger.repaired_since(since)?;
        }
        Ok(limits)
    }

    /// Does what a plan says, by `account`; each artifact only where it is still as the plan says. `approved` lifts
    /// the limits on artifacts, bytes and declarations, and no others. What earlier repairs had begun is settled
    /// first, whatever the plan is.
    ///
    /// # Errors
    ///
    /// [`RepairError::TooLarge`] where it is too large, and nothing was begun before; where `progress` broke off, or the lease is
    /// another's. What stops the repair of one root is in the report.
    pub fn run(
        &self,
        plan: &RepairPlan,
        (account, approved): (&str, bool),
        progress: &mut RepairProgress<'_>,
    ) -> Result<RepairReport, RepairError> {
        let repair = Uuid::now_v7();
        let order = Order {
            repair,
            plan: &plan.id,
            account,
            approved,
        };
        let report = RepairReport {
            repair,
            plan: plan.id.clone(),
            roots: self.run_roots(plan, order, progress)?,
        };
        let is_settled = report.roots.iter().zip(&plan.roots).any(|(done, planned)| {
            done.stopped.is_some() || done.finished > 0 || done.left > planned.left
        });
        if is_too_large(plan, approved) && !is_settled {
            return Err(RepairError::TooLarge {
                plan: plan.id.clone(),
                above: plan.above.clone(),
            });
        }
        Ok(report)
    }

    /// Does what a plan says, root by root; of one that is too large only what was begun before.
    fn run_roots(
        &self,
        plan: &RepairPlan,
        order: Order<'_>,
        progress: &mut RepairProgress<'_>,
    ) -> Result<Vec<RootRepaired>, RepairError> {
        let mut roots = Vec::with_capacity(plan.roots.len());
        for root in &plan.roots {
            let mut report = RootRepaired::of(root);
            let repaired = if is_too_large(plan, order.approved) {
                report.refuse_as_too_large(plan);
                self.settle(root, &mut report, progress)
            } else {
                self.run_root(root, order, &mut report, progress)
            };
            match repaired {
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                Err(error) => report.stopped = Some(error_chain(&error)),
                Ok(()) => {}
            }
            info!(root = %root.root, repaired = report.repaired(), left = report.left,
                account = order.account, "root repaired");
            roots.push(report);
        }
        Ok(roots)
    }

    /// Does what policy allows within its limits, and asks nobody: root by root, so that one of which too much is
    /// amiss holds up no other.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan) and [`run`](Self::run), but for what is too large, which is in the report.
    pub fn by_policy(
        &self,
        root: Option<&RootName>,
        account: &str,
        progress: &mut RepairProgress<'_>,
    ) -> Result<Vec<RootRepaired>, RepairError> {
        let roots: Vec<RootName> = match root {
            Some(root) => vec![root.clone()],
            None => self
                .flows
                .iter()
                .map(|flow| flow.root().name.clone())
                .collect(),
        };
        let mut reports = Vec::with_capacity(roots.len());
        for root in roots {
            let _alone = self.alone(progress)?;
            let order = RepairOrder {
                root: Some(root),
                ..RepairOrder::default()
            };
            let plan = self.plan(&order, progress)?;
            let order = Order {
                repair: Uuid::now_v7(),
                plan: &plan.id,
                account,
                approved: false,
            };
            reports.extend(self.run_roots(&plan, order, progress)?);
        }
        Ok(reports)
    }

    /// Waits until no other repair by policy is under way.
    fn alone(&self, progress: &mut RepairProgress<'_>) -> Result<MutexGuard<'_, ()>, RepairError> {
        loop {
            match self.by_policy.try_lock() {
                Ok(alone) => return Ok(alone),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => go_on(progress(RepairPhase::Waiting))?,
            }
            thread::sleep(PAUSE);
        }
    }

    /// Settles what earlier repairs had begun in a root.
    fn settle(
        &self,
        plan: &RootPlan,
        report: &mut RootRepaired,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        let Some(flow) = self.flow(&plan.root) else {
            return Ok(());
        };
        resume(&Scene::of(flow, &self.policy)?, report, progress)
    }

    fn flow(&self, root: &RootName) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.root().name == *root)
    }

    fn run_root(
        &self,
        plan: &RootPlan,
        order: Order<'_>,
        report: &mut RootRepaired,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        self.settle(plan, report, progress)?;
        let (Some(flow), None) = (self.flow(&plan.root), &plan.refused) else {
            return Ok(());
        };
        let scene = Scene::of(flow, &self.policy)?;
        if let Some(doubt) = scene.doubt() {
            report.refused = Some(doubt);
            return Ok(());
        }
        // More may be amiss by now than when the plan was made.
        let mut now = RootPlan::new(plan.root.clone());
        if let Some(refused) = share::refusal(&scene, &mut now)? {
            report.refused = Some(refused);
            return Ok(());
        }
        let acting = Acting {
            scene: &scene,
            publishing: &self.publishing,
            order,
        };
        acting.act(&plan.items, report, progress)?;
        if plan.replicas.is_empty() {
            return Ok(());
        }
        let mut now = RootPlan::new(plan.root.clone());
        if replicas::are_added(&scene, &RepairOrder::default(), &mut now)? {
            return acting.add_replicas(&plan.replicas, report, progress);
        }
        report.notes.append(&mut now.notes);
        report.left += plan.replicas.len() as u64;
        Ok(())
    }

    /// Brings back what a repair set aside, to where it lay.
    ///
    /// # Errors
    ///
    /// [`RepairError::NotAside`] where there is nothing; others where the root, registry or ledger does not answer.
    pub fn bring_back(
        &self,
        root: Option<&RootName>,
        path: &ArtifactPath,
    ) -> Result<Restoration, RepairError> {
        for flow in &self.flows {
            if root.is_some_and(|root| *root != flow.root().name) {
                continue;
            }
            let scene = Scene::of(flow, &self.policy)?;
            if let Some(restored) = restore::bring_back(&scene, path)? {
                return Ok(restored);
            }
        }
        Err(RepairError::NotAside { path: path.clone() })
    }
}

/// Whether a plan is larger than may be done without approval.
fn is_too_large(plan: &RepairPlan, approved: bool) -> bool {
    !plan.above.is_empty() && !approved
}
