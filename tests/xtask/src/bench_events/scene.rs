//! A site that waits for runs of another, and what comes there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Broker, Naming, Rucio};
use runsync::assembly::Readers;
use runsync_manifest::name::RunKey;

use crate::files;
use crate::out::say;
use crate::process;
use crate::random::Random;
use crate::runsync_command::{Daemon, Site};
use crate::synthetic::{self, Row};

use super::bare::Bare;
use super::messages::{self, RSE, SCOPE};

/// Whoever the site is in Rucio.
const ACCOUNT: &str = "runsync";
const PASSWORD: &str = "not-so-secret";
/// What an artifact holds.
const BYTES: &[u8] = b"SIMPLE";
/// Artifacts in a folder.
const IN_FOLDER: u64 = 1_000;
/// How often the registry is asked.
const ASK: Duration = Duration::from_millis(2);
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// The daemon looks for the artifacts of a run that came to nothing again after 1 s, and after twice as long each
/// time: 63 s after the first look, and 127 s after it. Between lies the time in which it looks by itself for none.
const RESTS_FROM: Duration = Duration::from_secs(68);
const RESTS_UNTIL: Duration = Duration::from_secs(120);

/// Ports of the brokers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources {
    pub(super) stomp: u16,
    pub(super) kafka: u16,
}

/// A run that is waited for, and the messages of its artifacts.
#[derive(Debug)]
struct Awaited {
    name: String,
    key: RunKey,
    bodies: Vec<Vec<u8>>,
}

/// A site with a running daemon.
#[derive(Debug)]
pub(super) struct Scene {
    folder: PathBuf,
    origin: Site,
    site: Site,
    daemon: Daemon,
    readers: Readers,
    runs: Vec<Awaited>,
    /// When the first and the last run were registered.
    registered: Option<(Instant, Instant)>,
}

