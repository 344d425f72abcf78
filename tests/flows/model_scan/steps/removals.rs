//! Runs are removed, unstored, forgotten and wanted again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use runsync::file_identity::FileIdentity;
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Phase, RemovalWorker, Request, Requester};
use uuid::Uuid;

use crate::model::{Claim, Model, Removal, Standing};
use crate::world::{World, die, dying};

/// Where a removal breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Never,
    /// With its journal written, and nothing committed.
    Journaled,
    Committed,
    Deleting,
}

fn alice() -> Requester {
    Requester {
        account: "alice".to_owned(),
        uid: Some(1000),
        daemon: false,
        any: false,
    }
}

impl World {
    /// Runs that may be removed, of which something is here.
    fn settled_runs(&self, of_base: bool) -> Vec<String> {
        if self.model.removal.is_some() {
            return Vec::new();
        }
        let runs = self.model.runs.keys();
        let is_meant = |run: &&String| of_base || run.starts_with("u/new");
        runs.filter(is_meant).cloned().collect()
    }

    fn some_stop(&mut self) -> Stop {
        match self.rng.u32(0..6) {
            0 => Stop::Journaled,
            1 => Stop::Committed,
            2 => Stop::Deleting,
            _ => Stop::Never,
        }
    }

    pub(super) fn remove_run(&mut self) -> String {
        let runs = self.settled_runs(false);
        let Some(run) = self.one_of(&runs) else {
            return self.manifest_comes();
        };
        let stop = self.some_stop();
        self.ask(Operation::RemoveRuns, &run, stop)
    }

    pub(super) fn unstore_run(&mut self) -> String {
        let runs = self.settled_runs(false).into_iter();
        let runs: Vec<String> = runs.filter(|run| self.model.runs[run].wanted).collect();
        let Some(run) = self.one_of(&runs) else {
            return self.work();
        };
        let stop = self.some_stop();
        self.ask(Operation::Unstore, &run, stop)
    }

    /// The run of an artifact is removed or unstored.
    pub(super) fn remove_or_unstore(&mut self, path: &str) -> String {
        let run = self.model.claims.get(path).map(|claim| claim.run.clone());
        let runs = self.settled_runs(false).into_iter();
        let mut runs = runs.filter(|one| Some(one) == run.as_ref());
        let Some(run) = runs.next() else {
            return "no run to remove".to_owned();
        };
        let stop = self.some_stop();
        let operation = if self.model.runs[&run].wanted && self.rng.bool() {
            Operation::Unstore
        } else {
            Operation::RemoveRuns
        };
        self.ask(operation, &run, stop)
    }

    /// Somebody has a run forgotten, or the comparison with Rucio an artifact.
    pub(super) fn forget(&mut self) -> String {
        let runs = self.settled_runs(false);
        if let Some(run) = self.one_of(&runs).filter(|_| self.rng.bool()) {
            return self.ask(Operation::Forget, &run, Stop::Never);
        }
        let idle = self
            .model
            .recorded()
            .filter(|path| !self.model.is_busy(path));
        let idle: Vec<String> = idle.cloned().collect();
        let Some(path) = self.one_of(&idle) else {
            return "nothing to forget".to_owned();
        };
        let (root, artifact) = (self.root(), path.parse().unwrap());
        let forgotten = self.open().registry().forget_at(&root, &[&artifact]);
        assert_eq!(forgotten.unwrap(), 1, "{path}");
        self.model.stand(&path, Standing::Absent);
        self.tally.count("removal: an artifact forgotten");
        format!("forget {path}")
    }

    pub(super) fn restore_run(&mut self) -> String {
        let has_absent = |run: &String| {
            let mut claims = self.model.claims.values();
            claims.any(|claim| claim.run == *run && claim.standing == Standing::Absent)
        };
        let runs = self.settled_runs(true).into_iter();
        let runs: Vec<String> = runs.filter(has_absent).collect();
        let Some(run) = self.one_of(&runs) else {
            return "nothing to restore".to_owned();
        };
        let removing = Arc::clone(&self.open().assembly.removing);
        let names = [run.parse().unwrap()];
        let go_on = &mut |_| ControlFlow::Continue(());
        removing.restore(&names, None, None, go_on).unwrap();
        let absent = |claim: &&mut Claim| claim.run == run && claim.standing == Standing::Absent;
        for claim in self.model.claims.values_mut().filter(absent) {
            claim.standing = Standing::Awaited;
        }
        self.model.runs.get_mut(&run).unwrap().wanted = true;
        self.tally.count("removal: restored");
        format!("restore {run}")
    }

