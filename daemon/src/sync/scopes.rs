//! The scopes in which a run's files are in Rucio, as far as this site knows.
//!
//! A DID's name is only a path; whose it is says its scope. So what a message, or Rucio, says of a DID in
//! a scope that is none of the run's is about another file, whatever it is called.

use std::collections::{BTreeMap, BTreeSet};

use runsync_manifest::content::Content;
use runsync_manifest::name::{RepositoryId, RunKey, Scope};
use runsync_manifest::reader::Reader;

use super::SyncError;
use super::root::RootSync;
use crate::datastore::DatastoreError;
use crate::ledger::record::{ManifestRow, ManifestState};
use crate::registry::record::ClaimAt;

/// The scopes that a run's files may have.
#[derive(Debug, Clone, Default)]
pub(super) struct Scopes {
    pub(super) all: BTreeSet<Scope>,
    /// Whether a manifest of the run says so: those of a run have one scope, or its origin does not publish
    /// them. Where all are gone nothing is concluded from what is in none of these.
    pub(super) are_told: bool,
}

impl RootSync<'_, '_> {
    /// The scopes of a run's files in this root.
    ///
    /// # Errors
    ///
    /// Where the ledger, or a manifest that is there, cannot be read: then nothing is known.
    pub(super) fn scopes_of(&self, run: &RunKey) -> Result<Scopes, SyncError> {
        let mut scopes = Scopes::default();
        for row in self.ledger().of_run(run)? {
            if !self.is_instalment(&row) {
                continue;
            }
            // One that was withdrawn is gone by now.
            let named = self.scopes_in(&row.location.path, run.origin)?;
            scopes.are_told |= !named.is_empty();
            scopes.all.extend(named);
        }
        if scopes.all.is_empty() {
            scopes.all.extend(self.scopes(run.origin));
        }
        Ok(scopes)
    }

    /// Whether a DID of that scope may be the artifact of these claims.
    pub(super) fn are_of(&self, scope: &Scope, claims: &[ClaimAt]) -> Result<bool, SyncError> {
        self.are_of_known(scope, claims, &mut BTreeMap::new())
    }

    /// The same; what runs' scopes are is remembered in `known`.
    pub(super) fn are_of_known(
        &self,
        scope: &Scope,
        claims: &[ClaimAt],
        known: &mut BTreeMap<RunKey, Scopes>,
    ) -> Result<bool, SyncError> {
        for claim in claims {
            if self.remembered(&claim.run, known)?.all.contains(scope) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The scopes of a run, looked up once.
    pub(super) fn remembered<'k>(
        &self,
        run: &RunKey,
        known: &'k mut BTreeMap<RunKey, Scopes>,
    ) -> Result<&'k Scopes, SyncError> {
        if !known.contains_key(run) {
            known.insert(run.clone(), self.scopes_of(run)?);
        }
        Ok(known.entry(run.clone()).or_default())
    }

    /// Whether a manifest brought artifacts of its run into this root.
    pub(super) fn is_instalment(&self, row: &ManifestRow) -> bool {
        let has_artifacts = row.summary.as_ref().is_some_and(|summary| {
            matches!(summary.content, Content::Additions | Content::Snapshot)
        });
        let is_here = match row.state {
            ManifestState::Registered | ManifestState::Superseded => true,
            ManifestState::Blocked | ManifestState::Untrusted | ManifestState::Quarantined => false,
        };
        has_artifacts && is_here && row.location.root == self.root().name
    }

    /// The scopes in which a manifest's artifacts may be: the one that its header names, else those of
    /// its origin. None where the manifest is gone.
    pub(super) fn scopes_in(
        &self,
        path: &str,
        origin: RepositoryId,
    ) -> Result<Vec<Scope>, SyncError> {
        let file = match self.datastore().open_manifest(path) {
            Ok((file, _)) => file,
            Err(DatastoreError::Missing { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        // It was read when it was registered; what cannot be read now is as good as gone.
        Ok(match Reader::new(file, self.flow.site().limits) {
            Ok(reader) => match &reader.header().scope {
                Some(scope) => vec![scope.clone()],
                None => self.scopes(origin),
            },
            Err(_) => Vec::new(),
        })
    }
}
