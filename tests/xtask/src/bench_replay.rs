//! `cargo xtask bench-replay`: what many small manifests cost, known ones and new ones.
//!
//! - `again`: the files of registered manifests get a new time, so that nothing tells that they
//!   are the same but their bytes. A sweep and the steps after it read all of them to their ends,
//!   compute their digests, find that each is what was registered, and write their files' new
//!   identity. The same flow as the daemon's, in this process, over the same ledger and registry.
//! - `bare`: the same files are opened, read to their ends and hashed by the same crate, one after
//!   the other, and nothing else.
//! - `sweep`: nothing has changed; the folder is listed and compared with the ledger.
//! - `start`: a daemon is started over a folder of manifests that it has never seen, and asked by
//!   `runsync status` until all are registered.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runsync::assembly::Assembly;
use runsync::ingest::sweep::{Arrivals, Swept};
use runsync::lease::Held;
use runsync_manifest::generation::Generation;
use sha2::{Digest as _, Sha256};

use crate::out::{grouped, say};
use crate::rounds::{self, per_second};
use crate::runsync_command::Site;
use crate::synthetic::{Order, Sample};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{files, workspace};

/// Least share of bare reading's rate.
const AGAIN_BAR: f64 = 0.5;
/// Longest sweep that finds nothing new.
const SWEEP_BAR: Duration = Duration::from_secs(1);
/// Longest from the daemon's start to the last manifest registered.
const START_BAR: Duration = Duration::from_secs(60);
/// Generations of each run: a commit takes one manifest of a run, so they do make a difference.
const GENERATIONS: u32 = 10;
/// Pause between two questions to a daemon that is starting.
const ASK_PERIOD: Duration = Duration::from_millis(250);

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Manifests, known and new
    #[arg(long, default_value_t = 10_000)]
    manifests: u32,

    /// Datasets in each of the known ones
    #[arg(long, default_value_t = 100)]
    datasets: u32,

    /// Datasets in each of the new ones
    #[arg(long, default_value_t = 10)]
    tiny_datasets: u32,

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
    let manifests = arguments.manifests;

    let site = Site::init(&binary, &folder.path().join("known"), "SITE_A", "trust")?;
    write_manifests(&site, manifests, arguments.datasets)?;
    let known = Known::register(&site)?;
    let seconds = rounds::alternate(
        arguments.runs,
        &["again", "bare", "sweep"],
        |step| match step {
            "again" => known.read_again(),
            "bare" => bare(&site.root),
            _ => known.sweep_in_vain(),
        },
    )?;
    drop(known);

    let site = Site::init(&binary, &folder.path().join("start"), "SITE_A", "trust")?;
    write_manifests(&site, manifests, arguments.tiny_datasets)?;
    let start = start_daemons(&site, folder.path(), arguments)?;
    let share = seconds.median_ratio("bare", "again");
    let sweep = seconds.median("sweep");
    Ok(Outcome::Measured(Verdict {
        task: "bench-replay",
        measured: format!(
            "{} known manifests (medians of {}): read again at {:.0}/s, {share:.2} of bare read + \
             sha256; a sweep that finds nothing new {:.2} s; as many new ones registered {:.1} s \
             after the daemon's start",
            grouped(manifests.into()),
            arguments.runs,
            per_second(manifests.into(), seconds.median("again")),
            sweep.as_secs_f64(),
            start.as_secs_f64()
        ),
        bar: format!(
            ">= {AGAIN_BAR:.2}, <= {} s, <= {} s",
            SWEEP_BAR.as_secs(),
            START_BAR.as_secs()
        ),
        met: share >= AGAIN_BAR && sweep <= SWEEP_BAR && start <= START_BAR,
    }))
}

/// Puts manifests into the site's root, [`GENERATIONS`] to a run.
fn write_manifests(site: &Site, manifests: u32, datasets: u32) -> Result<()> {
    let (origin, key) = (site.repository()?, site.signing_key()?);
    let mut bytes = 0;
    for number in 0..manifests {
        let first = u64::from(number) * u64::from(datasets);
        let sample = Sample {
            run: format!("HSC/raw/{:05}", number / GENERATIONS),
            sequence: Generation::FIRST.sequence + number % GENERATIONS,
            rows: first..first + u64::from(datasets),
            ..Sample::new(0, Order::Sorted)
        };
        let file = site.root.join(sample.path(origin)?);
        sample.write(&file, origin, &key)?;
        bytes += files::size(&file)?;
    }
    say!(
        "{} manifests of {datasets} datasets, {GENERATIONS} to a run: {} bytes each",
        grouped(manifests.into()),
        bytes / u64::from(manifests.max(1))
    );
    Ok(())
}

