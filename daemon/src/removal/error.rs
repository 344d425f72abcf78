//! Why a removal does not go on.

use runsync_config::root::RootName;
use runsync_config::secret::SecretError;
use runsync_manifest::error::{KeyError, ReadError, WriteError};
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RseName, RunName};
use uuid::Uuid;

use super::journal::JournalError;
use super::taken::GenerationError;
use crate::datastore::DatastoreError;
use crate::disposition::Disposition;
use crate::ledger::LedgerError;
use crate::registration_lock::RegistrationLockError;
use crate::registry::RegistryError;
use crate::registry::removal::Operation;
use crate::rucio::RucioError;

/// Why a removal does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// No run has that name.
    #[error("there is no run `{name}`")]
    NoRun {
        /// The name.
        name: RunName,
    },
    /// Nothing but its row is left of the run.
    #[error("run `{name}` is removed already")]
    Removed {
        /// The run.
        name: RunName,
    },
    /// Several origins own a run of that name.
    #[error("{count} origins own a run `{name}`")]
    Ambiguous {
        /// The name.
        name: RunName,
        /// How many.
        count: usize,
    },
    /// The run is another repository's.
    #[error("run `{name}` belongs to another repository: only its origin may remove it")]
    Foreign {
        /// The run.
        name: RunName,
    },
    /// The run is this repository's own, and no copy.
    #[error("run `{name}` is this repository's own: it has no other copy that its origin keeps")]
    Own {
        /// The run.
        name: RunName,
    },
    /// The operation is not about what is named.
    #[error("`{operation}` takes {}", subject(*operation))]
    OtherSubject {
        /// The operation.
        operation: Operation,
    },
    /// What is to be removed has changed since the plan.
    #[error("the plan {approved} was approved, and what would be removed has changed since")]
    PlanChanged {
        /// The plan that was approved.
        approved: String,
    },
    /// The plan is larger than a removal may be without being approved by its number.
    #[error("the plan {plan} needs to be approved: it removes {above}")]
    NotApproved {
        /// The plan.
        plan: String,
        /// What is above what is allowed.
        above: String,
    },
    /// The registry failed, or refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A root failed.
    #[error("root `{root}` does not answer")]
    Root {
        /// The root.
        root: RootName,
        /// Why.
        source: DatastoreError,
    },
    /// The removal is done, or was never committed.
    #[error("there is no removal {removal} under way")]
    Gone {
        /// The removal.
        removal: Uuid,
    },
    /// The journal is another account's.
    #[error("removal {removal} is {owner}'s")]
    NotYours {
        /// The removal.
        removal: Uuid,
        /// Whose it is.
        owner: String,
    },
    /// Configuration does not name a root any more in which a journal is open.
    #[error("a journal is open in root `{root}`, which the configuration does not name any more")]
    NoRoot {
        /// The root.
        root: RootName,
    },
    /// A journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The turn to register cannot be had.
    #[error(transparent)]
    Lock(#[from] RegistrationLockError),
    /// The registry does not say whether it has committed the removal.
    #[error("whether the removal was committed is not known")]
    Undecided {
        /// Why.
        source: RegistryError,
    },
    /// Datasets leave the registry by whole runs.
    #[error("`{operation}` removes runs as a whole")]
    OnlyWhole {
        /// The operation.
        operation: Operation,
    },
    /// Somebody has refused to follow the origin meanwhile.
    #[error("it has been refused meanwhile")]
    Withdrawn,
    /// Only a manifest of its origin says what of a run is to be followed.
    #[error("an origin is followed by its manifests: see `runsync removal list`")]
    OnlyByManifest,
    /// A generation of the run is not to be had.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The removal manifest cannot be written.
    #[error("cannot write the removal manifest of run `{run}`")]
    Manifest {
        /// The run.
        run: RunName,
        /// Why.
        source: WriteError,
    },
    /// Another manifest lies where the removal manifest would.
    #[error("`{path}` is another manifest of generation {generation} of run `{run}`")]
    GenerationTaken {
        /// The run.
        run: RunName,
        /// The generation.
        generation: Generation,
        /// Where it lies.
        path: String,
    },
    /// Rucio gives no answer, or refuses.
    #[error(transparent)]
    Rucio(#[from] RucioError),
    /// Rucio has what is to be deleted, and configuration knows no Rucio any more.
    #[error(
        "Rucio deletes what the journal in root `{root}` names, and the configuration has no `[rucio]`"
    )]
    NoRucio {
        /// The root.
        root: RootName,
    },
    /// Rucio does not know the RSE at which it has what is to be deleted.
    #[error("Rucio has no RSE `{rse}`, at which the journal in root `{root}` has its artifacts")]
    NoRse {
        /// The RSE.
        rse: RseName,
        /// The root.
        root: RootName,
    },
    /// Rucio's rules keep whole Rucio datasets.
    #[error("Rucio deletes the artifacts of root `{root}`, and its rules keep runs as a whole")]
    OnlyWholeInRucio {
        /// The root.
        root: RootName,
    },
    /// A run was put together here from messages: what Rucio calls its files is not known.
    #[error(
        "run `{run}` was adopted, and Rucio deletes the artifacts of root `{root}`: what it calls them there is not known"
    )]
    AdoptedInRucio {
        /// The run.
        run: RunName,
        /// The root.
        root: RootName,
    },
    /// Nothing says in which scopes Rucio has what is to be deleted.
    #[error("the journal in root `{root}` does not say in which scopes Rucio has its artifacts")]
    NoScopes {
        /// The root.
        root: RootName,
    },
    /// A manifest does not say in which scope its artifacts are.
    #[error("cannot read in manifest `{path}` in which scope Rucio has its artifacts")]
    ScopeUnknown {
        /// Where it lies.
        path: String,
        /// Why.
        source: ReadError,
    },
    /// The signing key cannot be read.
    #[error("cannot read the signing key")]
    Key(#[from] SecretError),
    /// The signing key is none.
    #[error("cannot use the signing key file")]
    KeyText(#[from] KeyError),
    /// The caller broke off.
    #[error("the removal was interrupted")]
    Interrupted,
}

const fn subject(operation: Operation) -> &'static str {
    if operation.is_of_chain() {
        "one chain, and no runs"
    } else {
        "runs, and no chain"
    }
}

