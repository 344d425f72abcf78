//! Repairs, what comes between, and what becomes of their work.

use std::ops::ControlFlow;

use jiff::Timestamp;
use runsync::ledger::repairs::{RepairAct, WhichRepairs};
use runsync::ledger::scans::{DriftKind, Ignored};
use runsync::recovery::repair::{RepairError, RepairOrder, RepairPhase, RepairPlan, RepairReport};

use crate::model::{Ask, Became, Lying, Meanwhile, Plan, Refused, Went};
use crate::scene::bytes;
use crate::support::{TestSite, artifact};
use crate::world::{HOUR, MORE, World, die, dying};

/// How a repair ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    /// Somebody breaks it off when so much has been heard of it.
    BrokenOff(usize),
    /// The process dies there.
    Killed(usize),
}

/// What somebody does to a file while a repair is at it.
#[derive(Debug, Clone)]
struct Meddling {
    phase: RepairPhase,
    path: String,
    /// What is put there; none: it is taken away.
    put: Option<Vec<u8>>,
}

/// What became of a repair that was asked for.
type Ran = Option<Result<RepairReport, RepairError>>;

impl World {
    /// Plans a repair, and carries the plan out.
    pub(crate) fn repair(&mut self) -> String {
        let ask = self.some_ask();
        let now = self.now();
        let plan = self.model.plan(&ask, now);
        let planned = self.plan_really(&ask);
        check_plan(&plan, &planned);
        let mut told = format!("repair {ask:?}: {} planned", plan.items.len());
        if !plan.items.is_empty() && self.chance(6) {
            told += &self.meddle_between(&plan);
        }
        let meddling = self.some_meddling(&plan);
        let most = 6 + plan.items.len();
        let end = match self.rng.u32(0..6) {
            _ if !self.model.begun.is_empty() && self.chance(4) => End::BrokenOff(1),
            0 => End::BrokenOff(self.rng.usize(1..most)),
            1 => End::Killed(self.rng.usize(1..most)),
            _ => End::Never,
        };
        let approved = self.rng.bool();
        told += &format!(", {meddling:?}, {end:?}, approved: {approved}");
        let mut went = Went::default();
        let before = self.before_repair();
        let begun = self.begun();
        let ran = self.run_really(&planned, approved, meddling.as_ref(), end, &mut went);
        self.take_up(&plan, approved, ran, &mut went, now);
        let meddled = meddling.into_iter().map(|one| one.path);
        self.guard(
            &before,
            &begun.into_iter().chain(meddled).collect::<Vec<_>>(),
        );
        told
    }

    /// Repairs all that may be repaired, undisturbed.
    pub(crate) fn repair_all(&mut self) -> Became {
        let (ask, now) = (Ask::default(), self.now());
        let plan = self.model.plan(&ask, now);
        let planned = self.plan_really(&ask);
        check_plan(&plan, &planned);
        let mut went = Went::default();
        let (before, begun) = (self.before_repair(), self.begun());
        let ran = self.run_really(&planned, true, None, End::Never, &mut went);
        let became = self.take_up(&plan, true, ran, &mut went, now);
        self.guard(&before, &begun);
        became
    }

