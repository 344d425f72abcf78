//! Scans roots, one after the other: first the one whose last pass is longest ago, so that in time all are seen.

use std::sync::Arc;
use std::time::Duration;

use runsync_config::root::RootName;

use super::ScanError;
use super::ages::Ages;
use super::behind::Behind;
use super::budget::{Budget, Progress};
use super::ground::Ground;
use super::order::{Order, Pace};
use super::pace::{self, Progressing};
use super::pass::Pass;
use super::report::{OverdueRun, ScanCounts, ScanReport, StaleJournal};
use super::sample::Sample;
use super::stretches::Stretches;
use super::turns::Turns;
use super::untouchable::Untouchable;
use crate::clock::later;
use crate::ingest::{Flow, waits_since};
use crate::ledger::scans::{DriftFilter, DriftSide, ScanRow, Span};
use crate::removal::{JournalRow, JournalState, Removing};

/// A removal takes minutes; one that has been under way for a day does not go on by itself.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Hears what comes of a root.
pub type Told<'t> = dyn FnMut(Result<ScanReport, ScanError>) + 't;

/// Compares roots with their records.
#[derive(Debug)]
pub struct Scanning {
    flows: Vec<Flow>,
    removing: Arc<Removing>,
    turns: Turns,
}

impl Scanning {
    /// Compares these.
    pub fn new(flows: Vec<Flow>, removing: Arc<Removing>) -> Self {
        Self {
            flows,
            removing,
            turns: Turns::default(),
        }
    }

