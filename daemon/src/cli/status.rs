//! `status`: what an operator wants to know first.

use std::fmt;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_config::site::Site;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::SiteName;
use serde::Serialize;

use crate::assembly::Readers;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::ingest::gaps;
use crate::ingest::refuse::is_held;
use crate::ledger::record::{Finding, ManifestRow, ManifestState};
use crate::registry::record::{Registering, RunRow};

/// Lines of each list shown to people; `--json` has all.
const SHOWN: usize = 20;

/// Show runs, manifests, what is waited for, and what needs a hand
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The answer.
#[derive(Debug, Serialize)]
struct Status {
    site: SiteName,
    registry: uuid::Uuid,
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
    /// When a sweep last went through: the age of the last success.
    last_sweep: Option<Timestamp>,
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
    run: String,
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
    let roots = site
        .roots
        .iter()
        .map(|root| {
            let last_sweep = ledger.last_sweep(&root.name)?;
            Ok(RootStatus {
                root: root.name.clone(),
                last_sweep,
            })
        })
        .collect::<Result<_, Failure>>()?;
    let runs = registry.runs(None)?;
    let rows = |state| ledger.manifests(Some(state));
    let (held, blocked): (Vec<_>, Vec<_>) =
        rows(ManifestState::Blocked)?.into_iter().partition(is_held);
    let untrusted = rows(ManifestState::Untrusted)?;
    let quarantined = rows(ManifestState::Quarantined)?;
    let count = |state| -> Result<u64, Failure> {
        let counts = ledger.counts()?;
        Ok(counts
            .iter()
            .find(|(found, _)| *found == state)
            .map_or(0, |(_, count)| *count))
    };
    let manifests = ManifestCounts {
        registered: count(ManifestState::Registered)?,
        held: held.len() as u64,
        blocked: blocked.len() as u64,
        untrusted: untrusted.len() as u64,
        quarantined: quarantined.len() as u64,
        superseded: count(ManifestState::Superseded)?,
    };
    Ok(Status {
        site: site.name.clone(),
        registry: registry.id(),
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
        counts.datasets += run.datasets;
        counts.claims += run.claims;
        counts.confirmed += run.claims - run.waiting;
        counts.bytes += run.bytes;
    }
    counts
}

fn find_gaps(runs: &[RunRow], readers: &Readers) -> Result<Vec<Gap>, Failure> {
    let mut found = Vec::new();
    for run in runs {
        let missing = gaps::missing(&readers.ledger.accepted_generations(&run.key)?, run.floor);
        if !missing.is_empty() {
            found.push(Gap {
                run: run.key.name.to_string(),
                missing,
            });
        }
    }
    Ok(found)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "site {} (registry {})", self.site, self.registry)?;
        for root in &self.roots {
            match root.last_sweep {
                Some(at) => writeln!(f, "root {}: last swept {at:.0}", root.root)?,
                None => writeln!(f, "root {}: never swept", root.root)?,
            }
        }
        let runs = &self.runs;
        writeln!(
            f,
            "runs: {} ({} complete, {} waiting); datasets: {}; artifacts confirmed: {} of {}; {} bytes",
            runs.total,
            runs.complete,
            runs.waiting,
            runs.datasets,
            runs.confirmed,
            runs.claims,
            runs.bytes
        )?;
        let manifests = &self.manifests;
        write!(
            f,
            "manifests: {} registered, {} held, {} blocked, {} untrusted, {} quarantined, {} superseded",
            manifests.registered,
            manifests.held,
            manifests.blocked,
            manifests.untrusted,
            manifests.quarantined,
            manifests.superseded
        )?;
        list(f, "registering", &self.registering, |f, one| {
            write!(
                f,
                "{} {}: {} of {}",
                one.run.name, one.generation, one.done, one.claims
            )
        })?;
        list(f, "waiting", &self.waiting, |f, run| {
            write!(
                f,
                "{}: {} of {}",
                run.key.name,
                run.claims - run.waiting,
                run.claims
            )
        })?;
        list(f, "gaps", &self.gaps, |f, gap| {
            let missing: Vec<_> = gap.missing.iter().map(ToString::to_string).collect();
            write!(
                f,
                "{}: generations {} never seen",
                gap.run,
                missing.join(", ")
            )
        })?;
        for (title, rows) in [
            ("held", &self.held),
            ("blocked", &self.blocked),
            ("untrusted", &self.untrusted),
            ("quarantined", &self.quarantined),
        ] {
            list(f, title, rows, |f, row| {
                write!(
                    f,
                    "{}: {}",
                    row.location.path,
                    row.reason.as_deref().unwrap_or_default()
                )
            })?;
        }
        list(f, "findings", &self.findings, |f, finding| {
            write!(
                f,
                "{} {}: {}",
                finding.kind, finding.subject, finding.detail
            )
        })
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    write!(f, "\n{title}:")?;
    for row in rows.iter().take(SHOWN) {
        write!(f, "\n  ")?;
        line(f, row)?;
    }
    match rows.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more (all with --json)"),
    }
}
