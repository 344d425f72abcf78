//! `cargo xtask two-daemons`: two daemons of one site, of which one works and the other takes over.
//!
//! Small manifests keep arriving. In each round, at a random moment, the daemon that holds the lease
//! is killed (`kill -9`) or stopped (SIGSTOP) in turn, and the time is taken until the other has
//! registered something new. One that was killed is started again; one that was stopped is woken
//! once it has been overtaken, and must stand by.
//!
//! In the end every manifest must have been registered once: its rows are there once, and of both
//! daemons' logs together at most one line says that its dataset was added. A daemon that dies
//! between its commit and that line has said nothing; so many manifests as share a commit may lack
//! it for each that died.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runsync::assembly::{self, Readers};
use runsync::lease::{Fence, LeaseRow, LeaseTable};
use runsync::ledger::SqliteLease;
use runsync::ledger::record::ManifestState;
use runsync_config::registry::RegistryBackend;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::SigningKey;
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;

use crate::out::{grouped, say};
use crate::random::Random;
use crate::runsync_command::{Daemon, Site};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};
use crate::{files, synthetic};

/// The longest takeover that counts, in durations of the lease.
const TAKEOVER_BAR: f64 = 2.0;
/// How often something that must come about is looked for: the error of a measured time.
const POLL: Duration = Duration::from_millis(2);
/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// What a daemon logs that was woken and is no longer the owner.
const LOST: &str = "lease lost";
/// What a daemon logs for each run whose manifest it has registered.
const REGISTERED: &str = "run registered";
/// Manifests that a daemon may have committed and not logged when it dies: far more than arrive
/// while it is at one commit, far fewer than arrive in a round.
const UNTOLD_MAX: u64 = 10;

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// How often the owner is killed or stopped
    #[arg(long, default_value_t = 20)]
    rounds: u32,

    /// The lease's duration, as in the configuration
    #[arg(long, default_value = "1s")]
    lease: String,

    /// Milliseconds between two manifests
    #[arg(long, default_value_t = 50)]
    every: u64,

    /// Brings the moments of another run again
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the proof.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let binary = workspace::build_runsync(Profile::Dev)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let site = Site::init(&binary, folder.path(), "SITE_A", "trust")?;
    set_duration(&site.config, &arguments.lease)?;
    let seen = Onlooker::open(&site.config)?;
    let duration = seen.site.lease.duration;
    let stream = Stream {
        root: site.root.clone(),
        origin: site.repository()?,
        key: site.signing_key()?,
        period: Duration::from_millis(arguments.every),
        arrived: AtomicU64::new(0),
        ended: AtomicBool::new(false),
    };
    let moment = arguments.seed.map_or_else(Random::seed, Ok)?;
    say!("--seed {moment} brings these moments again");
    let mut moments = Random::new(moment);
    let mut pair = Pair::start(&site, folder.path())?;
    let takeovers = thread::scope(|scope| {
        let streaming = scope.spawn(|| stream.run());
        let takeovers = rounds(arguments.rounds, &mut pair, &seen, &mut moments);
        stream.ended.store(true, Ordering::SeqCst);
        streaming.join().ok().context("the stream has panicked")??;
        takeovers
    })?;
    let arrived = stream.arrived.load(Ordering::SeqCst);
    wait_until("everything that arrived is registered", || {
        Ok(seen.registered()? == arrived)
    })?;
    let fence = seen.lease()?.fence;
    let told = pair.stop()?;
    let died = takeovers
        .iter()
        .filter(|takeover| takeover.ended || takeover.after == Fault::Killed);
    let once = seen.registered_once(arrived)? && told.once(arrived, died.count());
    Ok(Outcome::Measured(verdict(
        &takeovers, duration, arrived, once, fence,
    )))
}

fn verdict(
    takeovers: &[Takeover],
    duration: Duration,
    arrived: u64,
    once: bool,
    fence: Fence,
) -> Verdict {
    let longest_after = |what: Fault| {
        let of_kind = takeovers.iter().filter(|takeover| takeover.after == what);
        of_kind.map(|takeover| takeover.took).max()
    };
    for what in [Fault::Killed, Fault::Stopped] {
        if let Some(took) = longest_after(what) {
            say!("longest takeover from an owner that was {what}: {took:.2?}");
        }
    }
    let ended = takeovers.iter().filter(|takeover| takeover.ended).count();
    say!("{ended} owners were stopped in a transaction and ended; the last fence is {fence}");
    let longest = takeovers.iter().map(|takeover| takeover.took).max();
    let ratio = longest.unwrap_or(Duration::MAX).as_secs_f64() / duration.as_secs_f64();
    Verdict {
        task: "two-daemons",
        measured: format!(
            "{} takeovers, the longest {ratio:.2} x the lease of {duration:?}; {} manifests, {}",
            takeovers.len(),
            grouped(arrived),
            if once {
                "each registered once"
            } else {
                "NOT each registered once"
            }
        ),
        bar: format!("<= {TAKEOVER_BAR} x the lease, each once"),
        met: ratio <= TAKEOVER_BAR && once,
    }
}

