//! Hears what an origin removes: by a removal, or by a snapshot that leaves datasets out.
//!
//! The manifest raises its run's floor at once. What it takes away goes by a removal, which deletes
//! artifacts and is another flow's; until that has been carried out the manifest is `blocked`, and
//! tried again. A snapshot's datasets are registered once what it leaves out is gone, which may hold
//! their data IDs and paths, or at once where it stays by this site's own decision.

use std::ops::ControlFlow;

use runsync_config::peer::RemovalPolicy;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::RunKey;

use super::IngestError;
use super::flow::{Flow, Progress};
use super::refuse::{Blocker, Omission, Refusal, blocker};
use super::verify::{Verdict, Verified};
use crate::ledger::record::{Location, ManifestRow};
use crate::registry::RegistryError;
use crate::registry::conflict::Conflict;
use crate::registry::record::{RowSource, RunRow};

impl Flow {
    /// Raises the floor that a removal or a snapshot is, and judges what is to become of it; `rows`
    /// takes the manifests that it overtakes.
    pub(super) fn hear(
        &self,
        verified: Verified,
        rows: &mut Vec<ManifestRow>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Verdict, IngestError> {
        let run = verified.run().clone();
        let generation = verified.parsed().header().generation;
        let (registry, ledger) = (&*self.site().registry, &*self.site().ledger);
        // Said again it changes nothing, and must not look like a change: what is blocked is tried again
        // after each.
        let floor = registry.run(&run)?.and_then(|row| row.floor);
        if floor.is_none_or(|floor| floor < generation) {
            registry.raise_floor(&run, generation)?;
        }
        let now = self.site().clock.now();
        let older = ledger.of_run(&run)?.into_iter();
        rows.extend(older.filter_map(|older| older.overtaken(generation, now)));
        let omitted = self.left_out(&verified)?;
        let is_removal = verified.parsed().header().content == Content::Removal;
        if let Some(datasets) = omitted {
            let refused = self.refused(&verified)?;
            let stays = refused.is_some() || self.policy(&run) == RemovalPolicy::Report;
            if is_removal || !stays {
                let omission = Omission {
                    datasets,
                    registered: false,
                    refused,
                    conflict: None,
                    above: None,
                };
                let content = verified.parsed().header().content;
                let refusal = self.omission(&run, content, omission);
                return Ok(Verdict::Refuse(verified.into_parsed(), refusal));
            }
        } else if is_removal {
            return Ok(Verdict::Known(verified.into_parsed()));
        }
        let refused = self.refused(&verified)?;
        let verdict = self.compare(verified, progress)?;
        Ok(match (verdict, omitted) {
            (Verdict::Refuse(parsed, refusal), Some(datasets)) => {
                let refusal = self.omission_beside(&run, (datasets, refused), refusal);
                Verdict::Refuse(parsed, refusal)
            }
            (verdict, _) => verdict,
        })
    }

    /// What a snapshot leaves out stays, and something keeps out what it brings: both are told, so that
    /// whichever changes frees it.
    fn omission_beside(
        &self,
        run: &RunKey,
        (datasets, refused): (u64, Option<String>),
        refusal: Refusal,
    ) -> Refusal {
        let Some(Blocker::Conflict(conflict)) = refusal.blocker.as_deref().cloned() else {
            return refusal;
        };
        let omission = Omission {
            datasets,
            registered: false,
            refused,
            conflict: Some(Box::new(conflict)),
            above: None,
        };
        let beside = self.omission(run, Content::Snapshot, omission);
        Refusal {
            reason: format!(
                "{}; what else it says is kept out: {}",
                beside.reason, refusal.reason
            ),
            ..beside
        }
    }

    /// What is to be said of a snapshot that is registered, where what it leaves out is still here.
    pub(super) fn kept_although_left_out(
        &self,
        verified: &Verified,
    ) -> Result<Option<Refusal>, IngestError> {
        let header = verified.parsed().header();
        if header.content != Content::Snapshot {
            return Ok(None);
        }
        let Some(datasets) = self.left_out(verified)? else {
            return Ok(None);
        };
        let omission = Omission {
            datasets,
            registered: true,
            refused: self.refused(verified)?,
            conflict: None,
            above: None,
        };
        let refusal = self.omission(verified.run(), header.content, omission);
        Ok(Some(refusal))
    }

    /// How many datasets the manifest takes away that are still here; none where that has been
    /// carried out, or there is nothing.
    fn left_out(&self, verified: &Verified) -> Result<Option<u64>, IngestError> {
        let registry = &self.site().registry;
        let (run, parsed) = (verified.run(), verified.parsed());
        let generation = parsed.header().generation;
        let row = registry.run(run)?;
        // Of a run of this site's own nothing but this flow removes it: what its manifest says is carried
        // out with the commit, and others must hear of it before the last file is gone, which may take
        // Rucio for ever, or wait for just that.
        let is_committed = row.as_ref().and_then(|row| row.followed) >= Some(generation);
        let is_own = run.origin == self.site().trust().local();
        if parsed.header().content == Content::Removal && is_own && is_committed {
            return Ok(None);
        }
        if is_under_way(&**registry, run)? {
            return Ok(Some(0));
        }
        let row = row.filter(|row| row.followed.is_none_or(|followed| followed < generation));
        let Some(row) = row else { return Ok(None) };
        let kept: Option<&dyn RowSource> = match parsed.header().content {
            Content::Snapshot => Some(parsed.rows()),
            Content::Removal | Content::Additions | Content::Inventory => None,
        };
        let omitted = if kept.is_none() && !reaches(&row, generation) {
            row.datasets
        } else {
            registry.omitted(run, generation, kept)?
        };
        if omitted == 0 && !self.is_half_registered(run, generation)? {
            registry.followed(run, generation)?;
            return Ok(None);
        }
        Ok(Some(omitted))
    }

    /// Whether a manifest below the generation was not registered to its end: some of it may be in
    /// the way although nothing is seen.
    fn is_half_registered(
        &self,
        run: &RunKey,
        generation: Generation,
    ) -> Result<bool, RegistryError> {
        let registering = self.site().registry.registering()?;
        let mut of_run = registering.iter().filter(|one| one.run == *run);
        Ok(of_run.any(|one| one.generation < generation))
    }

    /// What is done here when the run's origin removes.
    pub(super) fn policy(&self, run: &RunKey) -> RemovalPolicy {
        self.site().trust().removal_policy(run.origin)
    }

    /// Who has refused this very manifest before.
    fn refused(&self, verified: &Verified) -> Result<Option<String>, IngestError> {
        let root = self.root().name.clone();
        let path = verified.parsed().settled().path().to_owned();
        let row = self.site().ledger.manifest(&Location { root, path })?;
        let digest = verified.parsed().trailer().sha256;
        let same = row.filter(|row| {
            let summary = row.summary.as_ref();
            summary.is_some_and(|summary| summary.digest == Some(digest))
        });
        Ok(match same.as_ref().and_then(blocker) {
            Some(Blocker::Removal(omission)) => omission.refused,
            Some(Blocker::Conflict(_) | Blocker::Fork | Blocker::Frozen | Blocker::Held) | None => {
                None
            }
        })
    }

    fn omission(&self, run: &RunKey, content: Content, omission: Omission) -> Refusal {
        let datasets = omission.datasets;
        let name = &run.name;
        let what = match content {
            Content::Snapshot => {
                format!("{datasets} datasets that a snapshot of run `{name}` leaves out")
            }
            Content::Removal | Content::Additions | Content::Inventory => {
                format!("{datasets} datasets of run `{name}` that its origin has removed")
            }
        };
        let (reason, hint) = match (&omission.refused, self.policy(run)) {
            (Some(account), _) => (
                format!("{what} stay here: {account} has refused"),
                "`runsync removal confirm` removes them all the same",
            ),
            (None, RemovalPolicy::Apply) => (
                format!("{what} are removed here too"),
                "`runsync removal list` and `runsync journal list` show how far that is",
            ),
            (None, RemovalPolicy::Confirm) => (
                format!("{what} wait for an operator's word"),
                "`runsync removal confirm` removes them, `runsync removal refuse` keeps them",
            ),
            (None, RemovalPolicy::Report) => (
                format!("{what} stay here: the peer's `removals` says \"report\""),
                "`runsync removal confirm` removes them all the same",
            ),
        };
        Refusal::blocked(Blocker::Removal(omission), reason, hint)
    }
}

fn reaches(row: &RunRow, generation: Generation) -> bool {
    row.generation.is_some_and(|highest| highest >= generation)
}

pub(super) fn is_under_way(
    registry: &dyn crate::registry::Registry,
    run: &RunKey,
) -> Result<bool, RegistryError> {
    let run = run.clone();
    registry.still_stands(&Conflict::RemovalUnderWay { run })
}
