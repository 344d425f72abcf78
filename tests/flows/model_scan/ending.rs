//! How each sequence ends: what is amiss is found, and repaired until records and files are one.

use runsync::ledger::scans::DriftKind;

use crate::model::{Policy, Standing, fold, is_temporary};
use crate::scene::bytes;
use crate::world::{DAY, HOUR, World};

impl World {
    /// Ends a sequence; each of its steps is checked like any other.
    pub(crate) fn end(&mut self) -> String {
        self.settle_down();
        self.scan_whole();
        self.check();
        let found = self
            .model
            .findings
            .iter()
            .map(|(path, one)| (path.clone(), one.kind));
        let amiss = self.model.amiss().into_iter();
        let can_be_told = |(path, _): &(String, DriftKind)| {
            !self.model.is_spoken_for(path) && !is_temporary(path)
        };
        let amiss: Vec<_> = amiss.filter(can_be_told).collect();
        assert_eq!(found.collect::<Vec<_>>(), amiss, "what the last scan found");
        self.mend_what_no_repair_may();
        for _ in 0..2 {
            self.site.pass(DAY + HOUR);
            self.scan_whole();
            self.check();
        }
        let became = self.repair_all();
        self.check();
        self.is_true();
        self.fill();
        format!("the end: {} repaired", became.done.len())
    }

    /// Nothing is under way, no clock is in doubt, and everything that lies here is old.
    fn settle_down(&mut self) {
        self.see_through();
        while self.model.coming.iter().any(|coming| coming.torn) {
            self.manifest_comes();
        }
        self.model.policy = Policy::everything();
        self.configure();
        // Times long after the machine's are those at which whatever lies here is old.
        if self.ahead() < DAY * 3 {
            self.site.pass(DAY * 4 + (DAY * 10));
        }
        self.work();
        // A clock that was set back is believed by the pass after the next.
        self.scan_whole();
        self.let_rest();
        self.work();
        self.confirm();
        for path in self.model.findings.keys().cloned().collect::<Vec<_>>() {
            if self.model.findings[&path].ignored {
                self.set_ignored(&path, false);
            }
        }
    }

    /// What no repair touches: other spellings, wrong files that datasets name which are not recorded; and so much
    /// that the rest is below the share.
    fn mend_what_no_repair_may(&mut self) {
        for path in self.model.links.clone() {
            match self.model.standing(&path) {
                Some(_) => self.put(&path, &bytes(&path)),
                None => self.lose(&path),
            }
        }
        for path in self.model.paths() {
            let standing = self.model.standing(&path);
            let is_twin = |other: &String| *other != path && fold(other) == fold(&path);
            let has_twin = self.model.paths().iter().any(is_twin);
            if standing.is_none() && has_twin && self.model.files.contains_key(&path) {
                self.lose(&path);
            }
            let is_wrong = self.model.files.contains_key(&path) && !self.model.is_right(&path);
            if standing == Some(Standing::Absent) && is_wrong {
                self.put(&path, &bytes(&path));
            }
        }
        let most = self.model.recorded().count() / 5;
        let amiss = self.model.amiss().into_iter();
        let (dark, others): (Vec<_>, Vec<_>) =
            amiss.partition(|(_, kind)| *kind == DriftKind::Dark);
        for (path, _) in dark.into_iter().skip(most) {
            self.lose(&path);
        }
        for (path, _) in others.into_iter().skip(most) {
            self.put(&path, &bytes(&path));
        }
    }

    /// Every record has its file, and every file that somebody can be asked about its record.
    fn is_true(&self) {
        let model = &self.model;
        assert_eq!(model.refusal(self.now()), None);
        for path in model.recorded() {
            assert!(model.is_right(path), "{path} is recorded, and not right");
        }
        for path in model.files.keys() {
            let wanted = |run: &String| model.runs[run].wanted;
            let is_left = match model.claims.get(path) {
                None => model.is_spoken_for(path) || is_temporary(path),
                Some(claim) => claim.standing != Standing::Absent || !wanted(&claim.run),
            };
            assert!(is_left, "{path} lies here, and nothing was done about it");
        }
        assert!(model.begun.is_empty());
    }

    /// Everything that is waited for comes, and no stranger stays: the next sequence begins well.
    fn fill(&mut self) {
        for path in self.model.paths() {
            match self.model.standing(&path) {
                Some(Standing::Awaited) => self.put(&path, &bytes(&path)),
                None if !self.model.is_spoken_for(&path) => self.lose(&path),
                Some(_) | None => {}
            }
        }
        self.confirm();
        self.check();
        let awaited = |claim: &crate::model::Claim| claim.standing == Standing::Awaited;
        assert!(!self.model.claims.values().any(awaited));
        self.scan_whole();
        self.check();
    }
}
