//! `cargo xtask demo`: the main job on real input, between two sites on this machine.
//!
//! export -> invent -> ingest at A -> carry to B in random order, B's daemon killed on the way
//! -> wait -> ask B for every dataset
//!
//! What B must answer is read from A's manifests with plain `serde_json`, not with runsync's own
//! reader, so that one mistake cannot be made twice.

mod answers;
mod carry;
mod export;
mod invent;
mod manifests;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::out::{grouped, say};
use crate::random::Random;
use crate::runsync_command::{Daemon, Site, Status};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};

use self::export::Export;
use self::manifests::Expected;

/// Every run's name begins so; B accepts no others from A.
const RUN_PREFIX: &str = "HSC";
/// How often progress is printed while B catches up.
const PROGRESS_PERIOD: Duration = Duration::from_secs(5);
/// How often B is asked whether it is done.
const STATUS_PERIOD: Duration = Duration::from_millis(500);

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Datasets generated beside the 33 real ones
    #[arg(long, default_value_t = 10_000)]
    datasets: usize,

    /// Seed of the order, the pauses and the bytes; a new one each time unless given
    #[arg(long)]
    seed: Option<u64>,

    /// Seconds that B may take after the last file has arrived
    #[arg(long, default_value_t = 300)]
    deadline: u64,

    /// Keep the two sites and say where they are
    #[arg(long)]
    keep: bool,
}

/// Runs the whole story.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let start = Instant::now();
    let binary = workspace::build_runsync(Profile::Dev)?;
    let export = export::fetch()?;
    let folder = tempfile::Builder::new()
        .prefix("runsync-demo-")
        .disable_cleanup(arguments.keep)
        .tempdir()
        .context("cannot make a temporary folder")?;
    let seed = arguments.seed.map_or_else(Random::seed, Ok)?;
    say!("\nseed {seed} (--seed {seed} brings the same run again)");
    let mut random = Random::new(seed);

    let (a, b) = two_sites(&binary, folder.path())?;
    make_runs(&a, &export, arguments.datasets, folder.path(), &mut random)?;
    let expected = manifests::expected(&a.root)?;
    let log = folder.path().join("site-b.log");
    let mut daemon = carry::carry(&a, &b, &log, &mut random)?;
    wait_until_registered(&b, &mut daemon, &expected, arguments.deadline, &log)?;
    print_registered(&b)?;
    let right = answers::count_right(&b, &expected)?;
    daemon.stop()?;
    if arguments.keep {
        say!("both sites are kept in {}", folder.path().display());
    }
    let asked = expected.datasets.len();
    Ok(Outcome::Measured(Verdict {
        task: "demo",
        measured: format!(
            "{} of {} datasets are at B with the right path, size and adler32, in {:.0} s",
            grouped(right as u64),
            grouped(asked as u64),
            start.elapsed().as_secs_f64()
        ),
        bar: "all".to_owned(),
        met: right == asked && asked == export.paths.len() + arguments.datasets,
    }))
}

/// Sites A and B; B accepts A's runs.
fn two_sites(binary: &Path, folder: &Path) -> Result<(Site, Site)> {
    let a = Site::init(binary, &folder.join("site-a"), "SITE_A", "size")?;
    let b = Site::init(binary, &folder.join("site-b"), "SITE_B", "checksum")?;
    b.accept_peer(&a, "SITE_A", &[RUN_PREFIX])?;
    say!("sites SITE_A and SITE_B: made; B trusts A's key for runs below `{RUN_PREFIX}`");
    Ok((a, b))
}

/// Makes the files and the manifests of all runs at A and registers them there.
fn make_runs(
    a: &Site,
    export: &Export,
    generated: usize,
    folder: &Path,
    random: &mut Random,
) -> Result<()> {
    for path in &export.paths {
        invent::write_artifact(&a.root.join(path), random)?;
    }
    let real = a.create_from_export(&export.run, &export.file)?;
    let real_manifest = absolute(&a.root, &real.manifest);
    say!(
        "run {}: {} datasets of real HSC visits and detectors, from the Butler export of \
         lsst-daf-butler {} (the bytes of the files are synthesised)",
        export.run,
        real.datasets,
        export::VERSION
    );
    let observations = manifests::observations(&real_manifest)?;
    let mut made = vec![real_manifest];
    for run in invent::runs(&observations, generated, random) {
        run.write_artifacts(&a.root, random)?;
        let jsonl = folder.join("invented.jsonl");
        run.write_jsonl(&jsonl)?;
        let created = a.create_from_jsonl(&run.name, &jsonl, &a.root, run.zstd)?;
        made.push(absolute(&a.root, &created.manifest));
        say!(
            "run {}: {} generated datasets over the same visits and detectors, manifest {}",
            run.name,
            grouped(created.datasets),
            if run.zstd { "zstd" } else { "plain" }
        );
    }
    crate::process::run(&mut a.ingest(made.iter().map(PathBuf::as_path)))
}

fn absolute(root: &Path, path: &Path) -> PathBuf {
    // `join` keeps a path that is absolute already.
    root.join(path)
}

/// Waits until B has registered everything and waits for nothing.
fn wait_until_registered(
    b: &Site,
    daemon: &mut Daemon,
    expected: &Expected,
    deadline_seconds: u64,
    log: &Path,
) -> Result<()> {
    let start = Instant::now();
    let mut told = Instant::now();
    loop {
        daemon
            .check_alive()
            .with_context(|| format!("see {}", log.display()))?;
        // A daemon that has just started may not answer yet.
        let status = b.status();
        if status
            .as_ref()
            .is_ok_and(|status| is_done(status, expected))
        {
            say!(
                "B has caught up {:.1} s after the last file arrived",
                start.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        if start.elapsed().as_secs() > deadline_seconds {
            let last = status.map_or_else(|error| format!("{error:#}"), |status| summary(&status));
            bail!("B has not caught up within {deadline_seconds} s: {last}");
        }
        if told.elapsed() > PROGRESS_PERIOD {
            told = Instant::now();
            if let Ok(status) = &status {
                say!("B: {}", summary(status));
            }
        }
        thread::sleep(STATUS_PERIOD);
    }
}

fn is_done(status: &Status, expected: &Expected) -> bool {
    status.manifests.get("registered") == Some(&expected.manifests)
        && status.runs.waiting == 0
        && status.runs.datasets == expected.datasets.len() as u64
}

fn summary(status: &Status) -> String {
    let by_state: Vec<String> = status
        .manifests
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    format!(
        "manifests: {}; {} datasets known, {} of {} artifacts confirmed",
        by_state.join(", "),
        grouped(status.runs.datasets),
        grouped(status.runs.confirmed),
        grouped(status.runs.claims)
    )
}

/// Prints B's runs as a table.
fn print_registered(b: &Site) -> Result<()> {
    say!("\nregistered at SITE_B");
    say!(
        "{:<44} {:>9} {:>9} {:>13}",
        "run",
        "datasets",
        "waiting",
        "bytes"
    );
    for run in b.runs()? {
        say!(
            "{:<44} {:>9} {:>9} {:>13}",
            run.name,
            grouped(run.datasets),
            grouped(run.waiting),
            grouped(run.bytes)
        );
    }
    say!("");
    Ok(())
}
