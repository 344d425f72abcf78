//! Looks that events ask for, and that are put off where they come too fast.
//!
//! A look at a folder asks for all that is waited for there, and each file that arrives is an event.
//! Files that come one by one into a folder of a hundred thousand would keep a root busy with
//! nothing else. So a folder rests after each look, the longer the look took the longer.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::schedule::RETRY_LONGEST;

/// So many times as long as its last look took, a folder is left alone: looks take at most about
/// a tenth of the time, and one of a millisecond delays nothing that anybody would notice.
const REST: u32 = 10;

/// Folders that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Owed {
    folders: BTreeSet<String>,
    resting: HashMap<String, Instant>,
}

impl Owed {
    /// Something has changed in these.
    pub(super) fn add(&mut self, folders: &[String]) {
        self.folders.extend(folders.iter().cloned());
    }

    /// Those that may be looked at now. They stay owed until [`looked`](Self::looked), so that
    /// none is forgotten where a look fails.
    pub(super) fn due(&mut self, now: Instant) -> Vec<String> {
        self.resting.retain(|_, until| *until > now);
        let awake = |folder: &&String| !self.resting.contains_key(*folder);
        self.folders.iter().filter(awake).cloned().collect()
    }

    /// A folder was looked at.
    pub(super) fn looked(&mut self, folder: &str, began: Instant, ended: Instant) {
        self.folders.remove(folder);
        let took = ended.saturating_duration_since(began);
        // The schedule looks that often anyway.
        let rest = took.saturating_mul(REST).min(RETRY_LONGEST);
        self.resting.insert(folder.to_owned(), ended + rest);
    }

    /// How long until one is due; `None` where nothing is owed.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let wait = |folder| match self.resting.get(folder) {
            Some(until) => until.saturating_duration_since(now),
            None => Duration::ZERO,
        };
        self.folders.iter().map(wait).min()
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
        owed.looked("a", began, ended);

        owed.add(&folders(&["a"]));
        assert_eq!(owed.due(ended), ["b"]);
        assert_eq!(owed.wait(ended), Some(Duration::ZERO));
        owed.looked("b", ended, ended);
        assert_eq!(owed.wait(ended), Some(Duration::from_secs(20)));
        let rested = ended + Duration::from_secs(20);
        assert_eq!(owed.due(rested), ["a"]);
        assert_eq!(owed.wait(rested), Some(Duration::ZERO));
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
        owed.looked("a", began, ended);
        owed.add(&folders(&["a"]));
        assert_eq!(owed.wait(ended), Some(RETRY_LONGEST));
    }
}
