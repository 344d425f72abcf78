//! `cargo xtask load-http`: the surface under load, with clients beside that do not behave.
//!
//! So many connections ask `/v1/exists` over loopback TCP, each as fast as it is answered. Beside them
//! are clients that send half a head, that send a body byte by byte, and that never read their answers;
//! one that is cut off comes again. Meanwhile a small manifest is renamed into the root twice a second.
//!
//! Nothing but 200 and 429 may be answered, the daemon's memory must stay bounded, and each manifest
//! must be in the registry within a second, but for one of a hundred.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runsync::assembly::Readers;
use runsync_manifest::name::{RepositoryId, RunKey};
use runsync_manifest::signature::SigningKey;

use crate::figures::{median, number, percentile};
use crate::out::{grouped, megabytes, say};
use crate::random::Random;
use crate::runsync_command::Site;
use crate::surface::{Surface, head};
use crate::synthetic::{self, Row};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};
use crate::{files, process};

/// Most memory of the daemon, in bytes.
const MEMORY_BAR: u64 = 256_000_000;
/// Most memory in the last quarter of the time, as a multiple of the second, in which caches still
/// fill.
const GROWTH_BAR: f64 = 1.25;
/// Longest that a manifest may take from its rename to the registry, in seconds, but for one of a
/// hundred.
const LATENCY_BAR: f64 = 1.0;
/// UUIDs in one request.
const BATCH: u64 = 1000;
/// Clients of each kind that do not behave.
const UNRULY: usize = 8;
/// Pause between two manifests.
const MANIFEST_PAUSE: Duration = Duration::from_millis(500);
/// How often the registry is asked for a manifest: far more often than the bar.
const POLL: Duration = Duration::from_millis(5);

/// How much load.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Connections that ask
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Datasets registered
    #[arg(long, default_value_t = 1_000_000)]
    datasets: u64,
}

/// What came of the requests.
#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    busy: AtomicU64,
    failed: AtomicU64,
    cut_off: AtomicU64,
    over: AtomicBool,
}

