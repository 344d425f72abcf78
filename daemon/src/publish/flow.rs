//! Publishing, step by step, and what it works with.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use runsync_config::root::Root;
use runsync_manifest::limits::Limits;
use runsync_manifest::name::{RepositoryId, RseName, RunKey, RunName, Scope, SiteName};

use super::artifacts::Artifacts;
use super::error::PublishError;
use super::instalment::Instalment;
use super::order::{Candidate, Extent};
use crate::clock::Clock;
use crate::datastore::Datastore;
use crate::error_chain::error_chain;
use crate::ledger::Ledger;
use crate::ledger::record::{ManifestState, Publication, PublicationState};
use crate::registration_lock::RegistrationLock;
use crate::registry::Registry;
use crate::rucio::{Did, Rucio};
use crate::telemetry::rucio as telemetry;

/// How far publishing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// So many lines of the manifest are read.
    Reading(u64),
    /// So many files are registered and attached.
    Registering {
        /// Files done.
        done: u64,
        /// All files.
        total: u64,
    },
    /// So many files are compared with what Rucio has.
    Verifying(u64),
    /// Closed, given rules, announced.
    Finishing,
}

/// Hears how far publishing has come, and may break off.
pub type Progress<'a> = dyn FnMut(Phase) -> ControlFlow<()> + 'a;

/// A root, and what configuration says of it.
#[derive(Debug, Clone)]
pub struct PublishRoot {
    /// What configuration says.
    pub config: Root,
    /// The root.
    pub datastore: Arc<dyn Datastore>,
}

/// What publishing works with.
#[derive(Debug)]
pub struct Ground {
    /// The site.
    pub site: SiteName,
    /// The site's repository.
    pub repository: RepositoryId,
    /// Rucio, where configuration has one.
    pub rucio: Option<Rucio>,
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// All roots.
    pub roots: Vec<PublishRoot>,
    /// The key that signs snapshots.
    pub signing_key_file: PathBuf,
    /// One registration at a time: none may come while a snapshot is written.
    pub registration: RegistrationLock,
    /// Limits for reading manifests.
    pub limits: Limits,
    /// Folder for scratch files.
    pub scratch: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Publishes.
#[derive(Debug)]
pub struct Publishing {
    pub(super) ground: Ground,
}

impl Publishing {
    /// Publishes on this ground.
    pub fn new(ground: Ground) -> Self {
        Self { ground }
    }

    /// What it works with.
    pub const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Rucio.
    ///
    /// # Errors
    ///
    /// [`PublishError::NoRucio`] where there is none.
    pub fn rucio(&self) -> Result<&Rucio, PublishError> {
        self.ground.rucio.as_ref().ok_or(PublishError::NoRucio)
    }

    /// Publishes what is ordered of a run, by generation. What stops it is kept with the order.
    ///
    /// # Errors
    ///
    /// What stops it: what is done stays, and the next call goes on from there.
    pub fn publish(
        &self,
        rucio: &Rucio,
        run: &RunKey,
        progress: &mut Progress<'_>,
    ) -> Result<(), PublishError> {
        let candidates = self.candidates(run)?;
        for publication in self.ground.ledger.publications_of(run)? {
            if publication.state != PublicationState::Ordered {
                continue;
            }
            let generation = publication.generation;
            let found = candidates.iter().find(|one| one.generation == generation);
            let Some(candidate) = found else {
                if self.is_superseded(&publication)? {
                    self.give_up(publication)?;
                }
                // Else it is not registered yet.
                continue;
            };
            self.publish_one(rucio, candidate, publication, progress)?;
        }
        Ok(())
    }

    fn publish_one(
        &self,
        rucio: &Rucio,
        candidate: &Candidate,
        publication: Publication,
        progress: &mut Progress<'_>,
    ) -> Result<(), PublishError> {
        let (run, generation) = (publication.run.clone(), publication.generation);
        let published = Instalment::open(self, rucio, candidate, publication, progress)
            .and_then(|instalment| instalment.publish(progress));
        match published {
            Ok(()) => {
                tracing::info!(run = %run.name, %generation, "published");
                telemetry::published();
                Ok(())
            }
            Err(error) => {
                if !error.is_interruption() && !error.is_fenced() {
                    self.note_problem(&run, generation, &error)?;
                }
                Err(error)
            }
        }
    }

