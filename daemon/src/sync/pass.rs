//! Goes through all that Rucio should have here, within a budget, and goes on where it stopped.
//!
//! manifests of each origin → runs, by name → done
//!
//! Where it stands is kept in the ledger after every part, so that neither a restart nor a budget that is
//! spent begins anew. A part that is done twice changes nothing.

use runsync_config::rucio::Sync;
use runsync_manifest::name::{RepositoryId, RseName, RunName};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::SyncError;
use super::budget::{Budget, Progress};
use super::flow::Syncing;
use super::report::SyncReport;
use super::root::RootSync;
use crate::error_chain::error_chain;
use crate::ingest::Flow;
use crate::ledger::record::SyncPass;
use crate::rucio::Rucio;

/// Runs compared together: their locks take one request.
const RUNS_TOGETHER: usize = 100;

/// Where a pass stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cursor {
    /// At the manifests of the origins, after so many of them.
    Manifests(usize),
    /// At the runs, after this one.
    Runs(Option<(RunName, RepositoryId)>),
}

/// How much of a pass is done at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure<'c> {
    /// All of it, from its beginning.
    Whole,
    /// As much as configuration allows, from where the last one stopped.
    Part(&'c Sync),
}

impl Syncing {
    /// Compares all of a root, or of all roots that are RSEs, with Rucio.
    ///
    /// # Errors
    ///
    /// Where Rucio, or this site, do not answer, or `progress` broke off: what is done stays, and the next
    /// pass goes on from there.
    pub fn pass(
        &self,
        rucio: &Rucio,
        rse: Option<&RseName>,
        measure: Measure<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<SyncReport, SyncError> {
        let mut report = SyncReport {
            whole: true,
            ..SyncReport::default()
        };
        let mut budget = match measure {
            Measure::Whole => Budget::open(progress),
            Measure::Part(of) => Budget::new(of.requests_max, of.time_max, progress),
        };
        let mut failed = None;
        for root in self.roots(rse)? {
            match self.pass_root(root, rucio, measure, &mut budget, &mut report) {
                Ok(whole) => report.whole &= whole,
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                // One root holds up no other.
                Err(error) => {
                    warn!(root = %root.0.root().name, error = %error_chain(&error), "root is not compared with Rucio");
                    failed = Some(error);
                }
            }
        }
        match failed {
            None => Ok(report),
            Some(error) => Err(error),
        }
    }

    /// Has the next pass begin anew, wherever the last one stopped.
    pub(super) fn begin_anew(&self) -> Result<(), SyncError> {
        for flow in &self.ground.flows {
            let ledger = &flow.site().ledger;
            if let Some(pass) = ledger.sync_pass(&flow.root().name)? {
                let cursor = None;
                ledger.note_sync_pass(&SyncPass { cursor, ..pass })?;
            }
        }
        Ok(())
    }

    fn pass_root(
        &self,
        root: (&Flow, &RseName),
        rucio: &Rucio,
        measure: Measure<'_>,
        budget: &mut Budget<'_>,
        report: &mut SyncReport,
    ) -> Result<bool, SyncError> {
        let (flow, _) = root;
        let (ledger, name) = (&flow.site().ledger, &flow.root().name);
        let mut pass = ledger
            .sync_pass(name)?
            .unwrap_or_else(|| SyncPass::new(name.clone()));
        let now = flow.site().clock.now();
        pass.tried_at = Some(now);
        let known = pass.cursor.as_deref().map(serde_json::from_str::<Cursor>);
        let cursor = if let (Measure::Part(_), Some(Ok(cursor))) = (measure, known) {
            cursor
        } else {
            pass.begun_at = Some(now);
            Cursor::Manifests(0)
        };
        let gone = self.at(root, (rucio, budget), report, |root| {
            root.go(cursor, &mut pass)
        });
        match gone {
            Ok(whole) => {
                pass.problem = None;
                if whole {
                    pass.finished_at = Some(flow.site().clock.now());
                }
                ledger.note_sync_pass(&pass)?;
                Ok(whole)
            }
            Err(error) => {
                if !error.is_interruption() && !error.is_fenced() {
                    pass.problem = Some(error_chain(&error));
                    ledger.note_sync_pass(&pass)?;
                }
                Err(error)
            }
        }
    }
}

impl RootSync<'_, '_> {
    /// Goes on from a cursor. True where it is through.
    fn go(&mut self, mut cursor: Cursor, pass: &mut SyncPass) -> Result<bool, SyncError> {
        loop {
            let Some(next) = self.part(&cursor)? else {
                pass.cursor = None;
                return Ok(true);
            };
            debug!(root = %self.root().name, cursor = ?next, "compared with Rucio up to here");
            pass.cursor = serde_json::to_string(&next).ok();
            self.ledger().note_sync_pass(pass)?;
            cursor = next;
            if self.budget.is_spent() {
                return Ok(false);
            }
        }
    }

    /// One part; where it goes on, or none where that was the last.
    fn part(&mut self, cursor: &Cursor) -> Result<Option<Cursor>, SyncError> {
        match cursor {
            Cursor::Manifests(done) => {
                let trust = self.flow.site().trust();
                let Some(peer) = trust.peers().get(*done) else {
                    return Ok(Some(Cursor::Runs(None)));
                };
                for scope in self.scopes(peer.origin) {
                    self.control(peer.origin, &scope)?;
                }
                Ok(Some(Cursor::Manifests(done + 1)))
            }
            Cursor::Runs(after) => {
                let after = after
                    .as_ref()
                    .map(|(name, origin)| (name.as_str(), *origin));
                let runs = self
                    .registry()
                    .runs_after(None, false, after, RUNS_TOGETHER)?;
                let is_last = runs.len() < RUNS_TOGETHER;
                let last = runs
                    .last()
                    .map(|row| (row.key.name.clone(), row.key.origin));
                let mut carried = runs;
                carried.retain(|row| self.is_carried(&row.key));
                self.fill_gaps(&carried)?;
                self.runs(&carried, false)?;
                self.declare_overdue(&carried)?;
                if is_last {
                    self.heal_declared()?;
                }
                Ok(last
                    .filter(|_| !is_last)
                    .map(|last| Cursor::Runs(Some(last))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let origin = "018f0000-0000-7000-8000-000000000001".parse().unwrap();
        for cursor in [
            Cursor::Manifests(3),
            Cursor::Runs(None),
            Cursor::Runs(Some(("u/a".parse().unwrap(), origin))),
        ] {
            let text = serde_json::to_string(&cursor).unwrap();
            assert_eq!(serde_json::from_str::<Cursor>(&text).unwrap(), cursor);
        }
    }
}
