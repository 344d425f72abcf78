//! A site with a running daemon, and what arrives there.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runsync::assembly::Readers;
use runsync::registry::record::Presence;
use runsync_manifest::name::{DatasetId, RunKey};

use crate::files;
use crate::random::Random;
use crate::runsync_command::{Daemon, Site};
use crate::synthetic::{self, Row};

/// How often the registry is asked.
const ASK: Duration = Duration::from_micros(500);
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long the daemon rests between two trials: what the last one has left to do takes a few
/// milliseconds.
const REST: Duration = Duration::from_millis(50);
/// The bytes of every artifact, and their Adler-32.
const ARTIFACT: (&[u8], [u8; 4]) = (b"abc", [0x02, 0x4d, 0x01, 0x27]);

/// A site and its daemon.
#[derive(Debug)]
pub(super) struct Scene {
    folder: PathBuf,
    site: Site,
    daemon: Daemon,
    readers: Readers,
    random: Random,
}

/// A run with one artifact.
#[derive(Debug)]
struct OneArtifact {
    run: RunKey,
    dataset: DatasetId,
    path: String,
}

impl Scene {
    /// Starts a daemon on a new site below `folder`; `root` is more TOML of its root.
    pub(super) fn new(binary: &Path, folder: &Path, root: &str) -> Result<Self> {
        let home = folder.join("site");
        let site = Site::init(binary, &home, "SITE_A", "checksum")?;
        let config = files::read(&site.config)?;
        let place = "confirm = \"checksum\"\n";
        ensure!(
            config.contains(place),
            "the configuration has no root to change"
        );
        let config = config.replacen(place, &format!("{place}{root}\n"), 1);
        files::write(&site.config, config.as_bytes())?;
        let readers = Readers::open(&runsync_config::load(&site.config)?)?;
        let daemon = site.start_daemon(&folder.join("daemon.log"))?;
        let scene = Self {
            folder: folder.to_path_buf(),
            site,
            daemon,
            readers,
            random: Random::new(1),
        };
        Ok(scene)
    }

    /// How long each of so many manifests takes, which come at some moment within `phase`.
    pub(super) fn manifests(&mut self, trials: u32, phase: Duration) -> Result<Vec<Duration>> {
        // The first one shows that the daemon is up, and is not timed.
        let first = self.write("u/first")?;
        self.place(&first)?;
        self.until_registered(&first)?;
        let mut times = Vec::new();
        for trial in 0..trials {
            let one = self.write(&format!("u/trial/{trial:04}"))?;
            let micros = u64::try_from(phase.as_micros())?;
            let within = Duration::from_micros(self.random.below(micros.max(1)));
            thread::sleep(REST + within);
            let start = Instant::now();
            self.place(&one)?;
            self.until_registered(&one)?;
            times.push(start.elapsed());
        }
        self.daemon.check_alive()?;
        Ok(times)
    }

    /// How long each of so many artifacts takes, of the first of `waiting` runs.
    pub(super) fn artifacts(&mut self, waiting: u32, trials: u32) -> Result<Vec<Duration>> {
        ensure!(trials <= waiting, "there are more trials than waiting runs");
        let mut runs = Vec::new();
        for number in 0..waiting {
            let one = self.write(&format!("u/waiting/{number:05}"))?;
            // The folder is there, and no artifact in it.
            files::make_parent(&self.site.root.join(&one.path))?;
            self.place(&one)?;
            runs.push(one);
        }
        for one in &runs {
            self.until_registered(one)?;
        }
        // The first passes over all runs are over, and their folders watched, once one that was
        // registered last is confirmed by an event and the daemon has come to rest.
        thread::sleep(Duration::from_secs(3));
        let mut times = Vec::new();
        for one in runs.iter().take(usize::try_from(trials)?) {
            let aside = self.folder.join("artifact");
            files::write(&aside, ARTIFACT.0)?;
            thread::sleep(REST);
            let start = Instant::now();
            files::rename(&aside, &self.site.root.join(&one.path))?;
            self.until("the artifact has its record", || {
                let answers = self.readers.registry.exists(&[one.dataset])?;
                let first = answers.first();
                Ok(first.is_some_and(|answer| answer.presence == Presence::Yes))
            })?;
            times.push(start.elapsed());
        }
        self.daemon.check_alive()?;
        Ok(times)
    }

    /// Writes a manifest outside of the root.
    fn write(&mut self, name: &str) -> Result<OneArtifact> {
        let (origin, key) = (self.site.repository()?, self.site.signing_key()?);
        let mut row = Row::new(0);
        row.uuid = self.random.uuid();
        row.path = format!("data/{name}/raw.fits");
        row.size = u64::try_from(ARTIFACT.0.len())?;
        row.adler32 = ARTIFACT.1;
        let one = OneArtifact {
            run: RunKey {
                origin,
                name: name.parse()?,
            },
            dataset: DatasetId(row.uuid),
            path: row.path.clone(),
        };
        synthetic::write_run(&self.aside(), name, 1, (origin, &key), |_| Ok(row.clone()))?;
        Ok(one)
    }

    fn aside(&self) -> PathBuf {
        self.folder.join("run.manifest.jsonl")
    }

    /// Renames the manifest written last into its place, whose folder is made by that.
    fn place(&self, one: &OneArtifact) -> Result<()> {
        let RunKey { origin, name } = &one.run;
        let place = format!("runsync/manifests/{origin}/{name}/1-1.manifest.jsonl");
        let place = self.site.root.join(place);
        files::make_parent(&place)?;
        files::rename(&self.aside(), &place)
    }

    fn until_registered(&self, one: &OneArtifact) -> Result<()> {
        self.until("the run is registered", || {
            let run = self.readers.registry.run(&one.run)?;
            Ok(run.is_some_and(|run| run.claims > 0))
        })
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !holds()? {
            let log = self.folder.join("daemon.log");
            ensure!(
                start.elapsed() < DEADLINE,
                "waited in vain until {what}; the log is\n{}",
                files::read(&log).context("and there is none")?
            );
            thread::sleep(ASK);
        }
        Ok(())
    }
}
