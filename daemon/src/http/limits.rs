//! How often one account may ask.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::account::Account;
use super::problem::Problem;

/// Counts the requests of each account. There are as many as local users and tokens.
#[derive(Debug)]
pub(super) struct Rates {
    limiter: RateLimiter<Who, HashMapStateStore<Who>, DefaultClock>,
}

type Who = (Option<u32>, Arc<str>);

impl Rates {
    /// At most `a_second` requests of each account in the long run, and as many at once.
    pub(super) fn new(a_second: u32) -> Self {
        let quota = Quota::per_second(NonZeroU32::new(a_second).unwrap_or(NonZeroU32::MIN));
        Self {
            limiter: RateLimiter::hashmap(quota),
        }
    }

    /// Counts a request, or says when the next may come.
    pub(super) fn count(&self, account: &Account) -> Result<(), Problem> {
        let who = (account.uid, Arc::clone(&account.name));
        self.limiter.check_key(&who).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Problem::too_often(wait.as_secs().max(1))
        })
    }
}
