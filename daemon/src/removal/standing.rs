//! How the removals of this process stand, for those who ask.
//!
//! Only memory: what must not be forgotten is in the registry and in the journals.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use runsync_manifest::name::RunKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::RemovalError;
use super::delete::Deletions;
use super::flow::Outcome;
use crate::error_chain::error_chain;
use crate::ledger::record::Holder;
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
    /// Until when artifacts that had not been seen here may still arrive, and are deleted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub late_until: Option<Timestamp>,
    /// Rules of others that keep artifacts in Rucio: a few of them, where there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// Why other sites could not be told yet: that is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
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
    /// All that was there is gone; what had not been seen here is deleted where it still arrives.
    Late,
    /// What is left is in Rucio, whose reaper deletes it once no rule keeps it.
    AwaitsRucio,
    /// What is left is in Rucio, and rules of others keep it there.
    PartiallyRemoved,
    /// It has failed, and is tried again.
    Failed,
    /// Nothing is left to do.
    Done,
}

impl State {
    /// Whether it is over, or waits to be tried again.
    pub const fn is_still(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::Late
                | Self::AwaitsRucio
                | Self::PartiallyRemoved
                | Self::Failed
                | Self::Done
        )
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
            state: if removal.is_late() {
                State::Late
            } else {
                State::Waiting
            },
            deletions: Deletions::default(),
            late_until: removal
                .journals
                .iter()
                .filter_map(|one| one.late_until)
                .max(),
            holders: Vec::new(),
            untold: None,
            reason: None,
        }
    }

    /// Takes up what came of a pass, and what had become of it `before`.
    pub(super) fn end(&mut self, outcome: &Result<Outcome, RemovalError>, before: Deletions) {
        match outcome {
            Ok(outcome) => {
                self.deletions = before;
                self.deletions.add(&outcome.deletions);
                self.late_until = outcome.late_until;
                self.holders.clone_from(&outcome.holders);
                self.state = match outcome {
                    Outcome { done: false, .. } if !outcome.holders.is_empty() => {
                        State::PartiallyRemoved
                    }
                    Outcome { done: false, .. } if outcome.deletions.failed == 0 => {
                        State::AwaitsRucio
                    }
                    Outcome { done: false, .. } => State::Failed,
                    Outcome {
                        late_until: Some(_),
                        ..
                    } => State::Late,
                    Outcome { .. } => State::Done,
                };
            }
            Err(error) => {
                self.state = if error.is_rucio_away() {
                    State::AwaitsRucio
                } else {
                    State::Failed
                };
                self.reason = Some(error_chain(error));
            }
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

    /// A pass over a removal begins. What is known of one of which only late arrivals are left is
    /// kept; returns what has become of its artifacts so far.
    pub(super) fn begin(&self, removal: &RemovalRow) -> Deletions {
        let known = self.get(removal.id).filter(|_| removal.is_late());
        let mut standing = known.unwrap_or_else(|| Standing::waiting(removal));
        standing.reason = None;
        if !removal.is_late() {
            standing.deletions = Deletions::default();
            standing.state = State::Deleting;
        }
        let before = standing.deletions;
        self.set(standing);
        before
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
