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

use std::collections::{BTreeMap, BTreeSet};

use runsync_manifest::name::{ArtifactPath, RunKey, Scope};
use tracing::info;

use super::SyncError;
use super::root::{Here, RootSync};
use super::scopes::Scopes;
use crate::datastore::{Deletion, Look, ToDelete};
use crate::file_identity::FileIdentity;
use crate::ledger::record::{MadeName, SyncMarks};
use crate::registry::record::{ArtifactStanding, ClaimAt};
use crate::rucio::Did;
use crate::rucio::replicas::Anywhere;

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
    /// The scope that it is said of; none: of the run itself.
    pub(super) scope: Option<Scope>,
    pub(super) path: ArtifactPath,
}

/// A name to be taken away, the file that it is of, and what Rucio would call it.
type Name = (ArtifactPath, FileIdentity, Vec<Did>);

/// One that may be gone, and what Rucio would call it.
#[derive(Debug)]
struct Concerned {
    index: usize,
    dids: Vec<Did>,
}

impl RootSync<'_, '_> {
    /// Forgets artifacts, each after a look. Answers in the order asked.
    pub(super) fn forget(&mut self, gone: &[Gone]) -> Result<Vec<Fate>, SyncError> {
        let mut fates = vec![Fate::Done; gone.len()];
        let paths: Vec<&ArtifactPath> = gone.iter().map(|gone| &gone.path).collect();
        let claims = self.registry().claims_at(&self.root().name, &paths)?;
        if claims.iter().flatten().any(|claim| claim.busy) {
            self.syncing.wake_removals();
        }
        let concerned = self.concerned(gone, &claims, &mut fates)?;
        if concerned.is_empty() {
            return Ok(fates);
        }
        // What is not there, because nothing is mounted there, is not deleted.
        self.datastore().check_identity()?;
        let asked: Vec<Did> = concerned.iter().flat_map(|one| one.dids.clone()).collect();
        let listed = self.list(&asked, false)?.here;
        // An RSE that is closed for reading lists nothing, and has lost nothing.
        let unlisted: Vec<&Did> = (asked.iter())
            .filter(|did| !listed.contains_key(*did))
            .collect();
        self.budget.ask()?;
        let had = self.rucio.had_at(self.rse, &unlisted, Anywhere::No)?;
        let (mut forgotten, mut names) = (Vec::new(), Vec::new());
        let mut runs = BTreeSet::new();
        for Concerned { index, dids } in concerned {
            let (Some(one), Some(claims)) = (gone.get(index), claims.get(index)) else {
                continue;
            };
            let here = dids.iter().find_map(|did| listed.get(did));
            let is_had = dids.iter().any(|did| had.contains(did));
            let verdict = match here {
                None if is_had => Verdict::Stays,
                here => self.judge(&one.path, claims, here)?,
            };
            let fate = match verdict {
                Verdict::Stays => Fate::Done,
                Verdict::Unsettled => Fate::Later,
                Verdict::Gone(name) => {
                    forgotten.push(one.path.clone());
                    names.extend(name.map(|identity| (one.path.clone(), identity, dids)));
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

    /// Those that anything here has a record of, in a scope that is its run's. One that is busy is
    /// looked at later.
    fn concerned(
        &self,
        gone: &[Gone],
        claims: &[Vec<ClaimAt>],
        fates: &mut [Fate],
    ) -> Result<Vec<Concerned>, SyncError> {
        let (mut concerned, mut known) = (Vec::new(), BTreeMap::new());
        let schema = self.rucio.schema();
        for (index, (one, claims)) in gone.iter().zip(claims).enumerate() {
            if claims.iter().any(|claim| claim.busy) {
                if let Some(fate) = fates.get_mut(index) {
                    *fate = Fate::Later;
                }
                continue;
            }
            if !is_concerned(claims) {
                continue;
            }
            let mut scopes = Scopes {
                are_told: true,
                ..Scopes::default()
            };
            for claim in claims {
                let of_run = self.remembered(&claim.run, &mut known)?;
                scopes.all.extend(of_run.all.iter().cloned());
                scopes.are_told &= of_run.are_told;
            }
            let is_of_run = (one.scope.as_ref()).is_none_or(|scope| scopes.all.contains(scope));
            let dids = scopes.all.iter();
            let dids: Vec<Did> = dids
                .map(|scope| Did::new(scope, one.path.as_str()))
                .collect();
            // What Rucio cannot have, it has not deleted.
            let can_be = dids.iter().all(|did| schema.check(did).is_ok());
            if is_of_run && scopes.are_told && can_be {
                concerned.push(Concerned { index, dids });
            }
        }
        Ok(concerned)
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
            Some(Look::File(identity)) if self.is_our_name(path, identity, claims)? => {
                Verdict::Gone(Some(identity))
            }
            Some(Look::File(_) | Look::Irregular) => Verdict::Stays,
            Some(Look::Unreadable(_)) | None => Verdict::Unsettled,
        })
    }

    /// Whether the name is one that runsync has made for this very file.
    fn is_our_name(
        &self,
        path: &ArtifactPath,
        identity: FileIdentity,
        claims: &[ClaimAt],
    ) -> Result<bool, SyncError> {
        let are_carried = claims.iter().all(|claim| self.is_carried(&claim.run));
        if !self.has_second_names() || !are_carried {
            return Ok(false);
        }
        let inode = identity.inode;
        let made = self
            .ledger()
            .are_made(&self.root().name, &[MadeName { path, inode }])?;
        Ok(made == [true])
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
                ledger.mark_synced(&root, run, SyncMarks { forgotten })?;
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
        let paths: Vec<&ArtifactPath> = names.iter().map(|(path, ..)| path).collect();
        let claimed = self.registry().claimed(&self.root().name, &paths)?;
        // Once more, in other words: a name may be the last one of its bytes.
        let dids: Vec<&Did> = names.iter().flat_map(|(_, _, dids)| dids).collect();
        self.budget.ask()?;
        let had = self.rucio.had_at(self.rse, &dids, Anywhere::Yes)?;
        let free = names.iter().zip(claimed).filter(|((_, _, dids), claimed)| {
            !claimed && !dids.iter().any(|did| had.contains(did))
        });
        let free: Vec<ToDelete<'_>> = free
            .map(|((path, identity, _), _)| ToDelete {
                path,
                identity: *identity,
            })
            .collect();
        let gone = self.datastore().delete(&free)?;
        self.datastore().sync()?;
        let struck = free.iter().zip(&gone);
        let struck: Vec<&ArtifactPath> = struck
            .filter(|(_, gone)| **gone == Deletion::Deleted)
            .map(|(name, _)| name.path)
            .collect();
        self.ledger().strike_names(&self.root().name, &struck)?;
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

/// Whether anything has a record of it, or had one until a moment ago.
fn is_concerned(claims: &[ClaimAt]) -> bool {
    claims
        .iter()
        .any(|claim| claim.standing != ArtifactStanding::Awaited)
}
