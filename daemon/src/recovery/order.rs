//! What a scan is asked to do.

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunName};

use super::budget::Limits;

/// Which artifacts a scan reads, to compare their checksums with their records.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Checks {
    /// None but those that were found lost or corrupt before.
    #[default]
    None,
    /// Also a share of the others, between 0 and 1: which ones differs from pass to pass.
    Sampled(f64),
    /// All.
    Full,
}

/// Runs that a scan is about: those of these names, that were registered in this time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunScope {
    /// Their names; none: any.
    pub names: Vec<RunName>,
    /// When the first manifest of the run was registered here: then, or later.
    pub since: Option<Timestamp>,
    /// Likewise: earlier than that.
    pub until: Option<Timestamp>,
}

impl RunScope {
    /// Whether it leaves out any run.
    pub fn is_limited(&self) -> bool {
        !self.names.is_empty() || self.since.is_some() || self.until.is_some()
    }

    /// Whether it means a run of this name that was registered then.
    pub(super) fn holds(&self, name: &RunName, registered: Option<Timestamp>) -> bool {
        let has_time = self.since.is_some() || self.until.is_some();
        let is_in_time = registered.is_some_and(|at| {
            self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until)
        });
        (self.names.is_empty() || self.names.contains(name)) && (!has_time || is_in_time)
    }

    /// What the ledger calls it: no folder is called so.
    fn key(&self) -> String {
        let mut names: Vec<&str> = self.names.iter().map(RunName::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let mut parts = vec!["/runs".to_owned()];
        parts.extend((!names.is_empty()).then(|| names.join(", ")));
        parts.extend(self.since.map(|at| format!("registered since {at}")));
        parts.extend(self.until.map(|at| format!("registered before {at}")));
        parts.join(" ")
    }
}

/// That a scan is one of many which see everything of a root in its `scan_period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// When the next of them comes; none: nobody knows.
    pub next: Option<Timestamp>,
}

/// What a scan is asked to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Order {
    /// Only these roots; all where none is named.
    pub roots: Vec<RootName>,
    /// Only what lies below this folder.
    pub below: Option<ArtifactPath>,
    /// Only what belongs to these runs: what lies below the folder of a run's name, and at the paths of its
    /// records. Does not go with `below`.
    pub runs: RunScope,
    /// How much it may use.
    pub limits: Limits,
    /// What it reads.
    pub checks: Checks,
    /// Whether it begins anew where a pass is under way.
    pub anew: bool,
    /// Whether it takes no more of a root than its `scan_period` asks for.
    pub pace: Option<Pace>,
}

impl Checks {
    /// The share of artifacts that is read.
    pub(super) fn share(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Sampled(share) => share,
            Self::Full => 1.0,
        }
    }
}

impl Order {
    /// The part of a root that is scanned, as the ledger calls it. Whatever it is, the pass over all of the root
    /// is another one.
    pub(super) fn scope(&self) -> String {
        match &self.below {
            Some(folder) => folder.to_string(),
            None if self.runs.is_limited() => self.runs.key(),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn runs_are_meant_by_name_and_by_time() {
        let name = |text: &str| text.parse::<RunName>().unwrap();
        let named = RunScope {
            names: vec![name("u/b"), name("u/a")],
            ..RunScope::default()
        };
        assert!(named.holds(&name("u/a"), None) && !named.holds(&name("u/c"), None));
        let timed = RunScope {
            since: Some(at(10)),
            until: Some(at(20)),
            ..RunScope::default()
        };
        for (second, holds) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(
                timed.holds(&name("u/a"), Some(at(second))),
                holds,
                "{second}"
            );
        }
        assert!(!timed.holds(&name("u/a"), None));
        let order = Order {
            runs: named,
            ..Order::default()
        };
        assert_eq!(order.scope(), "/runs u/a, u/b");
        assert_eq!(Order::default().scope(), "");
    }
}
