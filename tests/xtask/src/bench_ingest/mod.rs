//! `cargo xtask bench-ingest`: how fast a large manifest becomes rows, beside SQLite's own best.
//!
//! In one run, on one machine, in alternating order:
//!
//! - `ingest`: `runsync ingest` of a signed manifest at level trust, into a fresh site; the
//!   whole process is timed, from reading the file to the last commit;
//! - (a) `tables`: the registry's own tables and indexes, filled from memory, each in its best order;
//! - (b) `bare`: two tables with nothing but their primary keys, filled in UUID order.
//!
//! Sorting in memory is not counted for (a) and (b). All three go through the same code that
//! opens SQLite, so that pragmas are the same.

mod fill;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::figures::median;
use crate::out::{grouped, say};
use crate::process::Taken;
use crate::runsync_command::Site;
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{files, process, synthetic, workspace};

use self::fill::Rows;

/// Least share of (a)'s rate.
const TABLES_BAR: f64 = 0.4;
/// Least share of (b)'s rate.
const BARE_BAR: f64 = 0.15;
/// Most memory of `runsync ingest`, in bytes, at any size.
const MEMORY_BAR: u64 = 200_000_000;
/// Datasets of the smaller manifest, for memory alone.
const SMALL_DATASETS: u64 = 100_000;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Datasets in the manifest
    #[arg(long, default_value_t = 1_000_000)]
    datasets: u64,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Datasets per second of one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    ingest: f64,
    tables: f64,
    bare: f64,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let small = Subject::new(&binary, &folder.path().join("small"), SMALL_DATASETS)?;
    let mut memory_max = small.ingest()?.memory_bytes_max;
    say!(
        "{} datasets: peak memory {}",
        grouped(SMALL_DATASETS),
        megabytes(memory_max)
    );

    let large = Subject::new(&binary, &folder.path().join("large"), arguments.datasets)?;
    let rows = Rows::new(arguments.datasets)?;
    let mut rounds = Vec::new();
    for number in 1..=arguments.runs {
        let (round, memory) = measure_round(number, &large, &rows, folder.path())?;
        memory_max = memory_max.max(memory);
        rounds.push(round);
    }
    Ok(Outcome::Measured(verdict(
        arguments.datasets,
        &rounds,
        memory_max,
    )))
}

fn verdict(datasets: u64, rounds: &[Round], memory_max: u64) -> Verdict {
    let rate = median(rounds.iter().map(|round| round.ingest));
    let of_tables = median(rounds.iter().map(|round| round.ingest / round.tables));
    let of_bare = median(rounds.iter().map(|round| round.ingest / round.bare));
    Verdict {
        task: "bench-ingest",
        measured: format!(
            "{} datasets at {rate:.0}/s (median of {}), {of_tables:.2} of our own tables from \
             memory, {of_bare:.2} of two bare tables, peak memory {}",
            grouped(datasets),
            rounds.len(),
            megabytes(memory_max)
        ),
        bar: format!(
            ">= {TABLES_BAR:.2}, >= {BARE_BAR:.2}, <= {}",
            megabytes(MEMORY_BAR)
        ),
        met: of_tables >= TABLES_BAR && of_bare >= BARE_BAR && memory_max <= MEMORY_BAR,
    }
}

/// One round; even ones go through the three the other way, against drifts of the machine.
fn measure_round(number: u32, large: &Subject, rows: &Rows, folder: &Path) -> Result<(Round, u64)> {
    let per_second = |seconds: f64| rows.len_f64() / seconds;
    let database = folder.join("reference.sqlite3");
    let mut round = Round {
        ingest: 0.0,
        tables: 0.0,
        bare: 0.0,
    };
    let mut memory = 0;
    let mut steps = [0, 1, 2];
    if number.is_multiple_of(2) {
        steps.reverse();
    }
    for step in steps {
        match step {
            0 => {
                let taken = large.ingest()?;
                memory = taken.memory_bytes_max;
                round.ingest = per_second(taken.wall.as_secs_f64());
            }
            1 => round.tables = per_second(fill::own_tables(rows, &database)?.as_secs_f64()),
            _ => round.bare = per_second(fill::bare_tables(rows, &database)?.as_secs_f64()),
        }
    }
    say!(
        "round {number}: ingest {:.0}/s (peak memory {}), tables {:.0}/s, bare {:.0}/s",
        round.ingest,
        megabytes(memory),
        round.tables,
        round.bare
    );
    Ok((round, memory))
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
    fn new(binary: &Path, folder: &Path, datasets: u64) -> Result<Self> {
        let home = folder.join("site");
        let site = Site::init(binary, &home, "SITE_A", "trust")?;
        let fresh = folder.join("fresh");
        files::copy_folder(&home, &fresh)?;
        let manifest = folder.join("run.manifest.jsonl");
        synthetic::write_manifest(
            &manifest,
            datasets,
            site.repository()?,
            &site.signing_key()?,
        )?;
        let bytes = fs::metadata(&manifest)
            .context("the manifest is gone")?
            .len();
        say!(
            "manifest of {} datasets: {}, {} bytes each",
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

fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped(bytes.div_ceil(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bar_is_told() {
        let round = Round {
            ingest: 50.0,
            tables: 100.0,
            bare: 400.0,
        };
        assert!(verdict(10, &[round], 1_000_000).met == (50.0 / 400.0 >= BARE_BAR));
        assert!(
            !verdict(
                10,
                &[Round {
                    bare: 100.0,
                    ..round
                }],
                300_000_000
            )
            .met
        );
    }
}
