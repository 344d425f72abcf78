//! How much of a root a scan by schedule takes, so that all of it is seen in a period: pure.

use std::time::Duration;

use jiff::Timestamp;

/// How far the pass under way is, and how long everything may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progressing {
    /// When the pass began; now, where this scan begins one.
    pub(super) begun_at: Timestamp,
    /// Paths that it has met.
    pub(super) met: u64,
    /// Paths that the last whole pass met, or an estimate of them.
    pub(super) whole: u64,
    /// In which everything is to be seen once.
    pub(super) period: Duration,
}

/// The paths that a scan is to take now, so that the pass is no further behind than its period allows when the
/// next one comes. None: all that is left.
pub(super) fn share(pass: Progressing, now: Timestamp, next: Option<Timestamp>) -> Option<u64> {
    let next = next?;
    // A pass from the future was begun by a clock that was wrong: it is gone on with as if it began now.
    let (begun, met) = if pass.begun_at > now {
        (now, 0)
    } else {
        (pass.begun_at, pass.met)
    };
    let passed = Duration::try_from(next.duration_since(begun)).unwrap_or_default();
    if passed >= pass.period {
        return None;
    }
    let wanted = u128::from(pass.whole) * passed.as_nanos();
    let wanted = wanted.div_ceil(pass.period.as_nanos().max(1));
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    // That no more follows is seen at the end alone.
    (wanted < pass.whole).then(|| wanted.saturating_sub(met))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, later};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn pass(clock: &ManualClock, met: u64) -> Progressing {
        Progressing {
            begun_at: clock.now(),
            met,
            whole: 3_000,
            period: DAY * 30,
        }
    }

    #[test]
    fn nightly_scans_see_everything_in_the_period_and_no_faster() {
        let clock = ManualClock::new(Timestamp::from_second(1_790_000_000).unwrap());
        let mut under_way = pass(&clock, 0);
        for night in 1..=29 {
            let (now, next) = (clock.now(), later(clock.now(), DAY));
            let share = share(under_way, now, Some(next)).unwrap();
            assert_eq!(share, 100, "night {night}");
            under_way.met += share;
            clock.advance(DAY);
        }
        let next = later(clock.now(), DAY);
        assert_eq!(share(under_way, clock.now(), Some(next)), None, "the rest");
    }

    #[test]
    fn what_was_left_out_is_caught_up_with_and_what_was_more_is_rested_for() {
        let clock = ManualClock::new(Timestamp::from_second(1_790_000_000).unwrap());
        let behind = pass(&clock, 0);
        let ahead = pass(&clock, 2_000);
        clock.advance(DAY * 9);
        let next = Some(later(clock.now(), DAY));
        assert_eq!(share(behind, clock.now(), next), Some(1_000));
        assert_eq!(share(ahead, clock.now(), next), Some(0));
        clock.advance(DAY * 21);
        assert_eq!(
            share(behind, clock.now(), next),
            Some(1_000),
            "the next is what counts"
        );
        assert_eq!(
            share(behind, clock.now(), Some(later(clock.now(), DAY))),
            None
        );
    }

    #[test]
    fn a_pass_of_a_clock_that_was_wrong_goes_on() {
        let clock = ManualClock::new(Timestamp::from_second(1_790_000_000).unwrap());
        let mut ahead = pass(&clock, 2_000);
        ahead.begun_at = later(clock.now(), DAY * 300);
        let next = Some(later(clock.now(), DAY));
        assert_eq!(share(ahead, clock.now(), next), Some(100));
        assert_eq!(share(ahead, clock.now(), None), None);
    }
}
