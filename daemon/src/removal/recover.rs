//! What lies in the journal folders, whose it is, and what a crash has left there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;

use jiff::Timestamp;
use runsync_config::root::RootName;
use runsync_manifest::name::RunKey;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use super::RemovalError;
use super::by_rucio::PARTIAL;
use super::flow::{Leaving, NamedRoot, Phase, Progress, Removing};
use super::journal::{self, Journal, JournalError};
use super::request::Requester;
use super::standing::{Standing, State};
use crate::error_chain::error_chain;
use crate::poison::lock;
use crate::registry::removal::{JournalRef, Operation, RemovalRow};

/// What is known of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JournalRow {
    /// Its name in the journal folder.
    pub name: String,
    /// The root in which it lies; none where there is no journal, or none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub root: Option<RootName>,
    /// How it stands.
    pub state: JournalState,
    /// What it says of itself; none where it cannot be read.
    #[serde(flatten)]
    pub of: Option<JournalOf>,
    /// Why it cannot be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a journal says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JournalOf {
    /// The removal.
    #[schema(value_type = Uuid)]
    pub removal: Uuid,
    /// What was asked for.
    pub operation: Operation,
    /// Who asked.
    pub account: String,
    /// The machine on which it was begun; none where no journal tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// When.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// The runs.
    #[schema(value_type = Vec<crate::schema::RunKeySchema>)]
    pub runs: Vec<RunKey>,
    /// The user who asked, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// How many artifacts it names.
    pub artifacts: u64,
    /// How many of them had not been seen here when it was written.
    pub awaited: u64,
}

/// How a journal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// Its removal was not committed: it is dropped, and nothing was deleted.
    Uncommitted,
    /// Its removal was committed; not all of it is confirmed.
    Committed,
    /// Its removal was committed; what is left of it is in Rucio, whose reaper deletes it.
    AwaitsRucio,
    /// Its removal was committed; what is left of it is in Rucio, and rules of others keep it there.
    PartiallyRemoved,
    /// All that was there is deleted; it waits for what may still arrive.
    Late,
    /// There was nothing to delete, or its journals are closed: rows of it are left in the registry.
    Reaping,
    /// It says that it was committed, and the registry knows nothing of it.
    Unknown,
    /// It cannot be read, or is not what was committed.
    Unusable,
}

impl JournalRow {
    fn unusable(name: &str, root: &NamedRoot, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            root: Some(root.name.clone()),
            state: JournalState::Unusable,
            of: None,
            reason: Some(reason),
        }
    }

    /// Its root in a list or a log.
    pub fn in_root(&self) -> &str {
        self.root.as_ref().map_or("-", RootName::as_str)
    }

    /// What is left of a removal that has no journal, or none any more.
    fn without(removal: &RemovalRow) -> Self {
        let lost = removal.journals.iter().find(|one| one.late_until.is_none());
        let lost = lost.filter(|_| !removal.reapable);
        let name = journal::name_of(removal.id, removal.at);
        let runs = removal.parts.iter().map(|part| part.run.clone());
        Self {
            root: lost.map(|one| one.root.clone()),
            state: lost.map_or(JournalState::Reaping, |_| JournalState::Unusable),
            of: Some(JournalOf {
                removal: removal.id,
                operation: removal.operation,
                account: removal.account.clone(),
                uid: None,
                host: None,
                created_at: removal.at,
                runs: runs.collect(),
                artifacts: 0,
                awaited: 0,
            }),
            reason: lost.map(|_| JournalError::Missing { name: name.clone() }.to_string()),
            name,
        }
    }

    fn of(
        journal: Journal,
        root: &NamedRoot,
        removal: Option<&RemovalRow>,
        registry: Uuid,
    ) -> Self {
        let expected = removal.and_then(|removal| {
            let journals = &mut removal.journals.iter();
            journals.find(|expected| expected.root == root.name)
        });
        let (state, reason) = match (removal, expected, journal.committed) {
            (_, Some(expected), _) if expected.digest == journal.digest => {
                let late = expected.late_until.is_some();
                let state = if late {
                    JournalState::Late
                } else {
                    JournalState::Committed
                };
                (state, None)
            }
            (_, Some(_), _) => {
                let name = journal.name.clone();
                let changed = JournalError::Changed { name }.to_string();
                (JournalState::Unusable, Some(changed))
            }
            // It is of a root that has another name by now, or was put here by somebody.
            (Some(_), None, _) => (
                JournalState::Unusable,
                Some(format!(
                    "it is of root `{}`, and its removal is under way",
                    journal.header.root
                )),
            ),
            (None, None, _) if journal.header.registry != registry => (
                JournalState::Unusable,
                Some(format!("it is of registry {}", journal.header.registry)),
            ),
            (None, None, false) => (JournalState::Uncommitted, None),
            (None, None, true) => (
                JournalState::Unknown,
                Some("the registry knows nothing of it: was it restored from a backup?".to_owned()),
            ),
        };
        let header = journal.header;
        Self {
            name: journal.name,
            root: Some(root.name.clone()),
            state,
            of: Some(JournalOf {
                removal: header.removal,
                operation: header.operation,
                account: header.requester.account,
                uid: header.requester.uid,
                host: Some(header.host),
                created_at: header.created_at,
                runs: header.runs,
                artifacts: journal.artifacts,
                awaited: journal.awaited,
            }),
            reason,
        }
    }
}

