//! Waits for what had not been seen here when a run was removed, and deletes what still arrives.
//!
//! Whoever carries files may not have heard of the removal yet. The journal stays open for the
//! paths at which nothing was, until a grace time is over. What arrives there is deleted where it is
//! what the removed run named, by size and checksum, and nobody has claimed it again: that is
//! looked at while nobody may register. A manifest of the run that is not decided yet may claim it,
//! so then nothing is deleted.

use jiff::Timestamp;
use runsync_manifest::checksum::{Wanted, checksum};
use runsync_manifest::content::Content;
use runsync_manifest::name::{ArtifactPath, RunKey};
use tracing::{info, warn};

use super::RemovalError;
use super::by_rucio::{check_names, no_rucio};
use super::delete::Deletions;
use super::flow::{NamedRoot, Outcome, Phase, Progress, Removing};
use super::journal::{self, Artifact, Journal, JournalError};
use crate::clock::later;
use crate::datastore::{Datastore, DatastoreError, Deletion, Look, ToDelete};
use crate::error_chain::error_chain;
use crate::file_identity::FileIdentity;
use crate::ledger::record::ManifestState;
use crate::registry::removal::{JournalRef, RemovalRow};
use crate::rucio::Rucio;
use crate::rucio::replicas::Anywhere;

/// Paths that are looked at with one turn.
const LOOKED_TOGETHER: usize = 1_024;

impl Removing {
    /// Leaves the journal in a root open, where it names artifacts that had not been seen here.
    /// Returns until when.
    pub(super) fn wait_for_late(
        &self,
        removal: uuid::Uuid,
        root: &NamedRoot,
        name: &str,
    ) -> Result<Option<Timestamp>, RemovalError> {
        let awaited = match Journal::open(root.datastore.journals(), name) {
            Ok(journal) => journal.awaited,
            Err(error) if error.is_missing() => 0,
            Err(error) => return Err(error.into()),
        };
        let grace = self.ground.caps.late_arrivals;
        if awaited == 0 || grace.is_zero() {
            return Ok(None);
        }
        let until = later(self.ground.clock.now(), grace);
        let registry = &self.ground.registry;
        registry.wait_for_late(removal, &root.name, until)?;
        info!(%removal, root = %root.name, awaited, until = %until,
            "artifacts that may still arrive are waited for");
        Ok(Some(until))
    }

