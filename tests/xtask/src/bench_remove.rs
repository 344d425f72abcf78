//! `cargo xtask bench-remove`: how fast a run is removed, beside the least that it could take.
//!
//! Ours is `runsync remove-runs RUN --direct --yes`, from its start to its end: journal, commit,
//! deletion, reaping, journal gone, all of it durable. Beside it stand `rm -rf` of a copy of the
//! files and one SQL transaction that deletes the same rows from a copy of the registry.
//!
//! Then a larger run: how long after the commit a reader still finds it, and what continuing its
//! removal takes where the command died right after the commit.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runsync::assembly::Readers;
use runsync::registry::record::Presence;
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Phase, Plan, Request, Requester};
use runsync_config::root::{ConfirmLevel, Root};
use runsync_manifest::name::DatasetId;
use uuid::Uuid;

use crate::confirming::{Files, Subject};
use crate::out::{grouped, say};
use crate::process::{self, Taken};
use crate::rounds::{Seconds, alternate, per_second};
use crate::synthetic::Row;
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{files as disk, workspace};

/// Most time that removing may take, as a multiple of `rm -rf` and the bare delete together.
const RATIO_BAR: f64 = 1.5;
/// Most time after the commit in which a reader still finds the run.
const SEEN_BAR: Duration = Duration::from_millis(100);
/// Most memory, in bytes.
const MEMORY_BAR: u64 = 150_000_000;

const OURS: &str = "ours";
const BARE: &str = "bare";
/// Pause between two questions of the reader.
const ASK_PAUSE: Duration = Duration::from_millis(1);

/// The rows of the run, from every table that has some.
const BARE_DELETE: &str = "BEGIN IMMEDIATE;
 DELETE FROM record_by_path WHERE (path, root_id, uuid, component) IN (
     SELECT path, root_id, record.uuid, component FROM record JOIN dataset USING (uuid)
     WHERE run_id = 1);
 DELETE FROM record WHERE uuid IN (SELECT uuid FROM dataset WHERE run_id = 1);
 DELETE FROM dataset_by_data_id WHERE run_id = 1;
 DELETE FROM dataset WHERE run_id = 1;
 COMMIT;";

/// How much to measure.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Datasets, each with a file
    #[arg(long, default_value_t = 100_000)]
    datasets: u64,

    /// Datasets of the larger run
    #[arg(long, default_value_t = 1_000_000)]
    large: u64,

    /// Size of each file, in bytes
    #[arg(long, default_value_t = 94)]
    bytes: u64,

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
    let (seconds, memory) = beside_bare(&binary, &folder.path().join("small"), arguments)?;
    let large = large(&binary, &folder.path().join("large"), arguments)?;
    let ratio = seconds.median_ratio(OURS, BARE);
    let memory = memory.max(large.resumed.memory_bytes_max);
    Ok(Outcome::Measured(Verdict {
        task: "bench-remove",
        measured: format!(
            "{} datasets: {:.2} x `rm -rf` and a bare SQL delete ({:.0}/s, medians of {}); of {} a \
             reader finds nothing {:.1} ms after the commit was asked for; their removal continued after the commit in \
             {:.1} s; peak memory {} MB",
            grouped(arguments.datasets),
            ratio,
            per_second(arguments.datasets, seconds.median(OURS)),
            arguments.runs,
            grouped(arguments.large),
            1e3 * large.seen.as_secs_f64(),
            large.resumed.wall.as_secs_f64(),
            memory.div_ceil(1_000_000)
        ),
        bar: format!(
            "<= {RATIO_BAR:.2}, <= {} ms, <= {} MB",
            SEEN_BAR.as_millis(),
            MEMORY_BAR / 1_000_000
        ),
        met: ratio <= RATIO_BAR && large.seen <= SEEN_BAR && memory <= MEMORY_BAR,
    }))
}

/// A run whose artifacts are all there and confirmed.
fn confirmed(binary: &Path, folder: &Path, count: u64, bytes: u64) -> Result<Subject> {
    let files = Files {
        count,
        in_folder: 1_000,
        bytes,
    };
    let subject = Subject::new(binary, folder, files)?;
    let size = |root: &mut Root| root.confirm = ConfirmLevel::Size;
    let taken = subject.confirm(size, None)?;
    ensure!(taken.artifacts == count, "not all artifacts are confirmed");
    Ok(subject)
}

/// The time of both, and the most memory that ours took.
fn beside_bare(binary: &Path, folder: &Path, arguments: &Arguments) -> Result<(Seconds, u64)> {
    let subject = confirmed(binary, folder, arguments.datasets, arguments.bytes)?;
    let (tree, state) = (folder.join("tree"), folder.join("confirmed"));
    disk::copy_folder(&subject.place(), &tree)?;
    disk::copy_folder(subject.state(), &state)?;
    let mut memory = 0;
    let seconds = alternate(arguments.runs, &[OURS, BARE], |step| {
        if step == BARE {
            return bare(&tree, &state, folder);
        }
        restore(&tree, &subject.place())?;
        restore(&state, subject.state())?;
        settle();
        let taken = remove(&subject)?;
        memory = memory.max(taken.memory_bytes_max);
        Ok(taken.wall)
    })?;
    Ok((seconds, memory))
}

