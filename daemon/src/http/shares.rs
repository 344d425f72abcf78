//! Sees that no one user or address takes all connections of a socket.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard};

use super::peer::Source;
use crate::poison::lock;

/// The part of a socket's connections that one source may have: half leaves others as many.
const PART: usize = 2;

/// How many connections each source has.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    taken: Mutex<HashMap<Source, usize>>,
}

/// A connection that counts for its source, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Shares>,
    source: Source,
}

impl Shares {
    /// Shares of so many connections.
    pub(super) fn of(connections: usize) -> Self {
        Self {
            most: connections.div_ceil(PART),
            taken: Mutex::default(),
        }
    }

    /// One more connection; none where the source has its share already.
    pub(super) fn take(self: &Arc<Self>, source: Source) -> Option<Share> {
        let mut taken = self.taken();
        let count = taken.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        let of = Arc::clone(self);
        Some(Share { of, source })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Source, usize>> {
        lock(&self.taken)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut of) = self.of.taken().entry(self.source) {
            *of.get_mut() -= 1;
            if *of.get() == 0 {
                of.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_half_at_most_and_nothing_is_kept_of_those_that_went() {
        let shares = Arc::new(Shares::of(3));
        let (alice, bob) = (Source::User(1), Source::User(2));
        let first = shares.take(alice).unwrap();
        let second = shares.take(alice).unwrap();
        assert!(shares.take(alice).is_none());
        let other = shares.take(bob).unwrap();
        drop(first);
        let again = shares.take(alice).unwrap();
        drop((second, other, again));
        assert!(shares.taken().is_empty());
    }
}
