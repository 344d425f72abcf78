//! How the removals of this process stand, for those who ask.
//!
//! Only memory: what must not be forgotten is in the registry and in the journals.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use runsync_manifest::name::RunKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::delete::Deletions;
use crate::poison::lock;
use crate::registry::removal::{Operation, RemovalRow};
use crate::schema::RunKeySchema;

/// Removals that are over and still told of.
const DONE_KEPT: usize = 1_000;

/// How a removal stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// The removal.
    pub removal: Uuid,
    /// What was asked for.
    pub operation: Operation,
    /// Who asked.
    pub account: String,
    /// The runs.
    #[schema(value_type = Vec<RunKeySchema>)]
    pub runs: Vec<RunKey>,
    /// How far it is.
    pub state: State,
    /// What has become of its artifacts, in the last pass over them.
    #[serde(flatten)]
    pub deletions: Deletions,
    /// Why it does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// What it deletes is being written down; nothing has changed.
    Journaling,
    /// It was not committed: nothing has changed.
    Refused,
    /// It is committed. Its turn has not come, or not yet again.
    Waiting,
    /// Its artifacts are being deleted.
    Deleting,
    /// All that was there is gone; its rows are being reaped.
    Reaping,
    /// It has failed, and is tried again.
    Failed,
    /// Nothing is left to do.
    Done,
}

impl State {
    /// Whether it is over, or waits to be tried again.
    pub const fn is_still(self) -> bool {
        matches!(self, Self::Refused | Self::Failed | Self::Done)
    }

    /// Whether nothing will be done about it any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Refused | Self::Done)
    }
}

impl Standing {
    /// Of a removal that nothing has been done about here.
    pub fn waiting(removal: &RemovalRow) -> Self {
        Self {
            removal: removal.id,
            operation: removal.operation,
            account: removal.account.clone(),
            runs: removal.parts.iter().map(|part| part.run.clone()).collect(),
            state: State::Waiting,
            deletions: Deletions::default(),
            reason: None,
        }
    }
}

/// The removals that this process has seen to.
#[derive(Debug, Default)]
pub struct Standings(Mutex<BTreeMap<Uuid, Standing>>);

impl Standings {
    /// How one stands; `None` where nothing was done about it here.
    pub fn get(&self, removal: Uuid) -> Option<Standing> {
        self.lock().get(&removal).cloned()
    }

    pub(super) fn set(&self, standing: Standing) {
        let mut all = self.lock();
        if all.values().filter(|one| one.state.is_over()).count() >= DONE_KEPT {
            all.retain(|_, one| !one.state.is_over());
        }
        all.insert(standing.removal, standing);
    }

    pub(super) fn change(&self, removal: Uuid, change: impl FnOnce(&mut Standing)) {
        if let Some(standing) = self.lock().get_mut(&removal) {
            change(standing);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Standing>> {
        lock(&self.0)
    }
}
