//! What became of a repair, beside what the model expects.

use jiff::Timestamp;
use runsync::ledger::repairs::{RepairRow, WhichRepairs};
use runsync::recovery::repair::{RepairError, RepairPhase, RepairPlan, RepairReport};

use super::repairs::Ran;
use crate::model::{Became, Plan, Refused, Went};
use crate::world::World;

impl World {
    /// Has the model follow, and sees that what was told is what it expects.
    pub(super) fn take_up(
        &mut self,
        plan: &Plan,
        approved: bool,
        ran: Ran,
        went: &mut Went,
        now: Timestamp,
    ) -> Became {
        went.settled = went.phases.contains(&RepairPhase::Resumed);
        self.model.watch.witness(now);
        let report = match ran {
            Some(Err(RepairError::TooLarge { .. })) => {
                assert!(plan.too_large && !approved, "it was refused for its size");
                let finished = self.settled_alone(went.settled);
                assert_eq!(finished, 0, "what was finished is told");
                return Became::default();
            }
            Some(Ok(report)) if plan.too_large && !approved => {
                let root = &report.roots[0];
                assert!(root.refused.is_some() && root.repaired() == 0, "{root:?}");
                let finished = self.settled_alone(went.settled);
                assert!(finished > 0 && finished == root.finished, "{root:?}");
                return Became::default();
            }
            Some(Err(RepairError::Interrupted)) | None => None,
            Some(ran) => Some(ran.unwrap()),
        };
        let still = self.begun();
        let was_begun: Vec<String> = self
            .model
            .begun
            .iter()
            .map(|one| one.path.clone())
            .collect();
        let refused = plan.refused.or_else(|| self.model.refusal(now));
        // What was begun is settled whether or not the repair itself is refused.
        if went.ended {
            assert!(
                went.settled || was_begun.is_empty(),
                "{was_begun:?} is left begun"
            );
        }
        if plan.too_large && !approved || refused.is_some() {
            assert!(went.settled || still.len() == was_begun.len());
            if went.settled {
                self.model.settle();
                self.tally.count("settled where no more was done");
            }
        }
        if let Some(refused) = refused {
            let case = match refused {
                Refused::Clock => "refused: the clock has leapt",
                Refused::Share => "refused: more than a share",
            };
            self.tally.count(case);
            if let Some(report) = report {
                assert!(report.roots[0].refused.is_some(), "{report:?}");
                assert_eq!(report.roots[0].repaired(), 0);
            }
            return Became::default();
        }
        // Broken off, or killed, before it could be refused for its size.
        if plan.too_large && !approved {
            return Became::default();
        }
        went.done = self.touched(report.as_ref());
        let became = self.model.repair(plan, (went, approved), now);
        if let Some(report) = &report {
            check_report(plan, &became, report);
        }
        self.count_repair(plan, &became, went);
        became
    }

    /// Has the model settle what was begun, where a repair was refused for its size; how much of that was finished.
    fn settled_alone(&mut self, is_settled: bool) -> u64 {
        self.tally.count("refused: too large");
        let mut finished = 0;
        if is_settled {
            finished = self.model.settle();
            self.tally.count("settled where no more was done");
        }
        assert_eq!(self.begun(), [""; 0], "what was begun is settled");
        finished
    }

    /// The paths that a repair has taken up, of whichever the model leaves that open.
    fn touched(&self, report: Option<&RepairReport>) -> Vec<String> {
        let ledger = self.opened().ledger();
        let of_it = |row: &RepairRow| report.is_none_or(|report| report.repair == row.repair);
        let done = ledger.repairs(WhichRepairs::Done, None, 100).unwrap();
        let done = done.into_iter().filter(of_it);
        let mut paths: Vec<String> = done.map(|row| row.path.to_string()).collect();
        paths.extend(self.begun());
        paths
    }

    fn count_repair(&mut self, plan: &Plan, became: &Became, went: &Went) {
        for item in &became.done {
            self.tally.count(format!("repaired: {}", item.act));
        }
        self.tally.add("finished later", became.finished);
        for (_, why) in plan.left.iter().chain(&became.left) {
            self.tally.count(format!("left: {why}"));
        }
        self.tally.add("left: unripe", plan.unripe);
        self.tally.add("left: only reported", plan.reported);
        self.tally.add("left: ignored", plan.ignored);
        for meanwhile in &went.meanwhile {
            self.tally
                .count(format!("meanwhile: {:?}", meanwhile.phase));
        }
    }
}

pub(super) fn check_plan(plan: &Plan, planned: &RepairPlan) {
    let root = &planned.roots[0];
    assert_eq!(plan.refused.is_some(), root.refused.is_some(), "{root:?}");
    if plan.refused.is_some() || !plan.is_certain() {
        return;
    }
    let acts = root
        .acts
        .iter()
        .map(|(act, extent)| (*act, extent.artifacts));
    assert_eq!(plan.acts(), acts.collect(), "{:?}\n{root:?}", plan.items);
    let expected = (plan.unripe, plan.reported, plan.left.len() as u64);
    assert_eq!(
        (root.unripe, root.reported, root.left),
        expected,
        "{plan:?}\n{root:?}"
    );
    assert_eq!(plan.too_large, !planned.above.is_empty());
}

fn check_report(plan: &Plan, became: &Became, report: &RepairReport) {
    let root = &report.roots[0];
    assert_eq!(root.stopped, None);
    assert_eq!(root.refused, None);
    assert_eq!(
        root.repaired(),
        became.done.len() as u64,
        "{became:?}\n{root:?}"
    );
    if plan.is_certain() {
        let left = (plan.left.len() + became.left.len()) as u64;
        assert_eq!(root.left, left, "{plan:?}\n{became:?}\n{root:?}");
    }
}
