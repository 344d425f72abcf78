//! Wants parts of runs again that were unstored or forgotten.
//!
//! Their claims wait for their artifacts again, as if they had just been registered: whoever
//! carries files has to bring what was deleted.

use runsync_manifest::name::{DatasetTypeName, RepositoryId, RunName};
use tracing::info;

use super::RemovalError;
use super::flow::{Phase, Progress, Removing};
use super::request::find;
use crate::registry::removal::RunPart;

/// Datasets whose claims are brought back with one commit.
const BROUGHT_TOGETHER: usize = 10_000;

impl Removing {
    /// Wants runs again, or their datasets of one type; returns how many parts.
    ///
    /// # Errors
    ///
    /// Where one is not there or is being removed: nothing has changed. Where bringing claims back is
    /// broken off, it goes on with the next [`bring_back`](Self::bring_back).
    pub fn restore(
        &self,
        runs: &[RunName],
        origin: Option<RepositoryId>,
        dataset_type: Option<&DatasetTypeName>,
        progress: &mut Progress<'_>,
    ) -> Result<usize, RemovalError> {
        let registry = &self.ground.registry;
        let mut parts = Vec::with_capacity(runs.len());
        for name in runs {
            let run = find(name, origin, &**registry)?.key;
            parts.push(RunPart::of_type(run, dataset_type.cloned()));
        }
        let turn = self
            .ground
            .registration
            .acquire(&mut || progress(Phase::Waiting))?;
        registry.restore(&parts)?;
        drop(turn);
        info!(parts = parts.len(), "parts of runs are wanted again");
        self.bring_back(progress)?;
        Ok(parts.len())
    }

    /// Lets all claims of restored parts wait again.
    ///
    /// # Errors
    ///
    /// Where the registry fails, or `progress` broke off: it goes on with the next call.
    pub fn bring_back(&self, progress: &mut Progress<'_>) -> Result<(), RemovalError> {
        while self.ground.registry.bring_back(BROUGHT_TOGETHER)? {
            if progress(Phase::Reaping).is_break() {
                return Err(RemovalError::Interrupted);
            }
        }
        Ok(())
    }
}
