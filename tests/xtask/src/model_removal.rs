//! `cargo xtask model-removal`: whatever two sites do, they end as a model in set algebra says.
//!
//! Runs the property test `model_removal` of the daemon with as many sequences as the bar asks for.
//! The test says how many it went through; a run that does not say so does not count.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::out::{grouped, say};
use crate::verdict::{Outcome, Verdict};
use crate::{process, workspace};

/// Fewest sequences that count as the proof.
const SEQUENCES_BAR: u64 = 2_000;

/// Where Linux keeps a file system in memory.
const MEMORY_FOLDER: &str = "/dev/shm";

/// What to run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Random sequences to go through
    #[arg(long, default_value_t = SEQUENCES_BAR)]
    sequences: u64,
}

/// Runs the property test.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    let start = Instant::now();
    let mut test = workspace::cargo();
    test.env("PROPTEST_CASES", arguments.sequences.to_string())
        .args(["test", "--locked", "--package", "runsync"])
        .args(["--test", "model_removal", "--", "--nocapture"]);
    // What is shown does not depend on a power cut, so memory will do, and spares waiting for disks.
    let memory = Path::new(MEMORY_FOLDER);
    if memory.is_dir() {
        test.env("TMPDIR", memory);
    }
    let mut sequences = None;
    process::for_each_line(&mut test, |line| {
        say!("{line}");
        sequences = sequences.or(sequences_reported(line));
    })?;
    let sequences = sequences.context(
        "the test `model_removal` has not said `model-removal: N sequences`, so none are counted",
    )?;
    // Fewer than were asked for are no proof, however many these are.
    let bar = arguments.sequences.max(SEQUENCES_BAR);
    Ok(Outcome::Measured(Verdict {
        task: "model-removal",
        measured: format!(
            "{} sequences at two sites end as the model says, in {:.0} s",
            grouped(sequences),
            start.elapsed().as_secs_f64()
        ),
        bar: format!(">= {} sequences", grouped(bar)),
        met: sequences >= bar,
    }))
}

/// The N of the test's line `model-removal: N sequences`.
fn sequences_reported(line: &str) -> Option<u64> {
    // The test harness writes the test's name before the first line of its output.
    let (_, rest) = line.split_once("model-removal: ")?;
    rest.strip_suffix(" sequences")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::sequences_reported;

    #[test]
    fn only_a_line_of_the_test_itself_counts() {
        assert_eq!(
            sequences_reported("model-removal: 2000 sequences"),
            Some(2000)
        );
        assert_eq!(
            sequences_reported("test random_sequences ... model-removal: 2048 sequences"),
            Some(2048)
        );
        assert_eq!(sequences_reported("test result: ok. 1 passed"), None);
    }
}