impl Scene {
    /// Starts the daemon of a site that hears both brokers.
    pub(super) fn start(
        binary: &Path,
        folder: &Path,
        rucio: &Rucio,
        sources: Sources,
    ) -> Result<Self> {
        let origin = Site::init(binary, &folder.join("origin"), "SITE_A", "size")?;
        let site = Site::init(binary, &folder.join("site"), "SITE_B", "size")?;
        site.accept_peer(&origin, "SITE_A", &["u/bench"])?;
        rucio.add_account(ACCOUNT, (ACCOUNT, PASSWORD), true)?;
        rucio.add_scope(Rucio::ACCOUNT, SCOPE)?;
        rucio.add_rse(RSE, Naming::Identity, site.root.parent())?;
        rucio.set_limit(ACCOUNT, RSE, None)?;
        configure(&site, &rucio.url(), sources)?;
        let readers = Readers::open(&runsync_config::load(&site.config)?)?;
        let daemon = site.start_daemon(&folder.join("daemon.log"))?;
        let scene = Self {
            folder: folder.to_path_buf(),
            origin,
            site,
            daemon,
            readers,
            runs: Vec::new(),
            registered: None,
        };
        scene.until("both brokers are listened to", || {
            let log = files::read(&scene.log())?;
            Ok(["stomp", "kafka"].iter().all(|source| {
                let mut lines = log.lines();
                lines.any(|line| line.contains("listening") && line.contains(&format!("source={source}")))
            }))
        })?;
        Ok(scene)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// Has the site know a run, whose artifacts are ready beside the root.
    pub(super) fn await_run(&mut self, name: &str, artifacts: u64) -> Result<()> {
        let (origin, key) = (self.origin.repository()?, self.origin.signing_key()?);
        let manifest = self.folder.join("run.manifest.jsonl");
        let seed = u64::from(simd_adler32::adler32(&name.as_bytes())) << 32;
        let mut bodies = Vec::new();
        synthetic::write_run(&manifest, name, artifacts, (origin, &key), |at| {
            let path = format!("{name}/{:03}/raw_{at:07}.fits", at / IN_FOLDER);
            files::write(&self.aside(&path), BYTES)?;
            bodies.push(messages::arrival(&self.site.root, &path, BYTES.len()));
            let mut row = Row::new(at);
            row.uuid = Random::new(seed + at).uuid();
            row.path = path;
            row.size = u64::try_from(BYTES.len())?;
            row.adler32 = simd_adler32::adler32(&BYTES).to_be_bytes();
            Ok(row)
        })?;
        let place = format!("runsync/manifests/{origin}/{name}/1-1.manifest.jsonl");
        let place = self.site.root.join(place);
        files::make_parent(&place)?;
        files::rename(&manifest, &place)?;
        let key = RunKey {
            origin,
            name: name.parse()?,
        };
        self.until("the run is registered", || {
            let run = self.readers.registry.run(&key)?;
            Ok(run.is_some_and(|run| run.claims == artifacts))
        })?;
        let now = Instant::now();
        self.registered = Some((self.registered.map_or(now, |(first, _)| first), now));
        let name = name.to_owned();
        self.runs.push(Awaited { name, key, bodies });
        Ok(())
    }

    /// Where what is to be at `path` in the root is before it comes.
    fn aside(&self, path: &str) -> PathBuf {
        self.folder.join("aside").join(path)
    }

    /// Waits until the daemon looks for none of the runs by itself.
    pub(super) fn wait_for_rest(&self) -> Result<()> {
        let (_, last) = self.registered.context("no run is awaited")?;
        let wait = RESTS_FROM.saturating_sub(last.elapsed());
        say!("waiting for {:.0} s, until the daemon looks for nothing by itself", wait.as_secs_f64());
        thread::sleep(wait);
        Ok(())
    }

    /// How long it takes from the first message about a run until all of its records are there.
    pub(super) fn measure(
        &mut self,
        run: &str,
        send: impl FnOnce(&[Vec<u8>]) -> Result<()>,
    ) -> Result<Duration> {
        let awaited = self.awaited(run)?;
        let place = self.site.root.join(run);
        files::make_parent(&place)?;
        files::rename(&self.aside(run), &place)?;
        ensure!(
            self.waiting(&awaited.key)? == u64::try_from(awaited.bodies.len())?,
            "artifacts of {run} were found before a message told of them"
        );
        let start = Instant::now();
        send(&awaited.bodies)?;
        self.until("all records are there", || Ok(self.waiting(&awaited.key)? == 0))?;
        let taken = start.elapsed();
        let (first, _) = self.registered.context("no run is awaited")?;
        ensure!(
            first.elapsed() < RESTS_UNTIL,
            "measuring takes so long that the daemon may have looked by itself: take fewer messages or rounds"
        );
        self.daemon.check_alive()?;
        Ok(taken)
    }

    /// How long a bare consumer takes for the messages about a run that is here.
    pub(super) fn beside(
        &self,
        run: &str,
        mut bare: impl Bare + Send,
        send: impl FnOnce(&[Vec<u8>]) -> Result<()>,
    ) -> Result<Duration> {
        let bodies = &self.awaited(run)?.bodies;
        let start = Instant::now();
        // It reads while messages are sent, as the daemon does.
        thread::scope(|scope| {
            let reading = scope.spawn(move || bare.read(bodies.len()));
            send(bodies)?;
            let read = reading.join();
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(start.elapsed())
    }

    /// The most memory that the daemon has had, in bytes.
    pub(super) fn memory(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.daemon.id());
        process::peak_memory_bytes(&file).context("the daemon has no memory")
    }

    /// Stops the daemon.
    pub(super) fn stop(self) -> Result<()> {
        self.daemon.stop()
    }

    fn awaited(&self, run: &str) -> Result<&Awaited> {
        let awaited = self.runs.iter().find(|awaited| awaited.name == run);
        awaited.context("a run that nobody awaits")
    }

    fn waiting(&self, run: &RunKey) -> Result<u64> {
        let run = self.readers.registry.run(run)?;
        Ok(run.context("a run that is not there")?.waiting)
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !holds()? {
            ensure!(
                start.elapsed() < DEADLINE,
                "waited in vain until {what}; the log is\n{}",
                files::read(&self.log())?
            );
            thread::sleep(ASK);
        }
        Ok(())
    }
}

/// Has a site ask Rucio, hear both brokers, and find nothing by events of its file system.
fn configure(site: &Site, rucio: &str, sources: Sources) -> Result<()> {
    let secret = |name: &str, value: &str| -> Result<()> {
        let file = site.config.with_file_name(name);
        files::write(&file, value.as_bytes())?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o600))
            .with_context(|| format!("cannot protect {}", file.display()))
    };
    secret("rucio.password", PASSWORD)?;
    secret("broker.password", Broker::PASSCODE)?;
    let before = files::read(&site.config)?;
    let place = "confirm = \"size\"\n";
    ensure!(before.contains(place), "the configuration has no root to change");
    let root = format!("{place}rse = \"{RSE}\"\nevents = false\nsweep_interval = \"1s\"\n");
    let (login, destination, topic) = (Broker::LOGIN, messages::OUR_DESTINATION, messages::OURS);
    let Sources { stomp, kafka } = sources;
    let more = format!(
        "\n[rucio]\nurl = \"{rucio}\"\naccount = \"{ACCOUNT}\"\nscope = \"{SCOPE}\"\n\
         [rucio.userpass]\nusername = \"{ACCOUNT}\"\npassword_file = \"rucio.password\"\n\
         [[event_source]]\nname = \"stomp\"\nkind = \"stomp\"\nbrokers = [\"127.0.0.1:{stomp}\"]\ntls = false\n\
         username = \"{login}\"\npassword_file = \"broker.password\"\ndestination = \"{destination}\"\n\
         [[event_source]]\nname = \"kafka\"\nkind = \"kafka\"\nbrokers = [\"127.0.0.1:{kafka}\"]\ntls = false\n\
         topics = [\"{topic}\"]\n"
    );
    let after = before.replacen(place, &root, 1) + &more;
    files::write(&site.config, after.as_bytes())
}
