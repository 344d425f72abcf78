//! What an operator wants to know first: `GET /v1/status`, and what `runsync status` shows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_config::site::Site;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RunKey, SiteName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::openapi::Gated;
use super::problem::Problem;
use super::surface::Surface;
use crate::assembly::Readers;
use crate::clock::later;
use crate::events::SourceStatus;
use crate::ingest::gaps;
use crate::ingest::refuse::is_held;
use crate::jobs::{JobStatus, statuses};
use crate::ledger::record::{Finding, HintKind, ManifestRow, ManifestState, SyncPass};
use crate::ledger::scans::{DriftFilter, DriftKind, Span};
use crate::ledger::{Ledger, LedgerError};
use crate::loops::DutyStatus;
use crate::recovery::{RootScans, root_scans};
use crate::registry::RegistryError;
use crate::registry::collection::BrokenChain;
use crate::registry::record::{Registering, RunRow};
use crate::schema::{GenerationSchema, RunKeySchema};
use crate::worker::WorkerStatus;

/// Sweeps that may be missed before it is told; a long registration may keep one from its time.
const MISSED_SWEEPS: u32 = 2;

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The site.
    #[schema(value_type = String)]
    pub site: SiteName,
    /// Its registry.
    pub registry: Uuid,
    /// What the daemon that answers is about; none where no daemon was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<DaemonStatus>,
    /// When this was read.
    pub at: Timestamp,
    /// When a manifest was last registered.
    pub last_registered: Option<Timestamp>,
    /// Its roots.
    pub roots: Vec<RootStatus>,
    /// What messages have left to do.
    pub events: EventsStatus,
    /// How far comparing its roots with Rucio has come: those that are RSEs, where Rucio is configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub syncs: Vec<SyncPass>,
    /// When all of each root was last seen: of those that were ever scanned, or have a `scan_period`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scans: Vec<RootScans>,
    /// What is found lost, dark, corrupt or otherwise apart, and not ignored, by root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftCount>,
    /// What is done by schedule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobStatus>,
    /// Its runs.
    pub runs: RunCounts,
    /// Its manifests.
    pub manifests: ManifestCounts,
    /// Manifests that are being registered.
    pub registering: Vec<Registering>,
    /// Runs that wait for artifacts.
    pub waiting: Vec<RunRow>,
    /// Generations that never came.
    pub gaps: Vec<Gap>,
    /// Manifests that are valid and held.
    pub held: Vec<ManifestRow>,
    /// Manifests that wait for another.
    pub blocked: Vec<ManifestRow>,
    /// Manifests whose key or origin is not known.
    pub untrusted: Vec<ManifestRow>,
    /// Manifests that were set aside.
    pub quarantined: Vec<ManifestRow>,
    /// Chains that show `[deleted]`, which their owners take away.
    pub broken_chains: Vec<BrokenChain>,
    /// What was seen to be odd.
    pub findings: Vec<Finding>,
}

/// A root.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RootStatus {
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// When a sweep last went through.
    pub last_sweep: Option<Timestamp>,
    /// Whether that is longer ago than it would be were a daemon at work.
    pub overdue: bool,
}

/// Findings of one kind in a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriftCount {
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// The kind.
    #[schema(value_type = String)]
    pub kind: DriftKind,
    /// How many there are.
    pub findings: u64,
}

/// What messages have left to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct EventsStatus {
    /// Hints that wait, of each kind.
    pub hints: Vec<HintCount>,
    /// Hints that were ever lost, for want of room or of time.
    pub lost: u64,
    /// Messages that could not be read and are kept.
    pub poison: u64,
}

/// Hints of one kind.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct HintCount {
    /// The kind.
    pub kind: HintKind,
    /// How many wait.
    pub waiting: u64,
}

impl EventsStatus {
    fn read(ledger: &dyn Ledger) -> Result<Self, LedgerError> {
        let counts = ledger.hint_counts()?.into_iter();
        Ok(Self {
            hints: counts
                .map(|(kind, waiting)| HintCount { kind, waiting })
                .collect(),
            lost: ledger.hints_lost()?,
            poison: ledger.poison_count()?,
        })
    }
}

/// Runs, counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RunCounts {
    /// All of them.
    pub total: u64,
    /// Those whose artifacts are all confirmed; removed ones are none of them.
    pub complete: u64,
    /// Those of which nothing but their row is left.
    pub removed: u64,
    /// Runs that wait for artifacts.
    pub waiting: u64,
    /// Datasets known.
    pub datasets: u64,
    /// Artifacts named.
    pub claims: u64,
    /// Artifacts confirmed.
    pub confirmed: u64,
    /// Bytes of all artifacts.
    pub bytes: u64,
}

/// Manifests, counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ManifestCounts {
    /// Registered.
    pub registered: u64,
    /// Manifests that are valid and held.
    pub held: u64,
    /// Manifests that wait for another.
    pub blocked: u64,
    /// Manifests whose key or origin is not known.
    pub untrusted: u64,
    /// Manifests that were set aside.
    pub quarantined: u64,
    /// At or below the floor of their run.
    pub superseded: u64,
}

