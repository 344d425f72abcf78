//! Compares runs with what Rucio has of them here: what has arrived, what is gone, what is late.

use std::collections::HashSet;

use runsync_manifest::name::{ArtifactPath, DatasetId, RunKey};

use super::SyncError;
use super::arrivals::Arrival;
use super::deletions::Gone;
use super::late::Awaited;
use super::root::RootSync;
use super::scopes::Scopes;
use crate::error_chain::error_chain;
use crate::ledger::record::SyncMarks;
use crate::publish::names;
use crate::registry::record::RunRow;
use crate::removal::Phase;
use crate::rucio::Did;
use crate::rucio::locks::DatasetLock;

/// Locks asked for at one time: each is one row of the server's, and answers stay small.
const LOCKS_ASKED: usize = 1_000;

/// A run, and its Rucio datasets.
#[derive(Debug)]
struct Compared {
    run: RunKey,
    scopes: Scopes,
    instalments: Vec<Did>,
}

impl RootSync<'_, '_> {
    /// Compares runs; `all` also looks for what was forgotten and is here again, whether or not it is
    /// known that there is any.
    pub(super) fn runs(&mut self, runs: &[RunRow], all: bool) -> Result<(), SyncError> {
        let mut compared = Vec::with_capacity(runs.len());
        for row in runs {
            if self.is_carried(&row.key) && !row.is_removed() {
                compared.extend(self.compared(&row.key)?);
            }
        }
        let dids: Vec<Did> = compared
            .iter()
            .flat_map(|one| one.instalments.clone())
            .collect();
        let locks = self.locks_here(&dids)?;
        for one in &compared {
            let own: HashSet<&str> = one
                .instalments
                .iter()
                .map(|did| did.name.as_str())
                .collect();
            let of_run = |lock: &&DatasetLock| {
                one.scopes.all.contains(&lock.scope) && own.contains(&*lock.name)
            };
            let locks: Vec<DatasetLock> = locks.iter().filter(of_run).cloned().collect();
            self.run(one, &locks, all)?;
        }
        Ok(())
    }

    /// What of a run lies in this root; none where no manifest of it is registered here, or none of
    /// them tells a scope any more and configuration does not either.
    fn compared(&self, run: &RunKey) -> Result<Option<Compared>, SyncError> {
        let mut instalments = Vec::new();
        let scopes = self.scopes_of(run)?;
        let Some(scope) = scopes.all.first().cloned() else {
            return Ok(None);
        };
        for row in self.ledger().of_run(run)? {
            if let Some(summary) = row.summary.as_ref().filter(|_| self.is_instalment(&row)) {
                let named = self.scopes_in(&row.location.path, run.origin)?;
                let scope = named.first().unwrap_or(&scope);
                instalments.push(names::instalment(scope, run, summary.generation));
            }
        }
        let run = run.clone();
        Ok((!instalments.is_empty()).then_some(Compared {
            run,
            scopes,
            instalments,
        }))
    }

    /// The locks of Rucio datasets at this root's RSE.
    fn locks_here(&mut self, dids: &[Did]) -> Result<Vec<DatasetLock>, SyncError> {
        let mut locks = Vec::new();
        for chunk in dids.chunks(LOCKS_ASKED) {
            self.budget.ask()?;
            locks.extend(self.rucio.dataset_locks(chunk)?);
        }
        locks.retain(|lock| lock.rse == self.rse.as_str());
        Ok(locks)
    }

    fn run(
        &mut self,
        compared: &Compared,
        locks: &[DatasetLock],
        all: bool,
    ) -> Result<(), SyncError> {
        let run = &compared.run;
        self.report.runs += 1;
        self.want_again(run, locks)?;
        let marks = self.ledger().sync_marks(&self.root().name, run)?;
        if all || marks.forgotten {
            self.find_again(compared)?;
        }
        let awaited = self.find_awaited(compared)?;
        self.report.waiting += awaited.waiting;
        let has = |did: &Did| locks.iter().any(|lock| lock.name == did.name);
        if !compared.instalments.iter().all(has) {
            self.find_gone(compared)?;
        }
        self.judge_late(run, awaited, locks)
    }

    /// Takes in what the run waits for and Rucio has here.
    fn find_awaited(&mut self, compared: &Compared) -> Result<Awaited, SyncError> {
        let (mut awaited, mut after) = (Awaited::default(), None::<ArtifactPath>);
        let (root, most) = (self.root().name.clone(), self.rucio.config().bulk);
        loop {
            let between = (after.as_ref().map(ArtifactPath::as_str), None);
            let page = self
                .registry()
                .waiting_artifacts(&compared.run, &root, between, most)?;
            let is_last = page.len() < most;
            let paths: Vec<ArtifactPath> = page.into_iter().map(|one| one.path).collect();
            after = paths.last().cloned();
            let (available, confirmed) = self.take_in_of(&compared.scopes, paths.clone())?;
            let left = (paths.len() as u64).saturating_sub(confirmed);
            awaited.waiting += left;
            awaited.available += available.saturating_sub(confirmed);
            if is_last {
                return Ok(awaited);
            }
        }
    }

