//! When to look, when to renew, and when the lease has run out: pure, on the asker's own clock.
//!
//! The holder and whoever watches it measure the same duration, each by itself: the holder has
//! written down its own, and a watcher waits for the longer of the two. The watcher starts anew
//! whenever it *sees* a change, which is after the holder made it: the tenure of a holder that runs
//! has ended before anybody takes over from it. A step of its loops may still go on then; that it
//! writes nothing is the fence's doing alone.

use std::time::Duration;

use super::fence::Fence;
use super::holder::Holder;
use super::table::LeaseRow;

/// How often, within the lease's duration, the holder renews it.
const BEATS: u32 = 4;
/// How often, within that time, others look at it at least: what they see late of a renewal, they
/// take over late.
const LOOKS: u32 = 8;
/// The longest time between two looks, however long the lease is: a lease that was given back, or
/// whose holder is gone, is to be had at once, and a look is one read of one row.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How often the holder tries again within the time between two renewals, once one has failed.
const TRIES: u32 = 8;

/// What a watcher has seen of the row.
#[derive(Debug, Clone)]
pub struct Watch {
    duration: Duration,
    last: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    state: (Fence, u64),
    /// When it was first seen so.
    at: Duration,
}

/// What a look tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Somebody holds the lease; look again after this long.
    Held(Duration),
    /// Nobody has renewed it for its duration.
    Expired,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new(duration: Duration) -> Self {
        Self {
            duration,
            last: None,
        }
    }

    /// Judges a row that has a holder; `now` is time on this machine.
    pub fn see(&mut self, row: &LeaseRow, now: Duration) -> Sight {
        let state = (row.fence, row.beat);
        let since = match self.last {
            Some(seen) if seen.state == state => seen.at,
            _ => {
                self.last = Some(Seen { state, at: now });
                now
            }
        };
        let told = row.holder.as_ref().and_then(Holder::lease);
        let duration = told.map_or(self.duration, |told| told.max(self.duration));
        let left = duration.saturating_sub(now.saturating_sub(since));
        if left.is_zero() {
            Sight::Expired
        } else {
            Sight::Held(left.min(duration / LOOKS).min(LOOK_MAX))
        }
    }
}

/// When the holder renews.
#[derive(Debug, Clone)]
pub struct Beats {
    duration: Duration,
    /// When the last renewal that went through was begun.
    renewed: Duration,
    failed: bool,
}

impl Beats {
    /// The lease was claimed by a call that began at `now`.
    pub fn new(duration: Duration, now: Duration) -> Self {
        Self {
            duration,
            renewed: now,
            failed: false,
        }
    }

    /// How long to wait before the next renewal.
    pub fn wait(&self, now: Duration) -> Duration {
        let period = self.duration / BEATS;
        if self.failed {
            return period / TRIES;
        }
        period.saturating_sub(now.saturating_sub(self.renewed))
    }

    /// A renewal that began at `at` went through.
    pub fn renewed(&mut self, at: Duration) {
        self.renewed = at;
        self.failed = false;
    }

    /// A renewal failed; returns whether that is the first time in a row.
    pub fn failed(&mut self) -> bool {
        !std::mem::replace(&mut self.failed, true)
    }

