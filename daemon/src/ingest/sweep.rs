//! Keeps at the manifests of one root: sweeps, follows hints, tries blocked ones again.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::IngestError;
use super::flow::{Decision, Flow, Progress};
use super::refuse::{Blocker, blocker};
use super::settle::{Judgement, Patience, Settling};
use crate::datastore::Look;
use crate::file_identity::FileIdentity;
use crate::ledger::record::{Location, ManifestRow, ManifestState};

/// Files decided in one step; a step is not interrupted, so it is kept short.
const STEP_FILES: usize = 512;

/// The manifests of one root.
#[derive(Debug)]
pub struct Arrivals {
    flow: Flow,
    settling: Settling,
    registry_seen: Option<u64>,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Files in the manifest folder.
    pub files: usize,
    /// Files that the ledger does not know in this state.
    pub new: usize,
    /// Folders that could not be listed.
    pub unreadable: usize,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stepped {
    /// Manifests whose state was written.
    pub decided: usize,
    /// When there is something to do again; `None` until something changes.
    pub next: Option<Timestamp>,
}

impl Arrivals {
    /// Nothing seen yet.
    pub fn new(flow: Flow) -> Self {
        let root = flow.root();
        let patience = Patience { settle: root.settle, torn: root.torn_deadline };
        Self { flow, settling: Settling::new(patience), registry_seen: None }
    }

    /// Lists the manifest folder and notes what the ledger does not know.
    pub fn sweep(&mut self) -> Result<Swept, IngestError> {
        let datastore = self.flow.datastore();
        datastore.check_identity()?;
        let root = &self.flow.root().name;
        let known: HashMap<String, FileIdentity> = self
            .flow
            .site()
            .ledger
            .known_files(root)?
            .into_iter()
            .map(|(path, identity, _)| (path, identity))
            .collect();
        let (files, unreadable) = datastore.list_manifests()?;
        for error in &unreadable {
            warn!(%root, error = %super::error_chain(error), "manifest folder cannot be listed");
        }
        let now = self.flow.site().clock.now();
        let mut swept =
            Swept { files: files.len(), new: 0, unreadable: unreadable.len() };
        for file in files {
            if known.get(&file.path) != Some(&file.identity) {
                swept.new += 1;
                self.settling.sighted(file.path, file.identity, now);
            }
        }
        if unreadable.is_empty() {
            self.flow.site().ledger.swept(root, now)?;
        }
        Ok(swept)
    }

    /// Follows hints: looks at the files that events named.
    pub fn hinted(&mut self, paths: &[String]) -> Result<(), IngestError> {
        for path in paths {
            match self.flow.datastore().look_at_manifest(path)? {
                Look::File(identity) => self.sighted(path, identity)?,
                Look::Absent | Look::Irregular | Look::Unreadable(_) => {}
            }
        }
        Ok(())
    }

    fn sighted(&mut self, path: &str, identity: FileIdentity) -> Result<(), IngestError> {
        let site = self.flow.site();
        let at = Location { root: self.flow.root().name.clone(), path: path.to_owned() };
        let known = site.ledger.manifest(&at)?;
        if known.is_none_or(|row| row.file != identity) {
            let now = site.clock.now();
            self.settling.sighted(path.to_owned(), identity, now);
        }
        Ok(())
    }

    /// Tries untrusted manifests again, after keys or peers have changed.
    pub fn retry_untrusted(&mut self) -> Result<usize, IngestError> {
        let rows = self.rows_in(ManifestState::Untrusted)?;
        let now = self.flow.site().clock.now();
        let count = rows.len();
        for row in rows {
            self.settling.sighted(row.location.path, row.file, now);
        }
        Ok(count)
    }

    /// Decides the files whose time has come.
    /// `progress` may break off.
    pub fn step(
        &mut self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Stepped, IngestError> {
        let now = self.flow.site().clock.now();
        self.retry_blocked(now)?;
        let due = self.settling.due(now, STEP_FILES);
        let more = due.len() == STEP_FILES;
        let decisions = self.flow.decide(due, false, progress)?;
        let mut decided = 0;
        for decision in decisions {
            decided += usize::from(self.conclude(decision)?);
        }
        let unblocked = decided > 0 && self.retry_blocked(now)?;
        let next = if more || unblocked { Some(now) } else { self.settling.next_due() };
        Ok(Stepped { decided, next })
    }

    fn conclude(&mut self, decision: Decision) -> Result<bool, IngestError> {
        match decision {
            Decision::Decided(row) => {
                self.settling.decided(&row.location.path);
                Ok(true)
            }
            Decision::Gone(path) => {
                self.settling.decided(&path);
                Ok(false)
            }
            Decision::Undecided(undecided) => {
                let now = self.flow.site().clock.now();
                match self.settling.judge(&undecided.settled, undecided.fault, now) {
                    Judgement::Wait => Ok(false),
                    Judgement::Final => {
                        self.flow.quarantine(&undecided)?;
                        self.settling.decided(undecided.settled.path());
                        Ok(true)
                    }
                }
            }
        }
    }

    /// Notes the blocked manifests whose blocker is gone. Asked only when the registry has
    /// changed since it was asked last.
    fn retry_blocked(&mut self, now: Timestamp) -> Result<bool, IngestError> {
        let changes = self.flow.site().registry.changes()?;
        if self.registry_seen == Some(changes) {
            return Ok(false);
        }
        let mut free = Vec::new();
        for row in self.rows_in(ManifestState::Blocked)? {
            if self.is_free(&row)? {
                free.push(row);
            }
        }
        self.registry_seen = Some(changes);
        let any = !free.is_empty();
        for row in free {
            info!(root = %row.location.root, path = row.location.path, "blocked manifest tried again");
            self.settling.sighted(row.location.path, row.file, now);
        }
        Ok(any)
    }

    fn is_free(&self, row: &ManifestRow) -> Result<bool, IngestError> {
        match blocker(row) {
            Some(Blocker::Conflict(conflict)) => {
                Ok(!self.flow.site().registry.still_stands(&conflict)?)
            }
            Some(Blocker::Fork | Blocker::Held) => Ok(false),
            // Written by another version: reading the manifest again tells.
            None => Ok(true),
        }
    }

    fn rows_in(&self, state: ManifestState) -> Result<Vec<ManifestRow>, IngestError> {
        let root = &self.flow.root().name;
        let rows = self.flow.site().ledger.manifests(Some(state))?;
        Ok(rows.into_iter().filter(|row| row.location.root == *root).collect())
    }

    /// Files seen and not decided.
    pub fn undecided(&self) -> usize {
        self.settling.len()
    }

    /// How long a sweep may be put off.
    pub fn sweep_interval(&self) -> Duration {
        self.flow.root().sweep_interval
    }

    /// The flow that this runs.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }
}
