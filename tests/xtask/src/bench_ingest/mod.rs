//! `cargo xtask bench-ingest`: how fast a large manifest becomes rows, beside SQLite's own best.
//!
//! In one run, on one machine, in alternating order:
//!
//! - `shuffled` and `sorted` (by UUID): `runsync ingest` of a signed manifest at level trust, into a
//!   fresh site; the whole process is timed, from reading the file to the last commit;
//! - (a) `tables`: the registry's own tables and indexes, filled from memory, each in its best order;
//! - (b) `bare`: two tables with nothing but their primary keys, filled in UUID order.
//!
//! Sorting in memory is not counted for (a) and (b). All three go through the same code that
//! opens SQLite, so that pragmas are the same.

mod fill;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::figures::number;
use crate::out::{grouped, megabytes, say};
use crate::process::Taken;
use crate::rounds::{self, Seconds, per_second};
use crate::runsync_command::Site;
use crate::synthetic::{Order, Sample};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{files, process, workspace};

use self::fill::Rows;

/// Least share of (a)'s rate.
const TABLES_BAR: f64 = 0.6;
/// Least share of (b)'s rate.
const BARE_BAR: f64 = 0.25;
/// Most memory of `runsync ingest`, in bytes.
const MEMORY_BAR: u64 = 150_000_000;
/// Most memory with the larger manifest, as a multiple.
const GROWTH_BAR: f64 = 1.1;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Datasets in the manifests that are timed
    #[arg(long, default_value_t = 1_000_000)]
    datasets: u64,

    /// Datasets in the manifest that only memory is looked at of
    #[arg(long, default_value_t = 5_000_000)]
    large_datasets: u64,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// What is timed, in this order.
const STEPS: [&str; 4] = ["shuffled", "sorted", "tables", "bare"];

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let make = |name: &str, datasets, order| {
        Subject::new(&binary, &folder.path().join(name), datasets, order)
    };
    let shuffled = make("shuffled", arguments.datasets, Order::Shuffled)?;
    let sorted = make("sorted", arguments.datasets, Order::Sorted)?;
    let rows = Rows::new(arguments.datasets)?;
    let database = folder.path().join("reference.sqlite3");

    let mut memory_max = 0;
    let seconds = rounds::alternate(arguments.runs, &STEPS, |step| {
        let subject = match step {
            "shuffled" => &shuffled,
            "sorted" => &sorted,
            "tables" => return fill::own_tables(&rows, &database),
            _ => return fill::bare_tables(&rows, &database),
        };
        let taken = subject.ingest()?;
        memory_max = memory_max.max(taken.memory_bytes_max);
        Ok(taken.wall)
    })?;
    drop(rows);
    let large = make("large", arguments.large_datasets, Order::Shuffled)?.ingest()?;
    say!(
        "{} datasets: {:.0}/s, peak memory {}",
        grouped(arguments.large_datasets),
        per_second(arguments.large_datasets, large.wall),
        megabytes(large.memory_bytes_max)
    );
    Ok(Outcome::Measured(verdict(
        arguments,
        &seconds,
        (memory_max, large.memory_bytes_max),
    )))
}

fn verdict(
    arguments: &Arguments,
    seconds: &Seconds,
    (memory, memory_large): (u64, u64),
) -> Verdict {
    let share = |step: &str, of: &str| seconds.median_ratio(of, step);
    let shares = ["tables", "bare"].map(|of| (share("shuffled", of), share("sorted", of)));
    let [tables, bare] = shares;
    let growth = number(memory_large) / number(memory);
    let fast = |share: (f64, f64), bar| share.0 >= bar && share.1 >= bar;
    Verdict {
        task: "bench-ingest",
        measured: format!(
            "{} datasets, shuffled {:.0}/s and sorted {:.0}/s (medians of {}): {:.2} and {:.2} of \
             our own tables from memory, {:.2} and {:.2} of two bare tables; peak memory {}, with \
             {} datasets {}, {growth:.2} of that",
            grouped(arguments.datasets),
            per_second(arguments.datasets, seconds.median("shuffled")),
            per_second(arguments.datasets, seconds.median("sorted")),
            arguments.runs,
            tables.0,
            tables.1,
            bare.0,
            bare.1,
            megabytes(memory),
            grouped(arguments.large_datasets),
            megabytes(memory_large)
        ),
        bar: format!(
            ">= {TABLES_BAR:.2}, >= {BARE_BAR:.2}, <= {}, <= {GROWTH_BAR:.2} of that",
            megabytes(MEMORY_BAR)
        ),
        met: fast(tables, TABLES_BAR)
            && fast(bare, BARE_BAR)
            && memory <= MEMORY_BAR
            && growth <= GROWTH_BAR,
    }
}

/// A manifest and the fresh site that it is ingested into, again and again.
#[derive(Debug)]
struct Subject {
    folder: PathBuf,
    fresh: PathBuf,
    site: Site,
    manifest: PathBuf,
}

impl Subject {
    fn new(binary: &Path, folder: &Path, datasets: u64, order: Order) -> Result<Self> {
        let home = folder.join("site");
        let site = Site::init(binary, &home, "SITE_A", "trust")?;
        let fresh = folder.join("fresh");
        files::copy_folder(&home, &fresh)?;
        let manifest = folder.join("run.manifest.jsonl");
        Sample::new(datasets, order).write(&manifest, site.repository()?, &site.signing_key()?)?;
        let bytes = files::size(&manifest)?;
        say!(
            "{} datasets, {order:?}: {}, {} bytes each",
            grouped(datasets),
            megabytes(bytes),
            bytes / datasets.max(1)
        );
        Ok(Self {
            folder: home,
            fresh,
            site,
            manifest,
        })
    }

    /// Ingests the manifest into the site as it was when it was new.
    fn ingest(&self) -> Result<Taken> {
        fs::remove_dir_all(&self.folder).context("cannot remove the used site")?;
        files::copy_folder(&self.fresh, &self.folder)?;
        process::measure(&mut self.site.ingest([self.manifest.as_path()]))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn met(ingest_ms: u64, memory: (u64, u64)) -> bool {
        let arguments = Arguments {
            datasets: 10,
            large_datasets: 50,
            runs: 1,
        };
        let mut seconds = Seconds::default();
        let times = [ingest_ms, 1_000, 1_000, 500];
        for (step, ms) in STEPS.into_iter().zip(times) {
            seconds.add(step, Duration::from_millis(ms));
        }
        verdict(&arguments, &seconds, memory).met
    }

    #[test]
    fn a_missed_bar_is_told() {
        assert!(met(1_600, (100, 110)));
        assert!(
            !met(1_700, (100, 110)),
            "slower than its share of the tables"
        );
        assert!(!met(1_600, (MEMORY_BAR + 1, MEMORY_BAR)), "too much memory");
        assert!(!met(1_600, (100, 111)), "memory that grows");
    }
}
