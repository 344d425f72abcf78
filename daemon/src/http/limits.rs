//! How often one account may ask.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::account::Account;
use super::problem::Problem;

/// Counts the requests of each account, and of each user or network that no account is known of.
/// Of those there can be many: [`forget`](Self::forget) drops who has not asked lately.
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

    /// Drops those who may ask as much as if they had never asked.
    pub(super) fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_not_asked_lately_is_forgotten() {
        // So many a second that each may ask again at once.
        let rates = Rates::new(u32::MAX);
        for uid in 0..1000 {
            let name = "anybody".into();
            let role = None;
            let uid = Some(uid);
            rates.count(&Account { name, uid, role }).unwrap();
        }
        assert_eq!(rates.limiter.len(), 1000);
        rates.forget();
        assert!(rates.limiter.len() < 1000, "{}", rates.limiter.len());
    }
}
