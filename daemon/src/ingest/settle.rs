//! Decides when a file has stopped changing, and so when what is wrong with it is final.
//!
//! A whole manifest needs no patience: its trailer proves it. Only a file that is cut or wrong
//! is waited for, because it may still be on its way. The memory here is rebuilt from the root
//! after a restart; nothing of it is persisted.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::later;
use crate::file_identity::FileIdentity;

/// First wait before a cut file is read again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest wait before a cut file is read again. A change that an event tells of ends it at once.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// How patient to be; from the root's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A wrong file counts as wrong once it has been unchanged for so long.
    pub settle: Duration,
    /// A cut file counts as torn once it has been unchanged for so long.
    pub torn: Duration,
}

/// A manifest file that is to be read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    path: String,
    first_seen: Timestamp,
}

impl Settled {
    /// An operator's word that the file is to be read, however young it is.
    pub fn by_operator(path: String, now: Timestamp) -> Self {
        Self {
            path,
            first_seen: now,
        }
    }

    /// The file's path relative to its root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// When it was first seen.
    pub fn first_seen(&self) -> Timestamp {
        self.first_seen
    }
}

/// What was found wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends before its trailer.
    Cut,
    /// It is no manifest.
    Wrong,
    /// It could not be read at all: an I/O error, not a statement about the file.
    Unreadable,
}

/// Whether a fault is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The file will be read again.
    Wait,
    /// It is as it is.
    Final,
}

#[derive(Debug)]
struct Candidate {
    identity: Option<FileIdentity>,
    first_seen: Timestamp,
    unchanged_since: Timestamp,
    next_try: Timestamp,
    tries: u32,
}

/// The files of one root that were seen and are not decided.
#[derive(Debug)]
pub struct Settling {
    patience: Patience,
    candidates: BTreeMap<String, Candidate>,
}

