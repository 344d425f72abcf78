//! Makes the plan of one root from its findings, page by page.

use jiff::Timestamp;
use runsync_config::rucio::Declare;

use super::RepairError;
use super::act::{SPOKEN_FOR, go_on};
use super::examine::{Depth, act_of, examine};
use super::flow::{RepairOrder, RepairPhase, RepairProgress};
use super::plan::{Item, Left, RootPlan};
use super::replicas;
use super::scene::Scene;
use super::share;
use super::spellings::Spellings;
use crate::clock::later;
use crate::error_chain::error_chain;
use crate::ledger::repairs::{RepairAct, WhichRepairs};
use crate::ledger::scans::{DriftFilter, DriftFinding, DriftKind, DriftSide, Span};
use crate::recovery::temporary::is_temporary;
use crate::recovery::untouchable::Beside;

/// Findings read together.
const PAGE: usize = 1_000;
/// Artifacts that one repair takes up, in each root: what its plan holds in memory. Another goes on.
const ITEMS_MAX: usize = 100_000;

/// What would be done in a root.
pub(super) fn plan(
    scene: &Scene<'_>,
    order: &RepairOrder,
    progress: &mut RepairProgress<'_>,
) -> Result<RootPlan, RepairError> {
    let mut plan = RootPlan::new(scene.root().clone());
    // What was begun is settled, whatever more may be done.
    let begun = (scene.ledger()).repairs(WhichRepairs::Begun(scene.root()), None, ITEMS_MAX)?;
    plan.unfinished = begun.len() as u64;
    plan.refused = refusal(scene, &mut plan)?;
    if plan.refused.is_some() {
        return Ok(plan);
    }
    let span = Span::below(order.below.as_ref());
    let untouchable = scene.untouchable(&span, RepairPhase::Planning(0), progress)?;
    if let Some(doubt) = untouchable.doubt() {
        plan.refused = Some(format!("{doubt}; nothing is repaired here until then"));
        return Ok(plan);
    }
    plan.notes = untouchable.notes().to_vec();
    let beside = untouchable.beside()?;
    let spellings = Spellings::of(scene)?;
    let scanned = scene.ledger().scan(scene.root(), "")?;
    let mut taking = Taking {
        scene,
        order,
        scanned: scanned.and_then(|row| row.whole_begun_at),
        beside,
        spellings,
        seen: 0,
    };
    taking.findings(DriftSide::Datastore, order.kind, &mut plan, progress)?;
    if replicas::are_added(scene, order, &mut plan)? {
        taking.scanned = replicas::compared(scene)?;
        taking.beside = untouchable.beside()?;
        let kind = Some(DriftKind::SiteOnly);
        taking.findings(DriftSide::Records, kind, &mut plan, progress)?;
    }
    Ok(plan)
}

/// Takes up findings.
struct Taking<'a> {
    scene: &'a Scene<'a>,
    order: &'a RepairOrder,
    /// When the last pass over all of the root began.
    scanned: Option<Timestamp>,
    beside: Beside<'a>,
    spellings: Spellings,
    seen: u64,
}

impl Taking<'_> {
    /// Goes through the findings of one side, page by page.
    fn findings(
        &mut self,
        side: DriftSide,
        kind: Option<DriftKind>,
        plan: &mut RootPlan,
        progress: &mut RepairProgress<'_>,
    ) -> Result<(), RepairError> {
        let scene = self.scene;
        let filter = DriftFilter {
            root: Some(scene.root().clone()),
            kind,
            side: Some(side),
            span: Span::below(self.order.below.as_ref()),
            ignored: false,
        };
        let mut after: Option<String> = None;
        loop {
            let at = after.as_deref().map(|after| (scene.root(), after));
            let page = scene.ledger().drift(&filter, at, PAGE)?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|last| last.path.to_string());
            self.seen += page.len() as u64;
            let mut items = Vec::new();
            for finding in page {
                items.extend(self.take(finding, plan)?);
            }
            let (stand, left) = examine(scene, items, Depth::Plan, progress)?;
            for left in left {
                plan.leave(left);
            }
            for item in stand {
                let is_told = item.act.takes_records_back() && scene.flow.root().rse.is_some();
                plan.declared += u64::from(is_told && scene.policy.declare != Declare::Never);
                plan.take(item);
            }
            go_on(progress(RepairPhase::Planning(self.seen)))?;
            let is_full = plan.items.len() + plan.replicas.len() >= ITEMS_MAX;
            plan.more |= is_full && !is_last;
            if is_last || is_full {
                return Ok(());
            }
        }
    }

    /// What is done about a finding, as far as the finding itself tells.
    fn take(
        &mut self,
        finding: DriftFinding,
        plan: &mut RootPlan,
    ) -> Result<Option<Item>, RepairError> {
        let Some(act) = act_of(self.scene, &finding, self.order.delete_dark) else {
            plan.reported += 1;
            return Ok(None);
        };
        if !is_ripe(self.scene, &finding, self.scanned) {
            plan.unripe += 1;
            return Ok(None);
        }
        if let Some(why) = self.not_touched(act, &finding)? {
            plan.leave(Left {
                path: finding.path,
                kind: finding.kind,
                why,
            });
            return Ok(None);
        }
        Ok(Some(Item {
            path: finding.path,
            kind: finding.kind,
            act,
            detail: finding.detail,
            size: finding.size,
            identity: finding.identity,
            said: None,
            is_brought: true,
        }))
    }

    /// Why nothing is done about a finding, by its name.
    fn not_touched(
        &mut self,
        act: RepairAct,
        finding: &DriftFinding,
    ) -> Result<Option<String>, RepairError> {
        let path = finding.path.as_str();
        if self.beside.holds(path)? {
            return Ok(Some(SPOKEN_FOR.to_owned()));
        }
        if act == RepairAct::AddReplica {
            return Ok(None);
        }
        if let Some(twin) = &finding.twin {
            return Ok(Some(format!(
                "`{twin}` is another spelling of its name: the two may be one artifact"
            )));
        }
        let why = if self.spellings.are_many(path) {
            Some("another spelling of its name was found too: the two may be one artifact")
        } else if act != RepairAct::Forget && is_temporary(path) {
            Some("its name is temporary or hidden")
        } else {
            None
        };
        Ok(why.map(str::to_owned))
    }
}

/// Why nothing at all is done in a root.
fn refusal(scene: &Scene<'_>, plan: &mut RootPlan) -> Result<Option<String>, RepairError> {
    if let Err(error) = scene.datastore().check_identity() {
        let hint = error.hint().unwrap_or_default();
        return Ok(Some(format!("{}: {hint}", error_chain(&error))));
    }
    if let Some(doubt) = scene.doubt() {
        return Ok(Some(doubt));
    }
    share::refusal(scene, plan)
}

/// Whether two passes that lie apart saw the same, and a pass that began after the first of them went through all of the root:
/// else nobody knows how much of it is amiss.
fn is_ripe(scene: &Scene<'_>, finding: &DriftFinding, scanned: Option<Timestamp>) -> bool {
    let Some(since) = finding.unchanged_since else {
        return false;
    };
    later(since, scene.policy.apart) <= finding.last_seen
        && finding.last_seen <= scene.now()
        && scanned.is_some_and(|scanned| scanned >= since)
}