    /// Takes in those of the paths that Rucio has here; how many it calls available, and how many got
    /// their record.
    fn take_in_of(
        &mut self,
        scopes: &Scopes,
        paths: Vec<ArtifactPath>,
    ) -> Result<(u64, u64), SyncError> {
        if paths.is_empty() {
            return Ok((0, 0));
        }
        let in_scopes = |path: &ArtifactPath| {
            let scopes = scopes.all.iter();
            scopes.map(|scope| Did::new(scope, path.as_str())).collect()
        };
        let dids: Vec<Vec<Did>> = paths.iter().map(in_scopes).collect();
        let mut listed = self.list(&dids.concat(), false)?.here;
        let asked: Vec<&ArtifactPath> = paths.iter().collect();
        let claims = self.registry().claims_at(&self.root().name, &asked)?;
        let found = paths.into_iter().zip(dids).zip(claims);
        let arrivals: Vec<Arrival> = found
            .filter_map(|((path, dids), claims)| {
                let here = dids.iter().find_map(|did| listed.remove(did))?;
                Some(Arrival { path, here, claims })
            })
            .collect();
        let available = arrivals
            .iter()
            .filter(|one| one.here.is_available())
            .count() as u64;
        let before = self.report.confirmed;
        self.take_in(arrivals)?;
        Ok((available, self.report.confirmed - before))
    }

    /// Finds artifacts that were forgotten and that Rucio has here again.
    fn find_again(&mut self, compared: &Compared) -> Result<(), SyncError> {
        let root = self.root().name.clone();
        if !self.registry().has_absent(&compared.run)? {
            let forgotten = false;
            let marks = SyncMarks { forgotten };
            return Ok(self.ledger().mark_synced(&root, &compared.run, marks)?);
        }
        for instalment in &compared.instalments {
            self.budget.ask()?;
            let mut paths = Vec::new();
            // Read to its end first: what follows asks Rucio as well.
            for replica in self.rucio.replicas(&[instalment], Some(self.rse))? {
                let replica = replica?;
                let is_here = replica.states.contains_key(self.rse.as_str());
                if let Ok(path) = replica.name.parse::<ArtifactPath>()
                    && is_here
                {
                    paths.push(path);
                }
                self.budget.go_on()?;
            }
            for chunk in paths.chunks(self.rucio.config().bulk) {
                self.take_in_of(&compared.scopes, chunk.to_vec())?;
            }
        }
        Ok(())
    }

    /// Forgets artifacts of the run that Rucio has deleted here: it keeps none of its Rucio datasets
    /// whole any more.
    fn find_gone(&mut self, compared: &Compared) -> Result<(), SyncError> {
        let (mut after, most) = (None::<DatasetId>, self.rucio.config().bulk);
        let root = self.root().name.clone();
        loop {
            let page = self.registry().records(&compared.run, after, most)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.uuid);
            let here = page
                .into_iter()
                .filter(|one| one.confirmed && one.root == root);
            let mut paths: Vec<ArtifactPath> = here.map(|one| one.path).collect();
            paths.sort_unstable();
            paths.dedup();
            let gone: Vec<Gone> = paths
                .into_iter()
                .map(|path| Gone { scope: None, path })
                .collect();
            self.forget(&gone)?;
        }
    }

    /// Wants parts of a run again that were unstored before Rucio was told to bring it here.
    fn want_again(&mut self, run: &RunKey, locks: &[DatasetLock]) -> Result<(), SyncError> {
        let mut unwanted = self.registry().unwanted()?;
        unwanted.retain(|one| one.run == *run);
        if unwanted.is_empty() || locks.is_empty() {
            return Ok(());
        }
        let rules: HashSet<&str> = locks.iter().map(|lock| lock.rule_id.as_str()).collect();
        let mut newest = None;
        for id in rules {
            self.budget.ask()?;
            let rule = self.rucio.rule(id)?;
            newest = newest.max(rule.and_then(|rule| rule.made_at()));
        }
        let Some(newest) = newest else { return Ok(()) };
        for part in unwanted.into_iter().filter(|part| part.since < newest) {
            let progress = &mut *self.budget.progress;
            let names = std::slice::from_ref(&run.name);
            let origin = Some(run.origin);
            let mut progress = |_: Phase| progress();
            let removing = &self.syncing.ground.removing;
            let kind = part.dataset_type.as_ref();
            if let Err(error) = removing.restore(names, origin, kind, &mut progress) {
                let error = SyncError::from(error);
                if error.is_interruption() || error.is_fenced() {
                    return Err(error);
                }
                // Removals may be under way for long: others are compared meanwhile.
                tracing::warn!(run = %run.name, error = %error_chain(&error), "cannot be wanted again yet");
                continue;
            }
            tracing::info!(run = %run.name, since = %part.since, "wanted again: Rucio was told later to bring it here");
        }
        Ok(())
    }
}
