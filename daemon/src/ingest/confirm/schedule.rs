//! When the artifacts of which run are looked at, and which folders are worth watching.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use runsync_manifest::name::{ArtifactPath, RunKey};

use crate::clock::later;
use crate::registry::record::{WaitingArtifact, WaitingRun};

/// First wait before a run's artifacts are looked at again; doubled while none are found.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest such wait. Long enough that a million waited-for files cost little, short enough that
/// an artifact whose event was lost is found within minutes.
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(300);

/// Where the looks at the waiting runs stand.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    runs: BTreeMap<RunKey, RunLook>,
}

/// Where the look at one run's artifacts stands.
#[derive(Debug)]
struct RunLook {
    /// The last artifact looked at in this pass.
    after: Option<ArtifactPath>,
    /// Artifacts found in this pass.
    found: u64,
    /// Passes in a row that found nothing.
    tries: u32,
    next: Timestamp,
    /// Folders with artifacts waited for, as the last whole pass saw them.
    folders: BTreeSet<String>,
    /// The same, as this pass has seen them so far.
    gathered: BTreeSet<String>,
}

impl Schedule {
    /// Takes up runs that are new, and lets go those that no longer wait, with their folders.
    pub(super) fn keep(&mut self, waiting: &[WaitingRun], now: Timestamp) {
        let names: BTreeSet<&RunKey> = waiting.iter().map(|waiting| &waiting.run).collect();
        self.runs.retain(|run, _| names.contains(run));
        for run in names {
            if !self.runs.contains_key(run) {
                self.runs.insert(run.clone(), RunLook::new(now));
            }
        }
    }

    /// Whether a run's time has come.
    pub(super) fn is_due(&self, run: &RunKey, now: Timestamp) -> bool {
        self.runs.get(run).is_some_and(|look| look.next <= now)
    }

    /// The artifact after which the next look at a run starts.
    pub(super) fn after(&self, run: &RunKey) -> Option<&str> {
        self.runs.get(run)?.after.as_ref().map(ArtifactPath::as_str)
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.runs.values().map(|look| look.next).min()
    }

    /// A page of a run's artifacts was looked at; `whole` says that it was the last of the pass.
    pub(super) fn looked(
        &mut self,
        run: &RunKey,
        page: &[WaitingArtifact],
        found: u64,
        whole: bool,
        now: Timestamp,
    ) {
        if let Some(look) = self.runs.get_mut(run) {
            look.found += found;
            look.after = page.last().map(|artifact| artifact.path.clone());
            if whole {
                look.end_pass(now);
            }
        }
    }

    /// Notes the folders of a page's artifacts, as far as there is room among the `most` of all
    /// runs; a fair share of it is every run's.
    pub(super) fn gather(&mut self, run: &RunKey, page: &[WaitingArtifact], most: usize) {
        let share = self.share(most);
        let others = self.runs.iter().filter(|(other, _)| *other != run);
        let held: usize = others.map(|(_, look)| look.held()).sum();
        let room = share.max(most.saturating_sub(held));
        let Some(look) = self.runs.get_mut(run) else {
            return;
        };
        for folder in page.iter().map(|artifact| folder_of(&artifact.path)) {
            if look.gathered.len() >= room {
                return;
            }
            if !look.gathered.contains(folder) {
                look.gathered.insert(folder.to_owned());
            }
        }
    }

    /// At most `most` folders: of each run its share, then what else there is.
    pub(super) fn folders(&self, most: usize) -> BTreeSet<String> {
        let share = self.share(most);
        let looks = || self.runs.values();
        let fair = looks().flat_map(|look| look.folders().take(share));
        let rest = looks().flat_map(|look| look.folders().skip(share));
        let mut chosen = BTreeSet::new();
        for folder in fair.chain(rest) {
            if chosen.len() >= most {
                break;
            }
            chosen.insert(folder.clone());
        }
        chosen
    }

    fn share(&self, most: usize) -> usize {
        most.checked_div(self.runs.len()).unwrap_or(most).max(1)
    }
}

impl RunLook {
    fn new(now: Timestamp) -> Self {
        Self {
            after: None,
            found: 0,
            tries: 0,
            next: now,
            folders: BTreeSet::new(),
            gathered: BTreeSet::new(),
        }
    }

