//! Withdraws manifests whose place a snapshot or a removal has taken.
//!
//! Once the newest of these is available at every RSE that gets manifests, the older ones are detached
//! from the control Rucio dataset and from those of their instalments: nothing locks them any more, and
//! Rucio's reaper may delete them. The newest stays for ever; copies never delete manifests.

use runsync_manifest::content::Content;
use runsync_manifest::name::{RseName, RunKey, RunName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::PublishError;
use super::flow::Publishing;
use super::{names, rules};
use crate::datastore::manifest_path;
use crate::ledger::record::{ManifestState, Publication, PublicationState};
use crate::rucio::replicas::AVAILABLE;
use crate::rucio::{Did, Rucio};

/// What became of a run's older manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawal {
    /// The run.
    #[schema(value_type = String)]
    pub run: RunName,
    /// Manifests that Rucio may delete by now.
    pub withdrawn: usize,
    /// Older manifests that are not withdrawn yet.
    pub left: usize,
    /// RSEs at which the newest is not available yet: the older ones stay until it is.
    #[schema(value_type = Vec<String>)]
    pub waits_for: Vec<RseName>,
}

impl Publishing {
    /// Withdraws a run's older manifests, where the newest that stands for them has arrived.
    ///
    /// # Errors
    ///
    /// Where Rucio or the ledger fails: some may be withdrawn.
    pub fn withdraw(&self, rucio: &Rucio, run: &RunKey) -> Result<Withdrawal, PublishError> {
        let publications = self.ground.ledger.publications_of(run)?;
        let mut withdrawal = Withdrawal {
            run: run.name.clone(),
            withdrawn: publications
                .iter()
                .filter(|one| one.state == PublicationState::Withdrawn)
                .count(),
            left: 0,
            waits_for: Vec::new(),
        };
        let stands_for_all = |one: &&Publication| {
            one.state == PublicationState::Published
                && matches!(one.content, Content::Snapshot | Content::Removal)
        };
        let Some(newest) = publications.iter().rfind(stands_for_all) else {
            return Ok(withdrawal);
        };
        let older: Vec<&Publication> = publications
            .iter()
            .filter(|one| {
                one.generation < newest.generation && one.state == PublicationState::Published
            })
            .collect();
        if older.is_empty() {
            return Ok(withdrawal);
        }
        let (rse, manifest) = self.where_is(rucio, newest)?;
        let mut wanted = rules::control_rses(rucio, &rse)?;
        self.add_holders(rucio, &older, &mut wanted)?;
        withdrawal.waits_for = not_there(rucio, &manifest, wanted)?;
        if !withdrawal.waits_for.is_empty() {
            withdrawal.left = older.len();
            return Ok(withdrawal);
        }
        for one in older {
            self.withdraw_one(rucio, one)?;
            withdrawal.withdrawn += 1;
        }
        Ok(withdrawal)
    }

    /// Adds the RSEs that have one of these manifests, or are getting it: each must have the newest
    /// first.
    fn add_holders(
        &self,
        rucio: &Rucio,
        older: &[&Publication],
        wanted: &mut Vec<RseName>,
    ) -> Result<(), PublishError> {
        let mut manifests = Vec::with_capacity(older.len());
        for one in older {
            manifests.push(self.where_is(rucio, one)?.1);
        }
        let manifests: Vec<&Did> = manifests.iter().collect();
        for chunk in manifests.chunks(rucio.config().bulk) {
            for replica in rucio.replicas(chunk, None)? {
                for rse in replica?.states.into_keys() {
                    let rse = rse.parse().ok().filter(|rse| !wanted.contains(rse));
                    wanted.extend(rse);
                }
            }
        }
        Ok(())
    }

    fn withdraw_one(&self, rucio: &Rucio, publication: &Publication) -> Result<(), PublishError> {
        self.detach(rucio, publication)?;
        let row = Publication {
            state: PublicationState::Withdrawn,
            problem: None,
            hint: None,
            changed_at: self.ground.clock.now(),
            ..publication.clone()
        };
        Ok(self.ground.ledger.note_publications(&[row])?)
    }

    /// Takes a manifest out of the Rucio datasets that it is attached to.
    pub(super) fn detach(
        &self,
        rucio: &Rucio,
        publication: &Publication,
    ) -> Result<(), PublishError> {
        let (_, manifest) = self.where_is(rucio, publication)?;
        let run = &publication.run;
        let instalment = names::instalment(&manifest.scope, run, publication.generation);
        rucio.detach(&instalment, &manifest)?;
        rucio.detach(&names::control(&manifest.scope, run.origin), &manifest)?;
        Ok(())
    }

    /// RSE and DID of a manifest.
    pub(super) fn where_is(
        &self,
        rucio: &Rucio,
        publication: &Publication,
    ) -> Result<(RseName, Did), PublishError> {
        let run = &publication.run;
        let mut roots = self.ground.roots.iter();
        let root = roots.find(|root| root.config.name == publication.root);
        let rse = root.and_then(|root| root.config.rse.clone());
        let rse = rse.ok_or_else(|| PublishError::NoRse {
            root: publication.root.clone(),
            run: run.name.clone(),
        })?;
        let rows = self.ground.ledger.of_run(run)?;
        let row = rows.into_iter().find(|row| {
            row.location.root == publication.root
                && matches!(
                    row.state,
                    ManifestState::Registered | ManifestState::Superseded
                )
                && (row.summary.as_ref())
                    .is_some_and(|summary| summary.generation == publication.generation)
        });
        let path = row.map_or_else(
            || manifest_path(run.origin, &run.name, publication.generation, false),
            |row| row.location.path,
        );
        let scope = publication
            .scope
            .clone()
            .unwrap_or_else(|| rucio.config().scope.clone());
        let manifest = Did::new(&scope, path);
        Ok((rse, manifest))
    }
}

/// Those of the RSEs at which a manifest is not available.
pub(super) fn not_there(
    rucio: &Rucio,
    manifest: &Did,
    mut wanted: Vec<RseName>,
) -> Result<Vec<RseName>, PublishError> {
    for replica in rucio.replicas(&[manifest], None)? {
        let replica = replica?;
        wanted.retain(|rse| {
            let state = replica.states.get(rse.as_str());
            state.map(String::as_str) != Some(AVAILABLE)
        });
    }
    Ok(wanted)
}
