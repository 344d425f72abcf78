//! `scan`: compares roots with their records, and keeps what differs.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanBytes;
use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RunName};
use serde::Serialize;

use crate::assembly::{Assembly, AssemblyError};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{self, Output};
use crate::cli::source::Way;
use crate::cli::{arguments, progress, turn};
use crate::clock::SystemClock;
use crate::http::{Client, ClientError, ProblemBody, ScanEvent, Status, ToScan};
use crate::recovery::{Checks, Limits, Order, RunScope, ScanError, ScanReport};
use crate::sync::{SyncError, ViewOrder, ViewReport};
use crate::telemetry;

/// The share that is read where none is named.
const SAMPLE: f64 = 0.01;
/// Lines that are shown of each kind; `--json` has more.
const SHOWN: usize = 10;

/// Compare roots with their records, within limits, and keep what differs
///
/// Finds records without artifacts (lost), artifacts without records (dark), and artifacts of another size or
/// checksum than their records (corrupt); `runsync findings` shows them. Nothing is changed. A scan that
/// stops at a limit, or is stopped, is gone on with by the next one. The daemon scans, where one runs, and goes
/// on where this command is interrupted; without a daemon the command scans itself. Exits with 3 where something
/// was found, or nothing could be concluded about a part.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    /// Only what lies below this folder of the root
    #[arg(long, value_name = "FOLDER", value_parser = arguments::folder)]
    prefix: Option<ArtifactPath>,
    /// Only what belongs to the run of this name: what lies below the folder of its name, and at the paths of
    /// its records; may be given several times
    #[arg(long = "run", value_name = "NAME", conflicts_with = "prefix")]
    runs: Vec<RunName>,
    /// Only what belongs to runs whose first manifest was registered at this site then, or later, such as
    /// `2026-11-01T00:00:00Z`
    #[arg(long, value_name = "TIME", conflicts_with = "prefix", value_parser = arguments::time)]
    runs_since: Option<Timestamp>,
    /// Only what belongs to runs whose first manifest was registered at this site earlier than that
    #[arg(long, value_name = "TIME", conflicts_with = "prefix", value_parser = arguments::time)]
    runs_until: Option<Timestamp>,
    /// Stop after so many files and records
    #[arg(long, value_name = "COUNT")]
    objects: Option<u64>,
    /// Stop after reading so many bytes for checksums
    #[arg(long, value_name = "COUNT")]
    bytes: Option<u64>,
    /// Stop after this time, such as `30min`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Make no more calls to storage in a second
    #[arg(long, value_name = "COUNT")]
    calls_per_second: Option<NonZeroU64>,
    /// Which artifacts to read; those that were found lost or corrupt before are always read
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Checksum::None)]
    checksum: Checksum,
    /// The share to read with `--checksum sampled`, between 0 and 1 [default: 0.01]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sample: Option<f64>,
    /// Begin anew, wherever the last scan stopped
    #[arg(long)]
    anew: bool,
    /// Compare records with Rucio's replicas at the RSE that a root is, and not with storage
    #[arg(long, conflicts_with_all = ["prefix", "runs", "runs_since", "runs_until", "objects", "bytes",
        "calls_per_second", "checksum", "sample"])]
    rucio: bool,
    /// With `--rucio`: stop after so many requests to Rucio
    #[arg(long, value_name = "COUNT", requires = "rucio")]
    requests: Option<u64>,
    #[command(flatten)]
    way: Way,
}

/// Which artifacts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Checksum {
    None,
    Sampled,
    Full,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("it is not between 0 and 1".to_owned())
    }
}

