//! Withdraws manifests whose place a snapshot or a removal has taken.
//!
//! Once the newest of these is available at every RSE that gets manifests, the older ones are detached
//! from the control Rucio dataset and from those of their instalments: nothing locks them any more, and
//! Rucio's reaper may delete them. The newest stays for ever; copies never delete manifests.

use runsync_manifest::content::Content;
use runsync_manifest::name::{RseName, RunKey, RunName, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::PublishError;
use super::flow::Publishing;
use super::{names, rules};
use crate::datastore::manifest_path;
use crate::ledger::record::{Publication, PublicationState};
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
        let (scope, rse, manifest) = self.where_is(rucio, newest)?;
        withdrawal.waits_for = not_there(rucio, &manifest, &rse)?;
        if !withdrawal.waits_for.is_empty() {
            withdrawal.left = older.len();
            return Ok(withdrawal);
        }
        for one in older {
            self.withdraw_one(rucio, &scope, one)?;
            withdrawal.withdrawn += 1;
        }
        Ok(withdrawal)
    }

    fn withdraw_one(
        &self,
        rucio: &Rucio,
        scope: &Scope,
        publication: &Publication,
    ) -> Result<(), PublishError> {
        let (_, _, manifest) = self.where_is(rucio, publication)?;
        let run = &publication.run;
        let control = names::control(scope, run.origin);
        let instalment = names::instalment(scope, run, publication.generation);
        rucio.detach(&instalment, &manifest)?;
        rucio.detach(&control, &manifest)?;
        let row = Publication {
            state: PublicationState::Withdrawn,
            problem: None,
            hint: None,
            changed_at: self.ground.clock.now(),
            ..publication.clone()
        };
        Ok(self.ground.ledger.note_publications(&[row])?)
    }

    /// Scope, RSE and DID of a published manifest.
    fn where_is(
        &self,
        rucio: &Rucio,
        publication: &Publication,
    ) -> Result<(Scope, RseName, Did), PublishError> {
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
        Ok((scope, rse, manifest))
    }
}

/// The RSEs that are to have a manifest and have it not yet.
fn not_there(rucio: &Rucio, manifest: &Did, own: &RseName) -> Result<Vec<RseName>, PublishError> {
    let mut wanted = rules::control_rses(rucio, own)?;
    for replica in rucio.replicas(&[manifest], None)? {
        let replica = replica?;
        wanted.retain(|rse| {
            let state = replica.states.get(rse.as_str());
            state.map(String::as_str) != Some(AVAILABLE)
        });
    }
    Ok(wanted)
}
