//! Every way in which a repair stops without being done.

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use thiserror::Error;

use crate::datastore::DatastoreError;
use crate::ingest::IngestError;
use crate::ledger::LedgerError;
use crate::recovery::ScanError;
use crate::registration_lock::RegistrationLockError;
use crate::registry::RegistryError;

/// Why nothing is repaired, or no more. What was repaired stays so.
#[derive(Debug, Error)]
pub enum RepairError {
    /// Configuration knows no such root.
    #[error("this site has no root `{root}`")]
    NoRoot {
        /// As asked for.
        root: RootName,
    },
    /// The plan is larger than a repair may be without approval.
    #[error("nothing was repaired: {}", above.join("; "))]
    TooLarge {
        /// The plan's number.
        plan: String,
        /// What exceeds what.
        above: Vec<String>,
    },
    /// The plan that was approved is not the plan any more.
    #[error("nothing was repaired: plan {approved} is not what would be done now")]
    PlanChanged {
        /// The number that was approved.
        approved: String,
    },
    /// A root does not answer.
    #[error("cannot repair root `{root}`")]
    Datastore {
        /// The root.
        root: RootName,
        /// Why.
        source: DatastoreError,
    },
    /// There is no such file in quarantine.
    #[error("nothing that a repair set aside lay at `{path}`")]
    NotAside {
        /// As asked for.
        path: ArtifactPath,
    },
    /// What lies in quarantine is not what the dataset says that names it.
    #[error("`{path}` is not brought back: a dataset names it, and what was set aside is not that")]
    Corrupt {
        /// As asked for.
        path: ArtifactPath,
        /// Where it lies, in its root.
        aside: String,
    },
    /// What journals and manifests name cannot be gathered.
    #[error(transparent)]
    Untouchable(#[from] ScanError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Files cannot be compared with their records.
    #[error(transparent)]
    Compare(#[from] IngestError),
    /// Nobody may register meanwhile, and somebody does.
    #[error(transparent)]
    Turn(#[from] RegistrationLockError),
    /// Scratch files cannot be read.
    #[error("cannot use the scratch folder for a repair")]
    Scratch(#[from] std::io::Error),
    /// Somebody broke off.
    #[error("the repair was interrupted")]
    Interrupted,
}

impl RepairError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRoot { .. } => Some("`runsync config show` lists the roots".to_owned()),
            Self::TooLarge { plan, .. } => Some(format!(
                "look through the plan, then `runsync repair --approve {plan}` with the same arguments"
            )),
            Self::PlanChanged { .. } => {
                Some("look through the new plan, with `--dry-run`".to_owned())
            }
            Self::Datastore { source, .. } => source.hint(),
            Self::NotAside { .. } => {
                Some("`runsync repair aside` lists what lies in quarantine".to_owned())
            }
            Self::Corrupt { aside, .. } => Some(format!(
                "the right file is waited for; look at the other one where it lies, `{aside}` in its root"
            )),
            Self::Untouchable(error) => error.hint(),
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::Compare(_) | Self::Turn(_) => None,
            Self::Scratch(_) => Some("see that its disk has room".to_owned()),
            Self::Interrupted => {
                Some("the next repair finishes what this one has begun".to_owned())
            }
        }
    }

    /// Whether it was broken off by whoever asked.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted
            | Self::Registry(RegistryError::Interrupted)
            | Self::Turn(RegistrationLockError::Interrupted) => true,
            Self::Compare(error) => error.is_interruption(),
            Self::NoRoot { .. }
            | Self::TooLarge { .. }
            | Self::PlanChanged { .. }
            | Self::Datastore { .. }
            | Self::NotAside { .. }
            | Self::Corrupt { .. }
            | Self::Untouchable(_)
            | Self::Registry(_)
            | Self::Ledger(_)
            | Self::Turn(_)
            | Self::Scratch(_) => false,
        }
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_fenced(),
            Self::Ledger(error) => error.is_fenced(),
            Self::Compare(error) => error.is_fenced(),
            Self::Untouchable(error) => error.is_fenced(),
            Self::NoRoot { .. }
            | Self::TooLarge { .. }
            | Self::PlanChanged { .. }
            | Self::Datastore { .. }
            | Self::NotAside { .. }
            | Self::Corrupt { .. }
            | Self::Turn(_)
            | Self::Scratch(_)
            | Self::Interrupted => false,
        }
    }
}
