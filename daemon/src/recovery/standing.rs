//! How far scans have come, as people and programs are told.

use jiff::Timestamp;
use runsync_config::root::{Root, RootName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::flow::shown_position;
use super::report::ScanCounts;
use crate::clock::later;
use crate::ledger::record::ManifestState;
use crate::ledger::scans::ScanRow;
use crate::ledger::{Ledger, LedgerError};

/// How far the scans of a root, or of a part of it, have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScanStanding {
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// The folder; empty for all of the root; `/runs` and which for those of runs.
    pub scope: String,
    /// The number of the pass under way, or of the last one.
    pub pass: u64,
    /// Where it goes on; none: it is through.
    pub position: Option<String>,
    /// When that pass began.
    pub begun_at: Timestamp,
    /// When it was last gone on with.
    pub tried_at: Timestamp,
    /// When a pass last went through.
    pub finished_at: Option<Timestamp>,
    /// When that one began: all has been seen since then.
    pub seen_since: Option<Timestamp>,
    /// Paths that it met.
    pub whole_objects: Option<u64>,
    /// Records and files that the pass under way, or the one that last went through, could not look at: the more.
    #[serde(default)]
    pub unseen: u64,
    /// What the pass has seen so far.
    #[schema(value_type = Object)]
    pub counts: ScanCounts,
}

impl From<ScanRow> for ScanStanding {
    fn from(row: ScanRow) -> Self {
        // What an older release wrote and this one cannot read counts for nothing.
        let counts: ScanCounts = serde_json::from_str(&row.counts).unwrap_or_default();
        Self {
            unseen: counts.unseen().max(row.whole_unseen),
            counts,
            root: row.root,
            scope: row.scope,
            pass: row.number,
            position: row.position.as_deref().map(shown_position),
            begun_at: row.begun_at,
            tried_at: row.tried_at,
            finished_at: row.finished_at,
            seen_since: row.whole_begun_at,
            whole_objects: row.whole_objects,
        }
    }
}

/// How far all scans have come, by root and part.
///
/// # Errors
///
/// Where the ledger does not answer.
pub fn standings(ledger: &dyn Ledger) -> Result<Vec<ScanStanding>, LedgerError> {
    let rows = ledger.scans()?;
    Ok(rows.into_iter().map(ScanStanding::from).collect())
}

/// When all of a root was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RootScans {
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// All of it has been seen since then; none: it was never scanned whole.
    pub seen_since: Option<Timestamp>,
    /// When a pass last went through.
    pub finished_at: Option<Timestamp>,
    /// When the pass under way began; none where there is none.
    pub pass_since: Option<Timestamp>,
    /// Paths that it has met.
    pub met: u64,
    /// Paths that the last whole pass met.
    pub whole: Option<u64>,
    /// Records and files that the pass under way, or the one that last went through, could not look at: the more.
    #[serde(default)]
    pub unseen: u64,
    /// Whether not all of it has been seen in time. A pass may take a `scan_period`, so one that is in time goes
    /// through within two of them since the one before it began. A root that was never seen whole has one of
    /// them from its first pass on; where there was none, from its first manifest or the daemon's first mark on.
    pub behind: bool,
}

/// When all of each root was last seen: of those that were ever scanned, or have a `scan_period`.
///
/// # Errors
///
/// Where the ledger does not answer.
pub fn root_scans(
    roots: &[Root],
    ledger: &dyn Ledger,
    now: Timestamp,
) -> Result<Vec<RootScans>, LedgerError> {
    let mut scans = Vec::new();
    for root in roots {
        let row = ledger.scan(&root.name, "")?;
        if row.is_some() || root.scan_period.is_some() {
            let first = if row.is_none() {
                first_sign(root, ledger)?
            } else {
                None
            };
            scans.push(RootScans::of(root, row, first, now));
        }
    }
    Ok(scans)
}

/// When there was first something to see in a root that was never scanned, as far as is known: its first manifest,
/// or when a daemon first took up its jobs.
fn first_sign(root: &Root, ledger: &dyn Ledger) -> Result<Option<Timestamp>, LedgerError> {
    let registered = Some(ManifestState::Registered);
    let manifests = ledger.manifests_after(registered, Some(&root.name), None, 1)?;
    if let Some(first) = manifests.first() {
        return Ok(Some(first.decided_at));
    }
    Ok(ledger.jobs()?.iter().map(|job| job.mark).min())
}

impl RootScans {
    fn of(root: &Root, row: Option<ScanRow>, first: Option<Timestamp>, now: Timestamp) -> Self {
        let is_past = |from, times| {
            let period = root.scan_period?.saturating_mul(times);
            Some(later(from, period) < now)
        };
        let Some(row) = row else {
            return Self {
                root: root.name.clone(),
                seen_since: None,
                finished_at: None,
                pass_since: None,
                met: 0,
                whole: None,
                unseen: 0,
                behind: first.is_none_or(|first| is_past(first, 1) == Some(true)),
            };
        };
        let standing = ScanStanding::from(row);
        let pass_since = standing.position.is_some().then_some(standing.begun_at);
        let behind = match standing.seen_since {
            Some(seen) => is_past(seen, 2),
            None => is_past(standing.begun_at, 1),
        };
        Self {
            root: standing.root,
            seen_since: standing.seen_since,
            finished_at: standing.finished_at,
            pass_since,
            met: pass_since.map_or(0, |_| standing.counts.objects),
            whole: standing.whole_objects,
            unseen: standing.unseen,
            behind: behind == Some(true),
        }
    }
}
