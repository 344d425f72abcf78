//! Repairs, whole, interfered with, broken off and killed.

use std::ops::ControlFlow;

use runsync::ledger::scans::DriftKind;
use runsync::recovery::repair::{RepairError, RepairOrder, RepairPlan, RepairReport};

use super::meddling::{Meddling, meddle};
use super::repaired::check_plan;
use crate::guard::Marks;
use crate::model::{Ask, Became, Plan, Went};
use crate::world::{MORE, World, die, dying};

/// How a repair ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    /// Somebody breaks it off when so much has been heard of it.
    BrokenOff(usize),
    /// The process dies there.
    Killed(usize),
}

/// What became of a repair that was asked for; none: its process died.
pub(super) type Ran = Option<Result<RepairReport, RepairError>>;

impl World {
    /// Plans a repair, and carries the plan out.
    pub(crate) fn repair(&mut self) -> String {
        let ask = self.some_ask();
        let marks = self.marks();
        let (plan, planned) = self.plan(&ask);
        let between = if !plan.items.is_empty() && self.chance(4) {
            self.meddle_between(&plan)
        } else {
            String::new()
        };
        let meddling = self.some_meddling(&plan);
        let end = self.some_end(&plan);
        let approved = self.rng.bool();
        let told = format!(
            "repair {ask:?}: {} planned{between}, {meddling:?}, {end:?}, approved: {approved}",
            plan.items.len()
        );
        self.carry_out((&plan, &planned, &marks), approved, meddling, end);
        told
    }

    /// Repairs all that may be repaired, undisturbed.
    pub(crate) fn repair_all(&mut self) -> Became {
        let marks = self.marks();
        let (plan, planned) = self.plan(&Ask::default());
        self.carry_out((&plan, &planned, &marks), true, None, End::Never)
    }

    /// Has what is amiss be seen long enough, or nearly, and repairs it.
    pub(super) fn repair_days_on(&mut self) -> String {
        self.scan_whole();
        self.check();
        self.pass_apart();
        let told = if self.chance(6) {
            self.spoil()
        } else {
            String::new()
        };
        self.scan_whole();
        self.check();
        format!("scan, {told}, scan later, {}", self.repair())
    }

    fn plan(&mut self, ask: &Ask) -> (Plan, RepairPlan) {
        let now = self.now();
        let plan = self.model.plan(ask, now);
        let planned = self.plan_really(ask);
        check_plan(&plan, &planned);
        (plan, planned)
    }

    fn carry_out(
        &mut self,
        (plan, planned, marks): (&Plan, &RepairPlan, &Marks),
        approved: bool,
        meddling: Option<Meddling>,
        end: End,
    ) -> Became {
        let now = self.now();
        let (before, mut but) = (self.before_repair(), self.begun());
        let mut went = Went::default();
        let ran = self.run_really(planned, approved, meddling.as_ref(), end, &mut went);
        let became = self.take_up(plan, approved, ran, &mut went, now);
        but.extend(meddling.map(|meddling| meddling.path));
        self.guard(marks, &before, &but);
        became
    }

    fn some_end(&mut self, plan: &Plan) -> End {
        let most = 6 + plan.items.len();
        match self.rng.u32(0..6) {
            _ if !self.model.begun.is_empty() && self.chance(4) => End::BrokenOff(1),
            0 => End::BrokenOff(self.rng.usize(1..most)),
            1 => End::Killed(self.rng.usize(1..most)),
            _ => End::Never,
        }
    }

    fn some_ask(&mut self) -> Ask {
        let kinds = [DriftKind::Lost, DriftKind::Dark, DriftKind::Corrupt];
        let kind = kinds[self.rng.usize(0..kinds.len())];
        Ask {
            below: self.chance(8).then(|| MORE.to_owned()),
            kind: self.chance(8).then_some(kind),
            delete_dark: self.chance(8),
        }
    }

    fn plan_really(&mut self, ask: &Ask) -> RepairPlan {
        let order = RepairOrder {
            root: None,
            below: ask.below.as_ref().map(|below| below.parse().unwrap()),
            kind: ask.kind,
            delete_dark: ask.delete_dark,
        };
        let repairing = &self.opened().assembly.repairing;
        let go_on = &mut |_| ControlFlow::Continue(());
        repairing.plan(&order, go_on).unwrap()
    }

    fn run_really(
        &mut self,
        plan: &RepairPlan,
        approved: bool,
        meddling: Option<&Meddling>,
        end: End,
        went: &mut Went,
    ) -> Ran {
        let site = &self.site;
        let mut progress = |phase| {
            went.phases.push(phase);
            if let Some(meddling) = meddling.filter(|one| one.phase == phase) {
                went.meanwhile.push(meddle(site, meddling));
            }
            match end {
                End::BrokenOff(at) if went.phases.len() == at => ControlFlow::Break(()),
                End::Killed(at) if went.phases.len() == at => die(),
                End::Never | End::BrokenOff(_) | End::Killed(_) => ControlFlow::Continue(()),
            }
        };
        let repairing = &self.opened().assembly.repairing;
        let asked = ("alice", approved);
        let ran = dying(|| repairing.run(plan, asked, &mut progress));
        let is_whole = ran.as_ref().is_some_and(|ran| !is_broken_off(ran));
        went.ended = is_whole;
        if !is_whole {
            let last = went.phases.last().map(|phase| format!("{phase:?}"));
            let phase = last.unwrap_or_default();
            let phase = phase.split('(').next().unwrap_or_default();
            self.tally.count(format!("crash: repair, {phase}"));
            self.tally.count(if ran.is_some() {
                "broken off"
            } else {
                "killed"
            });
            self.reopen();
        }
        ran
    }
}

fn is_broken_off(ran: &Result<RepairReport, RepairError>) -> bool {
    matches!(ran, Err(RepairError::Interrupted))
}
