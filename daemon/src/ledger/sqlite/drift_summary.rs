//! Counts drift in one way through all of it: a report of a million findings takes memory for their runs alone.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use runsync_config::root::RootName;
use rusqlite::{Connection, Row};

use super::rows::{self, Failure};
use crate::ledger::drift_summary::{AGES, DriftSummary, DriftTally, SIZES, Tally};
use crate::ledger::scans::DriftKind;

/// What is counted.
const COUNTED: &str =
    "SELECT root, kind, run, size, first_seen, ignored_by IS NOT NULL FROM scan_finding";
const NANOSECONDS: i64 = 1_000_000_000;

pub(super) fn summary(
    connection: &Connection,
    root: Option<&RootName>,
    (now, runs_max): (Timestamp, usize),
) -> Result<DriftSummary, Failure> {
    // One root is a stretch of the key.
    let which = if root.is_some() {
        "root = ?1"
    } else {
        "?1 IS NULL"
    };
    let mut statement = connection.prepare_cached(&format!("{COUNTED} WHERE {which}"))?;
    let mut found = statement.query([root.map(RootName::as_str)])?;
    let mut counting = Counting {
        now: rows::time_column(now),
        ..Counting::default()
    };
    while let Some(row) = found.next()? {
        counting.add(row)?;
    }
    counting.summary(runs_max)
}

/// What has been counted so far.
#[derive(Default)]
struct Counting {
    now: i64,
    roots: BTreeMap<String, Kinds>,
    runs: HashMap<String, Kinds>,
    of_no_run: Kinds,
    ages: BTreeMap<u64, Kinds>,
    sizes: BTreeMap<Option<u64>, Kinds>,
    ignored: u64,
}

impl Counting {
    /// Counts a row of [`COUNTED`].
    fn add(&mut self, row: &Row<'_>) -> Result<(), Failure> {
        if row.get(5)? {
            self.ignored += 1;
            return Ok(());
        }
        let one = (kind(row, 1)?, row.get::<_, Option<i64>>(3)?);
        let text = |column| -> Result<Option<&str>, Failure> {
            let value = row.get_ref(column)?;
            Ok(value.as_str_or_null().map_err(rusqlite::Error::from)?)
        };
        let age = self.now.saturating_sub(row.get(4)?);
        let (_, size) = one;
        let root = text(0)?.unwrap_or_default();
        match self.roots.get_mut(root) {
            Some(kinds) => kinds.add(one),
            None => self.roots.entry(root.to_owned()).or_default().add(one),
        }
        match text(2)? {
            Some(run) => match self.runs.get_mut(run) {
                Some(kinds) => kinds.add(one),
                None => self.runs.entry(run.to_owned()).or_default().add(one),
            },
            None => self.of_no_run.add(one),
        }
        let age = bin(age, AGES.map(|seconds| seconds * NANOSECONDS));
        self.ages.entry(age).or_default().add(one);
        let size = size.map(|size| bin(size, SIZES));
        self.sizes.entry(size).or_default().add(one);
        Ok(())
    }

    fn summary(self, runs_max: usize) -> Result<DriftSummary, Failure> {
        let mut roots = Vec::new();
        for (name, kinds) in &self.roots {
            let root: RootName = (name.parse()).map_err(|_| rows::damaged("root name", name))?;
            roots.extend(kinds.tallies(&root));
        }
        let mut runs: Vec<(Option<String>, Kinds)> = (self.runs.into_iter())
            .map(|(run, kinds)| (Some(run), kinds))
            .collect();
        if self.of_no_run.count() > 0 {
            runs.push((None, self.of_no_run));
        }
        runs.sort_unstable_by(|(run, kinds), (other, others)| {
            (others.count().cmp(&kinds.count())).then_with(|| run.cmp(other))
        });
        let rest = runs.split_off(runs_max.min(runs.len()));
        let mut others = Kinds::default();
        for (_, kinds) in &rest {
            others.join(kinds);
        }
        Ok(DriftSummary {
            roots,
            runs: each(runs.iter().map(|(run, kinds)| (run, kinds))),
            rest: (rest.len() as u64, others.tallies(&()).collect()),
            ages: each(self.ages.iter()),
            sizes: each(self.sizes.iter()),
            ignored: self.ignored,
        })
    }
}

fn each<'k, K: Clone + 'k>(
    counted: impl Iterator<Item = (&'k K, &'k Kinds)>,
) -> Vec<DriftTally<K>> {
    counted.flat_map(|(of, kinds)| kinds.tallies(of)).collect()
}

/// The number of the first bound that a value is below; that of all of them where it is below none.
fn bin(value: i64, bounds: [i64; 6]) -> u64 {
    let bin = bounds.iter().position(|bound| value < *bound);
    bin.unwrap_or(bounds.len()) as u64
}

/// A tally of each kind.
#[derive(Debug, Clone, Copy, Default)]
struct Kinds([Tally; DriftKind::ALL.len()]);

impl Kinds {
    fn add(&mut self, (kind, size): (DriftKind, Option<i64>)) {
        let known = DriftKind::ALL.into_iter().zip(&mut self.0);
        for (_, tally) in known.filter(|(one, _)| *one == kind) {
            tally.count += 1;
            let bytes = size.map_or(0, |size| u64::try_from(size).unwrap_or_default());
            tally.bytes = tally.bytes.saturating_add(bytes);
        }
    }

    fn join(&mut self, other: &Self) {
        for (tally, more) in self.0.iter_mut().zip(&other.0) {
            tally.count += more.count;
            tally.bytes = tally.bytes.saturating_add(more.bytes);
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|tally| tally.count).sum()
    }

    /// Of the kinds that there are, by their names.
    fn tallies<K: Clone>(&self, of: &K) -> impl Iterator<Item = DriftTally<K>> {
        let mut known: Vec<_> = DriftKind::ALL.into_iter().zip(self.0).collect();
        known.retain(|(_, tally)| tally.count > 0);
        known.sort_unstable_by_key(|(kind, _)| kind.as_str());
        let of = of.clone();
        known.into_iter().map(move |(kind, tally)| DriftTally {
            of: of.clone(),
            kind,
            tally,
        })
    }
}

pub(super) fn kind(row: &Row<'_>, column: usize) -> Result<DriftKind, Failure> {
    let text = row.get_ref(column)?.as_str().ok();
    let kind = text.and_then(|text| text.parse().ok());
    kind.ok_or_else(|| rows::damaged("kind of drift", &"another"))
}
