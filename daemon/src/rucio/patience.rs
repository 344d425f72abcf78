//! How long and how often Rucio is asked again.

use std::time::Duration;

/// How patient a client is.
///
/// The waits are drawn evenly between nothing and a bound that doubles ("full jitter": Brooker,
/// "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that the clients of a server
/// that comes back do not all ask at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often a request is sent, at most.
    pub tries: u32,
    /// The bound of the first wait.
    pub first: Duration,
    /// The bound of any wait of ours.
    pub longest: Duration,
    /// The longest wait that a server may ask for (`Retry-After`); for a longer one the caller is told.
    pub asked: Duration,
    /// Failures in a row after which an endpoint is left alone.
    pub failures: u32,
    /// For how long, first; doubled each time up to [`rest_longest`](Self::rest_longest).
    pub rest: Duration,
    /// The longest rest.
    pub rest_longest: Duration,
}

impl Default for Patience {
    /// The waits are those of Rucio's own client (0.25 s doubled, at most 10 s), with jitter.
    fn default() -> Self {
        Self {
            tries: 6,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(10),
            asked: Duration::from_secs(60),
            failures: 12,
            rest: Duration::from_secs(30),
            rest_longest: Duration::from_secs(600),
        }
    }
}

impl Patience {
    /// The wait before the try after `failed` ones.
    pub(super) fn wait(&self, failed: u32) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << failed.saturating_sub(1).min(16));
        doubled.min(self.longest).mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_bound_that_doubles() {
        let patience = Patience::default();
        for failed in 1..100 {
            let bound = Duration::from_millis(250)
                .saturating_mul(1 << (failed - 1).min(16))
                .min(Duration::from_secs(10));
            assert!(patience.wait(failed) <= bound);
        }
    }
}
