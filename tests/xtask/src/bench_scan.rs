//! `cargo xtask bench-scan`: how fast a root is compared with its records, beside the least that it could
//! take.
//!
//! Ours is `runsync scan --direct`, from its start to its end, with a hundred artifacts of each kind of drift in
//! the root. Beside it stand `find -printf` of the same tree, which lists it and asks for each size, and a bare
//! merge: what `find` has printed is sorted and compared, path by path, with one SQL query over the same rows.
//! Both take turns in going first, with everything in the page cache.
//!
//! Then the scan is killed (`kill -9`) ten times on its way, must be further on each time, and end with the same
//! findings; and a scan that is held to so many calls to storage in a second must make as many, and no more.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runsync::recovery::ScanReport;
use runsync_config::root::{ConfirmLevel, Root};
use rusqlite::{OpenFlags, OptionalExtension};
use serde_json::Value;

use crate::confirming::{Files, Subject};
use crate::figures::number;
use crate::out::{grouped, megabytes, say};
use crate::process;
use crate::rounds::{Seconds, alternate, per_second};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{files as disk, workspace};

/// Most time that a scan may take, as a multiple of `find` and the bare merge together.
const RATIO_BAR: f64 = 1.5;
/// Most memory, in bytes.
const MEMORY_BAR: u64 = 200_000_000;
/// How far the calls made in a second may be from those asked for.
const RATE_BAR: f64 = 0.05;
/// Calls to storage in a second, where they are limited.
const RATE: u64 = 1_000;
/// Times that the scan is killed.
const KILLS: u32 = 10;
/// Files to each of these times: a scan writes down where it is every some ten thousand.
const FILES_TO_A_KILL: u64 = 50_000;
/// Longest that a scan may take to write down how far it is.
const PROGRESS_MAX: Duration = Duration::from_secs(60);

const OURS: &str = "ours";
const BARE: &str = "bare";
/// Files in a folder.
const IN_FOLDER: u64 = 1_000;
/// Artifacts of each kind of drift.
const DRIFT: u64 = 100;
/// Exit code of a scan that has found something.
const FOUND: i32 = 3;

/// Paths and sizes in the order of the paths: what a merge needs at the least.
const BARE_ROWS: &str = "SELECT by_path.path, record.size FROM record_by_path AS by_path
     CROSS JOIN record ON record.uuid = by_path.uuid AND record.component = by_path.component
         AND record.root_id = by_path.root_id AND record.path = by_path.path
     ORDER BY by_path.root_id, by_path.path";

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Files, each with a record
    #[arg(long, default_value_t = 1_000_000)]
    files: u64,

    /// Size of each file, in bytes
    #[arg(long, default_value_t = 94)]
    bytes: u64,

    /// Rounds; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Seconds to scan at a limited rate
    #[arg(long, default_value_t = 20)]
    limited: u64,

    /// A folder on the disk to measure on, instead of the machine's for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,

    /// Goes through all of it with the debug build: everything is checked but the bars of time
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
    let folder = match &arguments.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("cannot make a temporary folder")?;
    let scene = Scene::new(&binary, folder.path(), arguments)?;
    let (seconds, memory) = scene.beside_bare(arguments.runs)?;
    let expected = scene.uninterrupted()?;
    Scene::check_drift(&expected)?;
    let killed = scene.killed(seconds.median(OURS))?;
    ensure!(
        scene.findings()? == expected,
        "killed {killed} times, a scan ends with other findings"
    );
    say!(
        "killed {killed} times on its way, each time further on, the scan ends with the same findings"
    );
    let rate = scene.limited(arguments.limited)?;
    let kills = (killed, scene.kills());
    Ok(Outcome::Measured(verdict(
        arguments, &seconds, memory, kills, rate,
    )))
}