/// What is done to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
        })
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
struct Takeover {
    after: Fault,
    /// From the signal to something new that the other daemon has registered.
    took: Duration,
    /// Whether the owner stood in the way and was ended.
    ended: bool,
}

fn rounds(
    count: u32,
    pair: &mut Pair,
    seen: &Onlooker,
    moments: &mut Random,
) -> Result<Vec<Takeover>> {
    let duration = seen.site.lease.duration;
    let mut takeovers = Vec::new();
    for round in 1..=count {
        let after = if round % 2 == 1 {
            Fault::Killed
        } else {
            Fault::Stopped
        };
        let takeover = pair
            .take_over(after, seen, moments)
            .with_context(|| format!("in round {round}, the owner {after}"))?;
        let Takeover { took, ended, .. } = takeover;
        let note = if ended { ", and ended" } else { "" };
        say!(
            "round {round}: owner {after}{note}; the other registers after {took:.2?} ({:.2} x the lease)",
            took.as_secs_f64() / duration.as_secs_f64()
        );
        takeovers.push(takeover);
    }
    Ok(takeovers)
}

/// The two daemons.
struct Pair {
    daemons: [One; 2],
}

/// One of the two, in whatever process it runs by now.
struct One {
    /// The site by this daemon's own configuration file.
    site: Site,
    log: PathBuf,
    daemon: Daemon,
}

impl One {
    fn start(site: Site, log: PathBuf) -> Result<Self> {
        let daemon = site.start_daemon(&log)?;
        Ok(Self { site, log, daemon })
    }

    /// How often it has lost the lease.
    fn losses(&self) -> Result<usize> {
        Ok(files::read(&self.log)?.matches(LOST).count())
    }
}

impl Pair {
    fn start(site: &Site, folder: &Path) -> Result<Self> {
        let mut second = site.clone();
        second.config = site.config.with_file_name("second.toml");
        files::write(&second.config, files::read(&site.config)?.as_bytes())?;
        set(&second.config, "http", "socket = \"second.sock\"")?;
        Ok(Self {
            daemons: [
                One::start(site.clone(), folder.join("first.log"))?,
                One::start(second, folder.join("second.log"))?,
            ],
        })
    }

    /// The daemon that holds the lease, once one of the two does and has registered something.
    fn owner(&mut self, seen: &Onlooker) -> Result<&mut One> {
        let mut at = None;
        wait_until("one of the two holds the lease and the other lives", || {
            let holder = seen.lease()?.holder.map(|holder| holder.process.pid);
            for one in &mut self.daemons {
                one.daemon.check_alive()?;
            }
            at = self
                .daemons
                .iter()
                .position(|one| i32::try_from(one.daemon.id()).ok() == holder);
            Ok(at.is_some())
        })?;
        at.and_then(|at| self.daemons.get_mut(at))
            .context("nobody holds the lease")
    }

    fn take_over(
        &mut self,
        after: Fault,
        seen: &Onlooker,
        moments: &mut Random,
    ) -> Result<Takeover> {
        let owner = self.owner(seen)?;
        let before = seen.registered()?;
        wait_until("the owner is at work", || Ok(seen.registered()? > before))?;
        // Anywhere between two renewals, and in whatever it does.
        let within = u64::try_from(seen.site.lease.duration.as_micros()).unwrap_or(u64::MAX);
        thread::sleep(Duration::from_micros(moments.below(within.max(1))));
        let losses = owner.losses()?;
        let start = Instant::now();
        match after {
            Fault::Killed => owner.daemon.kill_now()?,
            Fault::Stopped => owner.daemon.freeze()?,
        }
        let before = seen.registered()?;
        wait_until("the other daemon registers something", || {
            Ok(seen.registered()? > before)
        })?;
        let took = start.elapsed();
        let mut ended = false;
        if after == Fault::Stopped {
            owner.daemon.signal(Signal::CONT)?;
            wait_until("the owner that woke up stands by", || {
                ended = owner.daemon.has_ended()?;
                Ok(ended || owner.losses()? > losses)
            })?;
        }
        if ended || after == Fault::Killed {
            owner.daemon = owner.site.start_daemon(&owner.log)?;
        }
        Ok(Takeover { after, took, ended })
    }

    /// Stops both. Returns what they have told.
    fn stop(self) -> Result<Told> {
        let [first, second] = self.daemons;
        let mut told = Told::default();
        for one in [first, second] {
            one.daemon.stop()?;
            let log = files::read(&one.log)?;
            let errors: Vec<&str> = log
                .lines()
                .filter(|line| line.contains(" ERROR "))
                .collect();
            ensure!(errors.is_empty(), "a daemon has logged {errors:#?}");
            told.hear(&log)?;
        }
        Ok(told)
    }
}

