//! `cargo xtask bench-publish`: how fast a run is published, beside the bare calls that it takes.
//!
//! Ours is `runsync publish RUN --direct`, from its start to its end, into a real Rucio server:
//! everything registered, read back and compared, closed, given its rules and announced. Beside it
//! stand the writes alone ([`bare`]): the same number of items in the same chunks, nothing read
//! back. They take turns in going first, each on names of its own.
//!
//! Then a larger run is published to a server that answers as Rucio does and takes no time for it
//! ([`replaying`]): what memory and processor time our side takes.

mod bare;
mod replaying;
mod scene;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::Rucio;

use crate::out::{grouped, megabytes, say};
use crate::process::{self, Taken};
use crate::rounds::{Seconds, alternate, per_second};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};

use self::bare::Bare;
use self::replaying::Replaying;
use self::scene::Scene;

/// Most time that publishing may take, as a multiple of the bare calls.
const RATIO_BAR: f64 = 1.3;
/// Most memory, in bytes.
const MEMORY_BAR: u64 = 150_000_000;

const OURS: &str = "ours";
const BARE: &str = "bare";
/// Files of the runs that have the server import what it needs, and its tables fill.
const WARM_FILES: u64 = 1_000;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Files published to a real server
    #[arg(long, default_value_t = 10_000)]
    files: u64,

    /// Files published to a server that takes no time
    #[arg(long, default_value_t = 100_000)]
    large: u64,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// A folder on the disk to measure on, instead of the machine's for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,

    /// Goes through all of it with the debug build: everything is checked but the bar of time
    #[arg(long)]
    rehearse: bool,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let profile = if arguments.rehearse {
        Profile::Dev
    } else if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    } else {
        Profile::Release
    };
    let binary = workspace::build_runsync(profile)?;
    harness::prepare()?;
    let folder = match &arguments.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("cannot make a temporary folder")?;

    let replaying = Replaying::start(folder.path().join("large"))?;
    let large = Scene::new(&binary, &folder.path().join("large"), "trust")?;
    large.configure(&replaying.url())?;
    let taken = published_large(&large, &replaying, arguments.large)?;

    let small = Scene::new(&binary, &folder.path().join("small"), "size")?;
    let (seconds, memory) = beside_bare(&small, arguments)?;
    Ok(Outcome::Measured(verdict(
        arguments,
        &seconds,
        (memory, taken),
    )))
}

fn verdict(arguments: &Arguments, seconds: &Seconds, (memory, large): (u64, Taken)) -> Verdict {
    let ratio = seconds.median(OURS).as_secs_f64() / seconds.median(BARE).as_secs_f64();
    let most = memory.max(large.memory_bytes_max);
    Verdict {
        task: "bench-publish",
        measured: format!(
            "{} files: {ratio:.2} x the bare bulk calls ({:.0} files/s, medians of {}); {} files to a \
             server that takes no time: {:.1} s, {:.1} s of a processor, peak memory {}",
            grouped(arguments.files),
            per_second(arguments.files, seconds.median(OURS)),
            arguments.runs,
            grouped(arguments.large),
            large.wall.as_secs_f64(),
            large.cpu.as_secs_f64(),
            megabytes(most)
        ),
        bar: if arguments.rehearse {
            format!(
                "rehearsed: <= {}, times do not count",
                megabytes(MEMORY_BAR)
            )
        } else {
            format!("<= {RATIO_BAR:.2}, <= {}", megabytes(MEMORY_BAR))
        },
        met: most <= MEMORY_BAR && (arguments.rehearse || ratio <= RATIO_BAR),
    }
}

/// The time of both, and the most memory that ours took.
fn beside_bare(scene: &Scene, arguments: &Arguments) -> Result<(Seconds, u64)> {
    let rucio = Rucio::start(&[])?;
    scene.introduce(&rucio)?;
    scene.configure(&rucio.url())?;
    let bare = Bare::new(&rucio)?;
    bare.publish("u/bench/bare-warm", WARM_FILES)?;
    scene.add("u/bench/ours-warm", WARM_FILES, true)?;
    publish(scene, "u/bench/ours-warm")?;
    let runs: Vec<String> = (0..arguments.runs)
        .map(|round| format!("u/bench/ours-{round:04}"))
        .collect();
    for run in &runs {
        scene.add(run, arguments.files, true)?;
    }
    let (mut memory, mut round) = (0, [0_usize; 2]);
    let seconds = alternate(arguments.runs, &[OURS, BARE], |step| {
        let [ours, bares] = &mut round;
        if step == BARE {
            *bares += 1;
            return bare.publish(&format!("u/bench/bare-{bares:04}"), arguments.files);
        }
        let run = runs.get(*ours).context("no run is left")?;
        *ours += 1;
        let taken = publish(scene, run)?;
        memory = memory.max(taken.memory_bytes_max);
        check(&rucio, run, arguments.files)?;
        Ok(taken.wall)
    })?;
    Ok((seconds, memory))
}

fn publish(scene: &Scene, run: &str) -> Result<Taken> {
    let mut publish = scene.site.command();
    publish.args(["publish", run, "--direct"]);
    process::measure(publish.stdout(Stdio::null()))
}

/// Rucio has all files of the run, and the manifest, locked by the container's rule.
fn check(rucio: &Rucio, run: &str, files: u64) -> Result<()> {
    let sql = format!("select count(*) from locks where name like '%{run}/%'");
    let rows = rucio.sql(&sql)?;
    let count: u64 = rows.concat().concat().parse().context("no count")?;
    // A lock of each artifact and one of the manifest, which may have another of those of control.
    ensure!(
        (files + 1..=files + 2).contains(&count),
        "Rucio has {count} locks for {files} files"
    );
    Ok(())
}

fn published_large(scene: &Scene, replaying: &Replaying, files: u64) -> Result<Taken> {
    let run = "u/bench/large";
    scene.add(run, files, false)?;
    let taken = publish(scene, run)?;
    let held = replaying.files_attached();
    ensure!(
        held == files + 2,
        "{held} files are attached, and not {files} and a manifest twice"
    );
    say!(
        "{} files to a server that takes no time: {:.1?}, {:.1?} of a processor, peak memory {}",
        grouped(files),
        taken.wall,
        taken.cpu,
        megabytes(taken.memory_bytes_max)
    );
    ensure!(taken.wall > Duration::ZERO, "it took no time");
    Ok(taken)
}
