//! Which run's artifacts are looked at next, and which folders are worth watching.
//!
//! Every run whose time has come gets its turn, one page after the other in a circle, so that a
//! large run holds up no small one, nor many small ones a large one. A pass over a run that found
//! nothing is repeated ever more seldom. And whatever is looked for in vain, be it a million files
//! of a thousand runs, takes at most a share of the time: after a page that was looked at again for
//! nothing, all such looks rest for a multiple of what it took.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync_manifest::name::{ArtifactPath, RunKey};

use super::records::Found;
use crate::clock::later;
use crate::registry::record::{WaitingArtifact, WaitingRun};

/// First wait before a run's artifacts are looked at again; doubled while none are found.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest such wait. Long enough that a million waited-for files cost little, short enough that
/// an artifact whose event was lost is found within minutes.
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// So many times as long as a look in vain took, the next ones are put off: they take at most a
/// twentieth of the time of one thread.
const REST: u32 = 19;

/// Where the looks at the waiting runs stand.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    runs: BTreeMap<Arc<RunKey>, RunLook>,
    /// Whose turn was last.
    last: Option<Arc<RunKey>>,
    /// Until when nothing is looked at again.
    resting: Option<Timestamp>,
}

/// Where the look at one run's artifacts stands.
#[derive(Debug)]
struct RunLook {
    /// The last artifact looked at in this pass.
    after: Option<ArtifactPath>,
    /// Where the look stood when the session began, if it has moved since.
    began: Option<Stand>,
    /// The pass is over, but for what is to be known of what it found.
    whole: bool,
    /// Artifacts found in this pass.
    found: u64,
    /// Passes in a row that found nothing; `None` before the first pass has ended.
    tries: Option<u32>,
    next: Timestamp,
    /// Folders with artifacts waited for, as the last whole pass saw them.
    folders: BTreeSet<String>,
    /// The same, as this pass has seen them so far.
    gathered: BTreeSet<String>,
    /// Whether the last pass, or this one, has seen more folders than there was room for.
    partial: [bool; 2],
}

/// How far a pass has come.
#[derive(Debug)]
struct Stand {
    after: Option<ArtifactPath>,
}

impl Schedule {
    /// Takes up runs that are new, and lets go those that no longer wait, with their folders.
    pub(super) fn keep(&mut self, waiting: &[WaitingRun], now: Timestamp) {
        let names: HashSet<&RunKey> = waiting.iter().map(|waiting| &waiting.run).collect();
        self.runs.retain(|run, _| names.contains(&**run));
        for run in names {
            if !self.runs.contains_key(run) {
                self.runs.insert(Arc::new(run.clone()), RunLook::new(now));
            }
        }
    }

    /// The next run whose time has come, after the one that was the last.
    pub(super) fn turn(&mut self, now: Timestamp) -> Option<Arc<RunKey>> {
        let rested = self.resting.is_none_or(|until| until <= now);
        let due = |(run, look): (&Arc<RunKey>, &RunLook)| {
            let is_due = !look.whole && look.next <= now && (rested || look.tries.is_none());
            is_due.then(|| Arc::clone(run))
        };
        let last = self.last.as_ref();
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (start, Bound::<&Arc<RunKey>>::Unbounded);
        let onward = self.runs.range::<Arc<RunKey>, _>(range).find_map(due);
        let turn = onward.or_else(|| self.runs.iter().find_map(due))?;
        self.last = Some(Arc::clone(&turn));
        Some(turn)
    }

    /// Every run's time has come.
    pub(super) fn look_now(&mut self, now: Timestamp) {
        self.resting = None;
        for look in self.runs.values_mut() {
            look.next = look.next.min(now);
            // As a first pass, which no rest holds up.
            look.tries = None;
        }
    }