impl Removing {
    /// All journals in all roots, by root and name; then the removals that have none, or none any more.
    pub fn journals(&self) -> Result<Vec<JournalRow>, RemovalError> {
        let before = self.ground.registry.removals()?;
        let (mut rows, mut listed, mut unlisted) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for root in &self.ground.roots {
            match journal_names(root) {
                Ok(names) => {
                    for name in names {
                        rows.push(self.journal_row(root, &name)?);
                        listed.insert((&root.name, name));
                    }
                }
                Err(error) => {
                    rows.push(JournalRow::unusable("-", root, error_chain(&error)));
                    unlisted.insert(&root.name);
                }
            }
        }
        // One that was committed, or done, in between is told by the next list.
        let mut without = self.ground.registry.removals()?;
        without.retain_mut(|removal| {
            let name = journal::name_of(removal.id, removal.at);
            let is_told = listed.iter().any(|(_, known)| *known == name);
            let may_be_there = |one: &JournalRef| {
                unlisted.contains(&one.root) || listed.contains(&(&one.root, name.clone()))
            };
            // One that is told of in a root is told of another only where its journal is missing there: what waits for
            // late arrivals has none left to miss.
            let has_none = removal.journals.is_empty();
            removal
                .journals
                .retain(|one| !(may_be_there(one) || is_told && one.late_until.is_some()));
            let is_left = !removal.journals.is_empty() || (has_none && !is_told);
            is_left && before.iter().any(|known| known.id == removal.id)
        });
        rows.extend(without.iter().map(JournalRow::without));
        Ok(rows)
    }

    /// The roots with the names of their journals. One that does not answer holds up no other.
    fn listed(&self) -> impl Iterator<Item = (&NamedRoot, Vec<String>)> {
        self.ground.roots.iter().filter_map(|root| {
            let names = journal_names(root).inspect_err(|error| {
                warn!(root = %root.name, error = %error_chain(error), "journals cannot be listed");
            });
            Some((root, names.ok()?))
        })
    }

    /// The journal first, the registry then: one that is committed in between is seen as such.
    fn journal_row(&self, root: &NamedRoot, name: &str) -> Result<JournalRow, RemovalError> {
        let journal = match Journal::open(root.datastore.journals(), name) {
            Ok(journal) => journal,
            Err(error) => return Ok(JournalRow::unusable(name, root, error_chain(&error))),
        };
        let removals = self.ground.registry.removals()?;
        let id = journal.header.removal;
        let removal = removals.iter().find(|removal| removal.id == id);
        let registry = self.ground.registry.id();
        let is_left_to_rucio = journal.header.rucio.is_some();
        let mut row = JournalRow::of(journal, root, removal, registry);
        if is_left_to_rucio && row.state == JournalState::Committed {
            row.state = JournalState::AwaitsRucio;
            let (ledger, id) = (&self.ground.ledger, id.to_string());
            if let Some(finding) = ledger.findings_of(PARTIAL, &id, None, 1)?.pop() {
                row.state = JournalState::PartiallyRemoved;
                row.reason = Some(finding.detail);
            }
        }
        Ok(row)
    }

