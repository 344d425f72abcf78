//! The steps of a removal, and what is done about those that were left.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use runsync_config::removal::Removal as Caps;
use runsync_config::root::RootName;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::name::SiteName;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use super::RemovalError;
use super::delete::{self, Deletions};
use super::journal::{self, Header, Journal, JournalError};
use super::request::{Consent, Plan, Request, Requester};
use super::standing::{Standing, Standings, State};
use crate::clock::Clock;
use crate::datastore::{Datastore, DatastoreError};
use crate::error_chain::error_chain;
use crate::registration_lock::RegistrationLock;
use crate::registry::removal::{JournalRef, Operation, Removal, RemovalRow};
use crate::registry::{Registry, RegistryError};
use crate::telemetry::removals::{self, Begun};

/// Datasets whose rows are reaped with one commit: another writer waits well below a second.
const REAPED_TOGETHER: usize = 10_000;

/// Pause between two tries to have the turn.
const PAUSE: Duration = Duration::from_millis(50);

/// How far a removal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another process registers; it is waited for.
    Waiting,
    /// So many artifacts are written into a journal.
    Journaling(u64),
    /// The journals are whole; nothing has changed yet.
    Committing,
    /// So many artifacts are done.
    Deleting(u64),
    /// Rows are reaped, a chunk after the other.
    Reaping,
}

/// Hears how far a removal has come, and may break off.
pub type Progress<'a> = dyn FnMut(Phase) -> ControlFlow<()> + 'a;

/// What a removal came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The removal.
    #[schema(value_type = Uuid)]
    pub removal: Uuid,
    /// What was asked for.
    pub operation: Operation,
    /// The runs that nobody finds any more.
    pub runs: usize,
    /// What became of their artifacts.
    #[serde(flatten)]
    pub deletions: Deletions,
    /// Whether nothing is left to do.
    pub done: bool,
}

/// A root and its name.
#[derive(Debug, Clone)]
pub struct NamedRoot {
    /// As configuration calls it.
    pub name: RootName,
    /// The root.
    pub datastore: Arc<dyn Datastore>,
}

/// What removing works with.
#[derive(Debug)]
pub struct Removing {
    /// The site.
    pub site: SiteName,
    /// Its repository.
    pub repository: RepositoryId,
    /// This machine.
    pub host: String,
    /// What a removal may take away without being approved.
    pub caps: Caps,
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// One registration at a time: none may name an artifact that is just being journaled.
    pub registration: RegistrationLock,
    /// All roots.
    pub roots: Vec<NamedRoot>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Held by whoever deletes.
    pub working: Mutex<()>,
    /// How removals stand.
    pub standings: Standings,
    /// Removals that somebody has asked to be continued.
    pub allowed: Mutex<BTreeSet<Uuid>>,
}

impl Removing {
    /// What `request` would do.
    pub fn plan(&self, request: &Request) -> Result<Plan, RemovalError> {
        Plan::make(request, self.repository, &*self.registry, &self.caps)
    }