    /// Has what is amiss be seen long enough, and repairs it.
    pub(super) fn repair_days_on(&mut self) -> String {
        let apart = self.model.policy.apart;
        self.scan_whole();
        self.check();
        self.site.pass(apart + HOUR);
        let told = if self.chance(6) {
            self.spoil()
        } else {
            String::new()
        };
        self.scan_whole();
        self.check();
        format!("scan, {told}, scan later, {}", self.repair())
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

    /// Something happens to an artifact after it was planned.
    fn meddle_between(&mut self, plan: &Plan) -> String {
        let item = plan.items[self.rng.usize(0..plan.items.len())].clone();
        let path = &item.path;
        let size = item.identity.map(|identity| identity.size);
        let fits = size == Some(bytes(path).len() as u64);
        match (self.model.files.contains_key(path), self.rng.u32(0..4)) {
            (true, 0) => self.lose(path),
            (true, 1) => self.touch(path),
            (true, 2 | 3) if fits && item.act == RepairAct::Unstore => self.rot(path, &bytes(path)),
            _ => self.put(path, &bytes(path)),
        }
        self.tally.count("meanwhile: after the plan");
        format!(", {path} changes after the plan")
    }

    fn some_meddling(&mut self, plan: &Plan) -> Option<Meddling> {
        // Whether what may be left was taken up and dropped again cannot be told afterwards.
        if plan.items.is_empty() || !plan.is_certain() || !self.chance(5) {
            return None;
        }
        let item = plan.items[self.rng.usize(0..plan.items.len())].clone();
        // What is recorded and replaced in the very moment is nobody's to tell from what was replaced after it.
        let phases = [RepairPhase::Declared, RepairPhase::Noted];
        let last = usize::from(item.act != RepairAct::Register);
        let phase = phases[self.rng.usize(0..=last)];
        let put = match self.rng.u32(0..3) {
            0 if item.act != RepairAct::Forget => None,
            1 => Some(artifact(self.rng.u64(0..1_000), 50)),
            _ => Some(bytes(&item.path)),
        };
        Some(Meddling {
            phase,
            path: item.path,
            put,
        })
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
                _ => ControlFlow::Continue(()),
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

    /// Has the model follow, and sees that what was told is what it expects.
    fn take_up(
        &mut self,
        plan: &Plan,
        approved: bool,
        ran: Ran,
        went: &mut Went,
        now: Timestamp,
    ) -> Became {
        let report = match ran {
            Some(Err(RepairError::TooLarge { .. })) => {
                assert!(plan.too_large && !approved, "it was refused for its size");
                self.tally.count("refused: too large");
                return Became::default();
            }
            Some(Err(RepairError::Interrupted)) | None => None,
            Some(ran) => Some(ran.unwrap()),
        };
        assert!(
            !plan.too_large || approved,
            "it was not refused for its size"
        );
        if plan.refused.is_none() {
            self.model.watch.witness(now);
        }
        // What was begun may be settled whether or not the repair itself is refused.
        let still = self.begun();
        let was_begun: Vec<String> = self
            .model
            .begun
            .iter()
            .map(|one| one.path.clone())
            .collect();
        went.settled = went.phases.contains(&RepairPhase::Resumed);
        let refused = plan.refused.or_else(|| self.model.refusal(now));
        if let Some(refused) = refused {
            assert!(went.settled || still.len() == was_begun.len());
            if went.settled {
                self.model.settle();
            }
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
        if went.ended {
            assert!(
                went.settled || was_begun.is_empty(),
                "{was_begun:?} is left begun"
            );
        }
        went.done = self.touched(report.as_ref());
        let became = self.model.repair(plan, went, now);
        if let Some(report) = &report {
            check_report(plan, &became, report);
        }
        self.count_repair(plan, &became, went);
        became
    }

    /// The paths that a repair has taken up, of whichever the model leaves that open.
    fn touched(&self, report: Option<&RepairReport>) -> Vec<String> {
        let ledger = self.opened().ledger();
        let of_it = |row: &runsync::ledger::repairs::RepairRow| {
            report.is_none_or(|report| report.repair == row.repair)
        };
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

    pub(super) fn bring_back(&mut self) -> String {
        let lies = self
            .model
            .aside
            .iter()
            .filter(|aside| aside.noted && !aside.back);
        let paths: Vec<String> = lies.map(|aside| aside.path.clone()).collect();
        let Some(path) = self.one_of(&paths) else {
            return self.repair();
        };
        let now = self.now();
        self.model.watch.witness(now);
        let repairing = &self.opened().assembly.repairing;
        let restored = repairing.bring_back(None, &path.parse().unwrap()).unwrap();
        let is_free = !self.model.files.contains_key(&path);
        assert_eq!(restored.failed.is_none(), is_free, "{restored:?}");
        if is_free {
            let at = self.model.newest_aside(&path).unwrap();
            self.model.aside[at].back = true;
            let was = self.model.aside[at].lying.clone();
            self.model.see(&self.site.root(), &path);
            let is = &self.model.files[&path];
            assert_eq!((is.identity, &is.bytes), (was.identity, &was.bytes));
            self.tally.count("brought back");
        } else {
            self.tally.count("not brought back over another");
        }
        format!("bring {path} back")
    }

    pub(super) fn ignore(&mut self) -> String {
        let paths: Vec<String> = self.model.findings.keys().cloned().collect();
        let Some(path) = self.one_of(&paths) else {
            return self.repair();
        };
        let ignored = self.chance(3);
        self.set_ignored(&path, !ignored);
        format!("ignore {path}: {}", !ignored)
    }

    pub(crate) fn set_ignored(&mut self, path: &str, ignored: bool) {
        let word = Ignored {
            by: "alice".to_owned(),
            why: "known".to_owned(),
            at: self.now(),
        };
        let (root, word) = (self.root(), ignored.then_some(word));
        let known = (self.opened().ledger()).ignore_drift(&root, path, word.as_ref());
        assert!(known.unwrap(), "{path} has no finding");
        self.model.findings.get_mut(path).unwrap().ignored = ignored;
        self.tally.count("ignored");
    }
}

fn is_broken_off(ran: &Result<RepairReport, RepairError>) -> bool {
    matches!(ran, Err(RepairError::Interrupted))
}

/// Does something to a file behind everybody's back.
fn meddle(site: &TestSite, meddling: &Meddling) -> Meanwhile {
    let file = site.root().join(&meddling.path);
    match &meddling.put {
        Some(bytes) => site.put(&meddling.path, bytes),
        None => drop(std::fs::remove_file(&file)),
    }
    Meanwhile {
        phase: meddling.phase,
        path: meddling.path.clone(),
        lying: Lying::at(&file),
    }
}

fn check_plan(plan: &Plan, planned: &RepairPlan) {
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