impl Settling {
    /// Nothing seen yet.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            candidates: BTreeMap::new(),
        }
    }

    /// Notes that a file was seen. One that has changed since it was last seen is read at once.
    /// Returns whether it was taken up only now.
    pub fn sighted(&mut self, path: String, identity: FileIdentity, now: Timestamp) -> bool {
        let held = self.candidates.len();
        let unchanged_since = Timestamp::from_nanosecond(i128::from(identity.modified_ns))
            .map_or(now, |modified| modified.min(now));
        let candidate = self.candidates.entry(path).or_insert(Candidate {
            identity: None,
            first_seen: now,
            unchanged_since,
            next_try: now,
            tries: 0,
        });
        if candidate.identity != Some(identity) {
            let changed = candidate.identity.replace(identity).is_some();
            candidate.unchanged_since = if changed { now } else { unchanged_since };
            candidate.next_try = now;
            candidate.tries = 0;
        }
        self.candidates.len() > held
    }

    /// At most `most` files whose time has come.
    pub fn due(&self, now: Timestamp, most: usize) -> Vec<Settled> {
        self.candidates
            .iter()
            .filter(|(_, candidate)| candidate.next_try <= now)
            .take(most)
            .map(|(path, candidate)| Settled {
                path: path.clone(),
                first_seen: candidate.first_seen,
            })
            .collect()
    }

    /// When the next file's time comes.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.candidates
            .values()
            .map(|candidate| candidate.next_try)
            .min()
    }

    /// How many files are seen and not decided.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// How long a file has been as it is; nothing for one that is not waited for.
    pub fn unchanged_for(&self, path: &str, now: Timestamp) -> Duration {
        let candidate = self.candidates.get(path);
        candidate.map_or(Duration::ZERO, |candidate| {
            let unchanged = candidate.unchanged_since.duration_until(now);
            Duration::try_from(unchanged).unwrap_or_default()
        })
    }

    /// Whether this file is seen and not decided.
    pub fn holds(&self, path: &str) -> bool {
        self.candidates.contains_key(path)
    }

    /// Whether no file is seen and not decided.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Judges a fault found by reading the file just now.
    pub(super) fn judge(&mut self, settled: &Settled, fault: Fault, now: Timestamp) -> Judgement {
        let Some(candidate) = self.candidates.get_mut(&settled.path) else {
            return Judgement::Final;
        };
        let patience = match fault {
            Fault::Cut => Some(self.patience.torn),
            Fault::Wrong => Some(self.patience.settle),
            Fault::Unreadable => None,
        };
        let deadline = patience.map(|wait| later(candidate.unchanged_since, wait));
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Judgement::Final;
        }
        let doubled = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(candidate.tries));
        let retry = later(now, doubled.min(RETRY_LONGEST));
        candidate.tries = candidate.tries.saturating_add(1);
        candidate.next_try = deadline.map_or(retry, |deadline| retry.min(deadline));
        Judgement::Wait
    }

    /// Forgets a file that is decided or gone. Returns whether it was seen and not decided.
    pub fn decided(&mut self, path: &str) -> bool {
        self.candidates.remove(path).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        settle: Duration::from_secs(10),
        torn: Duration::from_secs(86_400),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn identity(size: u64, modified: i64) -> FileIdentity {
        FileIdentity {
            size,
            modified_ns: (1_000_000 + modified) * 1_000_000_000,
            inode: 1,
        }
    }

    fn one(settling: &Settling, now: Timestamp) -> Settled {
        let due = settling.due(now, 10);
        assert_eq!(due.len(), 1);
        due[0].clone()
    }

    #[test]
    fn a_new_file_is_read_at_once() {
        let mut settling = Settling::new(PATIENCE);
        settling.sighted("a".into(), identity(5, 0), at(0));
        assert_eq!(one(&settling, at(0)).path(), "a");
    }

    #[test]
    fn a_wrong_file_is_final_only_after_it_has_settled() {
        let mut settling = Settling::new(PATIENCE);
        settling.sighted("a".into(), identity(5, 0), at(0));
        let settled = one(&settling, at(0));
        assert_eq!(
            settling.judge(&settled, Fault::Wrong, at(0)),
            Judgement::Wait
        );
        assert_eq!(settling.due(at(0), 10), vec![]);
        settling.sighted("a".into(), identity(6, 5), at(5));
        let settled = one(&settling, at(5));
        assert_eq!(
            settling.judge(&settled, Fault::Wrong, at(5)),
            Judgement::Wait
        );
        assert_eq!(
            settling.judge(&settled, Fault::Wrong, at(14)),
            Judgement::Wait
        );
        assert_eq!(
            settling.judge(&settled, Fault::Wrong, at(15)),
            Judgement::Final
        );
    }

    #[test]
    fn a_file_that_has_lain_there_for_long_is_settled_at_first_sight() {
        let mut settling = Settling::new(PATIENCE);
        settling.sighted("a".into(), identity(5, -3600), at(0));
        let settled = one(&settling, at(0));
        assert_eq!(
            settling.judge(&settled, Fault::Wrong, at(0)),
            Judgement::Final
        );
        assert_eq!(settling.judge(&settled, Fault::Cut, at(0)), Judgement::Wait);
    }

    #[test]
    fn a_time_in_the_future_counts_as_young() {
        let mut settling = Settling::new(PATIENCE);
        settling.sighted("a".into(), identity(5, 999_999), at(0));
        let settled = one(&settling, at(0));
        assert_eq!(
            settling.judge(&settled, Fault::Wrong, at(9)),
            Judgement::Wait
        );
        assert_eq!(
            settling.judge(&settled, Fault::Wrong, at(10)),
            Judgement::Final
        );
    }

    #[test]
    fn a_cut_file_is_tried_less_and_less_often_and_is_torn_after_a_day() {
        let mut settling = Settling::new(PATIENCE);
        settling.sighted("a".into(), identity(5, 0), at(0));
        let settled = one(&settling, at(0));
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(settling.judge(&settled, Fault::Cut, now), Judgement::Wait);
            let next = settling.next_due().unwrap();
            waits.push(next.as_second() - now.as_second());
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(
            settling.judge(&settled, Fault::Cut, at(86_400)),
            Judgement::Final
        );
    }

    #[test]
    fn an_unreadable_file_is_never_judged() {
        let mut settling = Settling::new(PATIENCE);
        settling.sighted("a".into(), identity(5, -999_999), at(0));
        let settled = one(&settling, at(0));
        assert_eq!(
            settling.judge(&settled, Fault::Unreadable, at(9_999_999)),
            Judgement::Wait
        );
    }
}