    /// Does what the plan of `consent` says, where it would still do the same.
    ///
    /// # Errors
    ///
    /// Before the commit nothing has changed. After it the removal is seen through later: see
    /// [`resume`](Self::resume).
    pub fn remove(
        &self,
        request: &Request,
        consent: &Consent,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, RemovalError> {
        let removal = Uuid::new_v4();
        self.begin(removal, request, consent, requester, progress)?;
        self.resume(removal, progress)
    }

    /// Tells whoever asks that a removal is under way, before anything is done.
    pub fn announce(&self, removal: Uuid, plan: &Plan, requester: &Requester) {
        self.standings.set(Standing {
            removal,
            operation: plan.operation,
            account: requester.account.clone(),
            runs: plan.runs.iter().map(|run| run.run.clone()).collect(),
            state: State::Journaling,
            deletions: Deletions::default(),
            reason: None,
        });
    }

    /// The first half of [`remove`](Self::remove): journals, then hides the runs. The removal is then
    /// to be [resumed](Self::resume).
    ///
    /// # Errors
    ///
    /// Nothing has changed; where the registry does not say whether it has committed, the journals
    /// stay until it does.
    pub fn begin(
        &self,
        removal: Uuid,
        request: &Request,
        consent: &Consent,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        let begun = self.commit(removal, request, consent, requester, progress);
        let outcome = match begun {
            Ok(()) => Begun::Committed,
            Err(_) => Begun::Refused,
        };
        removals::begun(request.operation.as_str(), outcome);
        self.standings.change(removal, |standing| match &begun {
            Ok(()) => standing.state = State::Waiting,
            Err(error) => {
                standing.state = State::Refused;
                standing.reason = Some(error_chain(error));
            }
        });
        begun
    }

    fn commit(
        &self,
        id: Uuid,
        request: &Request,
        consent: &Consent,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        // From here to the commit nobody registers anything.
        let turn = self
            .registration
            .acquire(&mut || progress(Phase::Waiting))?;
        let plan = self.plan(request)?;
        plan.check(consent)?;
        plan.check_owner(requester)?;
        let by = requester.actor();
        let at = self.clock.now();
        let header = |root: &NamedRoot| Header {
            removal: id,
            operation: plan.operation,
            requester: requester.clone(),
            host: self.host.clone(),
            site: self.site.clone(),
            repository: self.repository,
            registry: self.registry.id(),
            root: root.name.clone(),
            created_at: at,
            runs: plan.runs.iter().map(|run| run.run.clone()).collect(),
        };
        let name = journal::name_of(id, at);
        let journals = self.journal(&plan, &header, progress).inspect_err(|_| {
            self.drop_journals(&name);
        })?;
        if progress(Phase::Committing).is_break() {
            self.drop_journals(&name);
            return Err(RemovalError::Interrupted);
        }
        let parts = plan.parts();
        let floors: Vec<_> = plan
            .runs
            .iter()
            .filter_map(|run| Some((run.run.clone(), run.generation?)))
            .collect();
        let removal = Removal {
            id,
            operation: plan.operation,
            account: &requester.account,
            at,
            parts: &parts,
            floors: &floors,
            journals: &journals,
            chain: plan.of_chain(&by),
        };
        if let Err(error) = self.registry.remove(&removal) {
            self.read_back(id, &name, error)
                .map_err(|error| plan.told_of(error))?;
        }
        drop(turn);
        info!(removal = %id, account = %requester.account, runs = parts.len(), "removal committed");
        Ok(())
    }

    fn journal(
        &self,
        plan: &Plan,
        header: &impl Fn(&NamedRoot) -> Header,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<JournalRef>, RemovalError> {
        let parts = plan.parts();
        let mut journals = Vec::with_capacity(self.roots.len());
        for root in &self.roots {
            let written = journal::write(
                &header(root),
                &parts,
                &*self.registry,
                &*root.datastore,
                &mut |artifacts| progress(Phase::Journaling(artifacts)),
            )?;
            journals.push(JournalRef {
                root: root.name.clone(),
                digest: written.digest,
            });
        }
        Ok(journals)
    }

    /// The reply to a commit may be lost: only the registry knows what became of it. Where it does
    /// not answer, the journals stay.
    fn read_back(&self, id: Uuid, name: &str, error: RegistryError) -> Result<(), RemovalError> {
        let removals = match self.registry.removals() {
            Ok(removals) => removals,
            Err(unknown) => {
                warn!(removal = %id, error = %error_chain(&unknown),
                    "whether the removal was committed is not known: its journals stay");
                return Err(error.into());
            }
        };
        if removals.iter().any(|removal| removal.id == id) {
            return Ok(());
        }
        self.drop_journals(name);
        Err(error.into())
    }

    /// Removes journals whose removal was not committed.
    fn drop_journals(&self, name: &str) {
        for root in &self.roots {
            if let Err(error) = root.datastore.journals().remove(name) {
                warn!(root = %root.name, journal = name, error = %error_chain(&error),
                    "journal without a commit left behind");
            }
        }
    }

    /// Sees a committed removal through, as far as it can be; others of this process are waited for.
    ///
    /// # Errors
    ///
    /// Where a root or a journal fails: the others are seen to first.
    pub fn resume(&self, id: Uuid, progress: &mut Progress<'_>) -> Result<Outcome, RemovalError> {
        let _turn = self.turn(progress)?;
        let removals = self.registry.removals()?;
        match removals.into_iter().find(|removal| removal.id == id) {
            Some(removal) => self.see_through(&removal, progress),
            None => Err(RemovalError::Gone { removal: id }),
        }
    }

    /// One removal at a time: several would only share the disk.
    pub(super) fn turn(
        &self,
        progress: &mut Progress<'_>,
    ) -> Result<MutexGuard<'_, ()>, RemovalError> {
        loop {
            match self.working.try_lock() {
                Ok(turn) => return Ok(turn),
                Err(TryLockError::Poisoned(panicked)) => return Ok(panicked.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            if progress(Phase::Waiting).is_break() {
                return Err(RemovalError::Interrupted);
            }
            thread::sleep(PAUSE);
        }
    }

    fn see_through(
        &self,
        removal: &RemovalRow,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, RemovalError> {
        self.standings.set(Standing {
            state: State::Deleting,
            ..Standing::waiting(removal)
        });
        let outcome = self.delete_and_close(removal, progress);
        self.standings
            .change(removal.id, |standing| match &outcome {
                Ok(outcome) => {
                    standing.deletions = outcome.deletions;
                    standing.state = if outcome.done {
                        State::Done
                    } else {
                        State::Failed
                    };
                }
                Err(error) => {
                    standing.state = State::Failed;
                    standing.reason = Some(error_chain(error));
                }
            });
        outcome
    }

    fn delete_and_close(
        &self,
        removal: &RemovalRow,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, RemovalError> {
        let name = journal::name_of(removal.id, removal.at);
        let mut deletions = Deletions::default();
        let mut failed = None;
        for journal in &removal.journals {
            let deleted = self.delete(removal, journal, &name, progress);
            match deleted {
                Ok(done) => {
                    deletions.add(&done);
                    let so_far = |standing: &mut Standing| standing.deletions = deletions;
                    self.standings.change(removal.id, so_far);
                }
                Err(error) if error.is_interruption() || error.is_fenced() => return Err(error),
                Err(error) => {
                    warn!(removal = %removal.id, root = %journal.root,
                        error = %error_chain(&error), "removal does not go on in this root");
                    failed = Some(error);
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let done = deletions.failed == 0;
        if done {
            self.close(removal, progress)?;
        }
        Ok(Outcome {
            removal: removal.id,
            operation: removal.operation,
            runs: removal.parts.len(),
            deletions,
            done,
        })
    }

    /// Deletes what is journaled in one root.
    fn delete(
        &self,
        removal: &RemovalRow,
        expected: &JournalRef,
        name: &str,
        progress: &mut Progress<'_>,
    ) -> Result<Deletions, RemovalError> {
        let root = self.root(&expected.root)?;
        let journals = root.datastore.journals();
        let journal = match Journal::open(journals, name) {
            Ok(journal) => journal,
            Err(JournalError::Root {
                source: DatastoreError::Missing { .. },
                ..
            }) => {
                let name = name.to_owned();
                // It goes last: all that it named is deleted.
                return if removal.reapable {
                    Ok(Deletions::default())
                } else {
                    Err(JournalError::Missing { name }.into())
                };
            }
            Err(error) => return Err(error.into()),
        };
        if journal.digest != expected.digest {
            let name = name.to_owned();
            return Err(JournalError::Changed { name }.into());
        }
        if !journal.committed {
            journal.mark_committed(journals, self.clock.now())?;
        }
        delete::delete(&journal, &*root.datastore, &*self.registry, &mut |done| {
            progress(Phase::Deleting(done))
        })
    }

    /// All that was there is gone: so go the journals, and the rows.
    pub(super) fn close(
        &self,
        removal: &RemovalRow,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        let name = &journal::name_of(removal.id, removal.at);
        self.registry.may_reap(removal.id)?;
        let reaping = |standing: &mut Standing| standing.state = State::Reaping;
        self.standings.change(removal.id, reaping);
        for journal in &removal.journals {
            let root = self.root(&journal.root)?;
            let removed = root.datastore.journals().remove(name);
            removed.map_err(|source| RemovalError::Root {
                root: journal.root.clone(),
                source,
            })?;
            self.registry.journal_closed(removal.id, &journal.root)?;
        }
        self.reap(progress)?;
        removals::done(removal.operation.as_str());
        info!(removal = %removal.id, "removal done");
        Ok(())
    }

    /// Reaps all rows that may be.
    pub fn reap(&self, progress: &mut Progress<'_>) -> Result<(), RemovalError> {
        while self.registry.reap(REAPED_TOGETHER)? {
            if progress(Phase::Reaping).is_break() {
                return Err(RemovalError::Interrupted);
            }
        }
        Ok(())
    }

    /// How the removals stand that are committed and not done, oldest first.
    pub fn under_way(&self) -> Result<Vec<Standing>, RegistryError> {
        let removals = self.registry.removals()?;
        let standing = |row: &RemovalRow| {
            let known = self.standings.get(row.id);
            known.unwrap_or_else(|| Standing::waiting(row))
        };
        Ok(removals.iter().map(standing).collect())
    }

    /// How a removal stands; `None` where it is neither under way nor remembered as done.
    pub fn standing(&self, removal: Uuid) -> Result<Option<Standing>, RegistryError> {
        if let Some(standing) = self.standings.get(removal) {
            return Ok(Some(standing));
        }
        let removals = self.registry.removals()?;
        let row = removals.iter().find(|row| row.id == removal);
        Ok(row.map(Standing::waiting))
    }

    pub(super) fn root(&self, name: &RootName) -> Result<&NamedRoot, RemovalError> {
        let found = self.roots.iter().find(|root| root.name == *name);
        found.ok_or_else(|| RemovalError::NoRoot { root: name.clone() })
    }
}
