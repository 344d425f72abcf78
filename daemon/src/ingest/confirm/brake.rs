//! Breaks off what other threads do, also while they wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::poison::{lock, unpoisoned};

/// Pulled once, by whoever wants the others to end.
#[derive(Debug, Default)]
pub(super) struct Brake {
    pulled: AtomicBool,
    waiting: Mutex<()>,
    changed: Condvar,
}

impl Brake {
    pub(super) fn pull(&self) {
        // Under the lock, so that nobody begins to wait in between.
        let waiting = lock(&self.waiting);
        self.pulled.store(true, Ordering::SeqCst);
        drop(waiting);
        self.changed.notify_all();
    }

    pub(super) fn is_pulled(&self) -> bool {
        self.pulled.load(Ordering::Relaxed)
    }

    /// Waits so long, or until it is pulled.
    pub(super) fn wait(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let waiting = lock(&self.waiting);
        let goes_on = |(): &mut ()| !self.pulled.load(Ordering::SeqCst);
        let waited = self.changed.wait_timeout_while(waiting, time, goes_on);
        drop(unpoisoned(waited));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulling_ends_a_wait_that_began_before_and_one_that_begins_after() {
        let brake = Brake::default();
        let for_ever = Duration::from_secs(1 << 30);
        std::thread::scope(|scope| {
            scope.spawn(|| brake.wait(for_ever));
            assert!(!brake.is_pulled());
            brake.pull();
        });
        brake.wait(for_ever);
        assert!(brake.is_pulled());
    }
}