    /// Keeps why a publication does not go on.
    fn note_problem(
        &self,
        run: &RunKey,
        generation: runsync_manifest::generation::Generation,
        error: &PublishError,
    ) -> Result<(), PublishError> {
        let mut known = self.ground.ledger.publications_of(run)?;
        known.retain(|known| known.generation == generation);
        for publication in &mut known {
            // Where Rucio has something else, nothing is taken for done: what someone has taken out
            // is put in again.
            if matches!(
                error,
                PublishError::Files { .. } | PublishError::Differs { .. }
            ) {
                publication.files_done = 0;
            }
            publication.problem = Some(error_chain(error));
            publication.hint = error.hint();
            publication.changed_at = self.ground.clock.now();
        }
        Ok(self.ground.ledger.note_publications(&known)?)
    }

    fn is_superseded(&self, publication: &Publication) -> Result<bool, PublishError> {
        let rows = self.ground.ledger.of_run(&publication.run)?;
        Ok(rows.iter().any(|row| {
            let summary = row.summary.as_ref();
            row.state == ManifestState::Superseded
                && summary.is_some_and(|summary| summary.generation == publication.generation)
        }))
    }

    /// A manifest that was superseded before it was published is none that other sites need.
    fn give_up(&self, publication: Publication) -> Result<(), PublishError> {
        let row = Publication {
            state: PublicationState::Withdrawn,
            problem: Some("it was superseded before it was published".to_owned()),
            hint: None,
            changed_at: self.ground.clock.now(),
            ..publication
        };
        Ok(self.ground.ledger.note_publications(&[row])?)
    }

    /// The root of a manifest, and its RSE.
    pub(super) fn rse_of(
        &self,
        candidate: &Candidate,
        run: &RunKey,
    ) -> Result<(&PublishRoot, &RseName), PublishError> {
        let no_rse = || PublishError::NoRse {
            root: candidate.root.clone(),
            run: run.name.clone(),
        };
        let mut roots = self.ground.roots.iter();
        let root = roots.find(|root| root.config.name == candidate.root);
        let root = root.ok_or_else(no_rse)?;
        let rse = root.config.rse.as_ref().ok_or_else(no_rse)?;
        Ok((root, rse))
    }

    /// Reads a manifest, checks all names, and tells its scope.
    pub(super) fn read(
        &self,
        root: &PublishRoot,
        path: &str,
        progress: &mut Progress<'_>,
    ) -> Result<(Scope, Artifacts), PublishError> {
        let rucio = self.rucio()?;
        let (schema, scope) = (rucio.schema(), &rucio.config().scope);
        let (header, artifacts) = Artifacts::read(
            &*root.datastore,
            path,
            (self.ground.limits, &self.ground.scratch),
            &mut |path| {
                let checked = schema.check(&Did::new(scope, path));
                checked.map_err(|refused| PublishError::Rucio(refused.into()))
            },
            &mut |lines| progress(Phase::Reading(lines)),
        )?;
        let scope = header.scope.unwrap_or_else(|| scope.clone());
        let checked = schema.check(&Did::new(&scope, path));
        checked.map_err(|refused| PublishError::Rucio(refused.into()))?;
        Ok((scope, artifacts))
    }

    /// Orders what policy has published: the runs of this site that are whole, and word of what has
    /// become of runs that are published.
    ///
    /// # Errors
    ///
    /// Where registry or ledger fail.
    pub fn order_by_policy(&self, all: bool) -> Result<usize, PublishError> {
        let mut ordered = Vec::new();
        for row in self.ground.registry.runs(None)? {
            let run = row.key;
            if run.origin != self.ground.repository {
                continue;
            }
            let known = self.ground.ledger.publications_of(&run)?;
            let extent = match (all, known.is_empty()) {
                (true, _) => Extent::Everything,
                (false, false) => Extent::WordOnly,
                (false, true) => continue,
            };
            match self.to_order(&run, extent, "policy") {
                Ok(orders) => ordered.extend(orders.into_iter().filter(|order| {
                    !known
                        .iter()
                        .any(|known| known.generation == order.generation)
                })),
                Err(PublishError::Waiting { .. } | PublishError::NothingToPublish { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.ground.ledger.note_publications(&ordered)?;
        Ok(ordered.len())
    }

    /// The run of that name of this site.
    pub fn own(&self, name: &RunName) -> RunKey {
        RunKey {
            origin: self.ground.repository,
            name: name.clone(),
        }
    }
}
