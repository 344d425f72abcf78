//! `cargo xtask bench-verify`: how fast artifacts are verified at level checksum, beside a bare
//! program that reads the same files.
//!
//! Verified means compared with what their manifest says of them, as `manifest verify --artifacts` does it:
//! looks, opening below the root's handle, reading, comparing. Beside it stands the whole of
//! confirming, as the daemon does it: also pages of what is waited for from the registry, second
//! looks, and the commits of the records. The bare program lists the folders, opens, reads and computes
//! Adler-32. All use as many threads and run in this process, in alternating order, over files
//! that lie in memory.

use std::path::Path;

use anyhow::{Context, Result};
use runsync_config::root::{ConfirmLevel, Root};

use crate::confirming::{self, Files, Subject};
use crate::rounds::{Seconds, alternate, per_second};
use crate::verdict::{Outcome, Verdict};
use crate::workspace;
use crate::workspace::Profile;

/// Most time that verifying many files may take, as a multiple of the bare program's.
const MANY_BAR: f64 = 1.3;
/// The same of confirming them, which ends with a durable record for each.
const CONFIRM_BAR: f64 = 2.0;
/// Least rate for one large file, verified or confirmed, as a share of the bare program's.
const LARGE_BAR: f64 = 0.8;

const BARE: &str = "bare";
const VERIFY: &str = "verify";
const CONFIRM: &str = "confirm";

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Files
    #[arg(long, default_value_t = 10_000)]
    files: u64,

    /// Size of each, in bytes
    #[arg(long, default_value_t = 100_000)]
    bytes: u64,

    /// Size of the one large file, in bytes
    #[arg(long, default_value_t = 4 << 30)]
    large_bytes: u64,

    /// Threads that read
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let many = Files {
        count: arguments.files,
        in_folder: 200,
        bytes: arguments.bytes,
    };
    let large = Files {
        count: 1,
        in_folder: 1,
        bytes: arguments.large_bytes,
    };
    let many = measure(&binary, &folder.path().join("many"), many, arguments)?;
    let large = measure(&binary, &folder.path().join("large"), large, arguments)?;
    Ok(Outcome::Measured(verdict(&many, &large, arguments)))
}

fn verdict(many: &Seconds, large: &Seconds, arguments: &Arguments) -> Verdict {
    let times = |step| many.median_ratio(step, BARE);
    let share = |step| large.median_ratio(BARE, step);
    let files = per_second(arguments.files, many.median(VERIFY));
    let bytes = per_second(arguments.large_bytes, large.median(VERIFY));
    Verdict {
        task: "bench-verify",
        measured: format!(
            "{} files of {} bytes in {} threads, as multiples of the bare program's time: verified {:.2} \
             ({files:.0}/s), confirmed {:.2}; one of {} bytes, as shares of its rate: verified {:.2} \
             ({:.2} GB/s), confirmed {:.2}; medians of {}",
            arguments.files,
            arguments.bytes,
            arguments.threads,
            times(VERIFY),
            times(CONFIRM),
            arguments.large_bytes,
            share(VERIFY),
            bytes / 1e9,
            share(CONFIRM),
            arguments.runs
        ),
        bar: format!(
            "<= {MANY_BAR:.2}, <= {CONFIRM_BAR:.2} with records; >= {LARGE_BAR:.2} for both"
        ),
        met: times(VERIFY) <= MANY_BAR
            && times(CONFIRM) <= CONFIRM_BAR
            && share(VERIFY).min(share(CONFIRM)) >= LARGE_BAR,
    }
}

fn measure(binary: &Path, folder: &Path, files: Files, arguments: &Arguments) -> Result<Seconds> {
    let subject = Subject::new(binary, folder, files)?;
    let threads = usize::from(arguments.threads);
    let tune = |root: &mut Root| {
        root.confirm = ConfirmLevel::Checksum;
        root.confirm_threads = threads;
    };
    let folders = subject.folders();
    // The first reading is not timed: it brings the files into memory.
    confirming::read_all(&folders, files.count, threads)?;
    let seconds = alternate(arguments.runs, &[BARE, VERIFY, CONFIRM], |step| {
        Ok(match step {
            BARE => confirming::read_all(&folders, files.count, threads)?,
            VERIFY => subject.verify(tune)?,
            _ => subject.confirm(tune, None)?.time,
        })
    })?;
    std::fs::remove_dir_all(folder).context("cannot remove the files")?;
    Ok(seconds)
}