    /// Whether the lease may be another's by now.
    pub fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.renewed) >= self.duration
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::clock::{ManualUptime, Uptime};
    use crate::lease::HolderKind;

    const DURATION: Duration = Duration::from_secs(8);
    const QUARTER: Duration = Duration::from_secs(2);
    const EIGHTH: Duration = Duration::from_secs(1);

    fn row(fence: u64, beat: u64) -> LeaseRow {
        LeaseRow {
            fence: Fence::stored(fence),
            beat,
            holder: None,
        }
    }

    #[test]
    fn a_lease_that_is_renewed_never_expires() {
        let uptime = ManualUptime::default();
        let mut watch = Watch::new(DURATION);
        for beat in 0..100 {
            assert_eq!(
                watch.see(&row(1, beat), uptime.awake()),
                Sight::Held(EIGHTH)
            );
            uptime.advance(DURATION * 99 / 100);
        }
    }

    #[test]
    fn a_lease_that_stands_still_expires_after_its_duration_and_not_before() {
        let uptime = ManualUptime::default();
        let mut watch = Watch::new(DURATION);
        let mut waits = Vec::new();
        while let Sight::Held(wait) = watch.see(&row(1, 1), uptime.awake()) {
            waits.push(wait);
            uptime.advance(wait);
        }
        assert_eq!(uptime.awake(), DURATION);
        assert_eq!(waits, [EIGHTH; 8]);
        // A late look shortens the next wait: the end is not missed.
        let mut watch = Watch::new(DURATION);
        let start = uptime.awake();
        watch.see(&row(1, 2), start);
        let (late, left) = (DURATION * 15 / 16, DURATION / 16);
        assert_eq!(watch.see(&row(1, 2), start + late), Sight::Held(left));
    }

    #[test]
    fn of_two_durations_the_longer_counts() {
        let held_for = |lease| {
            let (what, since) = (HolderKind::Daemon, Timestamp::UNIX_EPOCH);
            let holder = Holder::this(what, since, lease, Uuid::nil()).unwrap();
            let row = LeaseRow {
                holder: Some(holder),
                ..row(1, 1)
            };
            let mut watch = Watch::new(DURATION);
            let mut now = Duration::ZERO;
            while let Sight::Held(wait) = watch.see(&row, now) {
                now += wait;
            }
            now
        };
        assert_eq!(held_for(DURATION * 3), DURATION * 3);
        assert_eq!(held_for(DURATION / 3), DURATION);
    }

    #[test]
    fn another_holder_begins_anew_also_with_an_equal_beat() {
        let uptime = ManualUptime::default();
        let mut watch = Watch::new(DURATION);
        watch.see(&row(1, 1), uptime.awake());
        uptime.advance(DURATION * 2);
        assert_eq!(watch.see(&row(2, 1), uptime.awake()), Sight::Held(EIGHTH));
    }

    #[test]
    fn the_time_that_a_watchers_machine_was_suspended_counts_for_nothing() {
        let uptime = ManualUptime::default();
        let mut watch = Watch::new(DURATION);
        watch.see(&row(1, 1), uptime.awake());
        uptime.suspend(DURATION * 100);
        assert_eq!(watch.see(&row(1, 1), uptime.awake()), Sight::Held(EIGHTH));
    }

    #[test]
    fn a_holder_renews_four_times_in_the_duration_and_gives_up_at_its_end() {
        let uptime = ManualUptime::default();
        let mut beats = Beats::new(DURATION, uptime.since_boot());
        for _ in 0..10 {
            assert_eq!(beats.wait(uptime.since_boot()), QUARTER);
            uptime.advance(QUARTER);
            assert_eq!(beats.wait(uptime.since_boot()), Duration::ZERO);
            assert!(!beats.is_over(uptime.since_boot()));
            beats.renewed(uptime.since_boot());
        }
        assert!(beats.failed(), "told once");
        let mut tries = 0;
        while !beats.is_over(uptime.since_boot()) {
            assert!(!beats.failed());
            uptime.advance(beats.wait(uptime.since_boot()));
            tries += 1;
        }
        assert_eq!(tries, 4 * 8);
        beats.renewed(uptime.since_boot());
        assert_eq!(beats.wait(uptime.since_boot()), QUARTER);
    }

    #[test]
    fn the_time_that_a_holders_machine_was_suspended_counts() {
        let uptime = ManualUptime::default();
        let beats = Beats::new(DURATION, uptime.since_boot());
        uptime.suspend(DURATION);
        assert!(beats.is_over(uptime.since_boot()));
    }

    /// Whatever the phases of the two, a holder that stops renewing has given up before the
    /// watcher takes over, and that comes an eighth of the duration later at most.
    #[test]
    fn a_holder_has_given_up_before_anybody_takes_over() {
        for phase_ms in (0..1_000).step_by(50) {
            let phase = Duration::from_millis(phase_ms);
            // The last renewal begins at 0 and is seen at `phase`.
            let beats = Beats::new(DURATION, Duration::ZERO);
            let mut watch = Watch::new(DURATION);
            let mut now = phase;
            while let Sight::Held(wait) = watch.see(&row(1, 1), now) {
                now += wait;
            }
            assert!(beats.is_over(now));
            assert!(now <= DURATION * 9 / 8);
        }
    }
}