    /// The journals that are none of a committed removal, by their names. The others are not read:
    /// they may be large, and are looked for often.
    fn unknown_journals(&self) -> Result<Vec<JournalRow>, RemovalError> {
        let mut rows = Vec::new();
        for (root, names) in self.listed().filter(|(_, names)| !names.is_empty()) {
            let known = self.known_names(root)?;
            for name in names.iter().filter(|name| !known.contains(*name)) {
                rows.push(self.journal_row(root, name)?);
            }
        }
        Ok(rows)
    }

    /// What the open journals of committed removals are called in a root.
    fn known_names(&self, root: &NamedRoot) -> Result<BTreeSet<String>, RemovalError> {
        let mut removals = self.ground.registry.removals()?;
        removals.retain(|removal| removal.journals.iter().any(|one| one.root == root.name));
        let names = removals.iter();
        Ok(names
            .map(|removal| journal::name_of(removal.id, removal.at))
            .collect())
    }

    /// Drops the journals whose removal was not committed; returns how many. Nobody is between
    /// journal and commit meanwhile: that needs the turn to register, which this has.
    pub fn drop_uncommitted(&self, progress: &mut Progress<'_>) -> Result<usize, RemovalError> {
        let is_dropped = |row: &JournalRow| row.state == JournalState::Uncommitted;
        if !self.unknown_journals()?.iter().any(is_dropped) {
            return Ok(0);
        }
        let _turn = self
            .ground
            .registration
            .acquire(&mut || progress(Phase::Waiting))?;
        let mut dropped = 0;
        for row in self
            .unknown_journals()?
            .iter()
            .filter(|row| is_dropped(row))
        {
            match self.remove_journal(row) {
                Ok(()) => {
                    info!(
                        root = row.in_root(),
                        journal = row.name,
                        "journal of a removal that was not committed dropped"
                    );
                    dropped += 1;
                }
                Err(error) => warn!(root = row.in_root(), journal = row.name,
                    error = %error_chain(&error), "journal cannot be dropped yet"),
            }
        }
        Ok(dropped)
    }

    /// Whose the removals under way are, by removal. One whose journals say nothing is in no list.
    pub fn requesters(&self) -> BTreeMap<Uuid, Requester> {
        let mut requesters = BTreeMap::new();
        for (root, names) in self.listed() {
            for name in names {
                match Journal::header_of(root.datastore.journals(), &name) {
                    Ok(header) => {
                        requesters.insert(header.removal, header.requester);
                    }
                    Err(error) => warn!(root = %root.name, journal = name,
                        error = %error_chain(&error), "journal cannot be used"),
                }
            }
        }
        requesters
    }

    /// Lets a removal be continued by whoever asks now: its owner, or somebody who names the owner.
    ///
    /// # Errors
    ///
    /// [`RemovalError::NotYours`] where it is another account's and `as_owner` does not say so.
    pub fn allow(
        &self,
        removal: Uuid,
        asking: &Requester,
        as_owner: Option<&str>,
    ) -> Result<(), RemovalError> {
        let row = self.row(removal)?;
        self.check_owner(&row, asking, as_owner)?;
        self.standings.change(removal, |standing| {
            standing.state = State::Waiting;
            standing.reason = None;
        });
        self.allowed().insert(removal);
        Ok(())
    }