impl Counts {
    fn add(of: &AtomicU64) {
        of.fetch_add(1, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let site = synthetic::registered_site(&binary, folder.path(), arguments.datasets)?;
    let more = "requests_per_second = 1000000\nheader_timeout = \"5s\"\nstall_timeout = \"5s\"";
    let surface = Surface::open(&site, more)?;
    let counts = Counts::default();
    let (latencies, memory) = thread::scope(|scope| -> Result<(Vec<f64>, Memory)> {
        for number in 0..arguments.connections {
            let (surface, counts) = (&surface, &counts);
            scope.spawn(move || asker(surface, counts, number as u64, arguments.datasets));
        }
        for _ in 0..UNRULY {
            for unruly in [half_head, slow_body, deaf] {
                let (surface, counts) = (&surface, &counts);
                scope.spawn(move || misbehave(surface, counts, unruly));
            }
        }
        let length = Duration::from_secs(arguments.seconds);
        let begin = Instant::now();
        let end = begin + length;
        let (daemon, counts) = (surface.process(), &counts);
        let memory = scope.spawn(move || watch_memory(daemon, begin, length, counts));
        let latencies = manifests(&site, end);
        counts.over.store(true, Ordering::Relaxed);
        let memory = memory
            .join()
            .ok()
            .context("the watching thread panicked")??;
        Ok((latencies?, memory))
    })?;
    let healthy = surface.unix()?.get("/healthz")?.status == 200;
    Ok(Outcome::Measured(verdict(
        arguments, &counts, &latencies, memory, healthy,
    )))
}

fn verdict(
    arguments: &Arguments,
    counts: &Counts,
    latencies: &[f64],
    memory: Memory,
    healthy: bool,
) -> Verdict {
    let get = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (answered, busy, failed) = (
        get(&counts.answered),
        get(&counts.busy),
        get(&counts.failed),
    );
    let p99 = percentile(latencies.iter().copied(), 0.99);
    let half = median(latencies.iter().copied());
    Verdict {
        task: "load-http",
        measured: format!(
            "{} connections for {} s: {} answers of {BATCH} UUIDs, {} times 429, {failed} errors; {} unruly \
             clients cut off; daemon's memory at most {}, in the last quarter {:.2} of the second; {} \
             manifests in the registry after {:.0} ms, p99 {:.0} ms",
            arguments.connections,
            arguments.seconds,
            grouped(answered),
            grouped(busy),
            grouped(get(&counts.cut_off)),
            megabytes(memory.peak),
            memory.late / memory.early,
            latencies.len(),
            half * 1e3,
            p99 * 1e3
        ),
        bar: format!(
            "0 errors, <= {} and <= {GROWTH_BAR:.2}, p99 < {:.0} ms",
            megabytes(MEMORY_BAR),
            LATENCY_BAR * 1e3
        ),
        met: failed == 0 && answered > 0 && healthy && memory.is_bounded() && p99 < LATENCY_BAR,
    }
}

/// Asks until it is over.
fn asker(surface: &Surface, counts: &Counts, seed: u64, datasets: u64) {
    let mut random = Random::new(seed);
    let mut client = None;
    while !counts.is_over() {
        let mut uuids = String::new();
        for _ in 0..BATCH {
            let uuid = Row::new(random.below(datasets.max(1))).uuid;
            let _infallible = writeln!(uuids, "{uuid}");
        }
        let asked = (|| {
            let client = match &mut client {
                Some(client) => client,
                none => none.insert(surface.tcp()?),
            };
            client.exists(uuids.as_bytes())
        })();
        match asked {
            Ok(answer) if answer.status == 200 && answer.lines() as u64 == BATCH => {
                Counts::add(&counts.answered);
            }
            Ok(answer) if answer.status == 429 => Counts::add(&counts.busy),
            Ok(answer) => {
                say!("answered {}", answer.status);
                Counts::add(&counts.failed);
            }
            Err(error) => {
                say!("not answered: {error:#}");
                Counts::add(&counts.failed);
                client = None;
            }
        }
    }
}

type Unruly = fn(&Surface, &Counts) -> Result<()>;

/// Comes again and again, and is cut off each time.
fn misbehave(surface: &Surface, counts: &Counts, unruly: Unruly) {
    while !counts.is_over() {
        // Whatever it meets is what it asked for.
        if unruly(surface, counts).is_ok() {
            Counts::add(&counts.cut_off);
        }
    }
}

/// Sends half a head, and waits.
fn half_head(surface: &Surface, _: &Counts) -> Result<()> {
    let mut stream = surface.tcp_stream()?;
    stream.write_all(b"POST /v1/exists HTTP/1.1\r\nHost: x\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Sends a byte a second, and stops half-way.
fn slow_body(surface: &Surface, counts: &Counts) -> Result<()> {
    let mut stream = surface.tcp_stream()?;
    stream.write_all(head("POST", "/v1/exists", "text/plain", 1000).as_bytes())?;
    for byte in b"0000" {
        if counts.is_over() {
            break;
        }
        stream.write_all(&[*byte])?;
        thread::sleep(Duration::from_secs(1));
    }
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Asks for much, and reads nothing for longer than the daemon waits.
fn deaf(surface: &Surface, counts: &Counts) -> Result<()> {
    let mut stream = surface.tcp_stream()?;
    let uuids = "00000000-0000-0000-0000-000000000001\n".repeat(200_000);
    stream.write_all(head("POST", "/v1/exists", "text/plain", uuids.len()).as_bytes())?;
    stream.write_all(uuids.as_bytes())?;
    for _ in 0..10 {
        if counts.is_over() {
            break;
        }
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// Renames manifests into the root, and tells how long each took to be in the registry.
fn manifests(site: &Site, end: Instant) -> Result<Vec<f64>> {
    let configured = runsync_config::load(&site.config)?;
    let readers = Readers::open(&configured)?;
    let (origin, key) = (site.repository()?, site.signing_key()?);
    let mut latencies = Vec::new();
    while Instant::now() < end {
        latencies.push(manifest(
            latencies.len() as u64,
            &site.root,
            origin,
            &key,
            &readers,
        )?);
        thread::sleep(MANIFEST_PAUSE);
    }
    Ok(latencies)
}

fn manifest(
    number: u64,
    root: &Path,
    origin: RepositoryId,
    key: &SigningKey,
    readers: &Readers,
) -> Result<f64> {
    let name = synthetic::small_run(number);
    let final_path = root
        .join("runsync/manifests")
        .join(origin.to_string())
        .join(name.as_str())
        .join("1-1.manifest.jsonl");
    let temporary = final_path.with_extension("part");
    synthetic::write_small_manifest(&temporary, number, origin, key)?;
    let run = RunKey { origin, name };
    files::rename(&temporary, &final_path)?;
    let begin = Instant::now();
    while readers
        .registry
        .run(&run)?
        .is_none_or(|row| row.datasets == 0)
    {
        ensure!(
            begin.elapsed() < Duration::from_secs(60),
            "a manifest never came into the registry"
        );
        thread::sleep(POLL);
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// The daemon's memory, in bytes, as the kernel counts it.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// The most.
    peak: u64,
    /// In the second quarter of the time and in the last one, medians.
    early: f64,
    late: f64,
}

impl Memory {
    fn is_bounded(self) -> bool {
        self.peak <= MEMORY_BAR && self.late <= self.early * GROWTH_BAR
    }
}

/// Watches the daemon's memory until it is over, which will be so long after `begin`.
fn watch_memory(daemon: u32, begin: Instant, length: Duration, counts: &Counts) -> Result<Memory> {
    let status = format!("/proc/{daemon}/status");
    let (mut early, mut late) = (Vec::new(), Vec::new());
    let mut peak = 0;
    while !counts.is_over() {
        let memory = process::resident_bytes(&status).zip(process::peak_memory_bytes(&status));
        let (now, most) = memory.context("the kernel does not tell the daemon's memory")?;
        peak = most;
        let part = begin.elapsed().as_secs_f64() / length.as_secs_f64();
        if (0.25..0.5).contains(&part) {
            early.push(number(now));
        } else if part >= 0.75 {
            late.push(number(now));
        }
        thread::sleep(Duration::from_millis(200));
    }
    let (early, late) = (median(early), median(late));
    Ok(Memory { peak, early, late })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_or_is_large_is_not_bounded() {
        let bounded = |peak, early, late| Memory { peak, early, late }.is_bounded();
        assert!(bounded(120, 100.0, 109.0));
        assert!(!bounded(130, 100.0, 126.0));
        assert!(!bounded(MEMORY_BAR + 1, 100.0, 100.0));
        assert!(!bounded(120, f64::NAN, 100.0), "it was not looked at early");
    }
}