    fn end_pass(&mut self, now: Timestamp) {
        self.tries = if self.found > 0 {
            0
        } else {
            self.tries.saturating_add(1)
        };
        self.found = 0;
        self.after = None;
        self.next = later(now, wait(self.tries));
        self.folders = std::mem::take(&mut self.gathered);
    }

    fn folders(&self) -> impl Iterator<Item = &String> {
        self.folders.union(&self.gathered)
    }

    fn held(&self) -> usize {
        self.folders.len() + self.gathered.len()
    }
}

fn folder_of(path: &ArtifactPath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(head, _)| head)
}

fn wait(tries: u32) -> Duration {
    RETRY_FIRST
        .saturating_mul(2_u32.saturating_pow(tries))
        .min(RETRY_LONGEST)
}

#[cfg(test)]
mod tests {
    use runsync_manifest::checksum::{Adler32, Checksums};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn run(name: &str) -> RunKey {
        RunKey {
            origin: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
            name: name.parse().unwrap(),
        }
    }

    fn waiting(names: &[&str]) -> Vec<WaitingRun> {
        names
            .iter()
            .map(|name| WaitingRun {
                run: run(name),
                root: "main".parse().unwrap(),
                artifacts: 1,
            })
            .collect()
    }

    /// One artifact in each of the folders `<run>/0`, `<run>/1` …
    fn page(name: &str, folders: impl IntoIterator<Item = usize>) -> Vec<WaitingArtifact> {
        folders
            .into_iter()
            .map(|folder| WaitingArtifact {
                path: format!("{name}/{folder}/x").parse().unwrap(),
                size: 1,
                checksums: Checksums {
                    adler32: Adler32([0; 4]),
                    md5: None,
                    sha256: None,
                },
            })
            .collect()
    }

    fn pass(schedule: &mut Schedule, name: &str, page: &[WaitingArtifact], most: usize) {
        schedule.gather(&run(name), page, most);
        schedule.looked(&run(name), page, 0, true, NOW);
    }

    fn watched(schedule: &Schedule, name: &str, most: usize) -> usize {
        let folders = schedule.folders(most);
        assert!(folders.len() <= most);
        let below = format!("{name}/");
        folders.iter().filter(|at| at.starts_with(&below)).count()
    }

    #[test]
    fn one_run_may_have_all_watches_and_shares_them_with_the_next() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a"]), NOW);
        pass(&mut schedule, "a", &page("a", 0..9), 8);
        assert_eq!(watched(&schedule, "a", 8), 8);
        schedule.keep(&waiting(&["a", "b"]), NOW);
        pass(&mut schedule, "b", &page("b", 0..9), 8);
        assert_eq!(watched(&schedule, "a", 8), 4);
        assert_eq!(watched(&schedule, "b", 8), 4);
    }

    #[test]
    fn a_small_run_leaves_the_rest_of_its_share() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a", "b"]), NOW);
        pass(&mut schedule, "a", &page("a", 0..1), 8);
        pass(&mut schedule, "b", &page("b", 0..9), 8);
        assert_eq!(watched(&schedule, "a", 8), 1);
        assert_eq!(watched(&schedule, "b", 8), 7);
    }

    #[test]
    fn folders_that_are_complete_and_runs_that_are_give_their_watches_back() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a", "b"]), NOW);
        pass(&mut schedule, "a", &page("a", 0..4), 8);
        pass(&mut schedule, "b", &page("b", 0..4), 8);
        pass(&mut schedule, "a", &page("a", 2..4), 8);
        assert_eq!(watched(&schedule, "a", 8), 2);
        schedule.keep(&waiting(&["a"]), NOW);
        assert_eq!(watched(&schedule, "b", 8), 0);
    }

    #[test]
    fn folders_stay_watched_while_a_pass_goes_on() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a"]), NOW);
        pass(&mut schedule, "a", &page("a", 0..4), 8);
        let first = page("a", 0..2);
        schedule.gather(&run("a"), &first, 8);
        schedule.looked(&run("a"), &first, 0, false, NOW);
        assert_eq!(watched(&schedule, "a", 8), 4);
        assert_eq!(schedule.after(&run("a")), Some("a/1/x"));
    }
}
