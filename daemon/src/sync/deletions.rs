//! Forgets artifacts that Rucio has deleted here: their records go, their datasets stay known.
//!
//! That a message says so is a reason to look, and no more. An artifact is forgotten where Rucio lists
//! no replica of it at the root's RSE and no file has its name. Where the name is one that runsync has
//! made beside Rucio's ([`place`](super::place)), it is taken away after the record.
//!
//! # What a crash leaves
//!
//! Records that are gone, and names of files that nobody claims. Whoever has noted that the artifact was
//! deleted keeps that note until this is through; taken up again, it takes the names away.

use std::collections::BTreeSet;

use runsync_manifest::name::{ArtifactPath, RunKey};
use tracing::info;

use super::SyncError;
use super::root::{Here, RootSync, TAKEN};
use crate::datastore::{Deletion, Look, ToDelete};
use crate::file_identity::FileIdentity;
use crate::ledger::record::SyncMarks;
use crate::registry::record::{ArtifactStanding, ClaimAt};
use crate::rucio::Did;

/// The state of a replica that Rucio is about to delete (`ReplicaState` in `rucio/db/sqla/constants.py`).
const BEING_DELETED: &str = "BEING_DELETED";

/// What became of an artifact that is said to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing is left to be done.
    Done,
    /// It is not settled yet: to be looked at again.
    Later,
}

/// An artifact that is said to be deleted.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    pub(super) did: Did,
    pub(super) path: ArtifactPath,
}

/// A name to be taken away, and the file that it is of.
type Name = (ArtifactPath, FileIdentity);

impl RootSync<'_, '_> {
    /// Forgets artifacts, each after a look. Answers in the order asked.
    pub(super) fn forget(&mut self, gone: &[Gone]) -> Result<Vec<Fate>, SyncError> {
        let mut fates = vec![Fate::Done; gone.len()];
        let paths: Vec<&ArtifactPath> = gone.iter().map(|gone| &gone.path).collect();
        let claims = self.registry().claims_at(&self.root().name, &paths)?;
        if claims.iter().flatten().any(|claim| claim.busy) {
            self.syncing.wake_removals();
        }
        let concerned: Vec<usize> = (0..gone.len())
            .filter(|index| {
                claims
                    .get(*index)
                    .is_some_and(|claims| is_concerned(claims))
            })
            .collect();
        if concerned.is_empty() {
            return Ok(fates);
        }
        // What is not there, because nothing is mounted there, is not deleted.
        self.datastore().check_identity()?;
        let asked: Vec<Did> = (concerned.iter())
            .filter_map(|index| Some(gone.get(*index)?.did.clone()))
            .collect();
        let listed = self.list(&asked, false)?.here;
        let (mut forgotten, mut names) = (Vec::new(), Vec::new());
        let mut runs = BTreeSet::new();
        for index in concerned {
            let (Some(one), Some(claims)) = (gone.get(index), claims.get(index)) else {
                continue;
            };
            let fate = match self.judge(&one.path, claims, listed.get(&one.did))? {
                Verdict::Stays => Fate::Done,
                Verdict::Unsettled => Fate::Later,
                Verdict::Gone(name) => {
                    forgotten.push(one.path.clone());
                    names.extend(name.map(|identity| (one.path.clone(), identity)));
                    runs.extend(claims.iter().map(|claim| claim.run.clone()));
                    Fate::Done
                }
            };
            if let Some(slot) = fates.get_mut(index) {
                *slot = fate;
            }
        }
        self.forget_all(forgotten, names, &runs)?;
        Ok(fates)
    }

