//! What the site knows of its clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Model;

/// Clocks of one site differ by less.
const SKEW: Duration = Duration::from_secs(60 * 60);
/// A site without any sign of life for longer is as likely one whose clock was set.
const LEAP: Duration = Duration::from_secs(60 * 24 * 60 * 60);

pub(crate) fn later(than: Timestamp, by: Duration) -> Timestamp {
    than + SignedDuration::try_from(by).unwrap()
}

/// Signs of life, and the last leap between them.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Timestamp,
    /// Leaps so far.
    pub(crate) era: u64,
    pub(crate) leap: Option<Timestamp>,
}

impl Watch {
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self {
            seen: now,
            era: 0,
            leap: None,
        }
    }

    /// A sign of life.
    pub(crate) fn witness(&mut self, now: Timestamp) {
        if later(now, SKEW) < self.seen || later(self.seen, LEAP) < now {
            self.era += 1;
            self.leap = Some(now);
            self.seen = now;
        } else {
            self.seen = self.seen.max(now);
        }
    }
}

impl Model {
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        self.watch.witness(now);
        self.swept = now;
    }

    /// Whether the ages of files tell a scan nothing.
    pub(super) fn doubts_ages(&self, now: Timestamp) -> bool {
        let newest = self.passes.values().map(|pass| pass.number).max();
        let counts = self
            .passes
            .values()
            .filter(|pass| pass.tried_at <= now || Some(pass.number) == newest);
        let marks = counts.map(|pass| pass.tried_at).chain([self.swept]);
        let newest = marks.max().unwrap_or(now);
        later(now, SKEW) < newest || later(newest, LEAP) < now
    }

    /// Whether the clock has leapt, and not run on since for as long as passes must lie apart.
    pub(super) fn doubts_clock(&self, now: Timestamp) -> bool {
        let leap = self.watch.leap;
        leap.is_some_and(|leap| now < later(leap, self.policy.apart))
    }

    /// Whether what last changed then is that old to a scan.
    pub(super) fn has_waited(&self, changed_ns: i64, now: Timestamp) -> bool {
        let changed = Timestamp::from_nanosecond(changed_ns.into()).unwrap();
        later(changed, self.policy.waiting_deadline) <= now
    }

    /// Whether a repair takes what last changed then for old: nothing is older than the last leap.
    pub(super) fn is_old(&self, changed_ns: i64, now: Timestamp) -> bool {
        let changed = Timestamp::from_nanosecond(changed_ns.into()).unwrap();
        let from = self.watch.leap.map_or(changed, |leap| leap.max(changed));
        later(from, self.policy.dark_age) <= now
    }
}