/// A site whose manifests are all registered.
struct Known<'a> {
    site: &'a Site,
    _held: Held,
    assembly: Assembly,
    manifests: usize,
}

impl<'a> Known<'a> {
    fn register(site: &'a Site) -> Result<Self> {
        let (held, assembly) = site.open()?;
        let known = Self {
            site,
            _held: held,
            assembly,
            manifests: manifest_files(&site.root)?.len(),
        };
        let start = Instant::now();
        let mut arrivals = known.arrivals()?;
        let swept = arrivals.sweep()?;
        ensure!(swept.new == known.manifests, "not all are new: {swept:?}");
        let decided = settle(&mut arrivals)?;
        ensure!(decided == known.manifests, "{decided} were decided");
        say!("registered in {:.1} s", start.elapsed().as_secs_f64());
        Ok(known)
    }

    fn arrivals(&self) -> Result<Arrivals> {
        let flow = self
            .assembly
            .flows
            .first()
            .context("a site without a root")?;
        Ok(Arrivals::new(flow.clone()))
    }

    /// Gives all files another time; times the sweep and the steps that read them again.
    fn read_again(&self) -> Result<Duration> {
        for path in manifest_files(&self.site.root)? {
            touch(&path).with_context(|| format!("cannot touch {}", path.display()))?;
        }
        let mut arrivals = self.arrivals()?;
        let start = Instant::now();
        let swept = arrivals.sweep()?;
        let decided = settle(&mut arrivals)?;
        let taken = start.elapsed();
        ensure!(swept.new == self.manifests, "not all were read: {swept:?}");
        ensure!(decided == 0, "{decided} were decided anew");
        self.sweep_in_vain()?;
        Ok(taken)
    }

    /// Times a sweep that finds nothing new.
    fn sweep_in_vain(&self) -> Result<Duration> {
        let mut arrivals = self.arrivals()?;
        let start = Instant::now();
        let swept = arrivals.sweep()?;
        let taken = start.elapsed();
        let nothing_new = Swept {
            files: self.manifests,
            new: 0,
            unreadable: 0,
        };
        ensure!(swept == nothing_new, "the sweep found {swept:?}");
        Ok(taken)
    }
}

/// Gives a file a later time.
fn touch(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let modified = file.metadata()?.modified()?;
    file.set_modified(modified + Duration::from_secs(1))
}

/// Steps until every file is decided; how many were decided anew.
fn settle(arrivals: &mut Arrivals) -> Result<usize> {
    let mut decided = 0;
    while arrivals.undecided() > 0 {
        decided += arrivals.step(&mut |_| ControlFlow::Continue(()))?.decided;
    }
    Ok(decided)
}

/// Opens, reads and hashes every manifest, one after the other.
fn bare(root: &Path) -> Result<Duration> {
    let paths = manifest_files(root)?;
    let mut bytes = Vec::new();
    let start = Instant::now();
    for path in &paths {
        bytes.clear();
        File::open(path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", path.display()))?;
        black_box(Sha256::digest(&bytes));
    }
    Ok(start.elapsed())
}

/// Starts daemons over the site as it is now, one after the other; the median time until all
/// manifests were registered.
fn start_daemons(site: &Site, folder: &Path, arguments: &Arguments) -> Result<Duration> {
    let fresh = folder.join("fresh");
    let state = site.config.with_file_name("state");
    files::copy_folder(&state, &fresh)?;
    let manifests = u64::from(arguments.manifests);
    let seconds = rounds::alternate(arguments.runs, &["start"], |_| {
        fs::remove_dir_all(&state).context("cannot remove the used state")?;
        files::copy_folder(&fresh, &state)?;
        let start = Instant::now();
        let mut daemon = site.start_daemon(&folder.join("daemon.log"))?;
        while site.status()?.manifests.get("registered") != Some(&manifests) {
            daemon.check_alive()?;
            ensure!(start.elapsed() < 10 * START_BAR, "the daemon does not end");
            thread::sleep(ASK_PERIOD);
        }
        let taken = start.elapsed();
        let datasets = site.status()?.runs.datasets;
        let wanted = manifests * u64::from(arguments.tiny_datasets);
        ensure!(datasets == wanted, "{datasets} datasets are known");
        daemon.stop()?;
        Ok(taken)
    })?;
    Ok(seconds.median("start"))
}

fn manifest_files(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("runsync/manifests");
    let found = files::below(&folder)?;
    Ok(found.into_iter().map(|file| folder.join(file)).collect())
}
