//! Whether a file is old enough to be told from one that is just arriving, and whether that can be told at all.
//!
//! A clock that was set wrong makes what arrived a minute ago ten years old. The site leaves marks of time in the
//! ledger, with every sweep and every scan: where the newest of them lies ahead, or very far back, the clock may
//! have been set, and this pass calls nothing dark. The next one sees the mark that this one leaves.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{LEAP, SKEW, later};

/// How files are told apart by age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ages {
    now: Timestamp,
    grace: Duration,
    doubt: Option<String>,
}

impl Ages {
    /// At a time, after which nothing younger than `grace` is old; `marks` are times that the site knows it
    /// has seen.
    pub(super) fn at(now: Timestamp, grace: Duration, marks: &[Timestamp]) -> Self {
        let newest = marks.iter().max();
        let doubt = newest.and_then(|newest| {
            if later(now, SKEW) < *newest {
                Some(format!(
                    "the clock says {now:.0}, and this site was at work at {newest:.0}: no file is called dark until the clock is right"
                ))
            } else if later(*newest, LEAP) < now {
                Some(format!(
                    "nothing was done here from {newest:.0} to {now:.0}, or the clock was set: no file is called dark by this pass; where the clock is right, scan again"
                ))
            } else {
                None
            }
        });
        Self { now, grace, doubt }
    }

    /// Why age tells nothing now, for people.
    pub(super) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Whether what last changed then has had time to be claimed.
    pub(super) fn is_old(&self, changed_ns: i64) -> bool {
        self.doubt.is_none()
            && time(changed_ns).is_some_and(|changed| later(changed, self.grace) <= self.now)
    }

    /// Whether that lies ahead, by more than clocks differ.
    pub(super) fn is_ahead(&self, changed_ns: i64) -> bool {
        time(changed_ns).is_some_and(|changed| later(self.now, SKEW) < changed)
    }
}

fn time(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(nanoseconds.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + days * 86_400).unwrap()
    }

    fn changed(days: i64) -> i64 {
        i64::try_from(at(days).as_nanosecond()).unwrap()
    }

    #[test]
    fn what_is_younger_than_the_grace_time_or_lies_ahead_is_not_old() {
        let ages = Ages::at(at(0), DAY, &[at(-1)]);
        assert_eq!(ages.doubt(), None);
        assert!(ages.is_old(changed(-1)) && !ages.is_old(changed(0)));
        assert!(!ages.is_old(changed(3_650)) && ages.is_ahead(changed(3_650)));
        assert!(!ages.is_ahead(changed(0)));
    }

    #[test]
    fn a_clock_that_was_set_makes_nothing_old() {
        for now in [-3_650, 3_650] {
            let ages = Ages::at(at(now), DAY, &[at(-1), at(0)]);
            assert!(ages.doubt().is_some());
            assert!(!ages.is_old(changed(-20_000)));
        }
        assert_eq!(Ages::at(at(0), DAY, &[]).doubt(), None);
    }
}
