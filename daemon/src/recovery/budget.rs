//! How much a scan may use, and how fast.
//!
//! Storage that is slow has work of others to do: a scan rests as long as a slow call took, so that at most half
//! of the time is its own. A limit of calls in a second holds beside that.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use super::report::ScanCounts;

/// Asked while a scan goes on, with what it has seen; may break off.
pub type Progress<'p> = dyn FnMut(&ScanCounts) -> ControlFlow<()> + 'p;

/// A call that takes longer than this is one of slow storage: a disk that seeks takes a third of it.
const SLOW: Duration = Duration::from_millis(30);
/// Shorter rests are saved up: the kernel cannot keep them.
const REST_MIN: Duration = Duration::from_millis(10);
/// Unused time that may be caught up with: short against the second that the rate is about.
const BURST: Duration = Duration::from_millis(20);
/// Longest rest without asking whether to go on.
const REST_MAX: Duration = Duration::from_millis(100);

/// What one scan may use; none: as much as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Files and records, each path once.
    pub objects: Option<u64>,
    /// Bytes read for checksums. A file that is begun is read to its end.
    pub bytes: Option<u64>,
    /// Time.
    pub time: Option<Duration>,
    /// Calls to storage in a second.
    pub calls_per_second: Option<NonZeroU64>,
}

/// What is left of it.
pub(super) struct Budget<'p> {
    objects: u64,
    bytes: u64,
    /// Time that has not begun to run.
    time: Option<Duration>,
    until: Option<Instant>,
    rate: Option<NonZeroU64>,
    /// Objects that may be taken of the root at hand.
    share: u64,
    /// When all calls so far are paid for.
    paid: Instant,
    broken_off: bool,
    progress: &'p mut Progress<'p>,
}

impl<'p> Budget<'p> {
    pub(super) fn new(limits: Limits, progress: &'p mut Progress<'p>) -> Self {
        let now = Instant::now();
        Self {
            objects: limits.objects.unwrap_or(u64::MAX),
            bytes: limits.bytes.unwrap_or(u64::MAX),
            time: limits.time,
            until: None,
            rate: limits.calls_per_second,
            share: u64::MAX,
            paid: now,
            broken_off: false,
            progress,
        }
    }

    /// Lets time run, where it does not yet.
    pub(super) fn start(&mut self) {
        if let Some(time) = self.time.take() {
            self.until = Instant::now().checked_add(time);
        }
    }

    /// Turns to a root of which so many objects may be taken; none: as many as are left.
    pub(super) fn turn(&mut self, share: Option<u64>) {
        self.share = share.unwrap_or(u64::MAX);
    }

    /// Counts an object.
    pub(super) fn object(&mut self, counts: &ScanCounts) {
        self.share = self.share.saturating_sub(1);
        self.objects = self.objects.saturating_sub(1);
        self.ask(counts);
    }

    /// Counts bytes that were read.
    pub(super) fn bytes(&mut self, count: u64) {
        self.bytes = self.bytes.saturating_sub(count);
    }

    /// Counts calls to storage that took so long together, and rests for them.
    pub(super) fn calls(&mut self, count: u64, took: Duration, counts: &ScanCounts) {
        let Ok(divisor) = u32::try_from(count.max(1)) else {
            return;
        };
        let now = Instant::now();
        if let Some(rate) = self.rate {
            let earliest = now.checked_sub(BURST).unwrap_or(now);
            let nanoseconds = u128::from(count) * 1_000_000_000 / u128::from(rate.get());
            let price = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            self.paid = self.paid.max(earliest) + price;
        }
        if took / divisor > SLOW {
            self.paid = self.paid.max(now + took);
        }
        if self.paid.saturating_duration_since(now) >= REST_MIN {
            self.rest(counts);
        }
    }

    fn rest(&mut self, counts: &ScanCounts) {
        loop {
            let left = self.paid.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_spent() {
                return;
            }
            thread::sleep(left.min(REST_MAX));
            self.ask(counts);
        }
    }

    /// Tells the caller how far the scan is, and hears whether it is to go on.
    pub(super) fn ask(&mut self, counts: &ScanCounts) {
        self.broken_off |= (self.progress)(counts).is_break();
    }

    /// Asks the caller whether to go on.
    pub(super) fn go_on(&mut self, counts: &ScanCounts) -> ControlFlow<()> {
        if self.is_over(counts) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Asks the caller; where it wants no more, what is being read is not read to its end.
    pub(super) fn is_over(&mut self, counts: &ScanCounts) -> bool {
        self.ask(counts);
        self.broken_off
    }

    /// Whether the caller wants no more.
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off
    }

    /// Whether no more of the root at hand should be begun.
    pub(super) fn is_over_here(&self) -> bool {
        self.share == 0 || self.is_spent()
    }

    /// Whether no more should be begun.
    pub(super) fn is_spent(&self) -> bool {
        self.broken_off
            || self.objects == 0
            || self.bytes == 0
            || self.until.is_some_and(|until| until <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::default()
    }

    #[test]
    fn a_budget_is_spent_when_any_part_of_it_is() {
        let counts = ScanCounts::default();
        let mut go_on = |_: &ScanCounts| ControlFlow::Continue(());
        let mut budget = Budget::new(
            Limits {
                objects: Some(2),
                bytes: Some(10),
                ..limits()
            },
            &mut go_on,
        );
        budget.object(&counts);
        budget.bytes(9);
        assert!(!budget.is_spent());
        budget.object(&counts);
        assert!(budget.is_spent());
        let mut go_on = |_: &ScanCounts| ControlFlow::Continue(());
        let time = Some(Duration::ZERO);
        let mut budget = Budget::new(Limits { time, ..limits() }, &mut go_on);
        assert!(!budget.is_spent());
        budget.start();
        assert!(budget.is_spent());
        let mut stop = |_: &ScanCounts| ControlFlow::Break(());
        let mut budget = Budget::new(limits(), &mut stop);
        budget.object(&counts);
        assert!(budget.is_spent());
    }

    #[test]
    fn calls_come_no_faster_than_they_may() {
        let counts = ScanCounts::default();
        let mut go_on = |_: &ScanCounts| ControlFlow::Continue(());
        let calls_per_second = NonZeroU64::new(1_000);
        let begun = Instant::now();
        let mut budget = Budget::new(
            Limits {
                calls_per_second,
                ..limits()
            },
            &mut go_on,
        );
        for _ in 0..100 {
            budget.calls(1, Duration::ZERO, &counts);
        }
        assert!(begun.elapsed() + REST_MIN + BURST >= Duration::from_millis(100));
    }

    #[test]
    fn a_slow_call_is_rested_for() {
        let counts = ScanCounts::default();
        let mut go_on = |_: &ScanCounts| ControlFlow::Continue(());
        let begun = Instant::now();
        let mut budget = Budget::new(limits(), &mut go_on);
        budget.calls(1, SLOW * 2, &counts);
        assert!(begun.elapsed() >= SLOW * 2);
    }
}
