//! Follows origins: what a removal or a snapshot of theirs says is gone goes here too.
//!
//! The manifest has been verified, and raised its run's floor, before it comes here. What it takes
//! away are the run's datasets below its generation, less those that a snapshot names. Where that
//! is all of the run it goes whole; else the datasets are listed first.

use runsync_manifest::generation::Generation;
use runsync_manifest::name::RunKey;
use uuid::Uuid;

use super::RemovalError;
use super::flow::{Phase, Progress, Removing};
use super::request::{Consent, Plan, PlannedRun, Requester};
use crate::registry::RegistryError;
use crate::registry::collection::Links;
use crate::registry::record::{RowSource, RunRow};
use crate::registry::removal::{Operation, RunPart};

/// What an origin says of a run.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// The run.
    pub run: &'a RunKey,
    /// The generation that says it.
    pub generation: Generation,
    /// The datasets that stay; none of a removal.
    pub kept: Option<&'a dyn RowSource>,
}

impl Removing {
    /// What following an origin's word would do.
    ///
    /// # Errors
    ///
    /// Where the run is being removed, or the registry fails.
    pub fn plan_following(
        &self,
        word: &Word<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Plan, RemovalError> {
        let _turn = self
            .ground
            .registration
            .acquire(&mut || progress(Phase::Waiting))?;
        self.plan_under_turn(word, progress)
    }

    /// Journals and hides what the origin says is gone. The removal is then to be
    /// [resumed](Self::resume). Without consent only what needs no approval is done.
    ///
    /// # Errors
    ///
    /// Nothing has changed, but for [`RemovalError::Undecided`].
    pub fn follow(
        &self,
        removal: Uuid,
        word: &Word<'_>,
        consent: Option<&Consent>,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        let plan = &mut |progress: &mut Progress<'_>| self.plan_under_turn(word, progress);
        let begun = (removal, Operation::Follow);
        self.begin_as(begun, plan, consent, requester, progress)
    }

    /// The same without anybody's consent, where it still `stands` when the turn has come.
    ///
    /// # Errors
    ///
    /// As [`follow`](Self::follow); [`RemovalError::Withdrawn`] where it does not stand any more.
    pub fn follow_where(
        &self,
        removal: Uuid,
        word: &Word<'_>,
        stands: &mut dyn FnMut() -> Result<bool, RemovalError>,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        let plan = &mut |progress: &mut Progress<'_>| {
            if !stands()? {
                return Err(RemovalError::Withdrawn);
            }
            self.plan_under_turn(word, progress)
        };
        let begun = (removal, Operation::Follow);
        self.begin_as(begun, plan, None, requester, progress)
    }

    fn plan_under_turn(
        &self,
        word: &Word<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Plan, RemovalError> {
        let registry = &self.ground.registry;
        let missing = || RegistryError::RunMissing {
            run: word.run.clone(),
        };
        let row = registry.run(word.run)?.ok_or_else(missing)?;
        let run = if self.goes_whole(word, &row)? {
            PlannedRun {
                extent: registry.extent(&RunPart::whole(row.key.clone()))?,
                links: registry.links(&row.key)?,
                omitted: false,
                own: word.run.origin == self.ground.repository,
                ..planned(row, word)
            }
        } else {
            let mut listed = |count| progress(Phase::Journaling(count));
            let (below, kept) = (word.generation, word.kept);
            PlannedRun {
                extent: registry.list_omitted(word.run, below, kept, &mut listed)?,
                omitted: true,
                own: word.run.origin == self.ground.repository,
                ..planned(row, word)
            }
        };
        Plan::of((Operation::Follow, false), None, vec![run], &self.ground)
    }

    /// Whether nothing of the run stays: nothing is kept, and nothing is of that generation or a higher
    /// one, not even half registered. What a snapshot names is of its generation, once it is
    /// registered.
    fn goes_whole(&self, word: &Word<'_>, row: &RunRow) -> Result<bool, RegistryError> {
        let stays = |generation: Generation| generation >= word.generation;
        if word.kept.is_some() || row.generation.is_some_and(stays) {
            return Ok(false);
        }
        let registering = self.ground.registry.registering()?;
        let mut of_run = registering.iter().filter(|one| one.run == *word.run);
        Ok(!of_run.any(|one| stays(one.generation)))
    }
}

fn planned(row: RunRow, word: &Word<'_>) -> PlannedRun {
    PlannedRun {
        run: row.key,
        dataset_type: None,
        omitted: false,
        own: false,
        generation: row.generation,
        floor: Some(word.generation),
        extent: crate::registry::removal::Extent::default(),
        links: Links::default(),
    }
}
