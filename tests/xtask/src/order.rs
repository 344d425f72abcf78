//! `cargo xtask order`: whatever the order, the registry ends the same.
//!
//! Runs the property test `order` of the daemon with as many cases as the bar asks for. The test
//! says how many cases it went through; a run that does not say so does not count.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::out::{grouped, say};
use crate::verdict::{Outcome, Verdict};
use crate::{process, workspace};

/// Fewest cases that count as the proof.
const CASES_BAR: u64 = 500;

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
    let output = process::output(
        workspace::cargo()
            .env("PROPTEST_CASES", arguments.cases.to_string())
            .args(["test", "--locked", "--package", "runsync"])
            .args(["--test", "order", "--", "--nocapture"]),
    )?;
    let output = String::from_utf8_lossy(&output);
    say!("{}", output.trim_end());
    let cases = cases_reported(&output)
        .context("the test `order` has not said `order: N cases`, so none are counted")?;
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
fn cases_reported(output: &str) -> Option<u64> {
    output.lines().find_map(|line| {
        // The test harness writes the test's name before the first line of its output.
        let (_, rest) = line.split_once("order: ")?;
        rest.strip_suffix(" cases")?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::cases_reported;

    #[test]
    fn only_a_line_of_the_test_itself_counts() {
        assert_eq!(
            cases_reported("running 1 test\norder: 500 cases\nok"),
            Some(500)
        );
        assert_eq!(
            cases_reported("test any_order_converges ... order: 512 cases"),
            Some(512)
        );
        assert_eq!(cases_reported("test result: ok. 1 passed"), None);
    }
}
