//! What operators do about findings and about what was set aside.

use runsync::ledger::repairs::RepairAct;
use runsync::ledger::scans::Ignored;
use runsync::recovery::repair::RepairError;

use crate::model::Standing;
use crate::world::World;

impl World {
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
        let restored = repairing.bring_back(None, &path.parse().unwrap());
        let at = self.model.newest_aside(&path).unwrap();
        let was_corrupt = self.model.aside[at].act == RepairAct::Unstore;
        let claim = self.model.claims.get(&path);
        let is_wanted = claim.is_some_and(|claim| claim.standing != Standing::Absent);
        if was_corrupt && is_wanted {
            let refused = matches!(restored, Err(RepairError::Corrupt { .. }));
            assert!(refused, "{restored:?}");
            self.tally.count("not brought back: corrupt");
            return format!("bring {path} back, where a right one is waited for");
        }
        let restored = restored.unwrap();
        let is_free = self.model.is_free(&path);
        assert_eq!(restored.failed.is_none(), is_free, "{restored:?}");
        if is_free {
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
