//! When files of a run are put into a manifest: when there are enough, or when they have waited.
//!
//! Nothing is kept here: hints wait in the ledger. So that those of one run come due together, however they are
//! handed on, they wait for the same moments: every `batch_age` on the clock. A clock that is wrong makes batches
//! smaller or later, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runsync_manifest::name::{ArtifactPath, RunName};

use super::message::{Message, Product};
use crate::ledger::record::Hint;

/// A dataset on its way into a manifest.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    /// Which of the hints at hand it came by.
    pub(super) index: usize,
    /// What it is.
    pub(super) product: Product,
    /// Where its artifact lies.
    pub(super) path: ArtifactPath,
    /// Size and checksums.
    pub(super) message: Stated,
}

/// What the message says of the artifact.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stated {
    pub(super) size: u64,
    pub(super) checksums: runsync_manifest::checksum::Checksums,
}

impl Stated {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            size: message.size,
            checksums: message.checksums,
        }
    }
}

/// Datasets by the place of their root among the roots, and run.
pub(super) type Groups = BTreeMap<(usize, RunName), Vec<Gathered>>;

/// How long a group waits; `None` where it is to be written now.
pub(super) fn wait(
    group: &[Gathered],
    hints: &[Hint],
    full: usize,
    age: Duration,
    now: Timestamp,
) -> Option<Duration> {
    if group.len() >= full {
        return None;
    }
    let slot = Slot::of(age);
    let mut heard = group.iter().filter_map(|one| hints.get(one.index));
    if heard.any(|hint| slot.number(hint.heard_at) < slot.number(now)) {
        return None;
    }
    Some(slot.rest(now))
}

/// Stretches of the clock.
#[derive(Debug, Clone, Copy)]
struct Slot(i64);

impl Slot {
    fn of(age: Duration) -> Self {
        let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Self(millis.max(1))
    }

    fn number(self, at: Timestamp) -> i64 {
        at.as_millisecond().div_euclid(self.0)
    }

    /// What is left of the stretch that is now.
    fn rest(self, now: Timestamp) -> Duration {
        let rest = self.0 - now.as_millisecond().rem_euclid(self.0);
        Duration::from_millis(rest.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn all_of_a_stretch_come_due_together() {
        let slot = Slot::of(Duration::from_secs(30));
        for heard in [60_000, 61_500, 89_999] {
            let due = heard + i64::try_from(slot.rest(at(heard)).as_millis()).unwrap();
            assert_eq!(due, 90_000, "{heard}");
            assert!(slot.number(at(heard)) < slot.number(at(due)));
        }
    }

    #[test]
    fn before_the_epoch_a_clock_still_moves_on() {
        let slot = Slot::of(Duration::from_secs(30));
        assert_eq!(slot.rest(at(-1)), Duration::from_millis(1));
        assert!(slot.number(at(-1)) < slot.number(at(0)));
    }
}
