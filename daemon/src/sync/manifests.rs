//! Finds manifests that Rucio has here and nobody has seen, and those that are missing.
//!
//! Each origin's manifests are in its control Rucio dataset, whatever became of the runs. What is there
//! and not in the ledger has come unannounced, is on its way, or is nowhere near: runsync carries no
//! bytes between sites, that is Rucio's part.

use std::collections::HashSet;
use std::path::Path;

use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RepositoryId, RunKey, Scope};
use tracing::{debug, info, warn};

use super::SyncError;
use super::naming::{Named, named};
use super::root::RootSync;
use crate::datastore::{Look, manifest_path};
use crate::ingest::gaps;
use crate::ingest::hand_in;
use crate::ledger::record::Finding;
use crate::publish::names;
use crate::registry::record::RunRow;
use crate::rucio::{Did, Exception};

/// Finding: Rucio has a manifest at other RSEs and does not bring it here.
pub(super) const ELSEWHERE: &str = "manifest_elsewhere";
/// Manifests that are new at one time, at most: the next pass takes others.
const NEW_MAX: usize = 100_000;

impl RootSync<'_, '_> {
    /// Goes through the manifests of an origin that are for all sites, and takes in those that are here.
    pub(super) fn control(&mut self, origin: RepositoryId, scope: &Scope) -> Result<(), SyncError> {
        self.heal_elsewhere()?;
        let unknown = self.unknown_of(origin, scope)?;
        let dids: Vec<Did> = unknown
            .into_iter()
            .map(|path| Did::new(scope, path))
            .collect();
        self.fetch(&dids, true)?;
        Ok(())
    }

