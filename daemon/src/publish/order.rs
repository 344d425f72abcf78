//! Which manifests of a run are to be published.

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RunKey, RunName};

use super::error::PublishError;
use super::flow::Publishing;
use crate::ledger::record::{ManifestState, Publication, PublicationState};

/// A registered manifest of a run.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) generation: Generation,
    pub(super) content: Content,
    pub(super) root: RootName,
    pub(super) path: String,
    /// The digest of the manifest that was registered.
    pub(super) digest: Option<Sha256>,
}

/// Which manifests are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All.
    Everything,
    /// Those that bring no artifacts: they tell sites that have the run what has become of it.
    WordOnly,
}

/// An order of which nothing is done yet.
pub(super) fn new_order(
    run: &RunKey,
    (generation, content): (Generation, Content),
    root: RootName,
    (by, now): (&str, Timestamp),
) -> Publication {
    Publication {
        run: run.clone(),
        generation,
        content,
        root,
        scope: None,
        state: PublicationState::Ordered,
        files: None,
        files_done: 0,
        bytes: None,
        problem: None,
        hint: None,
        ordered_by: by.to_owned(),
        ordered_at: now,
        changed_at: now,
    }
}

impl Publishing {
    /// Orders the manifests of runs that are not published yet. Returns all publications of the runs.
    ///
    /// # Errors
    ///
    /// Where one of the runs cannot be published: then nothing is ordered.
    pub fn order(&self, runs: &[RunName], by: &str) -> Result<Vec<Publication>, PublishError> {
        self.rucio()?;
        let mut ordered = Vec::new();
        for name in runs {
            ordered.extend(self.to_order(&self.own(name), Extent::Everything, by)?);
        }
        self.ground.ledger.order_publications(&ordered)?;
        let mut all = Vec::new();
        for name in runs {
            all.extend(self.ground.ledger.publications_of(&self.own(name))?);
        }
        Ok(all)
    }

    /// The orders of a run that are new, or were given up.
    pub(super) fn to_order(
        &self,
        run: &RunKey,
        extent: Extent,
        by: &str,
    ) -> Result<Vec<Publication>, PublishError> {
        let candidates = self.candidates(run)?;
        if candidates.is_empty() {
            return Err(PublishError::NothingToPublish {
                run: run.name.clone(),
            });
        }
        let known = self.ground.ledger.publications_of(run)?;
        let now = self.ground.clock.now();
        let mut ordered = Vec::new();
        for candidate in candidates {
            if extent == Extent::WordOnly && candidate.content == Content::Additions {
                continue;
            }
            self.rse_of(&candidate, run)?;
            let before = known
                .iter()
                .find(|known| known.generation == candidate.generation);
            match before {
                Some(before) if before.state != PublicationState::Ordered => {}
                // What is on its way is left to whoever is at it.
                Some(before) if before.problem.is_none() => {}
                Some(before) => ordered.push(Publication {
                    problem: None,
                    hint: None,
                    changed_at: now,
                    ..before.clone()
                }),
                None => ordered.push(new_order(
                    run,
                    (candidate.generation, candidate.content),
                    candidate.root,
                    (by, now),
                )),
            }
        }
        let brings_artifacts = |one: &Publication| one.content != Content::Removal;
        if ordered.iter().any(brings_artifacts) {
            self.check_confirmed(run)?;
        }
        Ok(ordered)
    }

    /// The registered manifests of a run, by generation, each once.
    pub(super) fn candidates(&self, run: &RunKey) -> Result<Vec<Candidate>, PublishError> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for row in self.ground.ledger.of_run(run)? {
            let Some(summary) = row
                .summary
                .filter(|_| row.state == ManifestState::Registered)
            else {
                continue;
            };
            let is_known = |known: &Candidate| known.generation == summary.generation;
            if summary.content == Content::Inventory || candidates.iter().any(is_known) {
                continue;
            }
            candidates.push(Candidate {
                generation: summary.generation,
                content: summary.content,
                root: row.location.root,
                path: row.location.path,
                digest: summary.digest,
            });
        }
        Ok(candidates)
    }

    /// Whether all artifacts of a run are here, and stay.
    pub(super) fn check_confirmed(&self, run: &RunKey) -> Result<(), PublishError> {
        let name = || run.name.clone();
        match self.ground.registry.run(run)? {
            None => return Err(PublishError::NoRun { run: name() }),
            Some(row) if row.waiting > 0 => {
                return Err(PublishError::Waiting {
                    run: name(),
                    waiting: row.waiting,
                });
            }
            Some(_) => {}
        }
        self.check_stays(run)?;
        if self.ground.registry.has_absent(run)? {
            return Err(PublishError::NotHere { run: name() });
        }
        Ok(())
    }

    /// Whether nothing of a run is being removed, or not wanted.
    pub(super) fn check_stays(&self, run: &RunKey) -> Result<(), PublishError> {
        let registry = &self.ground.registry;
        let removals = registry.removals()?;
        if removals
            .iter()
            .any(|removal| removal.parts.iter().any(|part| part.run == *run))
        {
            return Err(PublishError::Overtaken {
                run: run.name.clone(),
            });
        }
        if registry
            .unwanted()?
            .iter()
            .any(|unwanted| unwanted.run == *run)
        {
            return Err(PublishError::NotHere {
                run: run.name.clone(),
            });
        }
        Ok(())
    }
}
