//! `cargo xtask bench-confirm`: how fast a large run of tiny files is confirmed, in how much
//! memory, and that a throttle holds it back.
//!
//! Beside each level stands a bare program over the same files in as many threads: for level size it
//! lists every folder and asks for each file's size; for level checksum it also opens, reads and
//! computes Adler-32. Neither keeps anything; ours ends with a datastore record for each file,
//! committed durably.

use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::{Context, Result};
use runsync_config::root::{ConfirmLevel, Root};

use crate::confirming::{self, Files, Subject, Taken};
use crate::figures::number;
use crate::out::{grouped, say};
use crate::rounds::{alternate, per_second};
use crate::verdict::{Outcome, Verdict};
use crate::workspace;
use crate::workspace::Profile;

/// Least share of the bare program's rate at level size.
const SIZE_BAR: f64 = 0.05;
/// The same at level checksum.
const CHECKSUM_BAR: f64 = 0.1;
/// Most memory of this process while it confirms, in bytes.
const MEMORY_BAR: u64 = 200_000_000;
/// How far a throttled rate may be from the setting.
const THROTTLE_BAR: f64 = 0.1;
/// How long confirming goes on with a throttle.
const THROTTLED: Duration = Duration::from_secs(10);

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Files
    #[arg(long, default_value_t = 1_000_000)]
    files: u64,

    /// Files in a folder
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    in_folder: u64,

    /// Size of each, in bytes
    #[arg(long, default_value_t = 64)]
    bytes: u64,

    /// Threads that read
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// Files a second with the throttle
    #[arg(long, default_value_t = NonZeroU64::new(20_000).unwrap_or(NonZeroU64::MIN))]
    throttle: NonZeroU64,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let files = Files {
        count: arguments.files,
        in_folder: arguments.in_folder,
        bytes: arguments.bytes,
    };
    let subject = Subject::new(&binary, folder.path(), files)?;
    let size = measure(&subject, ConfirmLevel::Size, arguments)?;
    let checksum = measure(&subject, ConfirmLevel::Checksum, arguments)?;
    let off = throttled(&subject, arguments)?;
    let memory = size.memory_bytes_max.max(checksum.memory_bytes_max);
    let met = size.share >= SIZE_BAR
        && checksum.share >= CHECKSUM_BAR
        && memory <= MEMORY_BAR
        && off <= THROTTLE_BAR;
    Ok(Outcome::Measured(Verdict {
        task: "bench-confirm",
        measured: format!(
            "{} files at level size {:.0}/s, {:.2} of a bare walk; at level checksum {:.0}/s, \
             {:.2} of a bare reading (medians of {}, {} threads); peak memory {} MB; at {} a \
             second {:.1} % off",
            grouped(arguments.files),
            size.rate,
            size.share,
            checksum.rate,
            checksum.share,
            arguments.runs,
            arguments.threads,
            memory.div_ceil(1_000_000),
            arguments.throttle,
            100.0 * off
        ),
        bar: format!(
            ">= {SIZE_BAR}, >= {CHECKSUM_BAR}, <= {} MB, <= {:.0} %",
            MEMORY_BAR / 1_000_000,
            100.0 * THROTTLE_BAR
        ),
        met,
    }))
}

/// One level.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Artifacts a second, the median.
    rate: f64,
    /// Of the bare program's, the median.
    share: f64,
    memory_bytes_max: u64,
}

fn measure(subject: &Subject, level: ConfirmLevel, arguments: &Arguments) -> Result<Measured> {
    let threads = usize::from(arguments.threads);
    let tune = |root: &mut Root| {
        root.confirm = level;
        root.confirm_threads = threads;
    };
    let folders = subject.folders();
    let bare = || match level {
        ConfirmLevel::Checksum => confirming::read_all(&folders, arguments.files, threads),
        ConfirmLevel::Size | ConfirmLevel::Trust => {
            confirming::stat_all(&folders, arguments.files, threads)
        }
    };
    // The first one is not timed: it brings the files into memory.
    bare()?;
    say!("level {level:?}");
    let mut memory_bytes_max = 0;
    let seconds = alternate(arguments.runs, &["ours", "bare"], |step| {
        if step == "bare" {
            return bare();
        }
        let ours = subject.confirm(tune, None)?;
        memory_bytes_max = memory_bytes_max.max(ours.memory_bytes_max);
        Ok(ours.time)
    })?;
    Ok(Measured {
        rate: per_second(arguments.files, seconds.median("ours")),
        share: seconds.median_ratio("bare", "ours"),
        memory_bytes_max,
    })
}

fn rate(taken: Taken) -> f64 {
    number(taken.artifacts) / taken.time.as_secs_f64()
}

/// How far the rate with a throttle is from what it says, as a share of that.
fn throttled(subject: &Subject, arguments: &Arguments) -> Result<f64> {
    let tune = |root: &mut Root| {
        root.confirm = ConfirmLevel::Checksum;
        root.confirm_threads = usize::from(arguments.threads);
        root.confirm_files_per_second = Some(arguments.throttle);
    };
    let taken = subject.confirm(tune, Some(THROTTLED))?;
    say!(
        "throttled to {}/s: {} artifacts in {:.1} s, {:.0}/s",
        arguments.throttle,
        grouped(taken.artifacts),
        taken.time.as_secs_f64(),
        rate(taken)
    );
    Ok((rate(taken) / number(arguments.throttle.get()) - 1.0).abs())
}