fn verdict(
    arguments: &Arguments,
    seconds: &Seconds,
    memory: u64,
    (killed, kills): (u32, u32),
    rate: f64,
) -> Verdict {
    let ratio = seconds.median_ratio(OURS, BARE);
    let off = (rate / number(RATE) - 1.0).abs();
    Verdict {
        task: "bench-scan",
        measured: format!(
            "{} files: {ratio:.2} x `find -printf` and a bare merge ({:.0}/s, medians of {}); peak memory {}; killed \
             {killed} times on its way: the same findings; {rate:.0} calls/s of {} asked for",
            grouped(arguments.files),
            per_second(arguments.files, seconds.median(OURS)),
            arguments.runs,
            megabytes(memory),
            grouped(RATE),
        ),
        bar: if arguments.rehearse {
            format!(
                "rehearsed: <= {}, times do not count",
                megabytes(MEMORY_BAR)
            )
        } else {
            format!(
                "<= {RATIO_BAR:.2}, <= {}, killed {kills} times, within {:.0} %",
                megabytes(MEMORY_BAR),
                100.0 * RATE_BAR
            )
        },
        met: memory <= MEMORY_BAR
            && (arguments.rehearse || ratio <= RATIO_BAR && killed == kills && off <= RATE_BAR),
    }
}

/// A site whose run is confirmed, and drifted since.
struct Scene {
    subject: Subject,
    /// The state before anything was scanned.
    fresh: PathBuf,
    /// Where what `find` prints goes.
    listing: PathBuf,
    files: u64,
}

impl Scene {
    fn new(binary: &Path, folder: &Path, arguments: &Arguments) -> Result<Self> {
        let files = Files {
            count: arguments.files,
            in_folder: IN_FOLDER,
            bytes: arguments.bytes,
        };
        ensure!(
            files.count > 4 * DRIFT,
            "there are too few files for the drift"
        );
        let subject = Subject::new(binary, folder, files)?;
        let size = |root: &mut Root| root.confirm = ConfirmLevel::Size;
        let taken = subject.confirm(size, None)?;
        ensure!(
            taken.artifacts == files.count,
            "not all artifacts are confirmed"
        );
        let fresh = folder.join("confirmed");
        disk::copy_folder(subject.state(), &fresh)?;
        let scene = Self {
            subject,
            fresh,
            listing: folder.join("listing"),
            files: files.count,
        };
        scene.hasten()?;
        scene.drift(files.bytes)?;
        Ok(scene)
    }

    /// A file that nothing names is dark as soon as it is older than runs wait for artifacts.
    fn hasten(&self) -> Result<()> {
        let config = &self.subject.site().config;
        let text = disk::read(config)?;
        let (before, after) = text
            .split_once("[[root]]\n")
            .context("there is no root in the configuration")?;
        let text = format!("{before}[[root]]\nwaiting_deadline = \"1ms\"\n{after}");
        disk::write(config, text.as_bytes())
    }

    /// Files go, come, and grow: as many of each, all over the root.
    fn drift(&self, bytes: u64) -> Result<()> {
        let place = self.subject.place();
        let longer = vec![0; usize::try_from(bytes + 1)?];
        for number in 0..DRIFT {
            let at = number * (self.files / DRIFT);
            let path = |at: u64| {
                let (folder, name) = (at / IN_FOLDER, format!("raw_{at:07}.fits"));
                place.join(format!("{folder:05}")).join(name)
            };
            let lost = path(at);
            std::fs::remove_file(&lost)
                .with_context(|| format!("cannot remove {}", lost.display()))?;
            disk::write(&path(at + 1), &longer)?;
            disk::write(&path(at + 2).with_extension("stray"), &longer)?;
        }
        rustix::fs::sync();
        Ok(())
    }