    /// Deletes what has arrived late by now, and closes the journals whose time is over.
    pub(super) fn await_late(
        &self,
        removal: &RemovalRow,
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, RemovalError> {
        let name = &journal::name_of(removal.id, removal.at);
        let mut deletions = Deletions::default();
        let mut late = None;
        for expected in &removal.journals {
            let root = self.root(&expected.root)?;
            let Some(journal) = open(root, expected, name)? else {
                self.ground
                    .registry
                    .journal_closed(removal.id, &root.name)?;
                continue;
            };
            let deleted = self.delete_late(&journal, root, rucio, progress)?;
            deletions.add(&deleted);
            let until = expected.late_until;
            let is_over = until.is_none_or(|until| until <= self.ground.clock.now());
            if is_over && deleted.failed == 0 {
                self.close_journal(removal.id, root, name)?;
            } else {
                late = late.max(until);
            }
        }
        Ok(Outcome::of(removal, deletions, late))
    }

    fn delete_late(
        &self,
        journal: &Journal,
        root: &NamedRoot,
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<Deletions, RemovalError> {
        let there = self.in_rucio(&journal.header, root)?;
        if let Some(there) = &there {
            check_names(&journal.header, root, there)?;
        }
        let failed = |source| RemovalError::Root {
            root: root.name.clone(),
            source,
        };
        root.datastore.check_identity().map_err(failed)?;
        let mut deletions = Deletions::default();
        let mut artifacts = journal
            .read(root.datastore.journals())?
            .filter(|artifact| !matches!(artifact, Ok(Artifact { awaited: false, .. })));
        loop {
            let chunk = artifacts.by_ref().take(LOOKED_TOGETHER);
            let chunk: Vec<Artifact> = chunk.collect::<Result<_, JournalError>>()?;
            if chunk.is_empty() {
                break;
            }
            let mut arrived = arrived(&chunk, root, progress)?;
            if let Some(there) = &there
                && !arrived.is_empty()
            {
                // What Rucio has is Rucio's to delete, late or not.
                let artifacts: Vec<&Artifact> = arrived.iter().map(|(one, _)| *one).collect();
                let rucio = rucio.ok_or_else(|| no_rucio(root))?;
                let had = there.had(rucio, &artifacts, Anywhere::Yes)?;
                let mut had = had.into_iter();
                arrived.retain(|_| had.next() == Some(false));
            }
            if !arrived.is_empty() {
                let _turn = self
                    .ground
                    .registration
                    .acquire(&mut || progress(Phase::Waiting))?;
                for run in &journal.header.runs {
                    if self.may_be_claimed(run)? {
                        return Ok(deletions);
                    }
                }
                deletions.add(&self.delete_arrived(&arrived, root)?);
            }
            if progress(Phase::Deleting(deletions.total())).is_break() {
                return Err(RemovalError::Interrupted);
            }
        }
        if deletions.deleted > 0 {
            root.datastore.sync().map_err(failed)?;
            info!(removal = %journal.header.removal, root = %root.name,
                deleted = deletions.deleted, "artifacts of a removed run came late, and are deleted");
        }
        Ok(deletions)
    }

    /// Whether a manifest of the run is there that is not decided for good and may name its artifacts
    /// again.
    fn may_be_claimed(&self, run: &RunKey) -> Result<bool, RemovalError> {
        // One that was interrupted may have no row yet.
        if !self.ground.registry.registering()?.is_empty() {
            return Ok(true);
        }
        let mut rows = self.ground.ledger.of_run(run)?;
        rows.retain(|row| {
            let summary = row.summary.as_ref();
            summary.is_none_or(|summary| summary.content != Content::Inventory)
        });
        Ok(rows.iter().any(|row| match row.state {
            ManifestState::Blocked | ManifestState::Untrusted => true,
            ManifestState::Registered | ManifestState::Quarantined | ManifestState::Superseded => {
                false
            }
        }))
    }

    /// Deletes what has arrived and nobody claims, each only where it is still the file that was read.
    fn delete_arrived(
        &self,
        arrived: &[Arrived<'_>],
        root: &NamedRoot,
    ) -> Result<Deletions, RemovalError> {
        let registry = &self.ground.registry;
        registry.check_fence()?;
        let paths: Vec<&ArtifactPath> = arrived.iter().map(|(one, _)| &one.path).collect();
        let claimed = registry.claimed(&root.name, &paths)?;
        let nobodys = arrived.iter().zip(claimed).filter(|(_, claimed)| !claimed);
        let nobodys: Vec<&Arrived<'_>> = nobodys.map(|(one, _)| one).collect();
        let to_delete = nobodys.iter().map(|(artifact, identity)| ToDelete {
            path: &artifact.path,
            identity: *identity,
        });
        let to_delete: Vec<ToDelete<'_>> = to_delete.collect();
        let done = root.datastore.delete(&to_delete);
        let done = done.map_err(|source| RemovalError::Root {
            root: root.name.clone(),
            source,
        })?;
        let mut deletions = Deletions::default();
        for ((artifact, identity), deletion) in nobodys.into_iter().zip(done) {
            if let Deletion::Failed(fault) = deletion {
                let path = &artifact.path;
                warn!(%path, error = %fault, "what came late cannot be deleted");
            }
            if deletion == Deletion::Deleted {
                deletions.bytes += identity.size;
            }
            deletions.take(deletion);
        }
        deletions.count(&root.name);
        Ok(deletions)
    }
}

/// An artifact that has come, and the file that was read.
type Arrived<'a> = (&'a Artifact, FileIdentity);

/// Those of a chunk that are there and are what the removed run named. Files are read, which takes
/// its time.
fn arrived<'a>(
    chunk: &'a [Artifact],
    root: &NamedRoot,
    progress: &mut Progress<'_>,
) -> Result<Vec<Arrived<'a>>, RemovalError> {
    let paths: Vec<&ArtifactPath> = chunk.iter().map(|artifact| &artifact.path).collect();
    let looks = root.datastore.look(&paths);
    let looks = looks.map_err(|source| RemovalError::Root {
        root: root.name.clone(),
        source,
    })?;
    let mut arrived = Vec::new();
    for (artifact, look) in chunk.iter().zip(looks) {
        let Look::File(identity) = look else { continue };
        if identity.size == artifact.size && is_the_same(artifact, &*root.datastore) {
            arrived.push((artifact, identity));
        }
        if progress(Phase::Waiting).is_break() {
            return Err(RemovalError::Interrupted);
        }
    }
    Ok(arrived)
}

fn open(
    root: &NamedRoot,
    expected: &JournalRef,
    name: &str,
) -> Result<Option<Journal>, RemovalError> {
    let journal = match Journal::open(root.datastore.journals(), name) {
        Ok(journal) => journal,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if journal.digest == expected.digest {
        return Ok(Some(journal));
    }
    let name = name.to_owned();
    Err(JournalError::Changed { name }.into())
}

/// Whether what has arrived is what the removed run named; one that cannot be read is not.
fn is_the_same(artifact: &Artifact, datastore: &dyn Datastore) -> bool {
    let read = datastore.open(&artifact.path).and_then(|(file, _)| {
        checksum(file, Wanted::default()).map_err(|source| DatastoreError::Io {
            attempt: "read",
            path: artifact.path.to_string(),
            source,
        })
    });
    match read {
        Ok((size, sums)) => size == artifact.size && sums.adler32 == artifact.adler32,
        Err(error) => {
            let path = &artifact.path;
            warn!(%path, error = %error_chain(&error), "what came late cannot be read");
            false
        }
    }
}
