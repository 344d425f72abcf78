//! `cargo xtask idle`: what a daemon takes that has nothing to do.
//!
//! A real daemon in a process of its own, over a site that has registered a run. Once it has swept
//! its root, processor time is read from `/proc` before and after; memory is the kernel's own
//! high-water mark, from the start of the process on.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::out::{grouped, megabytes, say};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{process, synthetic, workspace};

/// Most processor time, as a share of one processor.
const CPU_SHARE_BAR: f64 = 0.005;
/// Most memory, in bytes.
const MEMORY_BAR: u64 = 40_000_000;
/// How long the daemon may take to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How often it is asked whether it is.
const READY_PERIOD: Duration = Duration::from_millis(50);

/// How long to watch what.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds to watch it for
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// Datasets registered before
    #[arg(long, default_value_t = 100_000)]
    datasets: u64,
}

/// Measures.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let site = synthetic::registered_site(&binary, folder.path(), arguments.datasets)?;
    let log = folder.path().join("daemon.log");
    let mut daemon = site.start_daemon(&log)?;
    let start = Instant::now();
    while !fs::read_to_string(&log)?.contains("listening") {
        ensure!(
            start.elapsed() < READY_DEADLINE,
            "the daemon does not start"
        );
        daemon.check_alive()?;
        thread::sleep(READY_PERIOD);
    }
    let of = format!("/proc/{}", daemon.id());
    let time = Duration::from_secs(arguments.seconds);
    say!("watching the daemon for {} s", arguments.seconds);
    let before = process::cpu_time_of(&of)?;
    thread::sleep(time);
    let computed = process::cpu_time_of(&of)?.saturating_sub(before);
    daemon.check_alive()?;
    let memory = process::peak_memory_bytes(&format!("{of}/status"))
        .context("cannot read the daemon's memory")?;
    daemon.stop()?;
    Ok(Outcome::Measured(verdict(
        arguments, time, computed, memory,
    )))
}

fn verdict(arguments: Arguments, time: Duration, computed: Duration, memory: u64) -> Verdict {
    let share = computed.as_secs_f64() / time.as_secs_f64();
    Verdict {
        task: "idle",
        measured: format!(
            "{} datasets registered, {} s: {:.2} % of a processor, peak memory {}",
            grouped(arguments.datasets),
            time.as_secs(),
            share * 100.0,
            megabytes(memory)
        ),
        bar: format!(
            "< {:.1} %, <= {}",
            CPU_SHARE_BAR * 100.0,
            megabytes(MEMORY_BAR)
        ),
        met: share < CPU_SHARE_BAR && memory <= MEMORY_BAR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bar_is_told() {
        let arguments = Arguments {
            seconds: 100,
            datasets: 1,
        };
        let met = |cpu_ms, memory| {
            let time = Duration::from_secs(arguments.seconds);
            verdict(arguments, time, Duration::from_millis(cpu_ms), memory).met
        };
        assert!(met(490, MEMORY_BAR));
        assert!(!met(500, MEMORY_BAR), "too busy");
        assert!(!met(490, MEMORY_BAR + 1), "too large");
    }
}