/// How often a run's dataset was added, as the daemons' logs say.
#[derive(Debug, Default)]
struct Told {
    added: BTreeMap<String, usize>,
}

impl Told {
    fn hear(&mut self, log: &str) -> Result<()> {
        for line in log.lines().filter(|line| line.contains(REGISTERED)) {
            let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
            let (Some(run), Some(added)) = (field("run="), field("datasets_added=")) else {
                bail!("cannot understand `{line}`");
            };
            if added != "0" {
                *self.added.entry(run.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Whether no run was told of twice, and so many as have arrived but for what `died` daemons
    /// could not tell any more.
    fn once(&self, arrived: u64, died: usize) -> bool {
        let twice: Vec<_> = self.added.iter().filter(|(_, times)| **times > 1).collect();
        let untold = arrived.saturating_sub(self.added.len() as u64);
        say!(
            "{} registrations logged, {} of them more than once; {untold} lost with the {died} daemons that died",
            grouped(self.added.len() as u64),
            twice.len()
        );
        for (run, times) in &twice {
            say!("{run} was registered {times} times");
        }
        twice.is_empty() && untold <= died as u64 * UNTOLD_MAX
    }
}

/// Reads what the daemons have committed.
struct Onlooker {
    site: runsync_config::site::Site,
    readers: Readers,
    lease: SqliteLease,
}

impl Onlooker {
    fn open(config: &Path) -> Result<Self> {
        let site = runsync_config::load(config)?;
        Ok(Self {
            readers: Readers::open(&site)?,
            lease: SqliteLease::open(&assembly::ledger_file(&site), DEADLINE)?,
            site,
        })
    }

    fn lease(&self) -> Result<LeaseRow> {
        Ok(self.lease.read()?)
    }

    fn registered(&self) -> Result<u64> {
        let counts = self.readers.ledger.counts()?;
        let registered = counts
            .into_iter()
            .find(|(state, _)| *state == ManifestState::Registered);
        Ok(registered.map_or(0, |(_, count)| count))
    }

    /// Whether `arrived` manifests, each of a run with one dataset, have been registered once:
    /// in the ledger, in the runs' counters, and in the rows of every table.
    fn registered_once(&self, arrived: u64) -> Result<bool> {
        let rows = self.readers.ledger.manifests(None)?;
        let registered = rows
            .iter()
            .all(|row| row.state == ManifestState::Registered);
        let runs = self.readers.registry.runs(None)?;
        let names: BTreeSet<String> = runs.iter().map(|run| run.key.name.to_string()).collect();
        let one_each = runs
            .iter()
            .all(|run| (run.datasets, run.claims, run.waiting) == (1, 1, 0));
        let open = self.readers.registry.registering()?.len();
        let RegistryBackend::Sqlite { file } = &self.site.registry;
        let registry = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .context("cannot open the registry")?;
        let mut whole = true;
        for table in [
            "run",
            "dataset",
            "dataset_by_data_id",
            "record",
            "record_by_path",
        ] {
            let count: i64 = registry
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                    row.get(0)
                })
                .with_context(|| format!("cannot count the rows of {table}"))?;
            say!("{} rows in {table}", grouped(count.cast_unsigned()));
            whole &= count.cast_unsigned() == arrived;
        }
        let counted = [rows.len(), runs.len(), names.len()];
        say!("{counted:?} manifests, runs and names of runs; {open} registrations not ended");
        let counted = counted.into_iter().all(|count| count as u64 == arrived);
        Ok(registered && one_each && counted && open == 0 && whole)
    }
}

/// Manifests that keep arriving.
struct Stream {
    root: PathBuf,
    origin: RepositoryId,
    key: SigningKey,
    period: Duration,
    arrived: AtomicU64,
    ended: AtomicBool,
}

impl Stream {
    fn run(&self) -> Result<()> {
        while !self.ended.load(Ordering::SeqCst) {
            let number = self.arrived.load(Ordering::SeqCst);
            let path = self
                .root
                .join(format!("runsync/manifests/stream/{number}.manifest.jsonl"));
            let part = path.with_extension("part");
            synthetic::write_small_manifest(&part, number, self.origin, &self.key)?;
            files::rename(&part, &path)?;
            self.arrived.store(number + 1, Ordering::SeqCst);
            thread::sleep(self.period);
        }
        Ok(())
    }
}

fn set_duration(config: &Path, duration: &str) -> Result<()> {
    set(config, "lease", &format!("duration = \"{duration}\""))
}

/// Writes a line into a section of a configuration that has it already.
fn set(config: &Path, section: &str, line: &str) -> Result<()> {
    let text = files::read(config)?;
    let head = format!("\n[{section}]\n");
    let (before, after) = text
        .split_once(&head)
        .with_context(|| format!("the configuration has no section [{section}]"))?;
    files::write(config, format!("{before}{head}{line}\n{after}").as_bytes())
}

fn wait_until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !condition()? {
        if start.elapsed() > DEADLINE {
            bail!("waited in vain until {what}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}
