//! Leaves an endpoint alone that keeps failing, so that a server in trouble is not asked on and on.
//!
//! Closed, it lets requests through and counts failures in a row; open, it lets none through until its
//! rest is over; then it lets one through, whose end decides. See Nygard, "Release It!", 2nd edition,
//! chapter 5, "Circuit Breaker".

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::error::RucioError;
use super::patience::Patience;
use crate::poison::lock;

/// One breaker for each endpoint.
#[derive(Debug)]
pub(super) struct Breakers {
    patience: Patience,
    states: Mutex<BTreeMap<&'static str, State>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    failures: u32,
    rests: u32,
    /// Until when nothing is let through.
    open_until: Option<Instant>,
}

impl Breakers {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            states: Mutex::default(),
        }
    }

    /// Lets a request through, or says how long the endpoint rests. After a rest one request
    /// goes first.
    pub(super) fn pass(&self, endpoint: &'static str, now: Instant) -> Result<(), RucioError> {
        let mut states = lock(&self.states);
        let Some(state) = states.get_mut(endpoint) else {
            return Ok(());
        };
        let Some(until) = state.open_until else {
            return Ok(());
        };
        if until > now {
            let wait = until - now;
            return Err(RucioError::Resting { endpoint, wait });
        }
        // The others wait until this one has come back, or has not for as long as a rest.
        state.open_until = Some(now + self.rest(state.rests));
        Ok(())
    }

    pub(super) fn succeeded(&self, endpoint: &'static str) {
        lock(&self.states).remove(endpoint);
    }

    pub(super) fn failed(&self, endpoint: &'static str, now: Instant) {
        let mut states = lock(&self.states);
        let state = states.entry(endpoint).or_default();
        state.failures += 1;
        let tried_after_a_rest = state.open_until.is_some();
        if tried_after_a_rest || state.failures >= self.patience.failures {
            state.open_until = Some(now + self.rest(state.rests));
            state.rests += 1;
            tracing::warn!(endpoint, failures = state.failures, "Rucio keeps failing");
        }
    }

    fn rest(&self, rests: u32) -> Duration {
        let doubled = self.patience.rest.saturating_mul(1 << rests.min(16));
        doubled.min(self.patience.rest_longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breakers() -> Breakers {
        Breakers::new(Patience {
            failures: 3,
            rest: SECOND,
            rest_longest: 3 * SECOND,
            ..Patience::default()
        })
    }

    #[test]
    fn an_endpoint_that_keeps_failing_rests_longer_and_longer_and_others_do_not() {
        let (breakers, start) = (breakers(), Instant::now());
        let is_open = |at: Instant| breakers.pass("/replicas", at).is_err();
        for _ in 0..3 {
            assert!(!is_open(start));
            breakers.failed("/replicas", start);
        }
        assert!(is_open(start) && breakers.pass("/rules", start).is_ok());
        // One goes first.
        let mut at = start + SECOND;
        assert!(!is_open(at) && is_open(at));
        for rest in [2, 3, 3] {
            breakers.failed("/replicas", at);
            let over = at + rest * SECOND;
            assert!(is_open(over.checked_sub(SECOND / 2).unwrap()), "{rest}");
            assert!(!is_open(over), "{rest}");
            at = over;
        }
        breakers.succeeded("/replicas");
        assert!(!is_open(at) && !is_open(at));
    }
}