/// Puts a copy of a folder in place of another.
fn restore(from: &Path, to: &Path) -> Result<()> {
    if disk::is_there(to)? {
        std::fs::remove_dir_all(to).context("cannot remove what was used")?;
    }
    disk::copy_folder(from, to)
}

/// What was copied is on the disk before anything is timed.
fn settle() {
    rustix::fs::sync();
}

fn remove(subject: &Subject) -> Result<Taken> {
    let mut command = subject.site().command();
    let run = subject.run()?.name.to_string();
    let plan =
        process::output(command.args(["remove-runs", &run, "--direct", "--dry-run", "--json"]))?;
    let plan: Plan = serde_json::from_slice(&plan).context("cannot read the plan")?;
    let mut command = subject.site().command();
    // It is all that the site has.
    command.args(["remove-runs", &run, "--direct", "--approve", &plan.id]);
    command.stdout(std::process::Stdio::null());
    let taken = process::measure(&mut command)?;
    let left = disk::below(&subject.place())?;
    ensure!(left.is_empty(), "{} files are left", left.len());
    Ok(taken)
}

fn bare(tree: &Path, state: &Path, folder: &Path) -> Result<Duration> {
    let (files, databases) = (folder.join("bare-tree"), folder.join("bare-state"));
    restore(tree, &files)?;
    restore(state, &databases)?;
    settle();
    let start = Instant::now();
    process::output(Command::new("rm").arg("-rf").arg(&files))?;
    let removed = start.elapsed();
    let registry = rusqlite::Connection::open(databases.join("registry.sqlite3"))?;
    registry.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;",
    )?;
    registry.execute_batch(BARE_DELETE)?;
    let taken = start.elapsed();
    say!("bare: files {removed:.1?}, with rows {taken:.1?}");
    let left: i64 = registry.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
    ensure!(left == 0, "the bare delete has left {left} records");
    Ok(taken)
}

/// What the larger run came to.
#[derive(Debug, Clone, Copy)]
struct Large {
    /// From asking for the commit until a reader finds nothing.
    seen: Duration,
    /// `runsync journal resume`.
    resumed: Taken,
}

fn large(binary: &Path, folder: &Path, arguments: &Arguments) -> Result<Large> {
    let subject = confirmed(binary, folder, arguments.large, arguments.bytes)?;
    let (removal, seen) = commit(&subject)?;
    settle();
    let mut resume = subject.site().command();
    resume.args(["journal", "resume", &removal.to_string(), "--direct"]);
    let resumed = process::measure(&mut resume)?;
    let left = disk::below(&subject.place())?;
    ensure!(left.is_empty(), "{} files are left", left.len());
    Ok(Large { seen, resumed })
}

/// Commits a removal and goes no further, while another connection asks for a dataset of the run.
fn commit(subject: &Subject) -> Result<(Uuid, Duration)> {
    let (held, assembly) = subject.site().open()?;
    let removing = &assembly.removing;
    let request = Request {
        operation: Operation::RemoveRuns,
        runs: vec![subject.run()?.name],
        chain: None,
        origin: None,
        dataset_type: None,
    };
    let requester = Requester {
        account: "root".to_owned(),
        uid: Some(rustix::process::getuid().as_raw()),
        daemon: false,
        any: false,
    };
    let plan = removing.plan(&request)?;
    let consent = Consent {
        plan: plan.id,
        approved: true,
    };
    let readers = Readers::open(&runsync_config::load(&subject.site().config)?)?;
    let (removal, committed) = (Uuid::new_v4(), AtomicBool::new(false));
    let asked = [DatasetId(Row::new(0).uuid)];
    let presence = || -> Result<Presence> {
        let answers = readers.registry.exists(&asked)?;
        Ok(answers.first().context("no answer")?.presence)
    };
    ensure!(presence()? == Presence::Yes, "the run is not confirmed");
    let (last_seen, committed_at) = thread::scope(|scope| -> Result<_> {
        let reader = scope.spawn(|| -> Result<Instant> {
            loop {
                let over = committed.load(Ordering::SeqCst);
                if presence()? == Presence::No {
                    return Ok(Instant::now());
                }
                ensure!(!over, "a reader finds the run after the commit");
                thread::sleep(ASK_PAUSE);
            }
        });
        let mut asked_for = Instant::now();
        let begun = removing.begin(removal, &request, &consent, &requester, &mut |phase| {
            if phase == Phase::Committing {
                asked_for = Instant::now();
            }
            ControlFlow::Continue(())
        });
        committed.store(true, Ordering::SeqCst);
        begun?;
        let seen = reader.join().ok().context("the reader panicked")??;
        Ok((seen, asked_for))
    })?;
    drop(assembly);
    drop(held);
    let seen = last_seen.saturating_duration_since(committed_at);
    say!("commit: seen by a reader after {seen:?}");
    Ok((removal, seen))
}