impl RemovalError {
    /// What an operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Removed { .. } => Some(
                "`runsync journal list` and `runsync status` show whether anything of it is under way"
                    .to_owned(),
            ),
            Self::NoRun { .. } => Some("`runsync query runs` lists the runs".to_owned()),
            Self::Ambiguous { .. } => Some("say whose with `--origin`".to_owned()),
            Self::Foreign { .. } => Some(
                "`runsync remove-runs --local` drops the copy at this site and tells nobody"
                    .to_owned(),
            ),
            Self::Own { .. } => Some("leave `--local` away to remove it everywhere".to_owned()),
            Self::PlanChanged { .. } => {
                Some("look at the plan again: run the command with `--dry-run`".to_owned())
            }
            Self::NotApproved { plan, .. } => Some(format!(
                "look at it again; if it is meant, run the command with `--approve {plan}`"
            )),
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Root { source, .. } => source.hint(),
            Self::Journal(error) => error.hint(),
            Self::Gone { .. } => Some("`runsync journal list` shows what is under way".to_owned()),
            Self::NotYours { owner, .. } => Some(format!(
                "continue it as its owner, or say so with `--as-owner {owner}`"
            )),
            Self::NoRoot { .. } => Some("add the [[root]] again until it is done".to_owned()),
            Self::Undecided { .. } => Some(
                "`runsync journal list` says it as soon as the registry answers".to_owned(),
            ),
            Self::OnlyWhole { .. } => Some(
                "`unstore` and `forget` take one dataset type; an origin that lost some datasets publishes a snapshot"
                    .to_owned(),
            ),
            Self::Generation(error) => error.hint(),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::GenerationTaken { .. } => Some(
                "nothing but runsync writes manifests there: move the file away".to_owned(),
            ),
            Self::Rucio(error) => error.hint(),
            Self::NoRucio { .. } => Some(
                "add `[rucio]` again until it is done; `runsync journal drop` gives it up".to_owned(),
            ),
            Self::NoRse { .. } => Some(
                "see what has become of the RSE; `runsync journal drop` gives the removal up"
                    .to_owned(),
            ),
            Self::OnlyWholeInRucio { .. } => {
                Some("leave `--dataset-type` away, or use `forget`".to_owned())
            }
            Self::AdoptedInRucio { .. } => Some(
                "end its rules in Rucio, which then deletes them; `runsync forget` drops the records"
                    .to_owned(),
            ),
            Self::NoScopes { .. } => {
                Some("nothing of it is unlinked; `runsync journal drop` gives it up".to_owned())
            }
            Self::ScopeUnknown { .. } => Some(
                "have the manifest transferred again; nothing is removed on a guess".to_owned(),
            ),
            Self::Key(_) | Self::KeyText(_) => Some(
                "restore the file that `signing_key_file` names, from a backup of the keys"
                    .to_owned(),
            ),
            Self::Manifest { .. }
            | Self::OnlyByManifest
            | Self::Withdrawn
            | Self::OtherSubject { .. }
            | Self::Lock(_)
            | Self::Interrupted => None,
        }
    }

    /// Whether the caller broke off.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Lock(RegistrationLockError::Interrupted)
                | Self::Registry(RegistryError::Interrupted)
                | Self::Rucio(RucioError::Interrupted)
        )
    }

    /// Whether Rucio does not answer now, and will by itself.
    pub fn is_rucio_away(&self) -> bool {
        matches!(self, Self::Rucio(error) if error.may_pass())
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_fenced())
            || matches!(self, Self::Ledger(error) if error.is_fenced())
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Registry(error) => error.disposition(),
            Self::NoRun { .. }
            | Self::Removed { .. }
            | Self::Ambiguous { .. }
            | Self::Foreign { .. }
            | Self::Own { .. }
            | Self::OtherSubject { .. }
            | Self::PlanChanged { .. }
            | Self::NotApproved { .. }
            | Self::Root { .. }
            | Self::Gone { .. }
            | Self::NotYours { .. }
            | Self::NoRoot { .. }
            | Self::Journal(_)
            | Self::Undecided { .. }
            | Self::OnlyWhole { .. }
            | Self::OnlyByManifest
            | Self::Withdrawn
            | Self::Generation(_)
            | Self::Ledger(_)
            | Self::Manifest { .. }
            | Self::GenerationTaken { .. }
            | Self::Rucio(_)
            | Self::NoRucio { .. }
            | Self::NoRse { .. }
            | Self::OnlyWholeInRucio { .. }
            | Self::AdoptedInRucio { .. }
            | Self::NoScopes { .. }
            | Self::ScopeUnknown { .. }
            | Self::Key(_)
            | Self::KeyText(_)
            | Self::Lock(_)
            | Self::Interrupted => Disposition::Retry,
        }
    }
}
