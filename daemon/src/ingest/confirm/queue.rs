//! A bounded queue between the threads of a session.
//!
//! The channels of the standard library cannot wait for room for a while only, and whoever feeds
//! this one must show a sign of life while it is full.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::poison::{lock, unpoisoned};

/// A queue of items, each of which takes up room by its weight.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    room: usize,
    weigh: fn(&T) -> usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    weight: usize,
    closed: bool,
}

/// What became of an item to be put.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put<T> {
    /// It is in the queue.
    Done,
    /// There was no room in time; here it is again.
    Full(T),
    /// Nothing is put any more.
    Closed,
}

/// What taking came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    /// An item.
    One(T),
    /// There was none in time.
    Late,
    /// There is none, and none will come.
    Closed,
}

impl<T> Queue<T> {
    /// A queue for items that together weigh at most `room`; one item always fits into an empty
    /// one.
    pub(super) fn new(room: usize, weigh: fn(&T) -> usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                weight: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            room,
            weigh,
        }
    }

    /// Puts an item, and waits at most so long for room.
    pub(super) fn put(&self, item: T, patience: Duration) -> Put<T> {
        let weight = (self.weigh)(&item);
        let full = |state: &mut State<T>| {
            !state.closed && !state.items.is_empty() && state.weight + weight > self.room
        };
        let waited = self
            .changed
            .wait_timeout_while(self.state(), patience, full);
        let (mut state, timeout) = unpoisoned(waited);
        if state.closed {
            return Put::Closed;
        }
        if timeout.timed_out() {
            return Put::Full(item);
        }
        state.weight += weight;
        state.items.push_back(item);
        self.changed.notify_all();
        Put::Done
    }

    /// Takes the oldest item, and waits for one until `until`, or for ever.
    pub(super) fn take(&self, until: Option<Instant>) -> Taken<T> {
        let mut state = self.state();
        loop {
            if let Some(item) = state.items.pop_front() {
                state.weight -= (self.weigh)(&item);
                self.changed.notify_all();
                return Taken::One(item);
            }
            if state.closed {
                return Taken::Closed;
            }
            let Some(until) = until else {
                let waited = self.changed.wait(state);
                state = unpoisoned(waited);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Late;
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = unpoisoned(waited);
        }
    }

    /// Nothing is put any more; what is there is still taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Nothing is put or taken any more.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.closed = true;
        state.weight = 0;
        let _dropped_after_the_lock = std::mem::take(&mut state.items);
        drop(state);
        self.changed.notify_all();
    }

    /// A panic of another thread has left the queue whole.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_AT_ALL: Duration = Duration::ZERO;

    fn queue(room: usize) -> Queue<usize> {
        Queue::new(room, |item| *item)
    }

    fn take(queue: &Queue<usize>) -> Taken<usize> {
        queue.take(Some(Instant::now()))
    }

    #[test]
    fn items_come_in_order_as_long_as_there_is_room() {
        let queue = queue(10);
        assert_eq!(queue.put(4, NOT_AT_ALL), Put::Done);
        assert_eq!(queue.put(6, NOT_AT_ALL), Put::Done);
        assert_eq!(queue.put(1, NOT_AT_ALL), Put::Full(1));
        assert_eq!(take(&queue), Taken::One(4));
        assert_eq!(queue.put(1, NOT_AT_ALL), Put::Done);
        assert_eq!(take(&queue), Taken::One(6));
        assert_eq!(take(&queue), Taken::One(1));
        assert_eq!(take(&queue), Taken::Late);
    }

    #[test]
    fn one_item_fits_however_large() {
        let queue = queue(10);
        assert_eq!(queue.put(99, NOT_AT_ALL), Put::Done);
        assert_eq!(queue.put(1, NOT_AT_ALL), Put::Full(1));
    }

    #[test]
    fn a_closed_queue_is_emptied_and_an_abandoned_one_is_empty() {
        let queue = queue(10);
        assert_eq!(queue.put(1, NOT_AT_ALL), Put::Done);
        assert_eq!(queue.put(2, NOT_AT_ALL), Put::Done);
        queue.close();
        assert_eq!(queue.put(3, NOT_AT_ALL), Put::Closed);
        assert_eq!(take(&queue), Taken::One(1));
        queue.abandon();
        assert_eq!(queue.take(None), Taken::Closed);
    }

    #[test]
    fn whoever_waits_is_woken_by_an_item_and_by_room() {
        let (queue, long) = (&queue(1), Duration::from_secs(60));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| [(); 3].map(|()| queue.take(None)));
            for item in [1, 1] {
                assert_eq!(queue.put(item, long), Put::Done);
            }
            queue.close();
            let taken = other.join().unwrap();
            assert_eq!(taken, [Taken::One(1), Taken::One(1), Taken::Closed]);
        });
    }
}
