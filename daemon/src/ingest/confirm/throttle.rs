//! Keeps looks and reads below what the configuration allows in a second.
//!
//! A bucket never refuses: it says how long to wait. What is taken is paid for by waiting
//! afterwards, so that a file larger than a second's worth passes too.

use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use runsync_config::root::Root;

use crate::poison::lock;

/// Unused time that may be caught up with: short against the second that the rates are about.
const BURST: Duration = Duration::from_millis(100);
/// So many takings a second are enough for a rate to be smooth.
const TAKINGS: u64 = 10;

/// What the configuration of a root allows.
#[derive(Debug)]
pub(super) struct Throttle {
    files: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Throttle {
    pub(super) fn new(root: &Root) -> Self {
        Self {
            files: root.confirm_files_per_second.map(Bucket::new),
            bytes: root.confirm_bytes_per_second.map(Bucket::new),
        }
    }

    /// Takes so many looks; returns how long to wait for them.
    pub(super) fn files(&self, count: usize) -> Duration {
        wait(self.files.as_ref(), count)
    }

    /// Takes so many bytes; returns how long to wait for them.
    pub(super) fn bytes(&self, count: usize) -> Duration {
        wait(self.bytes.as_ref(), count)
    }

    /// How many files may be looked at with one waiting: at most `most`, and fewer where they
    /// would make the wait long.
    pub(super) fn files_at_once(&self, most: usize) -> usize {
        let Some(files) = &self.files else {
            return most;
        };
        let few = (files.rate.get() / TAKINGS).max(1);
        usize::try_from(few).map_or(most, |few| few.min(most))
    }
}

fn wait(bucket: Option<&Bucket>, count: usize) -> Duration {
    bucket.map_or(Duration::ZERO, |bucket| bucket.take(count, Instant::now()))
}

/// So many a second, shared between threads.
#[derive(Debug)]
struct Bucket {
    rate: NonZeroU64,
    /// When all that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    fn new(rate: NonZeroU64) -> Self {
        Self {
            rate,
            paid: Mutex::default(),
        }
    }

    /// Takes `count` and returns how long to wait before the next is used.
    fn take(&self, count: usize, now: Instant) -> Duration {
        let mut paid = lock(&self.paid);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = paid.map_or(now, |paid| paid.max(earliest));
        let until = start + self.worth(count);
        *paid = Some(until);
        until.saturating_duration_since(now)
    }

    fn worth(&self, count: usize) -> Duration {
        let count = u128::try_from(count).unwrap_or(u128::MAX);
        let nanos = count.saturating_mul(1_000_000_000) / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(rate).unwrap())
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn whoever_waits_as_told_keeps_the_rate() {
        let bucket = bucket(20_000);
        let begin = Instant::now();
        let mut now = begin;
        for _ in 0..100 {
            now += bucket.take(1_000, now);
        }
        assert_eq!(now - begin, Duration::from_secs(5));
    }

    #[test]
    fn time_that_the_work_itself_takes_counts() {
        let bucket = bucket(1_000);
        let begin = Instant::now();
        let mut now = begin;
        for _ in 0..100 {
            now += bucket.take(100, now);
            now += ms(60);
        }
        // The last work is not waited for.
        assert_eq!(now - begin, Duration::from_secs(10) + ms(60));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let bucket = bucket(1_000);
        let begin = Instant::now();
        assert_eq!(bucket.take(1_000, begin), Duration::from_secs(1));
        let later = begin + Duration::from_secs(3600);
        assert_eq!(bucket.take(1_000, later) + BURST, Duration::from_secs(1));
    }

    #[test]
    fn threads_share_a_rate() {
        let bucket = bucket(100);
        let now = Instant::now();
        assert_eq!(bucket.take(50, now), ms(500));
        assert_eq!(bucket.take(50, now), ms(1_000));
    }

    #[test]
    fn a_low_rate_is_taken_in_small_parts() {
        let throttle = |rate: Option<u64>| Throttle {
            files: rate.map(bucket),
            bytes: None,
        };
        assert_eq!(throttle(None).files_at_once(1_024), 1_024);
        assert_eq!(throttle(Some(20_000)).files_at_once(1_024), 1_024);
        assert_eq!(throttle(Some(500)).files_at_once(1_024), 50);
        assert_eq!(throttle(Some(3)).files_at_once(1_024), 1);
        assert_eq!(throttle(None).files(1_000_000), Duration::ZERO);
    }
}