    /// The time of both, and the most memory that ours took.
    fn beside_bare(&self, rounds: u32) -> Result<(Seconds, u64)> {
        let mut memory = 0;
        let seconds = alternate(rounds, &[OURS, BARE], |step| {
            self.forget()?;
            if step == BARE {
                return self.bare();
            }
            let mut scan = self.scan();
            scan.arg("--anew");
            let begun = Instant::now();
            let mut child = scan.spawn().context("cannot start the scan")?;
            let status = format!("/proc/{}/status", child.id());
            let ended = loop {
                memory = memory.max(process::peak_memory_bytes(&status).unwrap_or(0));
                if let Some(ended) = child.try_wait().context("cannot wait for the scan")? {
                    break ended;
                }
                thread::sleep(Duration::from_millis(2));
            };
            let taken = begun.elapsed();
            ensure!(
                ended.code() == Some(FOUND),
                "the scan has not found anything: {ended}"
            );
            Ok(taken)
        })?;
        Ok((seconds, memory))
    }

    /// `find` over the root, what it prints sorted, and merged with one query.
    fn bare(&self) -> Result<Duration> {
        let output = File::create(&self.listing).context("cannot make a file for the listing")?;
        let start = Instant::now();
        let mut find = Command::new("find");
        find.arg(&self.subject.site().root);
        find.args(["-type", "f", "-printf", "%P\\t%s\\n"]);
        let status = find.stdout(output).status().context("cannot start find")?;
        ensure!(status.success(), "find failed: {status}");
        let found = start.elapsed();
        let met = self.merge()?;
        let taken = start.elapsed();
        say!("bare: find {found:.1?}, with the merge {taken:.1?}");
        ensure!(
            met == [DRIFT; 3],
            "the bare merge has found {met:?} lost, dark and of another size"
        );
        Ok(taken)
    }

    /// How many are lost, dark and of another size.
    fn merge(&self) -> Result<[u64; 3]> {
        let text = disk::read(&self.listing)?;
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let mut files: Vec<(&str, &str)> = lines
            .filter(|(path, _)| !path.starts_with("runsync/"))
            .collect();
        files.sort_unstable();
        let mut files = files.into_iter().peekable();
        let registry = rusqlite::Connection::open(self.subject.state().join("registry.sqlite3"))?;
        let mut statement = registry.prepare(BARE_ROWS)?;
        let mut rows = statement.query([])?;
        let (mut lost, mut dark, mut differ) = (0, 0, 0);
        while let Some(row) = rows.next()? {
            let (path, size) = (row.get_ref(0)?.as_str()?, row.get::<_, i64>(1)?);
            while files.next_if(|(file, _)| *file < path).is_some() {
                dark += 1;
            }
            let order = files.peek().map(|(file, _)| (*file).cmp(path));
            if order != Some(Ordering::Equal) {
                lost += 1;
            } else if let Some((_, found)) = files.next() {
                differ += u64::from(found.parse() != Ok(size));
            }
        }
        Ok([lost, dark + number_of(files), differ])
    }

    /// Brings the site back to where nothing was scanned.
    fn forget(&self) -> Result<()> {
        let state = self.subject.state();
        std::fs::remove_dir_all(state).context("cannot remove the used state")?;
        disk::copy_folder(&self.fresh, state)?;
        rustix::fs::sync();
        Ok(())
    }

    fn scan(&self) -> Command {
        let mut command = self.subject.site().command();
        command.args(["scan", "--json"]).stdout(Stdio::null());
        command
    }

    /// All findings, without what differs from scan to scan.
    fn findings(&self) -> Result<Vec<Value>> {
        let mut list = self.subject.site().command();
        list.args(["findings", "list", "--json"]);
        let lines = String::from_utf8(process::output(&mut list)?)?;
        let findings = lines.lines().map(|line| {
            let mut finding: Value = serde_json::from_str(line)?;
            let fields = finding.as_object_mut().context("a finding has no fields")?;
            for time in ["first_seen", "last_seen"] {
                ensure!(fields.remove(time).is_some(), "a finding has no `{time}`");
            }
            Ok(finding)
        });
        findings.collect()
    }

