//! Why a manifest is not registered: its state, the reason in words, and what may lift it.

use runsync_manifest::error::ReadError;
use serde::{Deserialize, Serialize};

use super::stage::Contradiction;
use crate::ledger::record::{ManifestRow, ManifestState};
use crate::registry::conflict::Conflict;

/// What keeps a blocked manifest out. Kept in the ledger, so that it can be asked whether it
/// still does without reading the manifest again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocker {
    /// The registry holds something that contradicts it.
    Conflict(Conflict),
    /// Another manifest of the same generation was accepted before it: the run is forked.
    Fork,
    /// Its run is forked, and frozen until its origin overrules the fork.
    Frozen,
    /// It is valid, and what it removes is still here.
    Removal(Omission),
    /// It is valid and waits for the flow that acts on its content.
    Held,
}

/// What a manifest removes that is still here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    /// Datasets, when that was looked at last.
    pub datasets: u64,
    /// Whether what else it says is registered.
    pub registered: bool,
    /// The account that has refused to follow.
    pub refused: Option<String>,
    /// What keeps out the rest of what it says, where what it removes stays.
    #[serde(default)]
    pub conflict: Option<Box<Conflict>>,
    /// Why it waits for approval although it would be followed without a word: what is above what a
    /// removal may take away.
    pub above: Option<String>,
}

/// Whether a manifest is valid and only waits for the flow that acts on it.
pub fn is_held(row: &ManifestRow) -> bool {
    matches!(blocker(row), Some(Blocker::Held | Blocker::Removal(_)))
}

/// What blocks a manifest; `None` where nothing does or another version wrote it.
pub(super) fn blocker(row: &ManifestRow) -> Option<Blocker> {
    serde_json::from_str(row.blocker.as_deref()?).ok()
}

/// A manifest that is not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The state that it gets.
    pub state: ManifestState,
    /// Why.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
    /// What must change first.
    pub blocker: Option<Box<Blocker>>,
}

impl Refusal {
    /// Wrong in itself.
    pub(super) fn quarantined(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            state: ManifestState::Quarantined,
            reason: reason.into(),
            hint: Some(hint.into()),
            blocker: None,
        }
    }

    /// Not known here (yet).
    pub(super) fn untrusted(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            state: ManifestState::Untrusted,
            ..Self::quarantined(reason, hint)
        }
    }

    /// Overtaken by its run's floor.
    pub(super) fn superseded(reason: impl Into<String>) -> Self {
        Self {
            state: ManifestState::Superseded,
            reason: reason.into(),
            hint: None,
            blocker: None,
        }
    }

    /// Kept out by something that may change.
    pub(super) fn blocked(
        blocker: Blocker,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            state: ManifestState::Blocked,
            blocker: Some(Box::new(blocker)),
            ..Self::quarantined(reason, hint)
        }
    }
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        let reason = conflict.to_string();
        let hint = match &conflict {
            Conflict::DimensionMissing { .. } => {
                "it is tried again when a manifest brings the record"
            }
            Conflict::DatasetHeld { .. }
            | Conflict::DataIdHeld { .. }
            | Conflict::PathHeld { .. } => "it is tried again when the holder is removed",
            Conflict::DatasetTypeDiffers { .. } => {
                "ask the origin to use the registered definition, or another dataset type name; it is tried again whenever the registry changes"
            }
            Conflict::RemovalUnderWay { .. } => {
                "it is tried again when the removal is done: see `runsync journal list`"
            }
            Conflict::RunTooLarge { .. } => "ask the origin for a manifest with the true sizes",
        };
        if !conflict.may_resolve() {
            return Self::quarantined(reason, hint);
        }
        Self::blocked(Blocker::Conflict(conflict), reason, hint)
    }
}

impl From<&ReadError> for Refusal {
    fn from(error: &ReadError) -> Self {
        Self::quarantined(super::error_chain(error), error.hint())
    }
}

impl From<&Contradiction> for Refusal {
    fn from(contradiction: &Contradiction) -> Self {
        let hint = "the manifest contradicts itself: ask the origin to publish a correct one in the next generation";
        Self::quarantined(contradiction.to_string(), hint)
    }
}
