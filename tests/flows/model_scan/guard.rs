//! What no repair may do, said without a model of repairs: whatever it has changed was seen just so by two passes that
//! lie apart, by a clock that did not leap between them, and nobody has a word in it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use runsync::file_identity::FileIdentity;
use runsync::ledger::scans::DriftFinding;

use crate::model::{Standing, later};
use crate::scene::drift;
use crate::world::World;

/// How a path stands: its file, and its dataset.
type State = (Option<FileIdentity>, Option<Standing>);

/// What passes met, by path: since when and until when the same.
#[derive(Debug, Default)]
pub(crate) struct Sightings(BTreeMap<String, (State, u64, Timestamp, Timestamp)>);

/// Where a finding is to be left out, or has another spelling, as the ledger had it when a repair was planned.
#[derive(Debug)]
pub(crate) struct Marks {
    left_out: BTreeSet<String>,
    has_twin: BTreeSet<String>,
}

/// All paths before a repair.
#[derive(Debug)]
pub(crate) struct Before(BTreeMap<String, State>);

impl World {
    fn state(&self, path: &str) -> State {
        let file = self.model.files.get(path).map(|file| file.identity);
        (file, self.model.standing(path))
    }

    /// A pass has met these paths.
    pub(crate) fn sight(&mut self, paths: &[String], now: Timestamp) {
        let leaps = self.model.watch.era;
        for path in paths {
            let state = self.state(path);
            let seen = self.sightings.0.get(path);
            let same = seen.filter(|(before, era, ..)| *before == state && *era == leaps);
            let since = same.map_or(now, |(.., since, _)| *since);
            self.sightings
                .0
                .insert(path.clone(), (state, leaps, since, now));
        }
    }

    pub(crate) fn marks(&self) -> Marks {
        let findings = drift(self.opened().ledger());
        let which = |is: fn(&DriftFinding) -> bool| {
            let those = findings.iter().filter(|finding| is(finding));
            those.map(|finding| finding.path.to_string()).collect()
        };
        Marks {
            left_out: which(|finding| finding.ignored.is_some()),
            has_twin: which(|finding| finding.twin.is_some()),
        }
    }

    pub(crate) fn before_repair(&self) -> Before {
        let paths = self.model.paths().into_iter();
        Before(
            paths
                .map(|path| (path.clone(), self.state(&path)))
                .collect(),
        )
    }

    /// Sees that a repair had every right to what it has changed, but for what was begun by an earlier one, and what
    /// somebody else changed meanwhile.
    pub(crate) fn guard(&self, marks: &Marks, before: &Before, but: &[String]) {
        for (path, was) in &before.0 {
            let is = self.state(path);
            if is == *was || but.contains(path) {
                continue;
            }
            let seen = self.sightings.0.get(path);
            let (state, era, since, last) = seen.unwrap_or_else(|| panic!("{path} was never met"));
            assert_eq!(
                (state, *era),
                (was, self.model.watch.era),
                "{path} was not met so"
            );
            assert!(
                later(*since, self.model.policy.apart) <= *last,
                "{path} was not met long enough"
            );
            assert!(!self.model.is_spoken_for(path), "{path} is spoken for");
            assert!(was.1 != Some(Standing::Awaited), "{path} is awaited");
            assert!(!marks.left_out.contains(path), "{path} is ignored");
            assert!(!marks.has_twin.contains(path), "{path} has a twin");
            let moved = was.0.filter(|_| is.0.is_none());
            let lies = |identity: FileIdentity| {
                let mut aside = self.model.aside.iter();
                aside.any(|aside| aside.path == *path && aside.lying.identity == identity)
            };
            assert!(moved.is_none_or(lies), "{path} went and lies nowhere");
            let fell = was.1 == Some(Standing::Recorded) && is.1 != was.1;
            assert!(
                !fell || !self.model.is_right(path),
                "{path} is right, and its record went"
            );
        }
    }
}