    /// Gives up what a removal could not delete: its journals go, its rows are reaped, and artifacts
    /// that it names stay where they are. Also drops a journal that the registry knows nothing of.
    /// Returns how many artifacts the journals named.
    ///
    /// # Errors
    ///
    /// [`RemovalError::NotYours`] as with [`allow`](Self::allow).
    pub fn give_up(
        &self,
        removal: Uuid,
        asking: &Requester,
        as_owner: Option<&str>,
        progress: &mut Progress<'_>,
    ) -> Result<u64, RemovalError> {
        // Nobody is between journal and commit meanwhile.
        let turn = self
            .ground
            .registration
            .acquire(&mut || progress(Phase::Waiting))?;
        let is_of = |row: &JournalRow| row.of.as_ref().is_some_and(|of| of.removal == removal);
        let mut journals = self.journals()?;
        journals.retain(is_of);
        match self.row(removal) {
            Ok(row) => {
                drop(turn);
                self.check_owner(&row, asking, as_owner)?;
                let _turn = self.turn(progress)?;
                self.close(&row, Leaving::Nothing, progress)?;
                self.keep_rules_here(&journals)?;
                self.ground.ledger.healed(PARTIAL, &removal.to_string())?;
                let gone = |standing: &mut Standing| {
                    standing.state = State::Done;
                    standing.late_until = None;
                };
                self.standings.change(removal, gone);
            }
            // Nobody but its own account may say that it does not matter.
            Err(RemovalError::Gone { .. }) if !journals.is_empty() => {
                for row in &journals {
                    check_account(row, asking, as_owner)?;
                    self.remove_journal(row)?;
                }
            }
            Err(error) => return Err(error),
        }
        let artifacts = journals.iter().filter_map(|row| row.of.as_ref());
        let artifacts = artifacts.map(|of| of.artifacts).sum();
        warn!(%removal, account = asking.account, artifacts,
            "journal dropped: what it named and was not deleted stays");
        Ok(artifacts)
    }

    fn row(&self, removal: Uuid) -> Result<RemovalRow, RemovalError> {
        let removals = self.ground.registry.removals()?;
        let row = removals.into_iter().find(|row| row.id == removal);
        row.ok_or(RemovalError::Gone { removal })
    }

    /// Checks that a removal is whoever asks's, or that they name its owner.
    fn check_owner(
        &self,
        row: &RemovalRow,
        asking: &Requester,
        as_owner: Option<&str>,
    ) -> Result<(), RemovalError> {
        let (removal, owner) = (row.id, &row.account);
        let own = *owner == asking.account
            && self
                .requesters()
                .get(&removal)
                .is_none_or(|requester| requester.uid == asking.uid);
        check_owner(removal, owner, own, asking, as_owner)
    }

    fn remove_journal(&self, row: &JournalRow) -> Result<(), RemovalError> {
        let Some(root) = &row.root else {
            return Ok(());
        };
        let root = self.root(root)?;
        let removed = root.datastore.journals().remove(&row.name);
        removed.map_err(|source| RemovalError::Root {
            root: root.name.clone(),
            source,
        })
    }

    /// Whether somebody has asked for a removal to be continued; it is asked once.
    pub fn take_allowed(&self, removal: Uuid) -> bool {
        self.allowed().remove(&removal)
    }

    fn allowed(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        lock(&self.allowed)
    }
}

fn journal_names(root: &NamedRoot) -> Result<Vec<String>, RemovalError> {
    let failed = |source| RemovalError::Root {
        root: root.name.clone(),
        source,
    };
    root.datastore.check_identity().map_err(failed)?;
    root.datastore.journals().list().map_err(failed)
}

fn check_account(
    row: &JournalRow,
    asking: &Requester,
    as_owner: Option<&str>,
) -> Result<(), RemovalError> {
    match &row.of {
        Some(of) => {
            let own = of.account == asking.account && of.uid == asking.uid;
            check_owner(of.removal, &of.account, own, asking, as_owner)
        }
        None => Ok(()),
    }
}

fn check_owner(
    removal: Uuid,
    owner: &str,
    own: bool,
    asking: &Requester,
    as_owner: Option<&str>,
) -> Result<(), RemovalError> {
    if own {
        return Ok(());
    }
    if as_owner != Some(owner) {
        let owner = owner.to_owned();
        return Err(RemovalError::NotYours { removal, owner });
    }
    warn!(%removal, owner, account = asking.account,
        "another account's removal is taken in hand, by its name");
    Ok(())
}
