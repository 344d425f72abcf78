//! Locks whose holder panicked.
//!
//! What is behind them is whole: nothing is changed there that another step has to make good. So
//! the panic, which is logged and ends whatever it was part of, stops nobody else.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError};

/// Locks a mutex.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// What was locked or waited for, whether or not another thread panicked while it held the lock.
pub(crate) fn unpoisoned<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_a_thread_that_panicked_had_locked_can_be_locked_again() {
        let mutex = Mutex::new(1);
        let panicked = thread::scope(|scope| {
            let locked = scope.spawn(|| {
                *lock(&mutex) = 2;
                let _held = mutex.lock();
                std::panic::resume_unwind(Box::new(()));
            });
            locked.join().is_err()
        });
        assert!(panicked && mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 2);
    }
}