    fn ask(&mut self, operation: Operation, run: &str, stop: Stop) -> String {
        let told = format!("{operation} {run}, {stop:?}");
        let removing = Arc::clone(&self.open().assembly.removing);
        let request = Request {
            operation,
            runs: vec![run.parse().unwrap()],
            chain: None,
            origin: None,
            dataset_type: None,
            now: false,
        };
        let plan = removing.plan(&request).unwrap();
        if plan.is_empty() {
            return format!("{told}: nothing to do");
        }
        let consent = Consent {
            plan: plan.id,
            approved: false,
        };
        let id = Uuid::new_v4();
        let mut progress = |phase| {
            if stop == Stop::Journaled && phase == Phase::Committing {
                die();
            }
            ControlFlow::Continue(())
        };
        let begun = dying(|| removing.begin(id, &request, &consent, &alice(), &mut progress));
        let mut removal = Removal {
            run: run.to_owned(),
            operation,
            journal: journal(&self.model, operation, run),
            committed: false,
        };
        if let Some(begun) = begun {
            begun.unwrap();
            removal.committed = true;
        }
        self.model.removal = Some(removal);
        self.tally.count(format!("removal: {operation}, {stop:?}"));
        let mut breaking = |phase| match (stop, phase) {
            (Stop::Deleting, Phase::Deleting(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        match stop {
            Stop::Never => assert!(removing.resume(id, &mut breaking).unwrap().done),
            Stop::Deleting => {
                let broken_off = removing.resume(id, &mut breaking);
                assert!(broken_off.unwrap_err().is_interruption());
            }
            Stop::Journaled | Stop::Committed => {}
        }
        drop(removing);
        self.after(stop);
        told
    }

    fn after(&mut self, stop: Stop) {
        match stop {
            Stop::Never => return self.removed(),
            // Some of what it was at may be gone, and nothing else.
            Stop::Deleting => self.see_journaled(),
            Stop::Journaled | Stop::Committed => {}
        }
        self.tally.count("crash: removal");
        self.reopen();
    }

    /// Takes up what of a journal is gone.
    fn see_journaled(&mut self) {
        let journal = self.model.removal.as_ref().unwrap().journal.clone();
        for (path, identity) in journal {
            let before = self.model.files.get(&path).map(|file| file.identity);
            if identity.is_some() && before == identity {
                self.model.see(&self.site.root(), &path);
                let now = self.model.files.get(&path).map(|file| file.identity);
                assert!(now.is_none() || now == before, "{path} is another");
            }
        }
    }

    /// Finishes or drops the removal under way.
    pub(crate) fn see_through(&mut self) -> String {
        let Some(removal) = self.model.removal.clone() else {
            return self.confirm();
        };
        let removing = Arc::clone(&self.open().assembly.removing);
        let go_on = &mut |_| ControlFlow::Continue(());
        RemovalWorker::new(Arc::clone(&removing))
            .work(go_on)
            .unwrap();
        for row in self.opened().registry().removals().unwrap() {
            removing.resume(row.id, go_on).unwrap();
        }
        drop(removing);
        if removal.committed {
            self.removed();
            self.tally.count("removal: seen through");
        } else {
            self.model.removal = None;
            self.tally.count("removal: dropped");
        }
        format!("see {} of {} through", removal.operation, removal.run)
    }

    /// A removal is done.
    fn removed(&mut self) {
        let removal = self.model.removal.take().unwrap();
        for (path, identity) in &removal.journal {
            let file = self.model.files.get(path);
            if identity.is_some() && file.map(|file| file.identity) == *identity {
                self.model.files.remove(path);
                self.tally.count("removal: artifacts deleted");
            }
        }
        if removal.operation == Operation::RemoveRuns {
            self.model.runs.remove(&removal.run);
            self.model
                .claims
                .retain(|_, claim| claim.run != removal.run);
            return;
        }
        let run = self.model.runs.get_mut(&removal.run).unwrap();
        run.wanted &= removal.operation != Operation::Unstore;
        let of_run = self.model.claims.values_mut();
        for claim in of_run.filter(|claim| claim.run == removal.run) {
            claim.standing = Standing::Absent;
        }
    }
}

/// What a removal journals: all that the run names, whatever lies there.
fn journal(
    model: &Model,
    operation: Operation,
    run: &str,
) -> BTreeMap<String, Option<FileIdentity>> {
    if !operation.deletes() {
        return BTreeMap::new();
    }
    let of_run = model.claims.iter().filter(|(_, claim)| claim.run == run);
    // What is no file is nobody's to delete.
    let of_run = of_run.filter(|(path, _)| !model.links.contains(*path));
    let file = |path: &String| model.files.get(path).map(|file| file.identity);
    of_run.map(|(path, _)| (path.clone(), file(path))).collect()
}
