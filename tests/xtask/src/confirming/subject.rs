//! The run, and the way that the daemon confirms it.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runsync::assembly::Assembly;
use runsync::ingest::confirm::{Confirming, differences};
use runsync::ingest::flow::Flow;
use runsync_config::root::Root;
use runsync_manifest::name::RunKey;

use crate::out::{grouped, say};
use crate::random::Random;
use crate::runsync_command::Site;
use crate::synthetic::{self, Row};
use crate::{files as disk, process};

/// Where the files of the run lie below the root.
const FOLDER: &str = "HSC/raw/files";
/// Bytes written at once.
const BLOCK_BYTES: u64 = 1 << 20;

/// The artifacts of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files {
    /// How many.
    pub(crate) count: u64,
    /// How many lie in a folder.
    pub(crate) in_folder: u64,
    /// Size of each, in bytes.
    pub(crate) bytes: u64,
}

/// What confirming took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// From the first look to the last commit, or to when it was broken off.
    pub(crate) time: Duration,
    /// Artifacts that have their records.
    pub(crate) artifacts: u64,
    /// Most resident memory of this process meanwhile, in bytes.
    pub(crate) memory_bytes_max: u64,
}

/// A registered run, its artifacts, and the state of the site before any was confirmed.
#[derive(Debug)]
pub(crate) struct Subject {
    site: Site,
    files: Files,
    state: PathBuf,
    fresh: PathBuf,
}

impl Subject {
    /// Makes a site below `folder`, registers the run, and only then puts its files in place.
    pub(crate) fn new(binary: &Path, folder: &Path, files: Files) -> Result<Self> {
        let home = folder.join("site");
        let site = Site::init(binary, &home, "SITE_A", "size")?;
        let aside = folder.join("files");
        let manifest = folder.join("run.manifest.jsonl");
        let (origin, key) = (site.repository()?, site.signing_key()?);
        synthetic::write_run(
            &manifest,
            synthetic::RUN,
            files.count,
            (origin, &key),
            |at| write_file(&aside, files, at),
        )?;
        process::output(&mut site.ingest([manifest.as_path()]))?;
        let place = site.root.join(FOLDER);
        disk::make_parent(&place)?;
        disk::rename(&aside, &place)?;
        let (state, fresh) = (home.join("state"), folder.join("fresh"));
        disk::copy_folder(&state, &fresh)?;
        say!(
            "{} files of {} bytes in {} folders, registered and not confirmed",
            grouped(files.count),
            grouped(files.bytes),
            grouped(files.count.div_ceil(files.in_folder))
        );
        Ok(Self {
            site,
            files,
            state,
            fresh,
        })
    }

    /// The folders in which the artifacts lie.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let place = self.place();
        let count = self.files.count.div_ceil(self.files.in_folder);
        (0..count)
            .map(|number| place.join(folder(number)))
            .collect()
    }

    /// The site.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// The folder of its databases.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// The folder below which all artifacts lie.
    pub(crate) fn place(&self) -> PathBuf {
        self.site.root.join(FOLDER)
    }

    /// The run.
    pub(crate) fn run(&self) -> Result<RunKey> {
        Ok(RunKey {
            origin: self.site.repository()?,
            name: synthetic::RUN.parse()?,
        })
    }

    /// Brings the site back to where nothing was confirmed.
    fn forget(&self) -> Result<()> {
        fs::remove_dir_all(&self.state).context("cannot remove the used state")?;
        disk::copy_folder(&self.fresh, &self.state)
    }

    /// Compares all artifacts of the run with what their manifest says; `tune` changes the root's
    /// configuration. Returns how long comparing took.
    pub(crate) fn verify(&self, tune: impl Fn(&mut Root)) -> Result<Duration> {
        self.forget()?;
        let (_held, assembly) = self.site.open()?;
        let flow = tuned(&assembly, tune)?;
        let (root, most) = (&flow.root().name, usize::try_from(self.files.count)?);
        let artifacts =
            assembly
                .parts
                .registry
                .waiting_artifacts(&self.run()?, root, (None, None), most)?;
        ensure!(artifacts.len() == most, "not all artifacts are waited for");
        let start = Instant::now();
        let found = differences(&artifacts, &flow, &mut || ControlFlow::Continue(()))?;
        let time = start.elapsed();
        ensure!(found.is_empty(), "artifacts differ: {found:?}");
        Ok(time)
    }

    /// Confirms the run from its first artifact on, as a daemon that has just started does, in
    /// this process; `tune` changes the root's configuration. Breaks off after `most`.
    pub(crate) fn confirm(
        &self,
        tune: impl Fn(&mut Root),
        most: Option<Duration>,
    ) -> Result<Taken> {
        self.forget()?;
        let (_held, assembly) = self.site.open()?;
        let flow = tuned(&assembly, tune)?;
        let run = self.run()?;
        reset_peak()?;
        let mut confirming = Confirming::new(flow);
        let start = Instant::now();
        let mut go_on = || match most {
            Some(most) if start.elapsed() >= most => ControlFlow::Break(()),
            Some(_) | None => ControlFlow::Continue(()),
        };
        loop {
            let row = assembly
                .parts
                .registry
                .run(&run)?
                .context("the run is gone")?;
            let time = start.elapsed();
            let ended = row.waiting == 0 || most.is_some_and(|most| time >= most);
            if ended {
                let memory_bytes_max = process::peak_memory_bytes("/proc/self/status");
                return Ok(Taken {
                    time,
                    artifacts: row.confirmed(),
                    memory_bytes_max: memory_bytes_max.unwrap_or(u64::MAX),
                });
            }
            match confirming.step(&mut go_on) {
                Ok(step) => ensure!(step.artifacts > 0, "artifacts are there and not confirmed"),
                Err(error) => ensure!(error.is_interruption(), "confirming failed: {error}"),
            }
        }
    }
}

fn tuned(assembly: &Assembly, tune: impl Fn(&mut Root)) -> Result<Flow> {
    let flow = assembly.flows.first().context("the site has no root")?;
    let mut root = flow.root().clone();
    tune(&mut root);
    let (site, datastore) = (Arc::clone(flow.site()), Arc::clone(flow.datastore()));
    Ok(Flow::new(site, root, datastore))
}

fn folder(number: u64) -> String {
    format!("{number:05}")
}

/// Writes the artifact of a row, and says what it is.
fn write_file(below: &Path, files: Files, at: u64) -> Result<Row> {
    let relative = format!("{}/raw_{at:07}.fits", folder(at / files.in_folder));
    let path = below.join(&relative);
    if at.is_multiple_of(files.in_folder) {
        disk::make_parent(&path)?;
    }
    let writing = || format!("cannot write {}", path.display());
    let mut file = File::create(&path).with_context(writing)?;
    let mut random = Random::new(at);
    let mut adler32 = simd_adler32::Adler32::new();
    let mut left = files.bytes;
    let block = random.bytes(usize::try_from(left.min(BLOCK_BYTES))?);
    while left > 0 {
        let part = block.get(..usize::try_from(left.min(BLOCK_BYTES))?);
        let part = part.unwrap_or_default();
        adler32.write(part);
        file.write_all(part).with_context(writing)?;
        left -= u64::try_from(part.len())?;
    }
    let mut row = Row::new(at);
    row.path = format!("{FOLDER}/{relative}");
    row.size = files.bytes;
    row.adler32 = adler32.finish().to_be_bytes();
    Ok(row)
}

/// Has the kernel count this process's most memory anew.
fn reset_peak() -> Result<()> {
    disk::write(Path::new("/proc/self/clear_refs"), b"5")
}