    /// Whether no run's time has come.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.next().is_none_or(|next| next > now)
    }

    /// The artifact after which the next look at a run starts.
    pub(super) fn after(&self, run: &RunKey) -> Option<&str> {
        self.runs.get(run)?.after.as_ref().map(ArtifactPath::as_str)
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let rested = self.resting.unwrap_or(Timestamp::MIN);
        let due = |look: &RunLook| match look.tries {
            None => look.next,
            Some(_) => look.next.max(rested),
        };
        self.runs.values().map(due).min()
    }

    /// A page of a run's artifacts that ends with `last` was looked at; `whole` says that it was
    /// the last of the pass.
    pub(super) fn looked(&mut self, run: &RunKey, last: Option<ArtifactPath>, whole: bool) {
        if let Some(look) = self.runs.get_mut(run) {
            let after = std::mem::replace(&mut look.after, last);
            look.began.get_or_insert(Stand { after });
            look.whole = whole;
        }
    }

    /// So long a look at `count` artifacts of a run took, of which `absent` were not there. That
    /// share of it counts as in vain, but for a run's first pass.
    pub(super) fn looked_in_vain(
        &mut self,
        run: &RunKey,
        (absent, count): (usize, usize),
        took: Duration,
        now: Timestamp,
    ) {
        let again = self.runs.get(run).is_some_and(|look| look.tries.is_some());
        let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let absent = u32::try_from(absent).unwrap_or(u32::MAX);
        if again && absent > 0 {
            let vain = took.saturating_mul(absent) / count;
            let rest = vain.saturating_mul(REST).min(RETRY_LONGEST);
            self.resting = Some(later(now, rest));
        }
    }

    /// All that was looked at since the last call is committed, and so many were found.
    pub(super) fn settle(&mut self, found: &Found, now: Timestamp) {
        for (run, count) in found {
            if let Some(look) = self.runs.get_mut(run) {
                look.found += count;
            }
        }
        for look in self.runs.values_mut() {
            look.began = None;
            if look.whole {
                look.end_pass(now);
            }
        }
    }

    /// What was looked at since the last call of [`settle`](Self::settle) may not have been
    /// committed: it is looked at again.
    pub(super) fn rewind(&mut self) {
        for look in self.runs.values_mut() {
            if let Some(Stand { after }) = look.began.take() {
                look.after = after;
                look.whole = false;
            }
        }
    }

    /// Notes the folders of a page's artifacts, as far as there is room among the `most` of all
    /// runs; a fair share of it is every run's.
    pub(super) fn gather(&mut self, run: &RunKey, page: &[WaitingArtifact], most: usize) {
        let share = self.share(most);
        let held: usize = self.runs.values().map(RunLook::held).sum();
        let Some(look) = self.runs.get_mut(run) else {
            return;
        };
        let room = share.max(most.saturating_sub(held - look.held()));
        for same in page.chunk_by(|a, b| folder_of(&a.path) == folder_of(&b.path)) {
            let folder = same.first().map_or("", |first| folder_of(&first.path));
            if look.gathered.contains(folder) {
                continue;
            }
            if look.gathered.len() >= room {
                look.partial[1] = true;
                return;
            }
            look.gathered.insert(folder.to_owned());
        }
    }

    /// The runs that wait for something in each of these folders, as far as is known: a run with
    /// more folders than there was room for may wait in any.
    pub(super) fn waiting_in(&self, folders: &[String]) -> HashMap<String, Vec<Arc<RunKey>>> {
        let mut waiting: HashMap<String, Vec<Arc<RunKey>>> = HashMap::new();
        let asked: HashSet<&str> = folders.iter().map(String::as_str).collect();
        for (run, look) in &self.runs {
            let mut add = |folder: &str| {
                let runs = waiting.entry(folder.to_owned()).or_default();
                runs.push(Arc::clone(run));
            };
            if look.partial.contains(&true) {
                asked.iter().copied().for_each(&mut add);
            } else {
                let of_run = look.folders().map(String::as_str);
                of_run
                    .filter(|folder| asked.contains(folder))
                    .for_each(&mut add);
            }
        }
        waiting
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
            began: None,
            whole: false,
            found: 0,
            tries: None,
            next: now,
            folders: BTreeSet::new(),
            gathered: BTreeSet::new(),
            partial: [false; 2],
        }
    }

    fn end_pass(&mut self, now: Timestamp) {
        let tries = match self.found {
            0 => self.tries.unwrap_or(0).saturating_add(1),
            _ => 0,
        };
        self.tries = Some(tries);
        self.found = 0;
        self.after = None;
        self.whole = false;
        self.next = later(now, wait(tries));
        self.folders = std::mem::take(&mut self.gathered);
        self.partial = [self.partial[1], false];
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
        look(schedule, name, page, true);
        schedule.settle(&Found::new(), NOW);
    }

    fn look(schedule: &mut Schedule, name: &str, page: &[WaitingArtifact], whole: bool) {
        let last = page.last().map(|artifact| artifact.path.clone());
        schedule.looked(&run(name), last, whole);
    }

    fn watched(schedule: &Schedule, name: &str, most: usize) -> usize {
        let folders = schedule.folders(most);
        assert!(folders.len() <= most);
        let below = format!("{name}/");
        folders.iter().filter(|at| at.starts_with(&below)).count()
    }

    #[test]
    fn whatever_was_looked_for_in_vain_can_be_asked_for_at_once() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a", "b"]), NOW);
        for name in ["a", "b"] {
            pass(&mut schedule, name, &page(name, 0..1), 8);
            let minute = Duration::from_secs(60);
            schedule.looked_in_vain(&run(name), (1, 1), minute, NOW);
        }
        assert!(schedule.turn(NOW).is_none());
        schedule.look_now(NOW);
        for name in ["a", "b"] {
            let turn = schedule.turn(NOW).unwrap();
            assert_eq!(*turn, run(name));
            look(&mut schedule, name, &page(name, 0..1), true);
            schedule.looked_in_vain(&turn, (1, 1), Duration::from_secs(60), NOW);
        }
        assert!(schedule.turn(NOW).is_none());
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
        look(&mut schedule, "a", &first, false);
        schedule.settle(&Found::new(), NOW);
        assert_eq!(watched(&schedule, "a", 8), 4);
        assert_eq!(schedule.after(&run("a")), Some("a/1/x"));
    }

    #[test]
    fn a_large_run_and_many_small_ones_take_turns() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a", "b", "huge", "z"]), NOW);
        let mut turns = Vec::new();
        for turn in 0..6 {
            let whose = schedule.turn(NOW).unwrap();
            let name = whose.name.to_string();
            look(&mut schedule, &name, &page(&name, [turn]), name != "huge");
            turns.push(name);
        }
        assert_eq!(turns, ["a", "b", "huge", "z", "huge", "huge"]);
        schedule.settle(&Found::new(), NOW);
        assert_eq!(schedule.after(&run("huge")), Some("huge/5/x"));
        // The others rest, and one that comes has its turn before the circle begins anew.
        schedule.keep(&waiting(&["b", "huge", "new", "z"]), NOW);
        let mut next = || schedule.turn(NOW).unwrap().name.to_string();
        assert_eq!([next(), next(), next()], ["new", "huge", "new"]);
    }

    #[test]
    fn a_run_is_looked_at_ever_more_seldom_until_something_is_found() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a"]), NOW);
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert!(schedule.turn(now).is_some());
            look(&mut schedule, "a", &page("a", [0]), true);
            schedule.settle(&Found::new(), now);
            let next = schedule.next().unwrap();
            waits.push(now.duration_until(next).as_secs());
            assert!(schedule.turn(now).is_none());
            now = next;
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        look(&mut schedule, "a", &page("a", [0]), true);
        schedule.settle(&Found::from([(Arc::new(run("a")), 1)]), now);
        let next = schedule.next().unwrap();
        assert_eq!(now.duration_until(next).as_secs(), 1);
    }

    #[test]
    fn looks_in_vain_rest_and_hold_up_no_run_that_is_new() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a", "b"]), NOW);
        let took = Duration::from_secs(1);
        // A first pass costs what it costs.
        schedule.looked_in_vain(&run("a"), (10, 10), took, NOW);
        assert!(schedule.turn(NOW).is_some());
        for name in ["a", "b"] {
            pass(&mut schedule, name, &page(name, [0]), 8);
        }
        let now = later(NOW, RETRY_LONGEST);
        assert!(schedule.turn(now).is_some());
        // Half of it was found.
        schedule.looked_in_vain(&run("a"), (5, 10), took, now);
        let rested = later(now, Duration::from_millis(9_500));
        assert!(schedule.turn(now).is_none());
        assert_eq!(schedule.next(), Some(rested));
        assert!(schedule.turn(rested).is_some());
        schedule.keep(&waiting(&["a", "b", "new"]), now);
        let turn = schedule.turn(now).unwrap();
        assert_eq!(turn.name.to_string(), "new");
    }

    #[test]
    fn what_may_not_be_committed_is_looked_at_again() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a"]), NOW);
        look(&mut schedule, "a", &page("a", [0]), false);
        schedule.settle(&Found::new(), NOW);
        look(&mut schedule, "a", &page("a", [1]), false);
        look(&mut schedule, "a", &page("a", [2]), true);
        assert!(schedule.turn(NOW).is_none());
        schedule.rewind();
        assert_eq!(schedule.after(&run("a")), Some("a/0/x"));
        assert!(schedule.turn(NOW).is_some());
    }

    #[test]
    fn a_folder_leads_to_the_runs_that_wait_there() {
        let mut schedule = Schedule::default();
        schedule.keep(&waiting(&["a", "b", "c"]), NOW);
        pass(&mut schedule, "a", &page("shared", 0..2), 64);
        pass(&mut schedule, "b", &page("shared", 1..3), 64);
        let waiting_in = |schedule: &Schedule, folder: usize| {
            let folder = format!("shared/{folder}");
            let found = schedule.waiting_in(std::slice::from_ref(&folder));
            let runs = found.get(&folder).cloned().unwrap_or_default();
            runs.iter()
                .map(|run| run.name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(waiting_in(&schedule, 0), ["a"]);
        assert_eq!(waiting_in(&schedule, 1), ["a", "b"]);
        assert_eq!(waiting_in(&schedule, 9), [""; 0]);
        // One whose folders are not all known may wait anywhere.
        pass(&mut schedule, "c", &page("c", 0..9), 3);
        assert_eq!(waiting_in(&schedule, 0), ["a", "c"]);
        pass(&mut schedule, "c", &page("c", 0..1), 64);
        assert_eq!(waiting_in(&schedule, 0), ["a"]);
    }
}
