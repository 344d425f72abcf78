//! The steps of a removal, and what is done about those that were left.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::removal::Removal as Caps;
use runsync_config::root::{Deleter, RootName};
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RseName, RunKey, SiteName};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use super::RemovalError;
use super::delete::{self, Deletions};
use super::journal::{self, Header, InRucio, Journal, JournalError};
use super::request::{Consent, Plan, Request, Requester};
use super::scopes::PeerScopes;
use super::standing::{Standing, Standings, State};
use super::taken::{GenerationError, Taken};
use crate::clock::Clock;
use crate::datastore::Datastore;
use crate::error_chain::error_chain;
use crate::ledger::Ledger;
use crate::ledger::record::{Holder, ManifestRow};
use crate::registration_lock::RegistrationLock;
use crate::registry::removal::{JournalRef, Operation, Removal, RemovalRow};
use crate::registry::{Registry, RegistryError};
use crate::rucio::Rucio;
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
    /// Until when artifacts that had not been seen here may still arrive, and are deleted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub late_until: Option<Timestamp>,
    /// Whether nothing that is there is left to delete.
    pub done: bool,
    /// Rules of others that keep artifacts in Rucio: a few of them, where there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

impl Outcome {
    pub(super) fn of(
        removal: &RemovalRow,
        deletions: Deletions,
        late_until: Option<Timestamp>,
    ) -> Self {
        Self {
            removal: removal.id,
            operation: removal.operation,
            runs: removal.parts.len(),
            deletions,
            late_until,
            done: true,
            holders: Vec::new(),
        }
    }

    fn unfinished(self, holders: Vec<Holder>) -> Self {
        Self {
            done: false,
            holders,
            ..self
        }
    }
}

/// What a journal is left open for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Artifacts that have not been seen here, and may still arrive.
    Unseen,
    /// Nothing: it is given up.
    Nothing,
}

/// Makes a plan, under the turn to register.
pub(super) type Planning<'a> = dyn FnMut(&mut Progress<'_>) -> Result<Plan, RemovalError> + 'a;

/// A root and its name.
#[derive(Debug, Clone)]
pub struct NamedRoot {
    /// As configuration calls it.
    pub name: RootName,
    /// The root.
    pub datastore: Arc<dyn Datastore>,
    /// The RSE that it is, where Rucio knows it.
    pub rse: Option<RseName>,
    /// Who deletes its artifacts.
    pub deleter: Deleter,
}

impl NamedRoot {
    /// Whether Rucio deletes its artifacts.
    pub fn is_left_to_rucio(&self) -> bool {
        self.deleter == Deleter::Rucio
    }
}

/// What removing works with.
#[derive(Debug)]
pub struct Ground {
    /// The site.
    pub site: SiteName,
    /// Its repository.
    pub repository: RepositoryId,
    /// This machine.
    pub host: String,
    /// What a removal may take away without being approved, and how long late arrivals are waited for.
    pub caps: Caps,
    /// The key that other sites are told with.
    pub signing_key_file: PathBuf,
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// One registration at a time: none may name an artifact that is just being journaled.
    pub registration: RegistrationLock,
    /// All roots.
    pub roots: Vec<NamedRoot>,
    /// Rucio, where configuration has one.
    pub rucio: Option<Rucio>,
    /// The scopes of peers' files there.
    pub peers: Arc<PeerScopes>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Ground {
    /// The generations of a run that this site has taken in.
    pub(super) fn heard_of(&self, run: &RunKey) -> Result<Taken, GenerationError> {
        Taken::believed(run, &*self.registry, &*self.ledger, self.named_roots())
    }

    fn named_roots(&self) -> impl Iterator<Item = (&RootName, &dyn Datastore)> {
        self.roots.iter().map(|root| (&root.name, &*root.datastore))
    }

    /// The generations of a run that are taken.
    pub(super) fn taken(&self, run: &RunKey) -> Result<Taken, GenerationError> {
        Taken::of(run, &*self.registry, &*self.ledger, self.named_roots())
    }
}

/// Removes.
#[derive(Debug)]
pub struct Removing {
    pub(super) ground: Ground,
    /// Held by whoever deletes.
    working: Mutex<()>,
    /// How removals stand.
    pub(super) standings: Standings,
    /// Removals that somebody has asked to be continued.
    pub(super) allowed: Mutex<BTreeSet<Uuid>>,
    /// Removals whose runs' rules this process has had end, each in a root.
    pub(super) asked: Mutex<BTreeSet<(Uuid, RootName)>>,
    /// Whether Rucio was heard to have deleted something.
    told: AtomicBool,
}

impl Removing {
    /// Removes on this ground.
    pub fn new(ground: Ground) -> Self {
        Self {
            ground,
            working: Mutex::default(),
            standings: Standings::default(),
            allowed: Mutex::default(),
            asked: Mutex::default(),
            told: AtomicBool::new(false),
        }
    }