    fn judge(
        &self,
        path: &ArtifactPath,
        claims: &[ClaimAt],
        here: Option<&Here>,
    ) -> Result<Verdict, SyncError> {
        match here {
            Some(here) if here.state == BEING_DELETED => return Ok(Verdict::Unsettled),
            Some(_) => return Ok(Verdict::Stays),
            None => {}
        }
        let look = self.datastore().look(&[path])?.into_iter().next();
        Ok(match look {
            Some(Look::Absent) => Verdict::Gone(None),
            Some(Look::File(identity)) if self.is_our_name(path, claims)? => {
                Verdict::Gone(Some(identity))
            }
            Some(Look::File(_) | Look::Irregular) => Verdict::Stays,
            Some(Look::Unreadable(_)) | None => Verdict::Unsettled,
        })
    }

    /// Whether the name is one that runsync has made for what Rucio brought, for all that claim it.
    fn is_our_name(&self, path: &ArtifactPath, claims: &[ClaimAt]) -> Result<bool, SyncError> {
        if !self.has_second_names() {
            return Ok(false);
        }
        for claim in claims {
            let marks = self.ledger().sync_marks(&self.root().name, &claim.run)?;
            if !marks.linked || !self.is_carried(&claim.run) {
                return Ok(false);
            }
        }
        let subject = self.subject(path.as_str());
        let taken = self.ledger().findings_of(TAKEN, &subject, None, 1)?;
        Ok(!taken.iter().any(|finding| finding.subject == subject))
    }

    fn forget_all(
        &mut self,
        mut paths: Vec<ArtifactPath>,
        names: Vec<Name>,
        runs: &BTreeSet<RunKey>,
    ) -> Result<(), SyncError> {
        if paths.is_empty() {
            return Ok(());
        }
        let (ledger, root) = (self.ledger(), self.root().name.clone());
        for run in runs {
            let marks = ledger.sync_marks(&root, run)?;
            if !marks.forgotten {
                let forgotten = true;
                ledger.mark_synced(&root, run, SyncMarks { forgotten, ..marks })?;
            }
        }
        paths.sort_unstable();
        let asked: Vec<&ArtifactPath> = paths.iter().collect();
        let forgotten = self.registry().forget_at(&root, &asked)?;
        self.report.forgotten += forgotten;
        if forgotten > 0 {
            let runs: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
            info!(%root, claims = forgotten, runs = runs.join(", "), "artifacts forgotten that Rucio has deleted");
        }
        self.take_away(names)
    }

    /// Takes names away that nobody claims any more.
    fn take_away(&mut self, mut names: Vec<Name>) -> Result<(), SyncError> {
        if names.is_empty() {
            return Ok(());
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        // Nothing registers one of these paths meanwhile.
        let progress = &mut *self.budget.progress;
        let turn = self.flow.site().registration.acquire(progress);
        let _turn = turn.map_err(crate::ingest::IngestError::from)?;
        self.registry().check_fence()?;
        let paths: Vec<&ArtifactPath> = names.iter().map(|(path, _)| path).collect();
        let claimed = self.registry().claimed(&self.root().name, &paths)?;
        let free = names.iter().zip(claimed).filter(|(_, claimed)| !claimed);
        let free: Vec<ToDelete<'_>> = free
            .map(|((path, identity), _)| ToDelete {
                path,
                identity: *identity,
            })
            .collect();
        let gone = self.datastore().delete(&free)?;
        self.datastore().sync()?;
        let count = gone
            .iter()
            .filter(|gone| **gone == Deletion::Deleted)
            .count();
        info!(root = %self.root().name, names = count, "names taken away whose files Rucio has deleted");
        Ok(())
    }
}

/// What is to be done about an artifact that is said to be deleted.
enum Verdict {
    /// It is there, or was never runsync's to forget.
    Stays,
    /// Nobody can tell yet.
    Unsettled,
    /// It is gone; with the name that is left of it.
    Gone(Option<FileIdentity>),
}

/// Whether anything that is not under way has a record of it, or had one until a moment ago.
fn is_concerned(claims: &[ClaimAt]) -> bool {
    let settled = claims.iter().filter(|claim| !claim.busy);
    settled.clone().count() == claims.len()
        && settled
            .clone()
            .any(|claim| claim.standing != ArtifactStanding::Awaited)
}