    /// Manifests of an origin's control Rucio dataset that the ledger does not know.
    fn unknown_of(
        &mut self,
        origin: RepositoryId,
        scope: &Scope,
    ) -> Result<Vec<String>, SyncError> {
        self.budget.ask()?;
        let contents = match self.rucio.contents(&names::control(scope, origin)) {
            Ok(contents) => contents,
            // It has published nothing in this scope.
            Err(error) if error.is(&Exception::DataIdentifierNotFound) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let (mut unknown, mut chunk) = (Vec::new(), Vec::new());
        let most = self.rucio.config().bulk;
        for content in contents {
            if let Named::Manifest(of, path) = named(&content?.name)
                && of == origin
            {
                chunk.push(path);
            }
            if chunk.len() >= most {
                unknown.extend(self.unknown(std::mem::take(&mut chunk))?);
                self.budget.go_on()?;
            }
            if unknown.len() >= NEW_MAX {
                break;
            }
        }
        unknown.extend(self.unknown(chunk)?);
        Ok(unknown)
    }

    /// Of manifests those that the ledger does not know in this root.
    fn unknown(&self, mut paths: Vec<String>) -> Result<Vec<String>, SyncError> {
        let asked: Vec<&str> = paths.iter().map(String::as_str).collect();
        let known = self.ledger().manifests_at(&self.root().name, &asked)?;
        let known: HashSet<String> = known.into_iter().map(|row| row.location.path).collect();
        paths.retain(|path| !known.contains(path));
        Ok(paths)
    }

    /// Takes in manifests that Rucio has here. What it has elsewhere alone is a finding where `told`.
    /// Returns those that are on their way here.
    pub(super) fn fetch(&mut self, dids: &[Did], told: bool) -> Result<HashSet<Did>, SyncError> {
        let (mut there, mut asked) = (Vec::new(), Vec::new());
        for did in dids {
            match self.datastore().look_at_manifest(&did.name)? {
                Look::File(_) => there.push(did.name.clone()),
                Look::Absent | Look::Irregular | Look::Unreadable(_) => asked.push(did.clone()),
            }
        }
        let listed = self.list(&asked, true)?;
        let (mut elsewhere, mut coming) = (Vec::new(), HashSet::new());
        for did in asked {
            if let Some(here) = listed.here.get(&did) {
                if self.name_manifest(&did.name, here)? {
                    there.push(did.name);
                } else if !here.is_available() {
                    coming.insert(did);
                }
            } else if let Some(rses) = listed.elsewhere.get(&did)
                && !rses.is_empty()
            {
                elsewhere.push((did.name, rses.join(", ")));
            }
        }
        self.tell_elsewhere(&elsewhere, told)?;
        self.register(there)?;
        Ok(coming)
    }

    fn tell_elsewhere(
        &mut self,
        elsewhere: &[(String, String)],
        told: bool,
    ) -> Result<(), SyncError> {
        self.report.manifests_elsewhere += elsewhere.len() as u64;
        if !told || elsewhere.is_empty() {
            return Ok(());
        }
        let now = self.flow.site().clock.now();
        let findings: Vec<Finding> = elsewhere
            .iter()
            .map(|(path, rses)| Finding {
                kind: ELSEWHERE.to_owned(),
                subject: self.subject(path),
                detail: format!(
                    "Rucio has it at {rses}, and nothing brings it to {}",
                    self.rse
                ),
                first_seen: now,
                last_seen: now,
                times: 1,
            })
            .collect();
        Ok(self.ledger().find_all(&findings)?)
    }

    /// Drops findings about manifests that have come by now.
    fn heal_elsewhere(&self) -> Result<(), SyncError> {
        let ours = self.subject("");
        let told = self.ledger().findings_of(ELSEWHERE, &ours, None, NEW_MAX)?;
        let paths = told
            .iter()
            .filter_map(|told| told.subject.strip_prefix(&ours));
        let paths: Vec<String> = paths.map(str::to_owned).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let unknown: HashSet<String> = self.unknown(paths.clone())?.into_iter().collect();
        let come = paths.iter().filter(|path| !unknown.contains(*path));
        let come: Vec<String> = come.map(|path| self.subject(path)).collect();
        if come.is_empty() {
            return Ok(());
        }
        Ok(self.ledger().healed_all(ELSEWHERE, &come)?)
    }

    /// Has manifests registered that are in the root: by the loop that does, or, where none runs in this
    /// process, at once.
    fn register(&mut self, mut paths: Vec<String>) -> Result<(), SyncError> {
        if paths.is_empty() {
            return Ok(());
        }
        self.report.manifests += paths.len() as u64;
        let found: Vec<String> = paths.iter().map(|path| self.subject(path)).collect();
        if !self
            .ledger()
            .findings_of(ELSEWHERE, &self.subject(""), None, 1)?
            .is_empty()
        {
            self.ledger().healed_all(ELSEWHERE, &found)?;
        }
        info!(root = %self.root().name, manifests = paths.len(), "manifests have come that nobody had seen");
        if self.flow.looking().ask_for_manifests(paths.iter().cloned()) {
            return Ok(());
        }
        // Earlier generations first: fewer are blocked, and tried again.
        paths.sort_unstable();
        for path in paths {
            let progress = &mut *self.budget.progress;
            let taken = hand_in::take(
                Path::new(&path),
                path.clone(),
                self.flow,
                false,
                &mut |_| progress(),
            )?;
            match taken.reason {
                None => debug!(path, state = taken.state, "manifest taken in"),
                Some(reason) => warn!(path, state = taken.state, reason, "manifest not registered"),
            }
        }
        Ok(())
    }

    /// Looks for generations of runs that were never seen: they may have left the control Rucio dataset.
    pub(super) fn fill_gaps(&mut self, runs: &[RunRow]) -> Result<(), SyncError> {
        let keys: Vec<&RunKey> = runs.iter().map(|run| &run.key).collect();
        let accepted = self.ledger().accepted_generations(&keys)?;
        let mut wanted = Vec::new();
        for (run, accepted) in runs.iter().zip(accepted) {
            for generation in gaps::missing(&accepted, run.floor) {
                wanted.extend(self.manifests_of(&run.key, generation));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.fetch(&wanted, true)?;
        Ok(())
    }

    /// The names that the manifest of a generation may have.
    fn manifests_of(&self, run: &RunKey, generation: Generation) -> Vec<Did> {
        let scopes = self.scopes(run.origin);
        let paths =
            [false, true].map(|packed| manifest_path(run.origin, &run.name, generation, packed));
        let in_scope = |scope: &Scope| paths.clone().map(|path| Did::new(scope, path));
        scopes.iter().flat_map(in_scope).collect()
    }
}
