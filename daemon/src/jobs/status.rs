//! The jobs of a site as people and programs are told of them.

use jiff::Timestamp;
use runsync_config::jobs::{JobKind, JobName, Missed, Schedule};
use runsync_config::root::RootName;
use runsync_config::site::Site;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::due;
use crate::ledger::jobs::{JobOutcome, JobRow};
use crate::ledger::{Ledger, LedgerError};

/// A job, when it is done, and what was last made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobStatus {
    /// Its name.
    #[schema(value_type = String)]
    pub name: JobName,
    /// What it does.
    #[schema(value_type = String)]
    pub job: JobKind,
    /// When: a cron expression with seconds, in UTC.
    pub at: String,
    /// The roots that it concerns; none: all.
    #[schema(value_type = Vec<String>)]
    pub roots: Vec<RootName>,
    /// What becomes of times that passed while the daemon was down.
    #[schema(value_type = String)]
    pub missed: Missed,
    /// When it is done next.
    pub next: Option<Timestamp>,
    /// Whether it was begun and has not ended.
    pub under_way: bool,
    /// Whether it should have been begun some time ago, or is broken off again and again.
    pub overdue: bool,
    /// When it was begun last.
    pub begun_at: Option<Timestamp>,
    /// When it ended last.
    pub ended_at: Option<Timestamp>,
    /// How it ended last.
    pub outcome: Option<JobOutcome>,
    /// What came of it.
    pub detail: Option<String>,
    /// When it last did its work, whatever it found.
    pub succeeded_at: Option<Timestamp>,
    /// How often it ended.
    pub runs: u64,
    /// How often it failed.
    pub failures: u64,
}

impl JobStatus {
    fn of(job: Configured<'_>, row: Option<JobRow>, now: Timestamp) -> Self {
        let Configured {
            name,
            kind,
            at,
            roots,
            missed,
        } = job;
        let row = row.unwrap_or_else(|| JobRow::new(name, now));
        let overdue = due::overdue(at, &row, now);
        Self {
            job: kind,
            at: at.to_string(),
            roots: roots.to_vec(),
            missed,
            next: due::next(at, now),
            under_way: row.is_open(),
            overdue,
            name: row.name,
            begun_at: row.begun_at,
            ended_at: row.ended_at,
            outcome: row.outcome,
            detail: row.detail,
            succeeded_at: row.succeeded_at,
            runs: row.runs,
            failures: row.failures,
        }
    }
}

/// A job as configuration has it, whichever section it is from.
struct Configured<'s> {
    name: JobName,
    kind: JobKind,
    at: &'s Schedule,
    roots: &'s [RootName],
    missed: Missed,
}

/// All jobs of a site: that of `[rucio.sync]` first, where there is one, then those of `[[schedule]]`.
///
/// # Errors
///
/// Where the ledger does not answer.
pub fn statuses(
    site: &Site,
    ledger: &dyn Ledger,
    now: Timestamp,
) -> Result<Vec<JobStatus>, LedgerError> {
    let mut rows = ledger.jobs()?;
    let mut row = |name: &JobName| {
        let at = rows.iter().position(|row| row.name == *name)?;
        Some(rows.swap_remove(at))
    };
    let has_rses = site.roots.iter().any(|root| root.rse.is_some());
    let own = site.rucio.as_ref().filter(|_| has_rses);
    let own = own.map(|rucio| Configured {
        name: JobName::rucio_sync(),
        kind: JobKind::Sync,
        at: &rucio.sync.schedule,
        roots: &[],
        missed: Missed::Run,
    });
    let others = site.schedules.iter().map(|job| Configured {
        name: job.name.clone(),
        kind: job.job,
        at: &job.at,
        roots: &job.roots,
        missed: job.missed,
    });
    let all = own.into_iter().chain(others);
    Ok(all
        .map(|job| {
            let row = row(&job.name);
            JobStatus::of(job, row, now)
        })
        .collect())
}
