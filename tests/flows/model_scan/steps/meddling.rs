//! What comes between a plan and its repair, and what happens to files while a repair is at them.

use runsync::ledger::repairs::RepairAct;
use runsync::recovery::repair::RepairPhase;

use crate::model::{Item, Lying, Meanwhile, Plan};
use crate::scene::bytes;
use crate::support::{TestSite, artifact};
use crate::world::{DAY, HOUR, World};

/// What somebody does to a file while a repair is at it.
#[derive(Debug, Clone)]
pub(super) struct Meddling {
    pub(super) phase: RepairPhase,
    pub(super) path: String,
    /// What is put there; none: it is taken away.
    put: Option<Vec<u8>>,
}

impl World {
    /// Something happens after a repair was planned.
    pub(super) fn meddle_between(&mut self, plan: &Plan) -> String {
        let item = plan.items[self.rng.usize(0..plan.items.len())].clone();
        let (case, told) = match self.rng.u32(0..12) {
            0 => {
                self.scan_whole();
                ("a scan", "a scan".to_owned())
            }
            1 => {
                self.site.pass(HOUR * 3);
                ("time passes", "3 h".to_owned())
            }
            2 => {
                let to = self.now() - jiff::SignedDuration::try_from(DAY).unwrap();
                self.set_clock(to);
                ("the clock is set back", "a day back".to_owned())
            }
            3 | 4 => ("a manifest", self.manifest_comes()),
            5 => {
                let told = self.manifest_comes();
                ("a registration", format!("{told}, {}", self.work()))
            }
            6 => ("a removal", self.remove_or_unstore(&item.path)),
            _ => ("a file", self.change(&item)),
        };
        self.tally.count(format!("after the plan: {case}"));
        format!(", after the plan: {told}")
    }

    fn change(&mut self, item: &Item) -> String {
        let path = &item.path;
        let size = item.identity.map(|identity| identity.size);
        let fits = size == Some(bytes(path).len() as u64);
        match (self.model.files.contains_key(path), self.rng.u32(0..4)) {
            (true, 0) => self.lose(path),
            (true, 1) => self.touch(path),
            (true, 2 | 3) if fits && item.act == RepairAct::Unstore => self.rot(path, &bytes(path)),
            _ => self.put(path, &bytes(path)),
        }
        format!("{path} changes")
    }

    pub(super) fn some_meddling(&mut self, plan: &Plan) -> Option<Meddling> {
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
}

/// Does something to a file behind everybody's back.
pub(super) fn meddle(site: &TestSite, meddling: &Meddling) -> Meanwhile {
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
