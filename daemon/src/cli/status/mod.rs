//! `status`: what an operator wants to know first.

mod report;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_config::site::Site;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RunKey, SiteName};
use serde::Serialize;
use uuid::Uuid;

use crate::assembly::Readers;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::clock::{Clock, SystemClock, later};
use crate::ingest::gaps;
use crate::ingest::refuse::is_held;
use crate::ledger::record::{Finding, ManifestRow, ManifestState};
use crate::registry::record::{Registering, RunRow};

/// Sweeps that may be missed before it is told; a long registration may keep one from its time.
const MISSED_SWEEPS: u32 = 2;

/// Show runs, manifests, what is waited for, and what needs a hand
///
/// Answers from registry and ledger, whether or not the daemon runs and the roots are mounted. Shows
/// the first entries of each list; `--json` has them all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The answer.
#[derive(Debug, Serialize)]
struct Status {
    site: SiteName,
    registry: Uuid,
    /// When this was read.
    at: Timestamp,
    /// When a manifest was last registered.
    last_registered: Option<Timestamp>,
    roots: Vec<RootStatus>,
    runs: RunCounts,
    manifests: ManifestCounts,
    registering: Vec<Registering>,
    waiting: Vec<RunRow>,
    gaps: Vec<Gap>,
    held: Vec<ManifestRow>,
    blocked: Vec<ManifestRow>,
    untrusted: Vec<ManifestRow>,
    quarantined: Vec<ManifestRow>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct RootStatus {
    root: RootName,
    /// When a sweep last went through.
    last_sweep: Option<Timestamp>,
    /// Whether that is longer ago than it would be were a daemon at work.
    overdue: bool,
}

#[derive(Debug, Default, Serialize)]
struct RunCounts {
    total: u64,
    complete: u64,
    waiting: u64,
    datasets: u64,
    claims: u64,
    confirmed: u64,
    bytes: u64,
}

#[derive(Debug, Default, Serialize)]
struct ManifestCounts {
    registered: u64,
    held: u64,
    blocked: u64,
    untrusted: u64,
    quarantined: u64,
    superseded: u64,
}

/// Generations of a run that were never seen.
#[derive(Debug, Serialize)]
struct Gap {
    #[serde(flatten)]
    run: RunKey,
    missing: Vec<Generation>,
}

pub(crate) fn run(_: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let readers = Readers::open(site)?;
    let status = collect(site, &readers)?;
    context.output().value(&status)?;
    Ok(Outcome::Done)
}

fn collect(site: &Site, readers: &Readers) -> Result<Status, Failure> {
    let Readers { registry, ledger } = readers;
    let at = SystemClock.now();
    let roots = site
        .roots
        .iter()
        .map(|root| {
            let last_sweep = ledger.last_sweep(&root.name)?;
            let due = |last| later(last, root.sweep_interval.saturating_mul(MISSED_SWEEPS)) <= at;
            Ok(RootStatus {
                root: root.name.clone(),
                last_sweep,
                overdue: last_sweep.is_none_or(due),
            })
        })
        .collect::<Result<_, Failure>>()?;
    let runs = registry.runs(None)?;
    let rows = |state| ledger.manifests(Some(state));
    let (held, blocked): (Vec<_>, Vec<_>) =
        rows(ManifestState::Blocked)?.into_iter().partition(is_held);
    let untrusted = rows(ManifestState::Untrusted)?;
    let quarantined = rows(ManifestState::Quarantined)?;
    let counts = ledger.counts()?;
    let count = |state| {
        let counted = counts.iter().find(|(found, _)| *found == state);
        counted.map_or(0, |(_, count)| *count)
    };
    let manifests = ManifestCounts {
        registered: count(ManifestState::Registered),
        held: held.len() as u64,
        blocked: blocked.len() as u64,
        untrusted: untrusted.len() as u64,
        quarantined: quarantined.len() as u64,
        superseded: count(ManifestState::Superseded),
    };
    Ok(Status {
        site: site.name.clone(),
        registry: registry.id(),
        at,
        last_registered: ledger.last_registered()?,
        roots,
        runs: count_runs(&runs),
        manifests,
        registering: registry.registering()?,
        gaps: find_gaps(&runs, readers)?,
        waiting: runs.into_iter().filter(|run| run.waiting > 0).collect(),
        held,
        blocked,
        untrusted,
        quarantined,
        findings: ledger.findings()?,
    })
}

fn count_runs(runs: &[RunRow]) -> RunCounts {
    let mut counts = RunCounts::default();
    for run in runs {
        counts.total += 1;
        counts.complete += u64::from(run.waiting == 0);
        counts.waiting += u64::from(run.waiting > 0);
        counts.datasets = counts.datasets.saturating_add(run.datasets);
        counts.claims = counts.claims.saturating_add(run.claims);
        counts.confirmed = counts.confirmed.saturating_add(run.confirmed());
        counts.bytes = counts.bytes.saturating_add(run.bytes);
    }
    counts
}

fn find_gaps(runs: &[RunRow], readers: &Readers) -> Result<Vec<Gap>, Failure> {
    let mut found = Vec::new();
    for run in runs {
        let missing = gaps::missing(&readers.ledger.accepted_generations(&run.key)?, run.floor);
        if !missing.is_empty() {
            found.push(Gap {
                run: run.key.clone(),
                missing,
            });
        }
    }
    Ok(found)
}
