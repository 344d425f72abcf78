//! `cargo xtask bench-verify`: how fast artifacts are confirmed at level checksum, beside a bare
//! program that reads the same files.
//!
//! Ours is all of it, as the daemon does it: pages of what is waited for from the registry, looks,
//! opening below the root's handle, reading, comparing, and the commit of the records. The bare
//! program lists the folders, opens, reads and computes Adler-32, with as many threads. Both run in
//! this process, in alternating order, over files that lie in memory.

use std::path::Path;

use anyhow::{Context, Result};
use runsync_config::root::{ConfirmLevel, Root};

use crate::confirming::{self, Files, Subject, number};
use crate::figures::median;
use crate::out::say;
use crate::verdict::{Outcome, Verdict};
use crate::workspace;
use crate::workspace::Profile;

/// Most time of ours for many files, as a multiple of the bare program's.
const MANY_BAR: f64 = 1.3;
/// Least rate of ours for one large file, as a share of the bare program's.
const LARGE_BAR: f64 = 0.8;

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
    let many = ratios(&binary, &folder.path().join("many"), many, arguments)?;
    let large = ratios(&binary, &folder.path().join("large"), large, arguments)?;
    let (times, share) = (many.ratio, 1.0 / large.ratio);
    Ok(Outcome::Measured(Verdict {
        task: "bench-verify",
        measured: format!(
            "{} files of {} bytes at {:.0}/s in {} threads, {times:.2} x the bare program's time \
             ({:.2} x its computing); one of {} bytes at {:.2} GB/s, {share:.2} of its rate \
             ({:.2} x); medians of {}",
            arguments.files,
            arguments.bytes,
            many.files_per_second,
            arguments.threads,
            many.cpu_ratio,
            arguments.large_bytes,
            large.files_per_second * number(arguments.large_bytes) / 1e9,
            large.cpu_ratio,
            arguments.runs
        ),
        bar: format!("<= {MANY_BAR:.2} x, >= {LARGE_BAR:.2}"),
        met: times <= MANY_BAR && share >= LARGE_BAR,
    }))
}

/// Medians.
#[derive(Debug, Clone, Copy)]
struct Ratios {
    /// Our time, as a multiple of the bare program's in the same round.
    ratio: f64,
    /// The same of what all threads computed: it holds on a busy machine too.
    cpu_ratio: f64,
    files_per_second: f64,
}

fn ratios(binary: &Path, folder: &Path, files: Files, arguments: &Arguments) -> Result<Ratios> {
    let subject = Subject::new(binary, folder, files)?;
    let threads = usize::from(arguments.threads);
    let tune = |root: &mut Root| {
        root.confirm = ConfirmLevel::Checksum;
        root.confirm_threads = threads;
    };
    let folders = subject.folders();
    let bare = || confirming::read_all(&folders, files.count, threads);
    let ours = || subject.confirm(tune, None);
    // The first reading is not timed: it brings the files into memory.
    bare()?;
    let (mut ratios, mut cpu_ratios, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=arguments.runs {
        let (ours, bare) = if round.is_multiple_of(2) {
            let bare = bare()?;
            (ours()?, bare)
        } else {
            let ours = ours()?;
            (ours, bare()?)
        };
        let (time, bare_time) = (ours.time.as_secs_f64(), bare.time.as_secs_f64());
        let (cpu, bare_cpu) = (ours.cpu.as_secs_f64(), bare.cpu.as_secs_f64());
        say!(
            "round {round}: ours {time:.3} s, bare {bare_time:.3} s, {:.2} x; computing {cpu:.2} s \
             and {bare_cpu:.2} s, {:.2} x",
            time / bare_time,
            cpu / bare_cpu
        );
        ratios.push(time / bare_time);
        cpu_ratios.push(cpu / bare_cpu);
        rates.push(number(files.count) / time);
    }
    std::fs::remove_dir_all(folder).context("cannot remove the files")?;
    Ok(Ratios {
        ratio: median(ratios),
        cpu_ratio: median(cpu_ratios),
        files_per_second: median(rates),
    })
}
