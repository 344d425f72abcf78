//! Confirms artifacts that somebody knows to be there: Rucio has brought them.
//!
//! The same comparison, limits and commits as those of the root's loop, for exactly these
//! artifacts: no folder is listed, and nothing else is looked at.

use std::ops::ControlFlow;
use std::sync::Arc;

use runsync_manifest::name::RunKey;

use super::findings;
use super::records::Records;
use super::session::{self, Going, Session};
use crate::ingest::IngestError;
use crate::ingest::flow::Flow;
use crate::registry::record::WaitingArtifact;

/// Artifacts of one run, sorted by path.
pub type OfRun = (RunKey, Vec<WaitingArtifact>);

/// Looks at artifacts that runs wait for, and gives those that are right their records. Returns how
/// many. One that is not there, or is not right, stays waited for.
///
/// # Errors
///
/// Where the root, the registry or the ledger fail, or `progress` broke off.
pub fn confirm_arrived(
    flow: &Flow,
    arrived: Vec<OfRun>,
    progress: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<u64, IngestError> {
    let looking = flow.looking();
    let feed = |session: &Session<'_>, progress: &mut Going<'_>| {
        for (run, artifacts) in arrived {
            session.look(&Arc::new(run), artifacts, None, progress)?;
        }
        Ok(())
    };
    let found = session::run(flow, &looking.throttle, &looking.faulty, progress, feed)?;
    Ok(found.values().sum())
}

/// Gives artifacts that runs wait for their records by another's word, without a look at them. Returns
/// how many.
///
/// # Errors
///
/// Where the registry or the ledger fail.
pub fn confirm_unseen(flow: &Flow, arrived: Vec<OfRun>) -> Result<u64, IngestError> {
    let faulty = &flow.looking().faulty;
    findings::recall(faulty, flow)?;
    let look = flow.looking().taken_away.look();
    let mut records = Records::new(flow, faulty, &look);
    for (run, artifacts) in arrived {
        records.add(Arc::new(run), artifacts)?;
    }
    Ok(records.finish()?.values().sum())
}
