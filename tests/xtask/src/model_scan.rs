//! `cargo xtask model-scan`: whatever is lost, spoiled, scanned and repaired, only what a model allows is changed.
//!
//! Runs the property test `model_scan` of the daemon with as many sequences as the bar asks for.
//! The test says what it went through; a run that does not say so does not count.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::out::{grouped, say};
use crate::verdict::{Outcome, Verdict};
use crate::{process, workspace};

/// Fewest sequences that count as the proof.
const SEQUENCES_BAR: u64 = 1_000;

/// Where Linux keeps a file system in memory.
const MEMORY_FOLDER: &str = "/dev/shm";

/// What to run.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Random sequences to go through
    #[arg(long, default_value_t = SEQUENCES_BAR)]
    sequences: u64,
    /// The first seed; a failure names the one to begin with
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the test says at its end.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    sequences: u64,
    /// All of it, in words.
    all: String,
}

/// Runs the property test.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    let start = Instant::now();
    let mut test = workspace::cargo();
    test.env("MODEL_SCAN_SEQUENCES", arguments.sequences.to_string())
        .env("MODEL_SCAN_SEED", arguments.seed.to_string())
        .args(["test", "--locked", "--package", "runsync"])
        .args(["--test", "model_scan", "--", "--nocapture"]);
    // What is shown does not depend on a power cut, so memory will do, and spares waiting for disks.
    let memory = Path::new(MEMORY_FOLDER);
    if memory.is_dir() {
        test.env("TMPDIR", memory);
    }
    let mut told = None;
    process::for_each_line(&mut test, |line| {
        say!("{line}");
        told = told.take().or_else(|| told_by(line));
    })?;
    let told = told.context(
        "the test `model_scan` has not said `model-scan: N sequences`, so none are counted",
    )?;
    ensure!(told.sequences > 0, "the test went through no sequence");
    // Fewer than were asked for are no proof, however many these are.
    let bar = arguments.sequences.max(SEQUENCES_BAR);
    Ok(Outcome::Measured(Verdict {
        task: "model-scan",
        measured: format!("{}, in {:.0} s", told.all, start.elapsed().as_secs_f64()),
        bar: format!(">= {} sequences, each step as the model says", grouped(bar)),
        met: told.sequences >= bar,
    }))
}

/// What the test's line `model-scan: N sequences, …` says.
fn told_by(line: &str) -> Option<Told> {
    // The test harness writes the test's name before the first line of its output.
    let (_, all) = line.split_once("model-scan: ")?;
    let (sequences, _) = all.split_once(" sequences, ")?;
    Some(Told {
        sequences: sequences.parse().ok()?,
        all: all.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_the_test_itself_counts() {
        let told = told_by("test x ... model-scan: 1000 sequences, 9 steps, 3 crashes").unwrap();
        assert_eq!(told.sequences, 1000);
        assert_eq!(told.all, "1000 sequences, 9 steps, 3 crashes");
        assert_eq!(told_by("test result: ok. 1 passed"), None);
        assert_eq!(told_by("model-scan: no sequences, nothing"), None);
    }
}
