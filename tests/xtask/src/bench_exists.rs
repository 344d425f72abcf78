//! `cargo xtask bench-exists`: how many UUIDs a second are told to be here.
//!
//! A site registers a large run at level `trust`. Its datasets are asked for in random order, in
//! batches: in this process, through what the handler itself calls, answers written out as JSON; and
//! of the daemon, over its Unix socket and over loopback TCP, one connection at a time. Each round asks
//! all three ways for the same batches, the order turned round each time. Then one UUID at a time is asked for over
//! TCP.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use runsync::assembly::Readers;
use runsync::http::exists;
use runsync_config::site::Site as Configured;
use runsync_manifest::name::DatasetId;

use crate::figures::{median, percentile};
use crate::out::{grouped, say};
use crate::random::Random;
use crate::runsync_command::Site;
use crate::surface::{Client, Surface};
use crate::synthetic::{self, Row};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};

/// Least UUIDs a second in this process.
const IN_PROCESS_BAR: f64 = 300_000.0;
/// Least UUIDs a second over HTTP.
const HTTP_BAR: f64 = 100_000.0;
/// Longest that a request for one UUID may take, in seconds, but for one of a hundred.
const SINGLE_BAR: f64 = 0.005;

/// How much to ask.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Datasets registered
    #[arg(long, default_value_t = 1_000_000)]
    datasets: u64,
    /// UUIDs in one request
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Requests of each way in one round
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    batches: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Requests for one UUID
    #[arg(long, default_value_t = 2000)]
    singles: u64,
}

/// UUIDs per second of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    in_process: f64,
    unix: f64,
    tcp: f64,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if let Some(outcome) = workspace::again_in_release()? {
        return Ok(outcome);
    }
    let binary = workspace::build_runsync(Profile::Release)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let site = synthetic::registered_site(&binary, folder.path(), arguments.datasets)?;
    let subject = Subject::new(&site, arguments)?;
    let mut rounds = Vec::new();
    for number in 1..=arguments.runs {
        let round = subject.round(number)?;
        say!(
            "round {number}: {:.0}/s in process, {:.0}/s over the Unix socket, {:.0}/s over TCP",
            round.in_process,
            round.unix,
            round.tcp
        );
        rounds.push(round);
    }
    let singles = subject.singles(arguments.singles)?;
    let p99 = percentile(singles.iter().copied(), 0.99);
    let half = median(singles);
    let of = |way: fn(&Round) -> f64| median(rounds.iter().map(way));
    let (process, unix, tcp) = (
        of(|round| round.in_process),
        of(|round| round.unix),
        of(|round| round.tcp),
    );
    Ok(Outcome::Measured(Verdict {
        task: "bench-exists",
        measured: format!(
            "of {} datasets, in batches of {}: {process:.0} UUIDs/s in process, {unix:.0}/s over the Unix \
             socket, {tcp:.0}/s over TCP (medians of {}); one UUID: {:.2} ms, p99 {:.2} ms",
            grouped(arguments.datasets),
            grouped(arguments.batch),
            rounds.len(),
            half * 1e3,
            p99 * 1e3
        ),
        bar: format!(
            ">= {IN_PROCESS_BAR:.0}/s, >= {HTTP_BAR:.0}/s, p99 <= {:.0} ms",
            SINGLE_BAR * 1e3
        ),
        met: process >= IN_PROCESS_BAR && unix.min(tcp) >= HTTP_BAR && p99 <= SINGLE_BAR,
    }))
}

/// The same questions, to be asked in three ways.
struct Subject {
    configured: Configured,
    readers: Readers,
    surface: Surface,
    batches: Vec<Batch>,
}

struct Batch {
    uuids: Vec<DatasetId>,
    lines: Vec<u8>,
}

impl Subject {
    fn new(site: &Site, arguments: &Arguments) -> Result<Self> {
        let surface = Surface::open(site, "requests_per_second = 1000000")?;
        let configured = runsync_config::load(&site.config)?;
        let readers = Readers::for_a_command(&configured)?;
        let mut random = Random::new(1);
        let batches = (0..arguments.batches).map(|_| {
            let rows = (0..arguments.batch).map(|_| random.below(arguments.datasets.max(1)));
            let uuids: Vec<_> = rows.map(|at| DatasetId(Row::new(at).uuid)).collect();
            let mut lines = String::new();
            for uuid in &uuids {
                let _infallible = writeln!(lines, "{uuid}");
            }
            let lines = lines.into_bytes();
            Batch { uuids, lines }
        });
        Ok(Self {
            batches: batches.collect(),
            configured,
            readers,
            surface,
        })
    }

    fn round(&self, number: u32) -> Result<Round> {
        let mut round = Round::default();
        let mut ways = [0, 1, 2];
        if number.is_multiple_of(2) {
            ways.reverse();
        }
        for way in ways {
            match way {
                0 => round.in_process = self.in_process()?,
                1 => round.unix = self.over(&mut self.surface.unix()?)?,
                _ => round.tcp = self.over(&mut self.surface.tcp()?)?,
            }
        }
        Ok(round)
    }

    fn in_process(&self) -> Result<f64> {
        let registry = &*self.readers.registry;
        self.timed(|batch| {
            Ok(exists::answer(
                &batch.uuids,
                true,
                &self.configured,
                registry,
                exists::threads(),
            )?)
        })
    }

    fn over(&self, client: &mut Client) -> Result<f64> {
        self.timed(|batch| {
            let answer = client.exists(&batch.lines)?;
            ensure!(answer.status == 200, "answered {}", answer.status);
            Ok(answer.body)
        })
    }

    /// UUIDs a second; every answer must be whole, and say yes.
    fn timed(&self, mut ask: impl FnMut(&Batch) -> Result<Vec<u8>>) -> Result<f64> {
        let mut asked = 0.0;
        let mut seconds = 0.0;
        for batch in &self.batches {
            let begin = Instant::now();
            let lines = ask(batch)?;
            seconds += begin.elapsed().as_secs_f64();
            let said = lines.split(|byte| *byte == b'\n');
            let yes =
                said.filter(|line| line.windows(14).any(|part| part == b"\"exists\":\"yes\""));
            let yes = yes.count();
            ensure!(
                yes == batch.uuids.len(),
                "{yes} of {} are here",
                batch.uuids.len()
            );
            asked += f64::from(u32::try_from(yes)?);
        }
        Ok(asked / seconds)
    }

    /// Seconds that each request for one UUID took.
    fn singles(&self, count: u64) -> Result<Vec<f64>> {
        let mut client = self.surface.tcp()?;
        let uuids = self.batches.iter().flat_map(|batch| &batch.uuids).cycle();
        let count = usize::try_from(count)?;
        let mut seconds = Vec::with_capacity(count);
        for uuid in uuids.take(count) {
            let begin = Instant::now();
            let answer = client.exists(format!("{uuid}\n").as_bytes())?;
            seconds.push(begin.elapsed().as_secs_f64());
            ensure!(
                answer.status == 200 && answer.lines() == 1,
                "answered {}",
                answer.status
            );
        }
        Ok(seconds)
    }
}
