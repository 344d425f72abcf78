//! How much one pass may ask of Rucio, and how long it may take.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::SyncError;

/// Asked between requests, and while things are looked at; may break off.
pub type Progress<'p> = dyn FnMut() -> ControlFlow<()> + 'p;

/// What one pass may use.
pub(super) struct Budget<'p> {
    left: u64,
    until: Option<Instant>,
    spent: u64,
    pub(super) progress: &'p mut Progress<'p>,
}

impl<'p> Budget<'p> {
    /// So many requests within that time.
    pub(super) fn new(requests: u64, time: Duration, progress: &'p mut Progress<'p>) -> Self {
        Self {
            left: requests,
            until: Instant::now().checked_add(time),
            spent: 0,
            progress,
        }
    }

    /// As much as it takes.
    pub(super) fn open(progress: &'p mut Progress<'p>) -> Self {
        Self {
            left: u64::MAX,
            until: None,
            spent: 0,
            progress,
        }
    }

    /// Goes on, unless the caller breaks off.
    pub(super) fn go_on(&mut self) -> Result<(), SyncError> {
        match (self.progress)() {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SyncError::Interrupted),
        }
    }

    /// Counts a request that is about to be sent. What is begun is not broken off for want of budget:
    /// whoever goes through many things asks [`is_spent`](Self::is_spent) between them.
    pub(super) fn ask(&mut self) -> Result<(), SyncError> {
        self.go_on()?;
        self.left = self.left.saturating_sub(1);
        self.spent += 1;
        Ok(())
    }

    /// Does what has to be done before anything comes of a pass: it takes nothing of its time.
    pub(super) fn beforehand<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let begun = Instant::now();
        let done = work(self);
        let later = |until: Instant| until.checked_add(begun.elapsed());
        self.until = self.until.and_then(later);
        done
    }

    /// Whether no more should be begun.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0 || self.until.is_some_and(|until| until <= Instant::now())
    }

    /// Requests so far.
    pub(super) fn spent(&self) -> u64 {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_after_its_requests_or_its_time() {
        let mut go_on = || ControlFlow::Continue(());
        let mut budget = Budget::new(2, Duration::from_secs(3600), &mut go_on);
        budget.ask().unwrap();
        assert!(!budget.is_spent());
        budget.ask().unwrap();
        assert!(budget.is_spent() && budget.spent() == 2);
        let mut go_on = || ControlFlow::Continue(());
        assert!(Budget::new(2, Duration::ZERO, &mut go_on).is_spent());
        let mut stop = || ControlFlow::Break(());
        let mut budget = Budget::open(&mut stop);
        assert!(budget.ask().is_err_and(|error| error.is_interruption()));
        assert!(!budget.is_spent());
    }
}
