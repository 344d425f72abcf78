//! What a repair does, however far it comes.

use jiff::Timestamp;
use runsync::ledger::repairs::RepairAct;
use runsync::recovery::repair::RepairPhase;

use super::{Aside, Item, Lying, Model, Plan, Standing};

/// What somebody did to a file while a repair was at it, and when.
#[derive(Debug, Clone)]
pub(crate) struct Meanwhile {
    pub(crate) phase: RepairPhase,
    pub(crate) path: String,
    pub(crate) lying: Option<Lying>,
}

/// How far a repair came.
#[derive(Debug, Default)]
pub(crate) struct Went {
    /// What was heard of it.
    pub(crate) phases: Vec<RepairPhase>,
    pub(crate) meanwhile: Vec<Meanwhile>,
    /// Whether it came to its end.
    pub(crate) ended: bool,
    /// Whether what was begun before is settled, where the model leaves that open.
    pub(crate) settled: bool,
    /// Artifacts that were done, of those that might as well have been left.
    pub(crate) done: Vec<String>,
}

impl Went {
    fn heard(&self, phase: RepairPhase) -> bool {
        self.phases.contains(&phase)
    }

    /// How many files were seen to.
    fn files(&self) -> usize {
        let files = self.phases.iter();
        files.filter(|phase| **phase == RepairPhase::File).count()
    }

    fn is_done(&self) -> bool {
        let done = |phase: &RepairPhase| matches!(phase, RepairPhase::Done(_));
        self.phases.iter().any(done)
    }
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Became {
    pub(crate) done: Vec<Item>,
    /// By path, why.
    pub(crate) left: Vec<(String, &'static str)>,
    pub(crate) finished: u64,
}

impl Model {
    /// Carries a plan out that nobody refuses.
    pub(crate) fn repair(
        &mut self,
        plan: &Plan,
        (went, approved): (&Went, bool),
        now: Timestamp,
    ) -> Became {
        let mut became = Became::default();
        if went.settled {
            became.finished = self.settle();
        }
        let mut items = plan.items.clone();
        self.keep_fit(&mut items, &mut became, true, now);
        self.happen(went, RepairPhase::Declared);
        if !went.ended && !went.heard(RepairPhase::Declared) {
            return became;
        }
        self.keep_fit(&mut items, &mut became, false, now);
        items.retain(|item| !item.may_be_left || went.done.contains(&item.path));
        if items.is_empty() || !went.heard(RepairPhase::Noted) {
            return became;
        }
        if !approved {
            let noted = items.iter().map(|item| (now, item.path.clone()));
            self.unasked.extend(noted);
        }
        self.happen(went, RepairPhase::Noted);
        if went.heard(RepairPhase::Records) {
            for item in &items {
                self.record(item);
            }
        }
        self.happen(went, RepairPhase::Records);
        let (mut done, mut dropped) = (Vec::new(), Vec::new());
        for item in items.iter().take(went.files()) {
            match self.file(item) {
                Ok(()) => done.push(item.clone()),
                Err(why) => dropped.push((item.path.clone(), why)),
            }
        }
        if !went.is_done() {
            self.begun.extend(items);
            return became;
        }
        for item in &done {
            self.end(item);
        }
        for (path, _) in &dropped {
            self.forget_begun(path);
        }
        became.done = done;
        became.left.extend(dropped);
        became
    }

    fn keep_fit(&self, items: &mut Vec<Item>, became: &mut Became, closer: bool, now: Timestamp) {
        items.retain(|item| {
            let fit = if self.is_spoken_for(&item.path) {
                Err("journaled or named by a manifest that is not registered")
            } else if closer {
                self.closer(item, now)
            } else {
                self.fitness(item, now)
            };
            if let Err(why) = fit {
                became.left.push((item.path.clone(), why));
            }
            fit.is_ok()
        });
    }

    fn happen(&mut self, went: &Went, phase: RepairPhase) {
        for one in went.meanwhile.iter().filter(|one| one.phase == phase) {
            match &one.lying {
                Some(lying) => self.files.insert(one.path.clone(), lying.clone()),
                None => self.files.remove(&one.path),
            };
        }
    }

    fn record(&mut self, item: &Item) {
        match item.act {
            RepairAct::Forget | RepairAct::Unstore => self.recall(&item.path),
            RepairAct::Register => self.stand(&item.path, Standing::Recorded),
            RepairAct::Quarantine | RepairAct::Delete | RepairAct::AddReplica => {}
        }
    }

    fn recall(&mut self, path: &str) {
        if self.standing(path) == Some(Standing::Recorded) && !self.is_busy(path) {
            self.stand(path, Standing::Awaited);
        }
    }

    /// Moves a file into quarantine, where it is the one that was found.
    fn file(&mut self, item: &Item) -> Result<(), &'static str> {
        if !matches!(item.act, RepairAct::Quarantine | RepairAct::Unstore) {
            return Ok(());
        }
        match self.files.get(&item.path) {
            None => Err("gone"),
            Some(file) if Some(file.identity) != item.identity => Err("another by now"),
            Some(_) => {
                let lying = self.files.remove(&item.path).unwrap();
                self.aside.push(Aside {
                    path: item.path.clone(),
                    act: item.act,
                    lying,
                    noted: false,
                    back: false,
                });
                Ok(())
            }
        }
    }

    /// A repair is known to be done.
    fn end(&mut self, item: &Item) {
        if self
            .findings
            .get(&item.path)
            .is_some_and(|finding| finding.kind == item.kind)
        {
            self.findings.remove(&item.path);
        }
        let moved = |aside: &&mut Aside| {
            aside.path == item.path && Some(aside.lying.identity) == item.identity && !aside.back
        };
        if let Some(aside) = self.aside.iter_mut().rev().find(moved) {
            aside.noted = true;
        }
    }

    /// Finishes or drops what was begun; how many were finished.
    pub(crate) fn settle(&mut self) -> u64 {
        let mut finished = 0;
        for item in std::mem::take(&mut self.begun) {
            if self.settle_one(&item) {
                self.end(&item);
                finished += 1;
            } else {
                self.forget_begun(&item.path);
            }
        }
        finished
    }

    /// What comes to nothing counts for nothing.
    fn forget_begun(&mut self, path: &str) {
        let newest = self.unasked.iter().rposition(|(_, of)| of == path);
        newest.map(|at| self.unasked.remove(at));
    }

    fn settle_one(&mut self, item: &Item) -> bool {
        let standing = self.standing(&item.path);
        let recorded = standing == Some(Standing::Recorded);
        let moved = self.aside.iter().any(|aside| {
            aside.path == item.path && Some(aside.lying.identity) == item.identity && !aside.noted
        });
        match item.act {
            RepairAct::Forget => !recorded,
            RepairAct::Register => recorded,
            RepairAct::Quarantine => moved,
            RepairAct::Unstore if moved => {
                // Whatever came to lie there since is another file.
                if self.is_free(&item.path) {
                    self.recall(&item.path);
                }
                true
            }
            RepairAct::Unstore => {
                let stands =
                    standing == Some(Standing::Awaited) || standing == Some(Standing::Absent);
                stands && !self.is_busy(&item.path) && self.file(item).is_ok()
            }
            RepairAct::Delete | RepairAct::AddReplica => false,
        }
    }

    /// The newest file that a repair set aside from a path and that lies there still, by its place in the list.
    pub(crate) fn newest_aside(&self, path: &str) -> Option<usize> {
        let lies = |aside: &Aside| aside.path == path && aside.noted && !aside.back;
        self.aside.iter().rposition(lies)
    }
}