/// Generations of a run that were never seen.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// The run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// Those generations.
    #[schema(value_type = Vec<GenerationSchema>)]
    pub missing: Vec<Generation>,
}

/// The daemon that answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DaemonStatus {
    /// What it is about.
    #[serde(flatten)]
    pub duty: DutyStatus,
    /// Its release.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its workers: the one that looks after the lease, and those of the loops that it runs.
    pub workers: Vec<WorkerStatus>,
    /// Where it hears messages; none where it stands by.
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
}

impl DaemonStatus {
    fn of(surface: &Surface) -> Self {
        Self {
            duty: surface.steward.duty().status(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: surface.started_at,
            workers: surface.steward.workers(),
            sources: surface
                .steward
                .duty()
                .loops()
                .map_or_else(Vec::new, |loops| {
                    loops.assembly().events.sources().statuses()
                }),
        }
    }
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl StatusError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
        }
    }
}

impl From<StatusError> for Problem {
    fn from(error: StatusError) -> Self {
        match error {
            StatusError::Registry(error) => error.into(),
            StatusError::Ledger(error) => error.into(),
        }
    }
}

/// Show runs, manifests, what is waited for, what needs a hand, and the daemon's workers.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "read",
    responses((status = 200, description = "All of it.", body = Status), Gated)
)]
pub(super) async fn status(State(surface): State<Arc<Surface>>) -> Result<Json<Status>, Problem> {
    let status = surface.look_up(|surface| {
        let status = collect(&surface.site, &surface.readers, surface.clock.now())?;
        let daemon = Some(DaemonStatus::of(surface));
        Ok::<_, StatusError>(Status { daemon, ..status })
    });
    Ok(Json(status.await?))
}

/// Reads it all.
///
/// # Errors
///
/// Where the registry or the ledger does not answer.
pub fn collect(site: &Site, readers: &Readers, at: Timestamp) -> Result<Status, StatusError> {
    let Readers { registry, ledger } = readers;
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
        .collect::<Result<_, StatusError>>()?;
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
        daemon: None,
        at,
        last_registered: ledger.last_registered()?,
        roots,
        events: EventsStatus::read(&**ledger)?,
        syncs: syncs(site, readers)?,
        scans: root_scans(&site.roots, &**ledger, at)?,
        drift: drift(site, &**ledger)?,
        jobs: statuses(site, &**ledger, at)?,
        runs: count_runs(&runs),
        manifests,
        registering: registry.registering()?,
        gaps: find_gaps(&runs, readers)?,
        waiting: runs.into_iter().filter(|run| run.waiting > 0).collect(),
        held,
        blocked,
        untrusted,
        quarantined,
        broken_chains: registry.broken_chains()?,
        findings: ledger.findings()?,
    })
}

/// What is found in each root, and not ignored.
fn drift(site: &Site, ledger: &dyn Ledger) -> Result<Vec<DriftCount>, LedgerError> {
    let mut drift = Vec::new();
    for root in &site.roots {
        let counts = ledger.drift_counts(&DriftFilter {
            root: Some(root.name.clone()),
            kind: None,
            side: None,
            span: Span::all(),
            ignored: false,
        })?;
        let found = counts.into_iter().filter(|(_, findings)| *findings > 0);
        drift.extend(found.map(|(kind, findings)| DriftCount {
            root: root.name.clone(),
            kind,
            findings,
        }));
    }
    Ok(drift)
}

/// How far comparing with Rucio has come in each root that it knows.
pub(super) fn syncs(site: &Site, readers: &Readers) -> Result<Vec<SyncPass>, LedgerError> {
    let mut syncs = Vec::new();
    for root in &site.roots {
        if root.rse.is_some() && site.rucio.is_some() {
            let pass = readers.ledger.sync_pass(&root.name)?;
            syncs.push(pass.unwrap_or_else(|| SyncPass::new(root.name.clone())));
        }
    }
    Ok(syncs)
}

/// Counts runs and what they hold.
pub(super) fn count_runs(runs: &[RunRow]) -> RunCounts {
    let mut counts = RunCounts::default();
    for run in runs {
        counts.total += 1;
        counts.removed += u64::from(run.is_removed());
        counts.complete += u64::from(run.waiting == 0 && !run.is_removed());
        counts.waiting += u64::from(run.waiting > 0);
        counts.datasets = counts.datasets.saturating_add(run.datasets);
        counts.claims = counts.claims.saturating_add(run.claims);
        counts.confirmed = counts.confirmed.saturating_add(run.confirmed());
        counts.bytes = counts.bytes.saturating_add(run.bytes);
    }
    counts
}

fn find_gaps(runs: &[RunRow], readers: &Readers) -> Result<Vec<Gap>, StatusError> {
    let keys: Vec<&RunKey> = runs.iter().map(|run| &run.key).collect();
    let accepted = readers.ledger.accepted_generations(&keys)?;
    let mut found = Vec::new();
    for (run, accepted) in runs.iter().zip(accepted) {
        let missing = gaps::missing(&accepted, run.floor);
        if !missing.is_empty() {
            found.push(Gap {
                run: run.key.clone(),
                missing,
            });
        }
    }
    Ok(found)
}
