//! Every way in which publishing stops.

use std::fmt;
use std::io;

use runsync_config::root::RootName;
use runsync_config::secret::SecretError;
use runsync_manifest::error::{KeyError, ReadError, WriteError};
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RseName, RunName, Scope};
use thiserror::Error;

use crate::datastore::DatastoreError;
use crate::ledger::LedgerError;
use crate::ledger::record::ManifestState;
use crate::registration_lock::RegistrationLockError;
use crate::registry::RegistryError;
use crate::removal::{GenerationError, RemovalError};
use crate::rucio::{Did, RucioError};

/// Why a run is not published, or not yet.
#[derive(Debug, Error)]
pub enum PublishError {
    /// Configuration knows no Rucio.
    #[error("this site has no Rucio: its configuration has no `[rucio]`")]
    NoRucio,
    /// There is no such run of this site.
    #[error("this site has no run `{run}` of its own")]
    NoRun {
        /// The run.
        run: RunName,
    },
    /// No manifest of the run is to be published.
    #[error("run `{run}` has no manifest that can be published")]
    NothingToPublish {
        /// The run.
        run: RunName,
    },
    /// Artifacts are not confirmed yet.
    #[error("run `{run}` waits for {waiting} artifacts")]
    Waiting {
        /// The run.
        run: RunName,
        /// How many.
        waiting: u64,
    },
    /// The root is no RSE.
    #[error("root `{root}` is no RSE, and run `{run}` lies there")]
    NoRse {
        /// The root.
        root: RootName,
        /// The run.
        run: RunName,
    },
    /// The account may not declare replicas bad.
    #[error("this account may not declare replicas at {rse} bad: {why}")]
    MayNotDeclare {
        /// The RSE.
        rse: RseName,
        /// What Rucio said.
        why: String,
    },
    /// Rucio does not know the RSE.
    #[error("Rucio has no RSE `{rse}`")]
    UnknownRse {
        /// The RSE.
        rse: RseName,
    },
    /// The RSE cannot hold the root's files.
    #[error("RSE `{rse}` cannot hold this site's files: {why}")]
    Unfit {
        /// The RSE.
        rse: RseName,
        /// Why.
        why: String,
    },
    /// The RSE has a file elsewhere than the root.
    #[error("{0}")]
    Elsewhere(Box<Elsewhere>),
    /// Another file lies where the RSE wants one.
    #[error("cannot give `{did}` its name at RSE `{rse}`: another file lies at {path}")]
    Occupied {
        /// The file.
        did: Box<Did>,
        /// The RSE.
        rse: RseName,
        /// Where, in the root.
        path: String,
    },
    /// Rucio does not take some files, or knows others of their names.
    #[error("{count} files cannot be registered at `{rse}`; the first is `{first}`: {why}")]
    Files {
        /// The RSE.
        rse: RseName,
        /// How many, in one chunk.
        count: usize,
        /// The first of them.
        first: Box<Did>,
        /// What is wrong with it.
        why: String,
    },
    /// A Rucio dataset holds something else than its manifest says.
    #[error(
        "{}Rucio dataset `{dataset}` holds {theirs}, and its manifest names {ours}{}",
        if *closed { "closed " } else { "" },
        examples(strange)
    )]
    Differs {
        /// The Rucio dataset.
        dataset: Box<Did>,
        /// What it should hold.
        ours: String,
        /// What it holds.
        theirs: String,
        /// Whether it is closed: then nothing can be attached to it.
        closed: bool,
        /// Some of what should not be there.
        strange: Vec<String>,
    },
    /// Something else has the name.
    #[error("cannot make `{did}`: Rucio has something else of that name")]
    NameTaken {
        /// The name.
        did: Did,
    },
    /// A manifest cannot be read.
    #[error("cannot read the manifest `{path}`")]
    Manifest {
        /// Where it lies.
        path: String,
        /// Why.
        source: Box<ReadError>,
    },
    /// A manifest of the run is not registered, and a snapshot would overtake it.
    #[error("run `{run}` has a manifest that is not registered: {path}")]
    Unregistered {
        /// The run.
        run: RunName,
        /// Where the manifest lies in its root.
        path: String,
    },
    /// Artifacts of the run are not here: unstored, or forgotten.
    #[error("artifacts of run `{run}` are not wanted here, or forgotten")]
    NotHere {
        /// The run.
        run: RunName,
    },
    /// The run is being removed, or a later manifest has taken the place of this one.
    #[error("run `{run}` is being removed, or was changed meanwhile")]
    Overtaken {
        /// The run.
        run: RunName,
    },
    /// Rules from before the run was removed are still to end.
    #[error("rules of run `{run}` from before it was removed have not ended in Rucio yet")]
    RulesEnd {
        /// The run.
        run: RunName,
    },
    /// The manifest is not registered, and will not be by itself.
    #[error("its manifest is {state}{}", because(reason.as_deref()))]
    NotRegistered {
        /// Its state.
        state: ManifestState,
        /// Why.
        reason: Option<String>,
    },
    /// The file is not the manifest that was registered.
    #[error("`{path}` is another file than the manifest that was registered")]
    Replaced {
        /// Where it lies.
        path: String,
    },
    /// A run's manifests name different scopes.
    #[error("run `{run}` is published in scope `{first}`, and this manifest names `{second}`")]
    SecondScope {
        /// The run.
        run: RunName,
        /// The scope of its earlier manifests.
        first: Scope,
        /// The scope of this one.
        second: Scope,
    },
    /// `control_rses` means no RSE.
    #[error("`control_rses` means no RSE: `{expression}`")]
    NoControlRse {
        /// What it says.
        expression: String,
    },
    /// The run's artifacts lie in several roots.
    #[error("run `{run}` lies in several roots, and a snapshot is of one")]
    SeveralRoots {
        /// The run.
        run: RunName,
    },
    /// Another manifest took the generation meanwhile.
    #[error("generation {generation} of run `{run}` was taken meanwhile")]
    GenerationTaken {
        /// The run.
        run: RunName,
        /// The generation.
        generation: Generation,
    },
    /// No generation is to be had.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The scopes of a run's files cannot be told.
    #[error("cannot tell in which scopes Rucio has a run")]
    Scopes(#[source] Box<RemovalError>),
    /// A snapshot cannot be written.
    #[error("cannot write the snapshot")]
    Write(#[from] WriteError),
    /// The signing key cannot be read.
    #[error("cannot read the signing key")]
    Key(#[from] SecretError),
    /// The signing key is none.
    #[error("cannot use the signing key")]
    KeyText(#[from] KeyError),
    /// The turn to register cannot be had.
    #[error(transparent)]
    Lock(#[from] RegistrationLockError),
    /// Rucio gives no answer, or refuses.
    #[error(transparent)]
    Rucio(#[from] RucioError),
    /// The root does not answer.
    #[error(transparent)]
    Datastore(#[from] DatastoreError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A manifest cannot be read to its end.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// Its path in the root.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What the registry holds of a run is no JSON.
    #[error("the registry holds a data ID or a dimension record that is no JSON")]
    Garbled(#[source] serde_json::Error),
    /// Scratch files cannot be used.
    #[error("cannot use scratch files")]
    Scratch(#[source] io::Error),
    /// The caller broke off.
    #[error("publishing was interrupted")]
    Interrupted,
}

/// A file that an RSE has elsewhere than the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The file.
    pub did: Did,
    /// The RSE.
    pub rse: RseName,
    /// Where it is by Rucio.
    pub pfn: String,
    /// The root.
    pub root: RootName,
    /// Where it is.
    pub expected: String,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            did,
            rse,
            pfn,
            root,
            expected,
        } = self;
        write!(
            f,
            "RSE `{rse}` has `{did}` at {pfn}, and root `{root}` has it at {expected}"
        )
    }
}

fn because(reason: Option<&str>) -> String {
    reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}

fn examples(strange: &[String]) -> String {
    if strange.is_empty() {
        String::new()
    } else {
        format!("; such as {}", strange.join(", "))
    }
}

impl PublishError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoRucio => "add `[rucio]`: see docs/PUBLISHING.md",
            Self::NoRun { .. } => {
                "a site publishes its own runs alone: `runsync query runs` lists them"
            }
            Self::NothingToPublish { .. } => {
                "its manifests are not registered, or superseded: `runsync status` tells"
            }
            Self::Waiting { .. } => "it can be published once all of its artifacts are confirmed",
            Self::NoRse { .. } | Self::UnknownRse { .. } => {
                "name the RSE that Rucio knows this root as: `rse` in `[[root]]`"
            }
            Self::MayNotDeclare { .. } => {
                "declare them suspicious, without `--bad`, or ask Rucio's administrators"
            }
            Self::Unfit { .. } => "see docs/PUBLISHING.md on RSEs",
            Self::Elsewhere(_) => {
                "the root must be the folder in which the RSE keeps the scope's files, or have `path_mapping = \"rucio\"`, or `pfn_prefix`: see docs/PUBLISHING.md"
            }
            Self::Occupied { .. } => "see what that file is, and move it away",
            Self::Differs { closed: true, .. } => {
                "nothing was announced: have whoever administers Rucio open it (`rucio did update --open`), and publish again"
            }
            Self::Files { .. } | Self::Differs { .. } => {
                "nothing was announced: put right what Rucio knows of them, and publish again"
            }
            Self::NameTaken { .. } => {
                "a run's container has the run's name: see what has it, with `rucio did show`"
            }
            Self::Manifest { .. } => "it is published as it lies in the root: see `runsync status`",
            Self::Unregistered { .. } => {
                "have it registered, or move it away: `runsync status` and `runsync quarantine list` tell why it is not"
            }
            Self::NotHere { .. } => {
                "bring them back with `runsync restore` first: what a manifest names and what other sites keep depends on them"
            }
            Self::Overtaken { .. } => "see `runsync status`",
            Self::RulesEnd { .. } => {
                "what would be published now would go with them: `runsync removal rules` tells what they wait for"
            }
            Self::NotRegistered { .. } => "see `runsync quarantine list` and `runsync status`",
            Self::Replaced { .. } => "restore the file: a manifest is never replaced",
            Self::SecondScope { .. } => {
                "a run's files have one scope: make the manifest again with `--scope`"
            }
            Self::NoControlRse { .. } => {
                "mend it, or the RSE's attributes: without it no other site would get manifests"
            }
            Self::SeveralRoots { .. } => {
                "write a snapshot for each root with `runsync manifest create --snapshot`"
            }
            Self::GenerationTaken { .. } => "try again",
            Self::Generation(error) => return error.hint(),
            Self::Scopes(error) => return error.hint(),
            Self::Write(_) => "the registry holds what a manifest may not: see the error",
            Self::Key(error) => return Some(error.hint()),
            Self::KeyText(_) => {
                "restore the file that `signing_key_file` names, from a backup of the keys"
            }
            Self::Lock(_) => "run as the user that owns the state directory",
            Self::Rucio(error) => return error.hint(),
            Self::Datastore(error) => return error.hint(),
            Self::Registry(error) => return error.hint().map(str::to_owned),
            Self::Ledger(error) => return error.hint().map(str::to_owned),
            Self::Unreadable { .. } => "check the file and its disk",
            Self::Garbled(_) => "its file is damaged: restore it from a backup",
            Self::Scratch(_) => "see that the state directory has room",
            Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether it was broken off by whoever asked.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Rucio(RucioError::Interrupted)
                | Self::Lock(RegistrationLockError::Interrupted)
        )
    }

    /// Whether it is no run's own, and all would meet it.
    pub fn is_about_us(&self) -> bool {
        matches!(self, Self::NoRucio | Self::Registry(_) | Self::Ledger(_))
    }

    /// Whether Rucio as a whole is away, or does not know this site: no other run would fare better.
    pub fn is_about_rucio(&self) -> bool {
        matches!(self, Self::Rucio(error) if error.is_of_the_server())
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_fenced())
            || matches!(self, Self::Ledger(error) if error.is_fenced())
    }
}
