//! Publishing, step by step, and what it works with.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use runsync_config::root::Root;
use runsync_manifest::generation::Generation;
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
use crate::removal::PeerScopes;
use crate::rucio::{Did, Rucio};
use crate::telemetry::rucio as telemetry;

/// Who orders what configuration has published.
pub(super) const POLICY: &str = "policy";

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
    /// The scopes of peers' files there.
    pub peers: Arc<PeerScopes>,
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
    /// Whether somebody wants rules to be looked at now.
    pressed: AtomicBool,
}

impl Publishing {
    /// Publishes on this ground.
    pub fn new(ground: Ground) -> Self {
        Self {
            ground,
            pressed: AtomicBool::new(false),
        }
    }

    /// Has all rules that are to end be looked at now, whatever pauses there are.
    pub fn press(&self) {
        self.pressed.store(true, Ordering::Relaxed);
    }

    /// Whether that was said since it was asked last.
    pub(super) fn take_pressed(&self) -> bool {
        self.pressed.swap(false, Ordering::Relaxed)
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
                self.settle(rucio, publication)?;
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
            Err(PublishError::Overtaken { .. }) if self.is_superseded(&run, generation)? => {
                let rows = self.ground.ledger.publications_of(&run)?;
                let row = rows.into_iter().find(|row| row.generation == generation);
                row.map_or(Ok(()), |row| self.give_up(rucio, row))
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
        generation: Generation,
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

    /// What becomes of an order whose manifest is not registered: it waits for one that nobody has looked
    /// at yet, is given up for one whose place another has taken, and is stopped by any other.
    fn settle(&self, rucio: &Rucio, publication: Publication) -> Result<(), PublishError> {
        let (run, generation) = (publication.run.clone(), publication.generation);
        if self.is_superseded(&run, generation)? {
            return self.give_up(rucio, publication);
        }
        let rows = self.ground.ledger.of_run(&run)?;
        let row = rows.into_iter().find(|row| {
            (row.summary.as_ref()).is_some_and(|summary| summary.generation == generation)
        });
        let Some(row) = row else {
            return Ok(());
        };
        let error = PublishError::NotRegistered {
            state: row.state,
            reason: row.reason,
        };
        self.note_problem(&run, generation, &error)?;
        Err(error)
    }

    /// Whether all that is ordered of a run waits for manifests that nobody has looked at yet.
    pub(super) fn is_awaited(&self, run: &RunKey) -> Result<bool, PublishError> {
        let rows = self.ground.ledger.of_run(run)?;
        let is_known = |order: &Publication| {
            rows.iter().any(|row| {
                (row.summary.as_ref()).is_some_and(|summary| summary.generation == order.generation)
            })
        };
        let orders = self.ground.ledger.publications_of(run)?;
        let mut left = orders
            .iter()
            .filter(|order| order.state == PublicationState::Ordered);
        Ok(!left.any(is_known))
    }

    fn is_superseded(&self, run: &RunKey, generation: Generation) -> Result<bool, PublishError> {
        let rows = self.ground.ledger.of_run(run)?;
        let mut of_generation = rows.iter().filter(|row| {
            (row.summary.as_ref()).is_some_and(|summary| summary.generation == generation)
        });
        Ok(of_generation.any(|row| row.state == ManifestState::Superseded))
    }

    /// A manifest that was superseded before it was published is none that other sites need. What an
    /// earlier try may have announced is taken back.
    fn give_up(&self, rucio: &Rucio, publication: Publication) -> Result<(), PublishError> {
        if publication.files.is_some() {
            self.detach(rucio, &publication)?;
            if let Some(scope) = &publication.scope {
                self.end_what_was_made(&publication.run, scope, publication.generation)?;
            }
        }
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

    /// Reads the manifest that was registered, checks all names, and tells its scope.
    pub(super) fn read(
        &self,
        root: &PublishRoot,
        candidate: &Candidate,
        run: &RunKey,
        progress: &mut Progress<'_>,
    ) -> Result<(Scope, Artifacts), PublishError> {
        let rucio = self.rucio()?;
        let (schema, path) = (rucio.schema(), &candidate.path);
        let default = &rucio.config().scope;
        let (header, digest, artifacts) = Artifacts::read(
            &*root.datastore,
            path,
            (self.ground.limits, &self.ground.scratch),
            &mut |path| {
                let checked = schema.check(&Did::new(default, path));
                checked.map_err(|refused| PublishError::Rucio(refused.into()))
            },
            &mut |lines| progress(Phase::Reading(lines)),
        )?;
        if candidate.digest.is_some() && digest != candidate.digest {
            return Err(PublishError::Replaced { path: path.clone() });
        }
        let scope = self.scope_of(run, header.scope, default)?;
        let checked = schema.check(&Did::new(&scope, path));
        checked.map_err(|refused| PublishError::Rucio(refused.into()))?;
        Ok((scope, artifacts))
    }

    /// The scope of a run is that of its first manifest: its Rucio datasets lie in one container.
    fn scope_of(
        &self,
        run: &RunKey,
        named: Option<Scope>,
        default: &Scope,
    ) -> Result<Scope, PublishError> {
        let known = self.ground.ledger.publications_of(run)?;
        let first = known.into_iter().find_map(|one| one.scope);
        match (first, named) {
            (Some(first), Some(second)) if first != second => Err(PublishError::SecondScope {
                run: run.name.clone(),
                first,
                second,
            }),
            (Some(scope), _) | (None, Some(scope)) => Ok(scope),
            (None, None) => Ok(default.clone()),
        }
    }

    /// Orders what policy has published: the runs of this site that are whole, and word of what has
    /// become of runs that are published.
    ///
    /// # Errors
    ///
    /// Where registry or ledger fail.
    pub fn order_by_policy(
        &self,
        all: bool,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<usize, PublishError> {
        let mut ordered = Vec::new();
        for run in self.ground.ledger.runs_to_order(self.ground.repository)? {
            if go_on().is_break() {
                return Err(PublishError::Interrupted);
            }
            let known = self.ground.ledger.publications_of(&run)?;
            let extent = match (all, known.is_empty()) {
                (true, _) => Extent::Everything,
                (false, false) => Extent::WordOnly,
                (false, true) => continue,
            };
            match self.to_order(&run, extent, POLICY) {
                Ok(orders) => ordered.extend(orders.into_iter().filter(|order| {
                    !known
                        .iter()
                        .any(|known| known.generation == order.generation)
                })),
                // Not yet, or not here.
                Err(
                    PublishError::NoRun { .. }
                    | PublishError::Waiting { .. }
                    | PublishError::NothingToPublish { .. }
                    | PublishError::NotHere { .. }
                    | PublishError::Overtaken { .. }
                    | PublishError::RulesEnd { .. }
                    | PublishError::NoRse { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        self.ground.ledger.order_publications(&ordered)?;
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
