//! How often each thing has had an effect: a run that never came to one has shown nothing of it.

use std::collections::BTreeMap;

/// Counts, by case.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn count(&mut self, case: impl Into<String>) {
        self.add(case, 1);
    }

    pub(crate) fn add(&mut self, case: impl Into<String>, count: u64) {
        *self.0.entry(case.into()).or_default() += count;
    }

    pub(crate) fn take(&mut self, other: Self) {
        for (case, count) in other.0 {
            self.add(case, count);
        }
    }

    /// All whose case begins so, together.
    pub(crate) fn of(&self, prefix: &str) -> u64 {
        let of = self.0.iter().filter(|(case, _)| case.starts_with(prefix));
        of.map(|(_, count)| count).sum()
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.0.iter()
    }

    /// Those that never took place.
    pub(crate) fn missing<'a>(&self, cases: &[&'a str]) -> Vec<&'a str> {
        let never = cases
            .iter()
            .filter(|case| self.0.get(**case).is_none_or(|count| *count == 0));
        never.copied().collect()
    }
}