impl Args {
    fn order(&self) -> Result<Order, Failure> {
        let checks = match (self.checksum, self.sample) {
            (Checksum::None, None) => Checks::None,
            (Checksum::Full, None) => Checks::Full,
            (Checksum::Sampled, share) => Checks::Sampled(share.unwrap_or(SAMPLE)),
            (Checksum::None | Checksum::Full, Some(_)) => {
                return Err(
                    Failure::new("`--sample` goes with `--checksum sampled` alone").usage(),
                );
            }
        };
        if self.runs_since >= self.runs_until && self.runs_until.is_some() {
            let why = "`--runs-until` is not later than `--runs-since`: no run was registered between them";
            return Err(Failure::new(why).usage());
        }
        Ok(Order {
            roots: self.root.clone().into_iter().collect(),
            below: self.prefix.clone(),
            runs: RunScope {
                names: self.runs.clone(),
                since: self.runs_since,
                until: self.runs_until,
            },
            limits: Limits {
                objects: self.objects,
                bytes: self.bytes,
                time: self.time,
                calls_per_second: self.calls_per_second,
            },
            checks,
            anew: self.anew,
            ..Order::default()
        })
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let mut told = Telling::new(context);
    let client = args.way.daemon(context)?;
    if args.rucio {
        let order = ViewOrder {
            roots: args.root.clone().into_iter().collect(),
            requests: args.requests,
            time: args.time,
            anew: args.anew,
        };
        match client {
            Some(client) => by_daemon(&client, &ToScan::from(&order), context, &mut told)?,
            None => compare(&order, context, &mut told)?,
        }
        return told.end();
    }
    let order = args.order()?;
    match client {
        Some(client) => by_daemon(&client, &ToScan::from(&order), context, &mut told)?,
        None => directly(&order, context, &mut told)?,
    }
    told.end()
}

fn directly(order: &Order, context: &Context, told: &mut Telling) -> Result<(), Failure> {
    telemetry::start_for_a_command(&context.site()?.log)?;
    let (_held, assembly) = take(context)?;
    let runs = assembly.parts.registry.runs(None)?;
    let records = runs.iter().map(|run| run.claims).sum();
    let bar = progress::bar(context, "records compared", records);
    let mut printed = Ok(());
    let done = assembly.scanning.scan_each(
        order,
        &mut |report| {
            let now = bar.suspend(|| told.scanned(report));
            printed = std::mem::replace(&mut printed, Ok(())).and(now);
        },
        &mut |counts| {
            bar.set_position(counts.records);
            ControlFlow::Continue(())
        },
    );
    bar.finish_and_clear();
    printed?;
    Ok(done?)
}

fn compare(order: &ViewOrder, context: &Context, told: &mut Telling) -> Result<(), Failure> {
    telemetry::start_for_a_command(&context.site()?.log)?;
    let (_held, assembly) = take(context)?;
    let syncing = &assembly.syncing;
    let spinner = progress::spinner(context, "comparing with Rucio");
    let mut printed = Ok(());
    let done = syncing.view_each(
        syncing.rucio()?,
        order,
        &mut |report| {
            let now = spinner.suspend(|| told.viewed(report));
            printed = std::mem::replace(&mut printed, Ok(())).and(now);
        },
        &mut || {
            spinner.tick();
            ControlFlow::Continue(())
        },
    );
    spinner.finish_and_clear();
    printed?;
    Ok(done?)
}

fn by_daemon(
    client: &Client,
    wanted: &ToScan,
    context: &Context,
    told: &mut Telling,
) -> Result<(), Failure> {
    let status: Status = client.get("/v1/status", &[])?;
    let bar = progress::bar(context, "records compared", status.runs.claims);
    let mut lines = client.post_lines("/v1/scans", wanted)?;
    while let Some(event) = lines.next()? {
        match event {
            ScanEvent::Working { counts } => bar.set_position(counts.records),
            ScanEvent::Scanned { report } => bar.suspend(|| told.report(*report))?,
            ScanEvent::Compared { report } => bar.suspend(|| told.compared(*report))?,
            ScanEvent::Refused { problem } => told.failed(refused(problem)),
            ScanEvent::Ended => {
                bar.finish_and_clear();
                return Ok(());
            }
            ScanEvent::Failed { problem } => {
                bar.finish_and_clear();
                return Err(refused(problem));
            }
        }
    }
    bar.finish_and_clear();
    Err(Failure::new("the daemon has ended in the middle")
        .hint("see its log; what was found is kept, and the next scan goes on"))
}

fn refused(problem: ProblemBody) -> Failure {
    ClientError::Refused(Box::new(problem)).into()
}

/// What is told of each root, and how the command ends.
struct Telling {
    output: Output,
    is_well: bool,
    failed: Option<Failure>,
}

impl Telling {
    fn new(context: &Context) -> Self {
        Self {
            output: context.output(),
            is_well: true,
            failed: None,
        }
    }

    fn scanned(&mut self, report: Result<ScanReport, ScanError>) -> Result<(), Failure> {
        match report {
            Ok(report) => self.report(report),
            Err(error) => {
                self.failed(error.into());
                Ok(())
            }
        }
    }

    fn viewed(&mut self, report: Result<ViewReport, SyncError>) -> Result<(), Failure> {
        match report {
            Ok(report) => self.compared(report),
            Err(error) => {
                self.failed(error.into());
                Ok(())
            }
        }
    }

    fn report(&mut self, report: ScanReport) -> Result<(), Failure> {
        self.is_well &= report.is_well();
        Ok(self.output.value(&Told(report))?)
    }

    fn compared(&mut self, report: ViewReport) -> Result<(), Failure> {
        self.is_well &= report.is_well();
        Ok(self.output.value(&Compared(report))?)
    }

    /// The first is told at the end.
    fn failed(&mut self, failure: Failure) {
        if self.failed.is_some() {
            tracing::error!("{failure}");
        } else {
            self.failed = Some(failure);
        }
    }

