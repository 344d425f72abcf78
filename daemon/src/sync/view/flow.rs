//! The way through: which roots, which pass goes on, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::TryLockError;
use std::time::Duration;

use runsync_config::root::RootName;
use runsync_manifest::name::{RseName, RunKey, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Error as JsonError;

use super::order::ViewOrder;
use super::report::{ViewCounts, ViewReport};
use crate::ingest::Flow;
use crate::ledger::record::{Publication, PublicationState};
use crate::ledger::scans::{Drift, DriftFilter, DriftKind, DriftSide, ScanRow, Span};
use crate::rucio::Rucio;
use crate::sync::SyncError;
use crate::sync::budget::{Budget, Progress};
use crate::sync::flow::Syncing;
use crate::sync::report::SyncReport;
use crate::sync::root::RootSync;
use crate::sync::scopes::Scopes;

/// Hears what comes of a root.
pub type ViewTold<'t> = dyn FnMut(Result<ViewReport, SyncError>) + 't;

/// A pass one way through, on its way.
pub(super) struct Way {
    pub(super) row: ScanRow,
    pub(super) counts: ViewCounts,
    /// The scopes of runs, as far as they were asked for.
    pub(super) scopes: BTreeMap<RunKey, Scopes>,
    /// All scopes that files may have here.
    pub(super) in_scopes: BTreeSet<Scope>,
    requests_before: u64,
}

/// What is kept of a pass.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    #[serde(flatten)]
    counts: ViewCounts,
    /// The scopes that were asked for: a pass with others is another.
    scopes: BTreeSet<Scope>,
}

impl Syncing {
    /// Compares records with Rucio's view of one root, or of all roots that are RSEs, as far as the order allows, and
    /// keeps what differs; gathers what comes of each root.
    ///
    /// # Errors
    ///
    /// As [`view_each`](Self::view_each).
    pub fn view(
        &self,
        rucio: &Rucio,
        order: &ViewOrder,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Result<ViewReport, SyncError>>, SyncError> {
        let mut reports = Vec::new();
        self.view_each(rucio, order, &mut |report| reports.push(report), progress)?;
        Ok(reports)
    }

    /// The same, where `told` hears what comes of each root as soon as it is done. A root that fails keeps no other
    /// from it.
    ///
    /// # Errors
    ///
    /// Where there is no such root, and where `progress` broke off or the lease is lost.
    pub fn view_each(
        &self,
        rucio: &Rucio,
        order: &ViewOrder,
        told: &mut ViewTold<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), SyncError> {
        let _alone = match self.viewing.try_lock() {
            Ok(alone) => alone,
            // It keeps nothing that a panic could have broken.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(SyncError::Viewing),
        };
        let mut roots = self.roots(None)?;
        let is_there = |name: &&RootName| roots.iter().any(|(flow, _)| flow.root().name == **name);
        if let Some(missing) = order.roots.iter().find(|name| !is_there(name)) {
            let root = missing.clone();
            return Err(SyncError::NoRoot { root });
        }
        if !order.roots.is_empty() {
            roots.retain(|(flow, _)| order.roots.contains(&flow.root().name));
        }
        in_turn(&mut roots)?;
        let requests = order.requests.unwrap_or(u64::MAX);
        let time = order.time.unwrap_or(Duration::MAX);
        let mut budget = Budget::new(requests, time, progress);
        for root in roots {
            let mut report = SyncReport::default();
            let seen = self.at(root, (rucio, &mut budget), &mut report, |root| {
                root.view(order)
            });
            match seen {
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                seen => told(seen),
            }
            if budget.is_spent() {
                break;
            }
        }
        Ok(())
    }
}

/// First the root whose pass is under way, then those that were seen longest ago.
fn in_turn(roots: &mut [(&Flow, &RseName)]) -> Result<(), SyncError> {
    let mut turns = BTreeMap::new();
    for (flow, _) in &*roots {
        let (name, ledger) = (&flow.root().name, &flow.site().ledger);
        let records = ledger.scan(name, DriftSide::Records.scope())?;
        let replicas = ledger.scan(name, DriftSide::Replicas.scope())?;
        let is_open = |row: &Option<ScanRow>| {
            let position = row.as_ref().map(|row| &row.position);
            position.is_some_and(Option::is_some)
        };
        let is_under_way = is_open(&records) || is_open(&replicas);
        let finished = replicas.and_then(|row| row.finished_at);
        turns.insert(name.clone(), (!is_under_way, finished));
    }
    roots.sort_by_key(|(flow, _)| turns.get(&flow.root().name).copied());
    Ok(())
}

impl RootSync<'_, '_> {
    fn view(&mut self, order: &ViewOrder) -> Result<ViewReport, SyncError> {
        let [mut records, mut replicas] = self.ways(order.anew)?;
        self.ask_for_records(&mut records)?;
        if !self.budget.is_spent() {
            self.ask_for_replicas(&mut replicas)?;
        }
        let ways = [&records.row, &replicas.row];
        let finished = ways.map(|row| row.finished_at);
        Ok(ViewReport {
            root: self.root().name.clone(),
            rse: self.rse.clone(),
            whole: ways.iter().all(|row| row.position.is_none()),
            begun_at: records.row.begun_at.min(replicas.row.begun_at),
            finished_at: match finished {
                [Some(one), Some(other)] => Some(one.min(other)),
                _ => None,
            },
            counts: records.counts.and(replicas.counts),
            findings: self.found()?,
        })
    }

