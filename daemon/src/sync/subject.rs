//! What somebody asks to have compared with Rucio.

use std::fmt;

use runsync_manifest::name::{RseName, RunName};

use super::SyncError;
use super::budget::Progress;
use super::flow::Syncing;
use super::pass::Measure;
use super::report::SyncReport;
use crate::rucio::{Did, Rucio};

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// All roots that are RSEs.
    All,
    /// The root that is this RSE.
    Rse(RseName),
    /// The runs of this name, of whichever peer.
    Run(RunName),
    /// What a DID stands for.
    Did(Did),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all RSEs"),
            Self::Rse(rse) => write!(f, "RSE {rse}"),
            Self::Run(run) => write!(f, "run {run}"),
            Self::Did(did) => write!(f, "{did}"),
        }
    }
}

impl Syncing {
    /// Compares what is asked for, all of it.
    ///
    /// # Errors
    ///
    /// Where there is no such thing, or Rucio or this site do not answer, or `progress` broke off: what is
    /// done stays.
    pub fn compare(
        &self,
        rucio: &Rucio,
        subject: &Subject,
        progress: &mut Progress<'_>,
    ) -> Result<SyncReport, SyncError> {
        match subject {
            Subject::All => self.pass(rucio, None, Measure::Whole, progress),
            Subject::Rse(rse) => self.pass(rucio, Some(rse), Measure::Whole, progress),
            Subject::Run(run) => self.run(rucio, run, progress),
            Subject::Did(did) => self.did(rucio, did, progress),
        }
    }
}
