//! `cargo xtask bench-latency`: how soon an idle daemon has in its registry what has arrived.
//!
//! A real daemon in a process of its own; what it has committed is seen by this process through a
//! connection of its own, which asks every half a millisecond. Timed from just before the rename:
//!
//! - a manifest, with events: until its run is in the registry;
//! - a manifest, without events, at some moment between two sweeps: the same;
//! - an artifact that one of many waiting runs waits for, each in a folder of its own, all of them
//!   watched: until its dataset exists.

mod scene;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::figures::percentile;
use crate::out::say;
use crate::verdict::{Outcome, Verdict};
use crate::workspace;
use crate::workspace::Profile;

use self::scene::Scene;

/// Longest time of a manifest with events, but for one in a hundred; and how much longer than the
/// interval of sweeps without.
const MANIFEST_BAR: Duration = Duration::from_secs(1);
/// Longest time of an artifact, but for one in a hundred.
const ARTIFACT_BAR: Duration = Duration::from_secs(2);

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Trials with events
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,

    /// Trials without events
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    swept_trials: u32,

    /// Interval of sweeps without events, in milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    sweep_interval_ms: u64,

    /// Runs that wait, each for one artifact in a folder of its own
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    waiting: u32,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let interval = Duration::from_millis(arguments.sweep_interval_ms);
    let scene = |name: &str, root: &str| Scene::new(&binary, &folder.path().join(name), root);

    let mut events = scene("events", "sweep_interval = \"1h\"")?;
    let manifests = Times::new(
        "manifest, with events",
        events.manifests(arguments.trials, Duration::ZERO)?,
    );
    let sweeps = format!(
        "events = false\nsweep_interval = \"{}ms\"",
        interval.as_millis()
    );
    let swept = scene("sweeps", &sweeps)?.manifests(arguments.swept_trials, interval)?;
    let swept = Times::new("manifest, without events", swept);

    let watched = arguments.waiting.max(1_024);
    let root = format!("sweep_interval = \"1h\"\nwatched_directories_max = {watched}");
    let artifacts = scene("artifacts", &root)?.artifacts(arguments.waiting, arguments.trials)?;
    let artifacts = Times::new("artifact", artifacts);
    Ok(Outcome::Measured(verdict(
        arguments, &manifests, &swept, &artifacts,
    )))
}

fn verdict(arguments: &Arguments, manifests: &Times, swept: &Times, artifacts: &Times) -> Verdict {
    let interval = Duration::from_millis(arguments.sweep_interval_ms);
    let swept_bar = interval + MANIFEST_BAR;
    Verdict {
        task: "bench-latency",
        measured: format!(
            "manifest with events p99 {:.0} ms of {} trials; without, swept every {} ms, at most \
             {:.0} ms of {}; artifact with {} waiting directories p99 {:.0} ms of {}",
            ms(manifests.p99()),
            manifests.0.len(),
            interval.as_millis(),
            ms(swept.longest()),
            swept.0.len(),
            arguments.waiting,
            ms(artifacts.p99()),
            artifacts.0.len()
        ),
        bar: format!(
            "< {:.0} ms, <= {:.0} ms, < {:.0} ms",
            ms(MANIFEST_BAR),
            ms(swept_bar),
            ms(ARTIFACT_BAR)
        ),
        met: manifests.p99() < MANIFEST_BAR
            && swept.longest() <= swept_bar
            && artifacts.p99() < ARTIFACT_BAR,
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Times of all trials.
#[derive(Debug)]
struct Times(Vec<Duration>);

impl Times {
    fn new(what: &str, times: Vec<Duration>) -> Self {
        let times = Self(times);
        say!(
            "{what}: {} trials, p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            times.0.len(),
            ms(times.share(0.5)),
            ms(times.p99()),
            ms(times.longest())
        );
        times
    }

    fn p99(&self) -> Duration {
        self.share(0.99)
    }

    fn longest(&self) -> Duration {
        self.share(1.0)
    }

    fn share(&self, share: f64) -> Duration {
        let seconds = self.0.iter().map(Duration::as_secs_f64);
        Duration::try_from_secs_f64(percentile(seconds, share)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_may_be_longer() {
        let times = Times::new("test", (1..=200).rev().map(Duration::from_secs).collect());
        assert_eq!(times.p99(), Duration::from_secs(199));
        assert_eq!(times.longest(), Duration::from_secs(200));
        assert_eq!(Times(vec![]).p99(), Duration::MAX);
    }
}