    /// Checks that what was done to the root is what was found.
    fn check_drift(findings: &[Value]) -> Result<()> {
        for kind in ["lost", "dark", "corrupt"] {
            let count = number_of(findings.iter().filter(|finding| finding["kind"] == kind));
            ensure!(count == DRIFT, "{count} are {kind}, not {DRIFT}");
        }
        ensure!(number_of(findings.iter()) == 3 * DRIFT, "more was found");
        Ok(())
    }

    /// What a scan finds that goes through all of it at once.
    fn uninterrupted(&self) -> Result<Vec<Value>> {
        self.forget()?;
        self.go_through()?;
        self.findings()
    }

    /// Scans to the end.
    fn go_through(&self) -> Result<()> {
        let ended = self.scan().status().context("cannot start the scan")?;
        ensure!(
            ended.code() == Some(FOUND),
            "the scan did not end well: {ended}"
        );
        Ok(())
    }

    /// Kills the scan ten times on its way, which takes it so long, each time further on, and lets it come to its
    /// end; how often it was killed.
    fn killed(&self, whole: Duration) -> Result<u32> {
        self.forget()?;
        let (mut killed, mut position) = (0, String::new());
        while killed < self.kills() {
            let mut child = self.scan().spawn().context("cannot start the scan")?;
            thread::sleep(whole / (KILLS + 2));
            if self.has_positions() {
                self.wait_for_more_than(&position, &mut child)?;
            }
            child.kill().context("cannot kill the scan")?;
            let ended = child.wait().context("cannot wait for the scan")?;
            let Some(reached) = self.position()?.filter(|_| ended.code().is_none()) else {
                break;
            };
            ensure!(
                reached > position || !self.has_positions(),
                "killed, a scan that began at `{position}` leaves off at `{reached}`"
            );
            (killed, position) = (killed + 1, reached);
        }
        self.go_through()?;
        Ok(killed)
    }

    /// How often the scan is killed: less often where there is less to scan.
    fn kills(&self) -> u32 {
        let most = u32::try_from(self.files / FILES_TO_A_KILL);
        most.map_or(KILLS, |most| most.clamp(1, KILLS))
    }

    /// Whether a scan writes down where it is more than once.
    fn has_positions(&self) -> bool {
        self.files >= 2 * FILES_TO_A_KILL
    }

    /// Waits until a scan has written down that it is further than that, or has ended.
    fn wait_for_more_than(&self, position: &str, scan: &mut Child) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PROGRESS_MAX {
            let has_ended = scan.try_wait().context("cannot wait for the scan")?;
            if has_ended.is_some() || self.position()?.is_some_and(|now| *now > *position) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        bail!("a scan that began at `{position}` comes no further in {PROGRESS_MAX:.0?}")
    }

    /// Where the next scan goes on; none where no pass is under way.
    fn position(&self) -> Result<Option<String>> {
        let ledger = self.subject.state().join("ledger.sqlite3");
        let ledger =
            rusqlite::Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let row = ledger.query_row("SELECT position FROM scan", [], |row| row.get(0));
        Ok(row.optional()?.flatten())
    }

    /// Calls in a second that a limited scan makes.
    fn limited(&self, seconds: u64) -> Result<f64> {
        self.forget()?;
        let mut scan = self.scan();
        let (rate, most) = (RATE.to_string(), format!("{seconds}s"));
        scan.args(["--calls-per-second", &rate, "--time", &most]);
        let start = Instant::now();
        let output = scan.stdout(Stdio::piped()).output();
        let output = output.context("cannot start the scan")?;
        let taken = start.elapsed();
        let report: ScanReport = serde_json::from_slice(&output.stdout)
            .context("cannot read what the limited scan reports")?;
        let rate = number(report.counts.calls) / taken.as_secs_f64();
        say!(
            "held to {} calls/s: {} in {taken:.1?}, from start to end",
            grouped(RATE),
            grouped(report.counts.calls)
        );
        Ok(rate)
    }
}

fn number_of(items: impl Iterator) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}