    /// Scans one root, or all of them, as far as the order's limits allow, and gathers what comes of each.
    ///
    /// # Errors
    ///
    /// As [`scan_each`](Self::scan_each).
    pub fn scan(
        &self,
        order: &Order,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Result<ScanReport, ScanError>>, ScanError> {
        let mut reports = Vec::new();
        self.scan_each(order, &mut |report| reports.push(report), progress)?;
        Ok(reports)
    }

    /// Scans one root, or all of them, as far as the order's limits allow; `told` hears what comes of each as soon
    /// as it is done.
    ///
    /// # Errors
    ///
    /// Where the ledger does not answer, or there is no such root. A root that fails has its own error among
    /// the reports: what was found before stays, and the next scan goes on from there.
    pub fn scan_each(
        &self,
        order: &Order,
        told: &mut Told<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<(), ScanError> {
        let mut budget = Budget::new(order.limits, progress);
        let mut is_first = true;
        for flow in self.in_turn(order)? {
            if budget.is_spent() && !is_first {
                break;
            }
            if let Some(report) = self.scan_root(flow, order, &mut budget).transpose() {
                told(report);
                is_first = false;
            }
        }
        Ok(())
    }

    /// The roots that are being scanned at the moment.
    pub fn under_way(&self) -> Vec<RootName> {
        self.turns.taken()
    }

    /// How many paths of a root are to be taken now; none: all that are left.
    fn share(
        &self,
        flow: &Flow,
        known: Option<&ScanRow>,
        pace: Pace,
    ) -> Result<Option<u64>, ScanError> {
        let (root, now) = (flow.root(), flow.site().clock.now());
        let Some(period) = root.scan_period else {
            return Ok(None);
        };
        let (mut begun_at, mut met) = (now, 0);
        if let Some(row) = known.filter(|row| row.position.is_some()) {
            let counts: ScanCounts = serde_json::from_str(&row.counts)?;
            (begun_at, met) = (row.begun_at, counts.objects);
        }
        let whole = match known.and_then(|row| row.whole_objects) {
            Some(whole) => whole,
            None => self.estimate()?,
        };
        let pass = Progressing {
            begun_at,
            met,
            whole,
            period,
        };
        Ok(pace::share(pass, now, pace.next))
    }

    /// What no scan has counted yet: all artifacts that the registry names, in whichever root.
    fn estimate(&self) -> Result<u64, ScanError> {
        let Some(flow) = self.flows.first() else {
            return Ok(0);
        };
        let runs = flow.site().registry.runs(None)?;
        Ok(runs.iter().map(|run| run.claims).sum())
    }

    /// The roots that are meant: those whose pass is under way, then
    /// those that were never scanned, then the others, longest ago first.
    fn in_turn(&self, order: &Order) -> Result<Vec<&Flow>, ScanError> {
        let mut turns = Vec::new();
        for flow in &self.flows {
            let name = &flow.root().name;
            if order.roots.is_empty() || order.roots.contains(name) {
                turns.push((flow, flow.site().ledger.scan(name, &order.scope())?));
            }
        }
        let is_known = |root: &RootName| self.flows.iter().any(|flow| flow.root().name == *root);
        if let Some(root) = order.roots.iter().find(|root| !is_known(root)) {
            return Err(ScanError::NoRoot { root: root.clone() });
        }
        turns.sort_by_key(|(_, known)| {
            let under_way = known.as_ref().is_some_and(|row| row.position.is_some());
            (!under_way, known.as_ref().map(|row| row.number))
        });
        Ok(turns.into_iter().map(|(flow, _)| flow).collect())
    }

    /// Scans one root; none where nothing of it is due.
    fn scan_root(
        &self,
        flow: &Flow,
        order: &Order,
        budget: &mut Budget<'_>,
    ) -> Result<Option<ScanReport>, ScanError> {
        let (root, site) = (flow.root(), flow.site());
        let busy = || ScanError::Busy {
            root: root.name.clone(),
        };
        let _turn = self.turns.take(&root.name).ok_or_else(busy)?;
        // Others may have scanned it while the roots before it were.
        let known = site.ledger.scan(&root.name, &order.scope())?;
        let share = match order.pace {
            None => None,
            Some(pace) => self.share(flow, known.as_ref(), pace)?,
        };
        if share == Some(0) {
            return Ok(None);
        }
        budget.turn(share);
        let whole = Span::below(order.below.as_ref());
        let checked = flow.datastore().check_identity();
        checked.map_err(|source| ScanError::Datastore {
            root: root.name.clone(),
            source,
        })?;
        let stretches = if order.below.is_none() && order.runs.is_limited() {
            let alive = &mut || budget.ask(&ScanCounts::default());
            Some(Stretches::find(flow, &order.runs, alive)?)
        } else {
            None
        };
        // Before this scan leaves a mark of its own.
        let ages = ages(flow)?;
        let row = if let Some(row) = under_way(known, order)? {
            row
        } else {
            let (from, now) = (&whole.from, site.clock.now());
            (site.ledger).begin_scan(&root.name, &order.scope(), from, now)?
        };
        let behind = Behind::find(&*site.ledger, &*site.registry, &root.name)?;
        let from = row.position.clone().unwrap_or_default();
        let left = Span {
            from,
            until: whole.until.clone(),
        };
        let counts: ScanCounts = serde_json::from_str(&row.counts)?;
        let untouchable = Untouchable::find(flow, &behind, &left, &mut || budget.go_on(&counts))?;
        let ground = Ground {
            flow,
            order,
            ages,
            untouchable,
            behind,
            sample: Sample::new(order.checks, row.number),
            stretches,
        };
        let mut pass = Pass::new(&ground, row, budget)?;
        pass.go()?;
        self.report(&ground, pass, whole).map(Some)
    }

    fn report(
        &self,
        ground: &Ground<'_>,
        pass: Pass<'_, '_, '_>,
        span: Span,
    ) -> Result<ScanReport, ScanError> {
        let ledger = &ground.flow.site().ledger;
        let root = &ground.flow.root().name;
        let findings = match &ground.stretches {
            Some(stretches) => stretches.findings(&**ledger, root)?,
            None => ledger.drift_counts(&DriftFilter {
                root: Some(root.clone()),
                kind: None,
                side: Some(DriftSide::Datastore),
                span,
                ignored: false,
            })?,
        };
        Ok(ScanReport {
            root: root.clone(),
            whole: pass.row.position.is_none(),
            notes: notes(ground, &pass),
            scope: pass.row.scope,
            pass: pass.row.number,
            finished_at: (pass.row.finished_at).filter(|_| pass.row.position.is_none()),
            position: pass.row.position.as_deref().map(shown_position),
            begun_at: pass.row.begun_at,
            counts: pass.counts,
            findings: (findings.into_iter())
                .filter(|(kind, _)| kind.side() == DriftSide::Datastore)
                .collect(),
            unlisted: pass.unlisted,
            odd: pass.odd,
            stale_journals: self.stale_journals(ground.flow)?,
            overdue_runs: overdue_runs(ground.flow)?,
        })
    }

    fn stale_journals(&self, flow: &Flow) -> Result<Vec<StaleJournal>, ScanError> {
        let journals = self.removing.journals()?.into_iter();
        let here = journals.filter(|journal| journal.root.as_ref() == Some(&flow.root().name));
        let now = flow.site().clock.now();
        let stale = here.filter_map(|journal| {
            let reason = staleness(&journal, |of| later(of, STALE) <= now)?;
            Some(StaleJournal {
                removal: journal.of.map(|of| of.removal),
                name: journal.name,
                reason,
            })
        });
        Ok(stale.collect())
    }
}

/// Why somebody should look at a journal; none where nobody need.
fn staleness(journal: &JournalRow, is_old: impl Fn(jiff::Timestamp) -> bool) -> Option<String> {
    let reason = journal.reason.clone();
    let begun = journal.of.as_ref().map(|of| of.created_at);
    match journal.state {
        JournalState::Unknown | JournalState::Unusable => {
            Some(reason.unwrap_or_else(|| "it cannot be followed".to_owned()))
        }
        JournalState::Uncommitted | JournalState::Committed => {
            let begun = begun.filter(|begun| is_old(*begun))?;
            Some(reason.unwrap_or_else(|| format!("it has been under way since {begun:.0}")))
        }
        // These wait for others, for as long as it takes.
        JournalState::AwaitsRucio
        | JournalState::PartiallyRemoved
        | JournalState::Late
        | JournalState::Reaping => None,
    }
}

/// The pass to go on with: not one of which less was read than this scan is asked to. One of many scans that see
/// everything in a period goes on all the same: else passes that are read differently would begin for ever anew.
fn under_way(known: Option<ScanRow>, order: &Order) -> Result<Option<ScanRow>, ScanError> {
    let Some(row) = known.filter(|row| row.position.is_some() && !order.anew) else {
        return Ok(None);
    };
    let counts: ScanCounts = serde_json::from_str(&row.counts)?;
    let is_enough = |read: f64| read >= order.checks.share();
    let goes_on = order.pace.is_some() || counts.share.is_none_or(is_enough);
    Ok(goes_on.then_some(row))
}

/// What tells how old files are.
fn ages(flow: &Flow) -> Result<Ages, ScanError> {
    let (root, site) = (flow.root(), flow.site());
    let (scans, now) = (site.ledger.scans()?, site.clock.now());
    let newest = scans.iter().map(|row| row.number).max();
    // A mark that lies ahead was left by a wrong clock, now or then: a later pass leaves a better one.
    let counts = |row: &&ScanRow| row.tried_at <= now || Some(row.number) == newest;
    let mut marks: Vec<_> = scans
        .iter()
        .filter(counts)
        .map(|row| row.tried_at)
        .collect();
    marks.extend(site.ledger.last_sweep(&root.name)?);
    Ok(Ages::at(now, root.waiting_deadline, &marks))
}

/// A position as it is told: the last path that was met, which the next scan goes on behind.
pub(super) fn shown_position(position: &str) -> String {
    position.trim_end_matches('\0').to_owned()
}

/// What kept a scan from conclusions, and what else an operator should know.
fn notes(ground: &Ground<'_>, pass: &Pass<'_, '_, '_>) -> Vec<String> {
    let mut notes: Vec<String> = [ground.ages.doubt(), ground.untouchable.doubt()]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    notes.extend(ground.untouchable.notes().iter().cloned());
    let others = pass.other_roots.iter();
    notes.extend(others.map(|folder| {
        format!("`{folder}` is a root of its own: nothing below it is looked at here; no root should lie in another")
    }));
    if pass.counts.ahead > 0 {
        notes.push(format!(
            "{} files are from the future: either this machine's clock is wrong, or that of the storage is; they count as new",
            pass.counts.ahead
        ));
    }
    let ScanCounts { files, records, .. } = pass.counts;
    let is_empty = files + records + pass.counts.awaited + pass.counts.unlisted == 0;
    if let (Some(folder), true) = (
        &ground.order.below,
        is_empty && pass.other_roots.is_empty() && pass.row.position.is_none(),
    ) {
        notes.push(format!(
            "nothing lies below `{folder}`, and nothing is recorded there"
        ));
    }
    if (ground.stretches.as_ref()).is_some_and(|stretches| stretches.runs().is_empty()) {
        notes.push("no run was registered in that time".to_owned());
    }
    notes
}

fn overdue_runs(flow: &Flow) -> Result<Vec<OverdueRun>, ScanError> {
    let (root, site) = (flow.root(), flow.site());
    let now = site.clock.now();
    let mut overdue = Vec::new();
    for waiting in site.registry.waiting_runs()? {
        if waiting.root != root.name {
            continue;
        }
        let since = waits_since(&*site.ledger, &waiting.run)?;
        if let Some(since) = since.filter(|since| later(*since, root.waiting_deadline) <= now) {
            overdue.push(OverdueRun {
                run: waiting.run.to_string(),
                detail: format!(
                    "waits for artifacts, and its newest manifest was registered at {since:.0}"
                ),
            });
        }
    }
    Ok(overdue)
}