    fn found(&self) -> Result<BTreeMap<DriftKind, u64>, SyncError> {
        let mut found = BTreeMap::new();
        for side in [DriftSide::Records, DriftSide::Replicas] {
            let counts = self.ledger().drift_counts(&DriftFilter {
                root: Some(self.root().name.clone()),
                kind: None,
                side: Some(side),
                span: Span::all(),
                ignored: false,
            })?;
            let of_side = counts.into_iter().filter(|(kind, _)| kind.side() == side);
            found.extend(of_side);
        }
        Ok(found)
    }

    /// Both ways of the pass to go on with, of which one may be through; or of a new one.
    fn ways(&self, anew: bool) -> Result<[Way; 2], SyncError> {
        let (ledger, root) = (self.ledger(), &self.root().name);
        let records = ledger.scan(root, DriftSide::Records.scope())?;
        let replicas = ledger.scan(root, DriftSide::Replicas.scope())?;
        let is_under_way = |row: &Option<ScanRow>| {
            let position = row.as_ref().map(|row| &row.position);
            position.is_some_and(Option::is_some)
        };
        let in_scopes = self.in_scopes();
        let kept = |row: &Option<ScanRow>| -> Result<Kept, SyncError> {
            let counts = row.as_ref().map(|row| serde_json::from_str(&row.counts));
            counts
                .transpose()
                .map_err(damaged)
                .map(Option::unwrap_or_default)
        };
        let has_changed = is_under_way(&replicas) && kept(&replicas)?.scopes != in_scopes;
        let goes_on = !anew && !has_changed && (is_under_way(&records) || is_under_way(&replicas));
        let way = |side: DriftSide, known: Option<ScanRow>| -> Result<Way, SyncError> {
            let known = known.filter(|_| goes_on);
            let counts = kept(&known)?.counts;
            let row = match known {
                Some(row) => row,
                None => self.begin(side, &in_scopes)?,
            };
            Ok(Way {
                counts,
                row,
                scopes: BTreeMap::new(),
                in_scopes: in_scopes.clone(),
                requests_before: self.budget.spent(),
            })
        };
        // Begun together: one that is through waits for the other.
        Ok([
            way(DriftSide::Records, records)?,
            way(DriftSide::Replicas, replicas)?,
        ])
    }

    /// A new pass, with the scopes that it asks for: one that is broken off at once keeps them.
    fn begin(&self, side: DriftSide, scopes: &BTreeSet<Scope>) -> Result<ScanRow, SyncError> {
        let now = self.flow.site().clock.now();
        let (ledger, root) = (self.ledger(), &self.root().name);
        let mut row = ledger.begin_scan(root, side.scope(), "", now)?;
        let kept = Kept {
            scopes: scopes.clone(),
            ..Kept::default()
        };
        row.counts = serde_json::to_string(&kept).map_err(damaged)?;
        ledger.note_scan(&row, &[], &[])?;
        Ok(row)
    }

    /// All scopes that files may have here.
    fn in_scopes(&self) -> BTreeSet<Scope> {
        let mut scopes: BTreeSet<Scope> = [self.rucio.config().scope.clone()].into();
        for peer in self.flow.site().trust().peers() {
            scopes.extend(self.scopes(peer.origin));
        }
        scopes
    }

    /// Writes down what was found, and where the pass is now; none: at its end.
    pub(super) fn note_way(
        &self,
        way: &mut Way,
        position: Option<String>,
        (found, concluded): (&[Drift], &[Span]),
    ) -> Result<(), SyncError> {
        let now = self.flow.site().clock.now();
        let spent = self.budget.spent();
        way.counts.requests += spent - way.requests_before;
        way.requests_before = spent;
        way.row.tried_at = now;
        way.row.finished_at = position.is_none().then_some(now).or(way.row.finished_at);
        way.row.position = position;
        if way.row.position.is_none() {
            way.row.whole_begun_at = Some(way.row.begun_at);
            way.row.whole_objects = Some(way.counts.records + way.counts.names);
        }
        let kept = Kept {
            counts: way.counts,
            scopes: way.in_scopes.clone(),
        };
        way.row.counts = serde_json::to_string(&kept).map_err(damaged)?;
        Ok(self.ledger().note_scan(&way.row, found, concluded)?)
    }

    /// Whether a run is one that Rucio knows: another's that it brings, or one of ours that is published.
    pub(super) fn is_in_rucio(
        &self,
        run: &RunKey,
        known: &mut BTreeMap<RunKey, bool>,
    ) -> Result<bool, SyncError> {
        if let Some(is_known) = known.get(run) {
            return Ok(*is_known);
        }
        let is_known = self.is_carried(run) || {
            let publications = self.ledger().publications_of(run)?;
            let is_here = |one: &Publication| {
                one.state == PublicationState::Published && one.root == self.root().name
            };
            publications.iter().any(is_here)
        };
        known.insert(run.clone(), is_known);
        Ok(is_known)
    }
}

fn damaged(error: JsonError) -> SyncError {
    SyncError::Position { source: error }
}
