//! Times several things side by side, in rounds whose order turns, and compares them.
//!
//! What disturbs a machine disturbs the neighbours in a round alike, so ratios are taken within a
//! round, and their median counts: one slow round does not decide.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use crate::figures::{median, number};
use crate::out::say;

/// Seconds of each step, round by round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seconds(BTreeMap<&'static str, Vec<f64>>);

/// Goes through the steps in rounds; every second round goes the other way.
pub(crate) fn alternate(
    rounds: u32,
    steps: &[&'static str],
    mut step: impl FnMut(&'static str) -> Result<Duration>,
) -> Result<Seconds> {
    let mut seconds = Seconds::default();
    let mut order = steps.to_vec();
    for round in 1..=rounds {
        for name in &order {
            seconds.add(name, step(name)?);
        }
        let shown: Vec<String> = steps
            .iter()
            .map(|name| format!("{name} {:.3} s", seconds.last(name)))
            .collect();
        say!("round {round}: {}", shown.join(", "));
        order.reverse();
    }
    Ok(seconds)
}

impl Seconds {
    /// Adds a step of the next round.
    pub(crate) fn add(&mut self, step: &'static str, taken: Duration) {
        self.0.entry(step).or_default().push(taken.as_secs_f64());
    }

    fn of(&self, step: &str) -> &[f64] {
        self.0.get(step).map_or(&[], Vec::as_slice)
    }

    fn last(&self, step: &str) -> f64 {
        self.of(step).last().copied().unwrap_or(f64::NAN)
    }

    /// The median over the rounds.
    pub(crate) fn median(&self, step: &str) -> Duration {
        let middle = median(self.of(step).iter().copied());
        Duration::try_from_secs_f64(middle).unwrap_or_default()
    }

    /// The median of what one step took divided by what another took in the same round.
    pub(crate) fn median_ratio(&self, step: &str, other: &str) -> f64 {
        let pairs = self.of(step).iter().zip(self.of(other));
        median(pairs.map(|(step, other)| step / other))
    }
}

/// How many a second.
pub(crate) fn per_second(count: u64, taken: Duration) -> f64 {
    number(count) / taken.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_round_does_not_decide() {
        let mut seconds = Seconds::default();
        for (a, b) in [(3, 1), (2, 1), (1, 10)] {
            seconds.add("a", Duration::from_secs(a));
            seconds.add("b", Duration::from_secs(b));
        }
        assert!((seconds.median_ratio("a", "b") - 2.0).abs() < f64::EPSILON);
        assert_eq!(seconds.median("b"), Duration::from_secs(1));
    }

    #[test]
    fn every_second_round_goes_the_other_way() {
        let mut order = Vec::new();
        let step = |name| {
            order.push(name);
            Ok(Duration::from_secs(1))
        };
        alternate(3, &["a", "b"], step).unwrap();
        assert_eq!(order, ["a", "b", "b", "a", "a", "b"]);
    }
}
