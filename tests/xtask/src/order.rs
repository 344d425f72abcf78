//! `cargo xtask order`: whatever the order, the registry ends the same.
//!
//! Runs the property test `order` of the daemon with as many cases as the bar asks for. The test
//! says how many cases it went through; a run that does not say so does not count.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::out::{grouped, say};
use crate::verdict::{Outcome, Verdict};
use crate::{process, workspace};

/// Fewest cases that count as the proof.
const CASES_BAR: u64 = 500;

/// Where Linux keeps a file system in memory.
const MEMORY_FOLDER: &str = "/dev/shm";

/// What to run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Random orders to try
    #[arg(long, default_value_t = CASES_BAR)]
    cases: u64,
}

/// Runs the property test.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    let start = Instant::now();
    let mut test = workspace::cargo();
    test.env("PROPTEST_CASES", arguments.cases.to_string())
        .args(["test", "--locked", "--package", "runsync"])
        .args(["--test", "order", "--", "--nocapture"]);
    // What is shown does not depend on a power cut, so memory will do, and spares waiting for disks.
    let memory = Path::new(MEMORY_FOLDER);
    if memory.is_dir() {
        test.env("TMPDIR", memory);
    }
    let mut cases = None;
    process::for_each_line(&mut test, |line| {
        say!("{line}");
        cases = cases.or(cases_reported(line));
    })?;
    let cases =
        cases.context("the test `order` has not said `order: N cases`, so none are counted")?;
    Ok(Outcome::Measured(Verdict {
        task: "order",
        measured: format!(
            "{} cases end in the same registry, in {:.0} s",
            grouped(cases),
            start.elapsed().as_secs_f64()
        ),
        bar: format!(">= {CASES_BAR} cases"),
        met: cases >= CASES_BAR,
    }))
}

/// The N of the test's line `order: N cases`.
fn cases_reported(line: &str) -> Option<u64> {
    // The test harness writes the test's name before the first line of its output.
    let (_, rest) = line.split_once("order: ")?;
    rest.strip_suffix(" cases")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::cases_reported;

    #[test]
    fn only_a_line_of_the_test_itself_counts() {
        assert_eq!(cases_reported("order: 500 cases"), Some(500));
        assert_eq!(
            cases_reported("test any_order_converges ... order: 512 cases"),
            Some(512)
        );
        assert_eq!(cases_reported("test result: ok. 1 passed"), None);
    }
}