    fn end(mut self) -> Result<Outcome, Failure> {
        self.output.flush()?;
        match self.failed {
            Some(failure) => Err(failure),
            None if self.is_well => Ok(Outcome::Done),
            None => Ok(Outcome::Differences),
        }
    }
}

/// Opens the site for a command that the daemon does not do.
fn take(context: &Context) -> Result<(crate::lease::Held, Assembly), Failure> {
    let site = context.site()?;
    let taken = turn::take(site, context, |tenure| {
        Assembly::open(site, tenure, Arc::new(SystemClock))
    });
    taken.map_err(without_daemon)
}

/// Says what to do where the daemon holds the lease, whose hint is about commands that it does too.
pub(crate) fn without_daemon(failure: Failure) -> Failure {
    match failure.cause::<AssemblyError>() {
        Some(AssemblyError::Held(_)) => {
            failure.hint("leave `--direct` away, so that the daemon does it; where its socket does not answer, see its log")
        }
        Some(_) | None => failure,
    }
}

/// What came of it, for people.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told(ScanReport);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let counts = &report.counts;
        write!(f, "root {}", report.root)?;
        match report.scope.strip_prefix('/') {
            Some(runs) => write!(f, ", {}", output::printable(runs))?,
            None if report.scope.is_empty() => {}
            None => write!(f, ", below {}", report.scope)?,
        }
        write!(
            f,
            ": {} files ({}), {} records, pass {}",
            counts.files,
            HumanBytes(counts.bytes),
            counts.records,
            report.pass
        )?;
        match &report.position {
            None => f.write_str(", which is through")?,
            Some(position) => write!(f, ", which goes on at `{}`", output::printable(position))?,
        }
        for (kind, count) in &report.findings {
            if *count > 0 {
                write!(
                    f,
                    "\n{count} {kind}: see `runsync findings list --kind {kind}`"
                )?;
            }
        }
        self.counted(f)?;
        self.told(f)
    }
}

/// What came of comparing with Rucio's replicas, for people.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Compared(ViewReport);

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let counts = &report.counts;
        write!(
            f,
            "root {}, {} in Rucio: {} records, {} replicas, {} requests, a pass which {}",
            report.root,
            report.rse,
            counts.records,
            counts.replicas,
            counts.requests,
            if report.whole {
                "is through"
            } else {
                "goes on"
            }
        )?;
        for (kind, count) in &report.findings {
            if *count > 0 {
                write!(
                    f,
                    "\n{count} {kind}: see `runsync findings list --kind {kind}`"
                )?;
            }
        }
        for (count, what) in [
            (
                counts.not_of_rucio,
                "artifacts of runs that are not in Rucio",
            ),
            (counts.awaited, "replicas of artifacts that are awaited"),
            (
                counts.undecided,
                "artifacts about which nothing is concluded: something is under way, or Rucio does not list what it has",
            ),
        ] {
            if count > 0 {
                write!(f, "\n{count} {what}")?;
            }
        }
        Ok(())
    }
}

impl Told {
    fn counted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.0.counts;
        for (count, what) in [
            (counts.checked, "files read, which have their checksums"),
            (counts.awaited, "artifacts awaited"),
            (
                counts.under_way,
                "artifacts that something under way concerns",
            ),
            (
                counts.spoken_for,
                "files that a journal or a manifest not registered names",
            ),
            (counts.new, "files too new to be called dark"),
            (
                counts.untold,
                "files that no record names, in a root of Rucio's names, where dark files are not told",
            ),
            (counts.second_names, "second names of artifacts"),
            (counts.temporary, "files of temporary or hidden names"),
            (counts.unnameable, "names that no artifact can have"),
            (counts.irregular, "links, pipes and the like"),
            (
                counts.left_out,
                "files that the listing left out, and that are there",
            ),
            (counts.unlisted, "folders that could not be listed whole"),
            (
                counts.unjudged,
                "records below these, about which nothing is concluded",
            ),
            (
                counts.elsewhere,
                "artifacts below folders that are roots of their own",
            ),
            (
                counts.undecided,
                "paths about which nothing is concluded: something changed, or age tells nothing",
            ),
            (
                counts.unreadable,
                "paths that could not be looked at or read, about which nothing is concluded",
            ),
        ] {
            if count > 0 {
                write!(f, "\n{count} {what}")?;
            }
        }
        Ok(())
    }

    fn told(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let journals = report.stale_journals.iter();
        let journals = journals.map(|journal| format!("{}: {}", journal.name, journal.reason));
        let runs = report.overdue_runs.iter();
        let runs = runs.map(|run| format!("{} {}", run.run, run.detail));
        for (what, lines) in [
            ("note", report.notes.clone()),
            ("not listed", report.unlisted.clone()),
            ("odd", report.odd.clone()),
            ("stale journal", journals.collect()),
            ("overdue", runs.collect()),
        ] {
            for line in lines.iter().take(SHOWN) {
                write!(f, "\n{what}: {}", output::printable(line))?;
            }
            if let Some(more) = lines.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                write!(f, "\n{what}: {more} more")?;
            }
        }
        Ok(())
    }
}