    /// What it works with.
    pub const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// What `request` would do.
    pub fn plan(&self, request: &Request) -> Result<Plan, RemovalError> {
        Plan::make(request, &self.ground)
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
            late_until: None,
            holders: Vec::new(),
            untold: None,
            reason: None,
        });
    }

    /// Hears that Rucio has deleted something here: what waits for it is looked at soon, and not only
    /// when its pause is over. However often it is said, that is once in a while.
    pub fn hear_of_deletions(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// Whether that was said since it was asked last.
    pub(super) fn take_told(&self) -> bool {
        self.told.swap(false, Ordering::Relaxed)
    }

    /// The first half of [`remove`](Self::remove): journals, then hides the runs. The removal is then
    /// to be [resumed](Self::resume).
    ///
    /// # Errors
    ///
    /// Nothing has changed, but for [`RemovalError::Undecided`]: where the registry does not say
    /// whether it has committed, the journals stay until it does.
    pub fn begin(
        &self,
        removal: Uuid,
        request: &Request,
        consent: &Consent,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        let plan = &mut |_: &mut Progress<'_>| self.plan(request);
        let operation = request.operation;
        self.begin_as(
            (removal, operation),
            plan,
            Some(consent),
            requester,
            progress,
        )
    }

    /// The same by a plan that is made under the turn to register.
    pub(super) fn begin_as(
        &self,
        (removal, operation): (Uuid, Operation),
        plan: &mut Planning<'_>,
        consent: Option<&Consent>,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        let begun = self.commit(removal, plan, consent, requester, progress);
        let outcome = match begun {
            Ok(()) => Begun::Committed,
            Err(_) => Begun::Refused,
        };
        removals::begun(operation.as_str(), outcome);
        self.standings.change(removal, |standing| match &begun {
            Ok(()) => standing.state = State::Waiting,
            Err(error) => {
                let is_known = !matches!(error, RemovalError::Undecided { .. });
                standing.state = if is_known {
                    State::Refused
                } else {
                    State::Failed
                };
                standing.reason = Some(error_chain(error));
            }
        });
        begun
    }

    fn commit(
        &self,
        id: Uuid,
        plan: &mut Planning<'_>,
        consent: Option<&Consent>,
        requester: &Requester,
        progress: &mut Progress<'_>,
    ) -> Result<(), RemovalError> {
        // From here to the commit nobody registers anything.
        let turn = self
            .ground
            .registration
            .acquire(&mut || progress(Phase::Waiting))?;
        self.ground.registry.check_settled()?;
        let plan = plan(progress)?;
        plan.check(consent)?;
        plan.check_owner(requester)?;
        let by = requester.actor();
        let at = self.ground.clock.now();
        let name = journal::name_of(id, at);
        let journals = self.journal(&plan, (id, requester, at), progress);
        let journals = journals.inspect_err(|_| self.drop_journals(&name))?;
        if progress(Phase::Committing).is_break() {
            self.drop_journals(&name);
            return Err(RemovalError::Interrupted);
        }
        let parts = plan.parts();
        let floors: Vec<_> = plan.floors().collect();
        let removal = Removal {
            id,
            operation: plan.operation,
            account: &requester.account,
            at,
            parts: &parts,
            floors: &floors,
            journals: &journals,
            notices: &plan.notices(at),
            chain: plan.of_chain(&by),
        };
        if let Err(error) = self.ground.registry.remove(&removal) {
            self.read_back(id, &name, error)
                .map_err(|error| plan.told_of(error))?;
        }
        info!(removal = %id, operation = %plan.operation, account = %requester.account,
            runs = parts.len(), "removal committed");
        // Both are done again where they fail: what matters is in the registry.
        self.overtake(&floors, plan.operation);
        if let Err(error) = self.tell() {
            warn!(error = %error_chain(&error), "other sites cannot be told yet");
        }
        drop(turn);
        Ok(())
    }

    /// Manifests below a floor are shown as what they are from then on.
    fn overtake(&self, floors: &[(RunKey, Generation)], operation: Operation) {
        let ledger = &self.ground.ledger;
        let now = self.ground.clock.now();
        for (run, floor) in floors {
            let overtaken = ledger.of_run(run).and_then(|rows| {
                let overtaken = |row: ManifestRow| match operation {
                    Operation::DropCopy => row.dropped(*floor, now),
                    Operation::RemoveRuns
                    | Operation::Purge
                    | Operation::Cleanup
                    | Operation::Follow
                    | Operation::Unstore
                    | Operation::Forget => row.overtaken(*floor, now),
                };
                let rows: Vec<_> = rows.into_iter().filter_map(overtaken).collect();
                ledger.record(&rows)
            });
            if let Err(error) = overtaken {
                warn!(run = %run.name, error = %error_chain(&error),
                    "manifests of a removed run keep their states");
            }
        }
    }

    fn journal(
        &self,
        plan: &Plan,
        (removal, requester, at): (Uuid, &Requester, Timestamp),
        progress: &mut Progress<'_>,
    ) -> Result<Vec<JournalRef>, RemovalError> {
        let ground = &self.ground;
        if !plan.operation.deletes() {
            return Ok(Vec::new());
        }
        let parts: Vec<_> = plan.parts().into_iter().map(|(part, _)| part).collect();
        let mut journals = Vec::with_capacity(ground.roots.len());
        for root in &ground.roots {
            let header = Header {
                removal,
                operation: plan.operation,
                requester: requester.clone(),
                host: ground.host.clone(),
                site: ground.site.clone(),
                repository: ground.repository,
                registry: ground.registry.id(),
                root: root.name.clone(),
                created_at: at,
                runs: plan.runs.iter().map(|run| run.run.clone()).collect(),
                rucio: match &root.rse {
                    Some(rse) if root.is_left_to_rucio() => Some(InRucio {
                        rse: rse.clone(),
                        scopes: self.scopes(plan.runs.iter().map(|run| &run.run))?,
                    }),
                    _ => None,
                },
            };
            let written = journal::write(
                &header,
                &parts,
                &*ground.registry,
                &*root.datastore,
                &mut |artifacts| progress(Phase::Journaling(artifacts)),
            )?;
            journals.push(JournalRef {
                root: root.name.clone(),
                digest: written.digest,
                late_until: None,
            });
        }
        Ok(journals)
    }

    /// The reply to a commit may be lost: only the registry knows what became of it. Where it does
    /// not answer, the journals stay.
    fn read_back(&self, id: Uuid, name: &str, error: RegistryError) -> Result<(), RemovalError> {
        let removals = match self.ground.registry.removals() {
            Ok(removals) => removals,
            Err(unknown) => {
                warn!(removal = %id, error = %error_chain(&unknown),
                    "whether the removal was committed is not known: its journals stay");
                return Err(RemovalError::Undecided { source: error });
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
        for root in &self.ground.roots {
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
        self.resume_by(id, self.ground.rucio.as_ref(), progress)
    }

    /// The same by this way to Rucio.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub fn resume_by(
        &self,
        id: Uuid,
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, RemovalError> {
        let _turn = self.turn(progress)?;
        let removals = self.ground.registry.removals()?;
        match removals.into_iter().find(|removal| removal.id == id) {
            Some(removal) => self.see_through(&removal, rucio, progress),
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
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, RemovalError> {
        let before = self.standings.begin(removal);
        let outcome = if removal.is_late() {
            self.await_late(removal, rucio, progress)
        } else if removal.reapable {
            // Nothing of it is left to delete, and others may use its paths by now.
            self.close(removal, Leaving::Unseen, progress)
                .map(|late| Outcome::of(removal, Deletions::default(), late))
        } else {
            self.delete_and_close(removal, rucio, progress)
        };
        self.find_partial(removal, &outcome)?;
        let untold = self.tell().err();
        self.standings.change(removal.id, |standing| {
            standing.end(&outcome, before);
            standing.untold = untold.map(|error| error_chain(&error));
        });
        outcome
    }

    fn delete_and_close(
        &self,
        removal: &RemovalRow,
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, RemovalError> {
        let name = journal::name_of(removal.id, removal.at);
        let mut deletions = Deletions::default();
        let mut holders = Vec::new();
        let mut failed = None;
        for journal in &removal.journals {
            let deleted = self.delete((removal, journal), &name, rucio, progress);
            match deleted {
                Ok((done, of)) => {
                    holders.extend(of);
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
        if deletions.failed > 0 || deletions.held > 0 {
            return Ok(Outcome::of(removal, deletions, None).unfinished(holders));
        }
        let late = self.close(removal, Leaving::Unseen, progress)?;
        Ok(Outcome::of(removal, deletions, late))
    }

    /// Deletes what is journaled in one root.
    fn delete(
        &self,
        (removal, expected): (&RemovalRow, &JournalRef),
        name: &str,
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<(Deletions, Vec<Holder>), RemovalError> {
        let root = self.root(&expected.root)?;
        let journals = root.datastore.journals();
        let journal = match Journal::open(journals, name) {
            Ok(journal) => journal,
            Err(error) if error.is_missing() => {
                let name = name.to_owned();
                return Err(JournalError::Missing { name }.into());
            }
            Err(error) => return Err(error.into()),
        };
        if journal.digest != expected.digest {
            let name = name.to_owned();
            return Err(JournalError::Changed { name }.into());
        }
        if !journal.committed {
            journal.mark_committed(journals, self.ground.clock.now())?;
        }
        if let Some(there) = self.in_rucio(&journal.header, root)? {
            let parts = &removal.parts;
            return self.leave_to_rucio((&journal, root), (&there, parts), rucio, progress);
        }
        let deleted = delete::delete(
            &journal,
            &*root.datastore,
            &*self.ground.registry,
            &mut |done| progress(Phase::Deleting(done)),
        )?;
        Ok((deleted, Vec::new()))
    }

    /// All that was there is gone: so go the journals, and the rows. A journal that names artifacts
    /// which have not been seen here stays for those, where they are waited for. Returns until when
    /// the last of them does.
    pub(super) fn close(
        &self,
        removal: &RemovalRow,
        leaving: Leaving,
        progress: &mut Progress<'_>,
    ) -> Result<Option<Timestamp>, RemovalError> {
        let name = &journal::name_of(removal.id, removal.at);
        // Asked before anything is said of the rows: a root may have left the configuration.
        let roots = removal.journals.iter().map(|one| self.root(&one.root));
        let roots: Vec<&NamedRoot> = roots.collect::<Result<_, _>>()?;
        self.ground.registry.may_reap(removal.id)?;
        let reaping = |standing: &mut Standing| standing.state = State::Reaping;
        self.standings.change(removal.id, reaping);
        let mut late = None;
        for root in roots {
            let waits = match leaving {
                Leaving::Unseen => self.wait_for_late(removal.id, root, name)?,
                Leaving::Nothing => None,
            };
            if waits.is_none() {
                self.close_journal(removal.id, root, name)?;
            }
            late = late.max(waits);
        }
        self.reap(progress)?;
        removals::done(removal.operation.as_str());
        info!(removal = %removal.id, "removal done");
        Ok(late)
    }

    pub(super) fn close_journal(
        &self,
        removal: Uuid,
        root: &NamedRoot,
        name: &str,
    ) -> Result<(), RemovalError> {
        let removed = root.datastore.journals().remove(name);
        removed.map_err(|source| RemovalError::Root {
            root: root.name.clone(),
            source,
        })?;
        self.ground.registry.journal_closed(removal, &root.name)?;
        Ok(())
    }

    /// Reaps all rows that may be.
    pub fn reap(&self, progress: &mut Progress<'_>) -> Result<(), RemovalError> {
        while self.ground.registry.reap(REAPED_TOGETHER)? {
            if progress(Phase::Reaping).is_break() {
                return Err(RemovalError::Interrupted);
            }
        }
        Ok(())
    }

    /// How the removals stand that are committed and not done, oldest first.
    pub fn under_way(&self) -> Result<Vec<Standing>, RegistryError> {
        let removals = self.ground.registry.removals()?;
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
        let removals = self.ground.registry.removals()?;
        let row = removals.iter().find(|row| row.id == removal);
        Ok(row.map(Standing::waiting))
    }

    pub(super) fn root(&self, name: &RootName) -> Result<&NamedRoot, RemovalError> {
        let found = self.ground.roots.iter().find(|root| root.name == *name);
        found.ok_or_else(|| RemovalError::NoRoot { root: name.clone() })
    }
}
