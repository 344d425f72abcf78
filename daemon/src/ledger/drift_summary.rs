//! Drift in numbers: what a report shows of a million findings.

use runsync_config::root::RootName;

use super::scans::DriftKind;

/// Upper bounds of the ages that findings are told apart by, in seconds: an hour, a day, a week, a month, a
/// quarter, a year.
pub const AGES: [i64; 6] = [3_600, 86_400, 604_800, 2_592_000, 7_776_000, 31_536_000];

/// Upper bounds of the sizes that findings are told apart by, in bytes: a KiB, a MiB, 16 MiB, 256 MiB, a GiB, 16 GiB.
pub const SIZES: [i64; 6] = [1 << 10, 1 << 20, 16 << 20, 256 << 20, 1 << 30, 16 << 30];

/// So many findings of one kind, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Findings.
    pub count: u64,
    /// The sizes of their files, or of their records where there is no file.
    pub bytes: u64,
}

/// Findings that have something in common, of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftTally<K> {
    /// What they have in common.
    pub of: K,
    /// Their kind.
    pub kind: DriftKind,
    /// How many they are.
    pub tally: Tally,
}

/// What findings are counted by; those that are to be left out are not counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftSummary {
    /// By root.
    pub roots: Vec<DriftTally<RootName>>,
    /// By run, the runs with most findings first; none stands for those of no run. All others are [`Self::rest`].
    pub runs: Vec<DriftTally<Option<String>>>,
    /// Those of all other runs, of which there are so many.
    pub rest: (u64, Vec<DriftTally<()>>),
    /// By how long ago they were first seen: the number is that of the first of [`AGES`] that is longer, and
    /// that of the whole list where none is.
    pub ages: Vec<DriftTally<u64>>,
    /// By size, likewise by [`SIZES`]; none: it is not known.
    pub sizes: Vec<DriftTally<Option<u64>>>,
    /// Findings that are left out.
    pub ignored: u64,
}
