//! Keeps at the manifests of one root: sweeps, follows hints, tries blocked ones again.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::IngestError;
use super::flow::{Decision, Flow, Progress};
use super::hear::is_under_way;
use super::refuse::{Blocker, Omission, blocker, is_held};
use super::settle::{Fault, Judgement, Patience, Settled, Settling};
use super::unreadable::Unreadable;
use crate::datastore::{DatastoreError, Look};
use crate::file_identity::FileIdentity;
use crate::ledger::record::{Location, ManifestRow, ManifestState};
use crate::telemetry::metrics::{Manifests, Outcome};

/// Files decided in one step; a step is not interrupted, so it is kept short.
const STEP_FILES: usize = 512;
/// Files looked through in one step for those that are known, and for those that may share a
/// commit.
const LOOK_FILES: usize = 4_096;

/// A manifest that has stayed cut for so long is shown to the operator: a transfer may have
/// stopped. It is waited for all the same, until the root's `torn_deadline`.
const CUT_TOLD: Duration = Duration::from_secs(60);

/// The manifests of one root.
#[derive(Debug)]
pub struct Arrivals {
    flow: Flow,
    settling: Settling,
    registry_seen: Option<u64>,
    unreadable: Unreadable,
    counts: Manifests,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Files in the manifest folder.
    pub files: usize,
    /// Files that the ledger does not know in this state.
    pub new: usize,
    /// Folders and files that could not be read, for reasons that may pass.
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
        let patience = Patience {
            settle: root.settle,
            torn: root.torn_deadline,
        };
        let counts = Manifests::of(&root.name);
        Self {
            flow,
            settling: Settling::new(patience),
            registry_seen: None,
            unreadable: Unreadable::default(),
            counts,
        }
    }

    /// Lists the manifest folder and notes what the ledger does not know.
    pub fn sweep(&mut self) -> Result<Swept, IngestError> {
        let datastore = self.flow.datastore();
        datastore.check_identity()?;
        let root = self.flow.root().name.clone();
        let mut known: HashMap<String, (FileIdentity, ManifestState)> = self
            .flow
            .site()
            .ledger
            .known_files(&root)?
            .into_iter()
            .map(|(path, identity, state)| (path, (identity, state)))
            .collect();
        let (files, errors) = datastore.list_manifests()?;
        let now = self.flow.site().clock.now();
        for error in &errors {
            let path = error.path().unwrap_or_default();
            self.unreadable
                .found(&self.flow, path, &super::error_chain(error), now)?;
        }
        let unreadable = errors.iter().filter(|error| passes(error)).count();
        let mut swept = Swept {
            files: files.len(),
            new: 0,
            unreadable,
        };
        for file in files {
            let row = known.remove(&file.path);
            if row.is_none_or(|(identity, _)| identity != file.identity) {
                swept.new += 1;
                self.take_up(file.path, file.identity, now);
            }
        }
        let listed = |path: &str| errors.iter().any(|error| error.path() == Some(path));
        let settling = &self.settling;
        self.unreadable
            .keep(&self.flow, |path| listed(path) || settling.holds(path))?;
        if unreadable == 0 {
            self.flow.site().ledger.swept(&root, now)?;
        }
        if errors.is_empty() {
            self.forget_absent(known)?;
        }
        Ok(swept)
    }

    /// Forgets files that were kept out and are gone: nothing came of them, and nobody can do
    /// anything about them any more. What was accepted, and what forked a run, is remembered.
    fn forget_absent(
        &self,
        absent: HashMap<String, (FileIdentity, ManifestState)>,
    ) -> Result<(), IngestError> {
        let ledger = &self.flow.site().ledger;
        for (path, (_, state)) in absent {
            let root = self.flow.root().name.clone();
            let at = Location { root, path };
            let kept_out = match state {
                ManifestState::Quarantined | ManifestState::Untrusted => true,
                ManifestState::Blocked => ledger
                    .manifest(&at)?
                    .is_some_and(|row| matches!(blocker(&row), Some(Blocker::Conflict(_)))),
                ManifestState::Registered | ManifestState::Superseded => false,
            };
            if kept_out {
                info!(root = %at.root, path = at.path, %state, "manifest is gone, and was kept out");
                ledger.forget(&at)?;
            }
        }
        Ok(())
    }

    /// Follows hints: looks at the files that events named. False where one could not be looked
    /// at, or is what no manifest may be: a sweep tells the operator.
    pub fn hinted(&mut self, paths: &[String]) -> Result<bool, IngestError> {
        let mut clear = true;
        for path in paths {
            match self.flow.datastore().look_at_manifest(path)? {
                Look::File(identity) => self.sighted(path, identity)?,
                Look::Absent => {}
                Look::Irregular | Look::Unreadable(_) => clear = false,
            }
        }
        Ok(clear)
    }

    fn sighted(&mut self, path: &str, identity: FileIdentity) -> Result<(), IngestError> {
        let site = self.flow.site();
        let at = Location {
            root: self.flow.root().name.clone(),
            path: path.to_owned(),
        };
        let known = site.ledger.manifest(&at)?;
        if known.is_none_or(|row| row.file != identity) {
            let now = site.clock.now();
            self.take_up(path.to_owned(), identity, now);
        }
        Ok(())
    }

    fn take_up(&mut self, path: String, identity: FileIdentity, now: Timestamp) {
        if self.settling.sighted(path, identity, now) {
            self.counts.sighted();
        }
    }

    /// Forgets a file that is decided or gone. One that was not taken up counts for nothing: a
    /// decision about one manifest may overtake others.
    fn put_down(&mut self, path: &str, outcome: Outcome) {
        if self.settling.decided(path) {
            self.counts.decided(outcome);
        }
    }

    /// Tries untrusted manifests again, after keys or peers have changed.
    pub fn retry_untrusted(&mut self) -> Result<usize, IngestError> {
        let rows = self.rows_in(ManifestState::Untrusted)?;
        let now = self.flow.site().clock.now();
        let count = rows.len();
        for row in rows {
            self.take_up(row.location.path, row.file, now);
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
        let due = self.settling.due(now, LOOK_FILES);
        let mut more = due.len() == LOOK_FILES;
        let passed = self.flow.pass_over_known(due, progress)?;
        for path in &passed.known {
            self.unreadable.healed(&self.flow, path)?;
            self.put_down(path, Outcome::Registered);
        }
        let mut files = apart(passed.others);
        more |= files.len() > STEP_FILES;
        files.truncate(STEP_FILES);
        let decisions = self.flow.decide(files, false, progress)?;
        let mut decided = 0;
        for decision in decisions {
            decided += usize::from(self.conclude(decision)?);
        }
        let unblocked = decided > 0 && self.retry_blocked(now)?;
        let next = if more || unblocked {
            Some(now)
        } else {
            self.settling.next_due()
        };
        Ok(Stepped { decided, next })
    }

    fn conclude(&mut self, decision: Decision) -> Result<bool, IngestError> {
        match decision {
            Decision::Decided(row) => {
                self.unreadable.healed(&self.flow, &row.location.path)?;
                self.put_down(&row.location.path, outcome(&row));
                Ok(true)
            }
            Decision::Gone(path) => {
                self.unreadable.healed(&self.flow, &path)?;
                self.put_down(&path, Outcome::Gone);
                Ok(false)
            }
            Decision::Undecided(undecided) => {
                let now = self.flow.site().clock.now();
                let path = undecided.settled.path();
                let told = match undecided.fault {
                    Fault::Unreadable => true,
                    Fault::Cut => self.settling.unchanged_for(path, now) >= CUT_TOLD,
                    Fault::Wrong => false,
                };
                if told {
                    let error = super::error_chain(&undecided.error);
                    self.unreadable.found(&self.flow, path, &error, now)?;
                } else {
                    self.unreadable.healed(&self.flow, path)?;
                }
                match self
                    .settling
                    .judge(&undecided.settled, undecided.fault, now)
                {
                    Judgement::Wait => Ok(false),
                    Judgement::Final => {
                        let row = self.flow.quarantine(&undecided)?;
                        self.put_down(undecided.settled.path(), outcome(&row));
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
            self.take_up(row.location.path, row.file, now);
        }
        Ok(any)
    }

    fn is_free(&self, row: &ManifestRow) -> Result<bool, IngestError> {
        match blocker(row) {
            Some(Blocker::Conflict(conflict)) => {
                Ok(!self.flow.site().registry.still_stands(&conflict)?)
            }
            Some(Blocker::Frozen) => self.is_thawed(row),
            Some(Blocker::Removal(omission)) => self.is_heard(row, &omission),
            Some(Blocker::Fork | Blocker::Held) => Ok(false),
            // Written by another version: reading the manifest again tells.
            None => Ok(true),
        }
    }

    /// Whether what a manifest removes is gone, or what kept out the rest of it.
    fn is_heard(&self, row: &ManifestRow, omission: &Omission) -> Result<bool, IngestError> {
        let Some(summary) = &row.summary else {
            return Ok(true);
        };
        let registry = &self.flow.site().registry;
        if is_under_way(&**registry, &summary.run)? {
            return Ok(false);
        }
        if let Some(conflict) = &omission.conflict
            && !registry.still_stands(conflict)?
        {
            return Ok(true);
        }
        let run = registry.run(&summary.run)?;
        let followed = run.as_ref().and_then(|run| run.followed);
        let is_done = followed.is_some_and(|followed| followed >= summary.generation);
        // It came while something else took the run away.
        let is_nothing = omission.datasets == 0 || run.is_none_or(|run| run.datasets == 0);
        Ok(is_done || is_nothing)
    }

    /// Whether no fork above its floor freezes the run any more.
    fn is_thawed(&self, row: &ManifestRow) -> Result<bool, IngestError> {
        let Some(summary) = &row.summary else {
            return Ok(true);
        };
        let site = self.flow.site();
        let floor = site.registry.run(&summary.run)?.and_then(|run| run.floor);
        let forks = site.ledger.of_run(&summary.run)?;
        Ok(!forks.iter().any(|fork| {
            let above = fork
                .summary
                .as_ref()
                .is_some_and(|summary| floor.is_none_or(|floor| summary.generation >= floor));
            above && blocker(fork) == Some(Blocker::Fork)
        }))
    }

    fn rows_in(&self, state: ManifestState) -> Result<Vec<ManifestRow>, IngestError> {
        let root = &self.flow.root().name;
        let rows = self.flow.site().ledger.manifests(Some(state))?;
        Ok(rows
            .into_iter()
            .filter(|row| row.location.root == *root)
            .collect())
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

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.counts.left(self.settling.len());
    }
}

/// What became of a manifest, as it is counted.
fn outcome(row: &ManifestRow) -> Outcome {
    match row.state {
        ManifestState::Registered => Outcome::Registered,
        ManifestState::Blocked if is_held(row) => Outcome::Held,
        ManifestState::Blocked => Outcome::Blocked,
        ManifestState::Untrusted => Outcome::Untrusted,
        ManifestState::Quarantined => Outcome::Quarantined,
        ManifestState::Superseded => Outcome::Superseded,
    }
}

/// Moves the files of one folder apart, each folder's in their order: a folder is a run, and
/// manifests of one run cannot share a commit.
fn apart(files: Vec<Settled>) -> Vec<Settled> {
    let mut of_folder: HashMap<String, usize> = HashMap::new();
    let mut numbered: Vec<(usize, Settled)> = files
        .into_iter()
        .map(|file| {
            let (folder, _) = file.path().rsplit_once('/').unwrap_or_default();
            let number = of_folder.entry(folder.to_owned()).or_default();
            *number += 1;
            (*number, file)
        })
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, file)| file).collect()
}

/// Whether what a listing could not take may be taken later though nothing there changes. A link
/// or a name that no manifest may have stays what it is.
fn passes(error: &DatastoreError) -> bool {
    !matches!(
        error,
        DatastoreError::Irregular { .. } | DatastoreError::PathRefused { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_folder_are_moved_apart_and_keep_their_order() {
        let now = Timestamp::UNIX_EPOCH;
        let files = ["a/1", "a/2", "a/3", "b/1", "c/1", "c/2"];
        let settled = files.map(|path| Settled::by_operator(path.to_owned(), now));
        let moved = apart(settled.to_vec());
        let paths: Vec<&str> = moved.iter().map(Settled::path).collect();
        assert_eq!(paths, ["a/1", "b/1", "c/1", "a/2", "c/2", "a/3"]);
    }
}
