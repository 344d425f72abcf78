//! `cargo xtask bench-parse`: what reading a manifest costs beside parsing its JSON.
//!
//! In one run, on one machine, in alternating order, over the same entries:
//!
//! - `plain` and `zstd`: a file is opened and read to its trailer; every line is checked, the digest
//!   computed and the signature verified, as the flow does it;
//! - `serde`: the plain file's bytes lie in memory; each dataset line is found and given to
//!   `serde_json::from_slice`, into the same borrowed type. What that type itself refuses (digests
//!   that are none, a data ID with a key twice) is refused here too; nothing else is checked.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runsync_manifest::entry::DatasetEntry;
use runsync_manifest::limits::Limits;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::reader::{Line, Reader};
use runsync_manifest::signature::{PublicKey, SigningKey};
use runsync_manifest::writer::Packing;
use uuid::Uuid;

use crate::out::{grouped, megabytes, say};
use crate::rounds::{self, per_second};
use crate::synthetic::{Order, Sample};
use crate::verdict::{Outcome, Verdict};
use crate::{files, workspace};

/// Least share of bare parsing's rate.
const PLAIN_BAR: f64 = 0.6;
/// Least share of the plain file's rate.
const ZSTD_BAR: f64 = 0.8;
/// Most that the packed sample may be smaller: what packs better is unpacked faster.
const RATIO_BAR: f64 = 4.0;
/// The level that `manifest create --zstd` packs with.
const ZSTD_LEVEL: i32 = 3;
/// How the writer starts a dataset line.
const DATASET_START: &[u8] = br#"{"kind":"dataset","#;

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Datasets in the manifest
    #[arg(long, default_value_t = 500_000)]
    datasets: u64,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// The same manifest, plain and packed.
struct Files {
    plain: PathBuf,
    packed: PathBuf,
    bytes: Vec<u8>,
    key: PublicKey,
}

/// Measures.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let subject = write(folder.path(), arguments.datasets)?;
    let (plain, packed) = (files::size(&subject.plain)?, files::size(&subject.packed)?);
    #[expect(clippy::cast_precision_loss, reason = "file sizes are far below 2^52")]
    let ratio = plain as f64 / packed as f64;
    say!(
        "{} datasets: {}, {} bytes each; packed {}, {ratio:.2} to one",
        grouped(arguments.datasets),
        megabytes(plain),
        plain / arguments.datasets.max(1),
        megabytes(packed)
    );
    let seconds = rounds::alternate(arguments.runs, &["plain", "serde", "zstd"], |step| {
        timed(arguments.datasets, || match step {
            "plain" => read(&subject.plain, &subject.key),
            "zstd" => read(&subject.packed, &subject.key),
            _ => parse(&subject.bytes),
        })
    })?;
    let of_serde = seconds.median_ratio("serde", "plain");
    let of_plain = seconds.median_ratio("plain", "zstd");
    Ok(Outcome::Measured(Verdict {
        task: "bench-parse",
        measured: format!(
            "{} datasets (medians of {}): plain {:.0}/s, {of_serde:.2} of bare serde_json; zstd \
             {ratio:.2} to one, {of_plain:.2} of plain",
            grouped(arguments.datasets),
            arguments.runs,
            per_second(arguments.datasets, seconds.median("plain")),
        ),
        bar: format!(">= {PLAIN_BAR:.2}; <= {RATIO_BAR:.2} to one, >= {ZSTD_BAR:.2}"),
        met: of_serde >= PLAIN_BAR && of_plain >= ZSTD_BAR && ratio <= RATIO_BAR,
    }))
}

fn write(folder: &Path, datasets: u64) -> Result<Files> {
    let (plain, packed) = (folder.join("plain"), folder.join("packed"));
    let key = SigningKey::from_seed(&[7; 32]);
    let origin = RepositoryId(Uuid::from_u128(7));
    for (to, packing) in [
        (&plain, Packing::Plain),
        (&packed, Packing::Zstd(ZSTD_LEVEL)),
    ] {
        let sample = Sample {
            rich: true,
            packing,
            ..Sample::new(datasets, Order::Sorted)
        };
        sample.write(to, origin, &key)?;
    }
    let bytes = fs::read(&plain).context("cannot read the manifest")?;
    Ok(Files {
        plain,
        packed,
        bytes,
        key: key.public(),
    })
}

/// Times `work`, which must have met as many datasets as there are.
fn timed(datasets: u64, work: impl FnOnce() -> Result<u64>) -> Result<Duration> {
    let start = Instant::now();
    let met = work()?;
    let taken = start.elapsed();
    ensure!(met == datasets, "{met} datasets of {datasets}");
    Ok(taken)
}

/// Reads a manifest as the flow does, and keeps nothing.
fn read(file: &Path, key: &PublicKey) -> Result<u64> {
    let file = File::open(file).context("cannot open the manifest")?;
    let mut reader = Reader::ahead(file, Limits::default())?;
    let mut datasets = 0;
    while let Some(line) = reader.next()? {
        datasets += u64::from(matches!(black_box(line), Line::Dataset { .. }));
    }
    let trailer = reader.into_trailer().context("no trailer")?;
    let signature = trailer.signature.context("no signature")?;
    ensure!(signature.is_by(key, &trailer.sha256), "another's signature");
    Ok(datasets)
}

/// Parses the dataset lines and nothing else.
fn parse(bytes: &[u8]) -> Result<u64> {
    let (mut datasets, mut start) = (0, 0);
    for end in memchr::memchr_iter(b'\n', bytes) {
        let line = bytes.get(start..end).unwrap_or_default();
        start = end + 1;
        if line.starts_with(DATASET_START) {
            black_box(serde_json::from_slice::<DatasetEntry<'_>>(line)?);
            datasets += 1;
        }
    }
    Ok(datasets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_ways_meet_every_dataset() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), 300).unwrap();
        assert_eq!(read(&files.plain, &files.key).unwrap(), 300);
        assert_eq!(read(&files.packed, &files.key).unwrap(), 300);
        assert_eq!(parse(&files.bytes).unwrap(), 300);
        let other = SigningKey::from_seed(&[8; 32]).public();
        assert!(read(&files.plain, &other).is_err());
    }
}
