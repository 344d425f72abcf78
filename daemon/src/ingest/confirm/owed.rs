//! Looks that events ask for, and that are put off where they come too fast.
//!
//! A look at a folder asks for all that is waited for there, and each file that arrives is an event.
//! Files that come one by one into a folder of a hundred thousand would keep a root busy with
//! nothing else. So a folder rests after each look, the longer the look took the longer. One that is
//! too large for a turn is looked at in several, between which others have theirs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runsync_manifest::name::RunKey;

use super::schedule::RETRY_LONGEST;

/// So many times as long as its last look took, a folder is left alone: looks take at most about
/// a tenth of the time, and one of a millisecond delays nothing that anybody would notice.
const REST: u32 = 10;

/// Folders that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Owed {
    folders: BTreeMap<String, Folder>,
    resting: HashMap<String, Instant>,
    /// The folder that was looked at last.
    last: Option<String>,
}

/// How far the look at one folder has come.
#[derive(Debug, Default)]
struct Folder {
    /// Where it stands, once it has begun.
    stand: Option<Stand>,
    /// How long it has taken so far.
    took: Duration,
    /// Something has changed since it has begun.
    again: bool,
}

/// Where a look at a folder goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stand {
    /// With the artifacts of this run; runs before it are done with.
    pub(super) run: Arc<RunKey>,
    /// After this path.
    pub(super) after: String,
}

impl Owed {
    /// Something has changed in these.
    pub(super) fn add(&mut self, folders: &[String]) {
        for name in folders {
            let folder = self.folders.entry(name.clone()).or_default();
            folder.again = folder.stand.is_some();
        }
    }

    /// Those that may be looked at now, the one that was looked at last as the last. They stay owed
    /// until they are looked through, so that none is forgotten where a look fails.
    pub(super) fn due(&mut self, now: Instant) -> Vec<String> {
        self.resting.retain(|_, until| *until > now);
        let awake = self.folders.keys();
        let awake = awake.filter(|folder| !self.resting.contains_key(*folder));
        let mut due: Vec<String> = awake.cloned().collect();
        if let Some(last) = &self.last {
            let next = due.partition_point(|folder| folder <= last);
            due.rotate_left(next);
        }
        due
    }

    /// Where the look at a folder goes on; `None`: at its beginning.
    pub(super) fn stand(&self, folder: &str) -> Option<&Stand> {
        self.folders.get(folder)?.stand.as_ref()
    }

    /// A folder was looked at, and goes on at `stand`; `None`: it is through.
    pub(super) fn looked(
        &mut self,
        folder: &str,
        stand: Option<Stand>,
        began: Instant,
        ended: Instant,
    ) {
        self.last = Some(folder.to_owned());
        let mut look = self.folders.remove(folder).unwrap_or_default();
        look.took += ended.saturating_duration_since(began);
        if stand.is_some() {
            look.stand = stand;
            self.folders.insert(folder.to_owned(), look);
            return;
        }
        // The schedule looks that often anyway.
        let rest = look.took.saturating_mul(REST).min(RETRY_LONGEST);
        self.resting.insert(folder.to_owned(), ended + rest);
        if look.again {
            self.folders.insert(folder.to_owned(), Folder::default());
        }
    }

    /// How long until one is due; `None` where nothing is owed.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = |folder| match self.resting.get(folder) {
            Some(until) => until.saturating_duration_since(now),
            None => Duration::ZERO,
        };
        self.folders.keys().map(wait).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_folder_rests_ten_times_as_long_as_its_look_took() {
        let mut owed = Owed::default();
        let began = Instant::now();
        assert_eq!(owed.wait(began), None);
        owed.add(&folders(&["a", "b"]));
        assert_eq!(owed.due(began), ["a", "b"]);
        let ended = began + Duration::from_secs(2);
        owed.looked("a", None, began, ended);

        owed.add(&folders(&["a"]));
        assert_eq!(owed.due(ended), ["b"]);
        assert_eq!(owed.wait(ended), Some(Duration::ZERO));
        owed.looked("b", None, ended, ended);
        assert_eq!(owed.wait(ended), Some(Duration::from_secs(20)));
        let rested = ended + Duration::from_secs(20);
        assert_eq!(owed.due(rested), ["a"]);
        assert_eq!(owed.wait(rested), Some(Duration::ZERO));
    }

    fn stand(after: &str) -> Stand {
        let run = RunKey {
            origin: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
            name: "u/a".parse().unwrap(),
        };
        Stand {
            run: Arc::new(run),
            after: after.to_owned(),
        }
    }

    #[test]
    fn a_folder_goes_on_where_it_stands_and_others_come_first() {
        let mut owed = Owed::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        owed.add(&folders(&["a", "b"]));
        owed.looked("a", Some(stand("a/5")), now, now + second);
        assert_eq!(owed.due(now), ["b", "a"]);
        assert_eq!(owed.stand("a"), Some(&stand("a/5")));
        owed.looked("b", None, now, now);
        owed.looked("a", None, now, now + second);
        // It rests for all that its look took together.
        owed.add(&folders(&["a"]));
        assert_eq!(owed.stand("a"), None);
        assert_eq!(owed.wait(now + second), Some(20 * second));
    }

    #[test]
    fn a_folder_that_changes_during_its_look_is_looked_at_again() {
        let mut owed = Owed::default();
        let now = Instant::now();
        owed.add(&folders(&["a"]));
        owed.looked("a", Some(stand("a/5")), now, now);
        owed.add(&folders(&["a"]));
        assert_eq!(owed.stand("a"), Some(&stand("a/5")));
        owed.looked("a", None, now, now);
        assert_eq!(owed.due(now + Duration::from_nanos(1)), ["a"]);
        owed.looked("a", None, now, now);
        assert_eq!(owed.wait(now), None);
    }

    #[test]
    fn a_look_that_failed_is_still_owed() {
        let mut owed = Owed::default();
        let now = Instant::now();
        owed.add(&folders(&["a"]));
        assert_eq!(owed.due(now), ["a"]);
        assert_eq!(owed.due(now), ["a"]);
    }

    #[test]
    fn no_rest_is_longer_than_the_schedule_waits() {
        let mut owed = Owed::default();
        let began = Instant::now();
        let ended = began + Duration::from_secs(24 * 3600);
        owed.looked("a", None, began, ended);
        owed.add(&folders(&["a"]));
        assert_eq!(owed.wait(ended), Some(RETRY_LONGEST));
    }
}
