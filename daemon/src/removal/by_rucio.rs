//! Leaves to Rucio what Rucio has, in a root whose deleter it is.
//!
//! A pass over a journal asks Rucio for its replicas at the root's RSE. What it has, in whatever state,
//! stays in the journal: its reaper deletes it, once no rule keeps it. What it does not have any more is
//! done: the file is gone with the replica, or what lies there is runsync's alone, because it was never
//! registered, or is another name of what the reaper has deleted (decision 0014), and is unlinked as
//! in any root.
//!
//! That Rucio does not list a replica is the one sign by which a file is unlinked here. So it is read to
//! its end, also where the RSE is closed for reading, and of a file that still lies here it is asked once
//! more, in other words, immediately before.

use std::collections::{BTreeMap, BTreeSet};

use runsync_manifest::name::RunKey;
use tracing::{debug, info, warn};

use super::RemovalError;
use super::delete::Deletions;
use super::flow::{NamedRoot, Outcome, Phase, Progress, Removing};
use super::journal::{Artifact, Header, InRucio, Journal};
use super::recover::JournalRow;
use crate::adopted;
use crate::datastore::{Deletion, Look, ToDelete};
use crate::error_chain::error_chain;
use crate::ledger::record::{Finding, Holder, RuleEnding};
use crate::poison::lock;
use crate::registry::removal::{RemovalRow, RunPart, Which};
use crate::rucio::replicas::Anywhere;
use crate::rucio::{Did, Exception, Rucio, RucioError};

/// Files of which it is asked, in a pass, whose rules keep them.
const SAMPLED: usize = 8;
/// Rules that are named of a removal.
const HOLDERS_MAX: usize = 16;
/// Files that are unlinked before it is asked whether this process still may.
const UNLINKED_TOGETHER: usize = 100;
/// The finding of a removal of which rules of others keep artifacts.
pub(super) const PARTIAL: &str = "partially_removed";

impl InRucio {
    /// Of each artifact whether Rucio has it here, in whichever scope.
    pub(super) fn had(
        &self,
        rucio: &Rucio,
        artifacts: &[&Artifact],
        anywhere: Anywhere,
    ) -> Result<Vec<bool>, RemovalError> {
        let mut had = vec![false; artifacts.len()];
        for scope in &self.scopes {
            let dids: Vec<Did> = artifacts.iter().map(|one| did(scope, one)).collect();
            let listed = rucio.had_at(&self.rse, &dids.iter().collect::<Vec<_>>(), anywhere)?;
            for (had, did) in had.iter_mut().zip(&dids) {
                *had |= listed.contains(did);
            }
        }
        Ok(had)
    }

    /// The DIDs that an artifact may have.
    fn dids<'a>(&'a self, artifact: &'a Artifact) -> impl Iterator<Item = Did> + 'a {
        self.scopes.iter().map(|scope| did(scope, artifact))
    }
}

fn did(scope: &runsync_manifest::name::Scope, artifact: &Artifact) -> Did {
    Did::new(scope, artifact.path.as_str())
}

pub(super) fn no_rucio(root: &NamedRoot) -> RemovalError {
    RemovalError::NoRucio {
        root: root.name.clone(),
    }
}

/// Checks that Rucio can be asked for what a journal names: what was adopted has names there that nobody
/// knows, and what it is not asked for it does not list, which would have all of it unlinked.
pub(super) fn check_names(
    header: &Header,
    root: &NamedRoot,
    there: &InRucio,
) -> Result<(), RemovalError> {
    let mut runs = header.runs.iter();
    if let Some(run) = runs.find(|run| adopted::is_adopted(run.origin)) {
        return Err(RemovalError::AdoptedInRucio {
            run: run.name.clone(),
            root: root.name.clone(),
        });
    }
    if there.scopes.is_empty() {
        let root = root.name.clone();
        return Err(RemovalError::NoScopes { root });
    }
    Ok(())
}

/// A pass over a journal.
struct Pass<'a> {
    removing: &'a Removing,
    root: &'a NamedRoot,
    there: &'a InRucio,
    rucio: &'a Rucio,
    /// Whether replicas that no rule keeps are given to the reaper.
    bury: bool,
    deletions: Deletions,
    /// Some of those that Rucio still has.
    sample: Vec<Did>,
}

impl Removing {
    /// Where Rucio has what a journal names, if it deletes that: as the journal says, or by now as
    /// configuration does. What either leaves to Rucio is not unlinked.
    pub(super) fn in_rucio(
        &self,
        header: &Header,
        root: &NamedRoot,
    ) -> Result<Option<InRucio>, RemovalError> {
        if header.rucio.is_some() {
            return Ok(header.rucio.clone());
        }
        match &root.rse {
            Some(rse) if root.is_left_to_rucio() => Ok(Some(InRucio {
                rse: rse.clone(),
                scopes: self.scopes(&header.runs)?,
            })),
            _ => Ok(None),
        }
    }

    /// One pass over a journal: what Rucio does not have any more is done. Returns the rules of others
    /// that keep some of the rest.
    pub(super) fn leave_to_rucio(
        &self,
        (journal, root): (&Journal, &NamedRoot),
        (there, parts): (&InRucio, &[RunPart]),
        rucio: Option<&Rucio>,
        progress: &mut Progress<'_>,
    ) -> Result<(Deletions, Vec<Holder>), RemovalError> {
        let rucio = rucio.ok_or_else(|| no_rucio(root))?;
        check_names(&journal.header, root, there)?;
        let failed = |source| RemovalError::Root {
            root: root.name.clone(),
            source,
        };
        root.datastore.check_identity().map_err(failed)?;
        // A name that means nothing would have no replicas.
        if rucio.rse(&there.rse)?.is_none() {
            return Err(RemovalError::NoRse {
                rse: there.rse.clone(),
                root: root.name.clone(),
            });
        }
        let asked = (journal.header.removal, root.name.clone());
        let is_first = !lock(&self.asked).contains(&asked);
        if is_first {
            self.end_rules_here(&journal.header, parts, there)?;
            // Only now: what failed is done again with the next pass.
            lock(&self.asked).insert(asked);
        }
        let ending = self.have_rules_to_end(&journal.header.runs)?;
        let mut pass = Pass {
            removing: self,
            root,
            there,
            rucio,
            bury: !is_first && !ending,
            deletions: Deletions::default(),
            sample: Vec::new(),
        };
        let mut artifacts = journal.read(root.datastore.journals())?;
        loop {
            let chunk = artifacts.by_ref().take(rucio.config().bulk);
            let chunk: Vec<Artifact> = chunk.collect::<Result<_, _>>()?;
            if chunk.is_empty() {
                break;
            }
            pass.chunk(&chunk)?;
            if progress(Phase::Deleting(pass.deletions.total())).is_break() {
                return Err(RemovalError::Interrupted);
            }
        }
        root.datastore.sync().map_err(failed)?;
        let holders = pass.holders(ending)?;
        info!(removal = %journal.header.removal, root = %root.name, held = pass.deletions.held,
            reaped = pass.deletions.reaped, deleted = pass.deletions.deleted,
            holders = holders.len(), "asked what Rucio still has of a removal");
        Ok((pass.deletions, holders))
    }

    /// Has this account's rules for this RSE alone end: the copy here is what goes. Those of a removal
    /// by the origin end anyhow, wherever they are. Rules keep a run as a whole: where some of its
    /// datasets stay, its rules do, and what they keep of the others stays in the journal.
    fn end_rules_here(
        &self,
        header: &Header,
        parts: &[RunPart],
        there: &InRucio,
    ) -> Result<(), RemovalError> {
        if header.operation.is_told() {
            return Ok(());
        }
        let mut endings = Vec::new();
        let runs = going_whole(&header.runs, parts);
        // The container of a run that was adopted is its owner's.
        for run in runs.filter(|run| !adopted::is_adopted(run.origin)) {
            for scope in &there.scopes {
                endings.push(RuleEnding {
                    rse: Some(there.rse.clone()),
                    ..RuleEnding::new(run.clone(), scope.clone(), header.created_at)
                });
            }
        }
        Ok(self.ground.ledger.add_rule_endings(&endings)?)
    }

    /// The copy stays after all: no rule of this account for this RSE alone is ended for it any more.
    pub(super) fn keep_rules_here(&self, journals: &[JournalRow]) -> Result<(), RemovalError> {
        for row in journals {
            let Some(root) = &row.root else { continue };
            let root = self.root(root)?;
            for run in row.of.iter().flat_map(|of| &of.runs) {
                for ending in self.ground.ledger.rule_endings_of(run)? {
                    if ending.rse.is_some() && ending.rse == root.rse {
                        self.ground.ledger.strike_rule_ending(&ending)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn have_rules_to_end(&self, runs: &[RunKey]) -> Result<bool, RemovalError> {
        if !self.ground.registry.notices()?.is_empty() {
            return Ok(true);
        }
        for run in runs {
            if !self.ground.ledger.rule_endings_of(run)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells of a removal that rules of others keep from being done, or that none does any more.
    pub(super) fn find_partial(
        &self,
        removal: &RemovalRow,
        outcome: &Result<Outcome, RemovalError>,
    ) -> Result<(), RemovalError> {
        let Ok(outcome) = outcome else { return Ok(()) };
        let ledger = &self.ground.ledger;
        let subject = removal.id.to_string();
        let Some(first) = outcome.holders.first() else {
            return Ok(ledger.healed(PARTIAL, &subject)?);
        };
        let names: Vec<&str> = (removal.parts.iter())
            .map(|part| part.run.name.as_str())
            .collect();
        let others = match outcome.holders.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        let now = self.ground.clock.now();
        Ok(ledger.find_all(&[Finding {
            kind: PARTIAL.to_owned(),
            subject,
            detail: format!(
                "{} of `{}` stay in Rucio: {first}{others}",
                outcome.deletions.held,
                names.join("`, `")
            ),
            first_seen: now,
            last_seen: now,
            times: 1,
        }])?)
    }
}

/// The runs of which nothing stays, as the registry has it.
fn going_whole<'a>(runs: &'a [RunKey], parts: &'a [RunPart]) -> impl Iterator<Item = &'a RunKey> {
    runs.iter().filter(|run| {
        let mut of_run = parts.iter().filter(|part| part.run == **run).peekable();
        of_run.peek().is_some() && of_run.all(|part| part.which == Which::All)
    })
}

impl Pass<'_> {
    fn chunk(&mut self, chunk: &[Artifact]) -> Result<(), RemovalError> {
        let all: Vec<&Artifact> = chunk.iter().collect();
        let had = self.there.had(self.rucio, &all, Anywhere::No)?;
        let (mut held, mut free) = (Vec::new(), Vec::new());
        for (artifact, had) in all.into_iter().zip(had) {
            if had {
                held.push(artifact);
            } else {
                free.push(artifact);
            }
        }
        let left = self.count_gone(free)?;
        if !left.is_empty() {
            // Asked again, and otherwise: an answer may leave out what is there.
            let had = self.there.had(self.rucio, &left, Anywhere::Yes)?;
            let mut ours = Vec::new();
            for (artifact, had) in left.into_iter().zip(had) {
                if had {
                    held.push(artifact);
                } else {
                    ours.push(artifact);
                }
            }
            self.unlink(&ours)?;
        }
        self.deletions.held += held.len() as u64;
        let room = SAMPLED.saturating_sub(self.sample.len());
        let sampled = held.iter().take(room).flat_map(|one| self.there.dids(one));
        self.sample.extend(sampled);
        if self.bury && !held.is_empty() {
            self.bury(&held)?;
        }
        Ok(())
    }

    /// Counts those of which nothing is left, and returns the others.
    fn count_gone<'a>(
        &mut self,
        free: Vec<&'a Artifact>,
    ) -> Result<Vec<&'a Artifact>, RemovalError> {
        let paths: Vec<_> = free.iter().map(|artifact| &artifact.path).collect();
        let looks = self.root.datastore.look(&paths);
        let looks = looks.map_err(|source| self.failed(source))?;
        let mut left = Vec::new();
        for (artifact, look) in free.into_iter().zip(looks) {
            match (artifact.identity, look) {
                (Some(_), Look::Absent) => self.deletions.reaped += 1,
                // What had not come is none of this pass: late arrivals are looked at otherwise.
                (None, _) => self.deletions.absent += 1,
                (Some(_), Look::File(_) | Look::Irregular | Look::Unreadable(_)) => {
                    left.push(artifact);
                }
            }
        }
        Ok(left)
    }

    /// Unlinks what Rucio does not have, each only where it is still the file in the journal.
    fn unlink(&mut self, ours: &[&Artifact]) -> Result<(), RemovalError> {
        for chunk in ours.chunks(UNLINKED_TOGETHER) {
            self.removing.ground.registry.check_fence()?;
            let to_delete: Vec<ToDelete<'_>> = chunk
                .iter()
                .filter_map(|artifact| {
                    let path = &artifact.path;
                    let identity = artifact.identity?;
                    Some(ToDelete { path, identity })
                })
                .collect();
            let done = self.root.datastore.delete(&to_delete);
            let done = done.map_err(|source| self.failed(source))?;
            let mut deletions = Deletions::default();
            for (artifact, deletion) in chunk.iter().zip(done) {
                if let Deletion::Failed(fault) = deletion {
                    let path = &artifact.path;
                    warn!(%path, error = %fault, "artifact cannot be deleted");
                }
                deletions.note(artifact, deletion);
            }
            deletions.count(&self.root.name);
            self.deletions.add(&deletions);
        }
        Ok(())
    }

    /// Gives to the reaper what was registered and never came under a rule. Of a chunk of which one is
    /// under a rule nothing is given: it is asked again when that has ended.
    fn bury(&self, held: &[&Artifact]) -> Result<(), RemovalError> {
        let dids: Vec<Did> = held.iter().flat_map(|one| self.there.dids(one)).collect();
        let Some(first) = dids.first() else {
            return Ok(());
        };
        if self.rules_over(first)?.next().transpose()?.is_some() {
            return Ok(());
        }
        let all: Vec<&Did> = dids.iter().collect();
        match self.rucio.bury(&self.there.rse, &all) {
            Ok(buried) => {
                info!(root = %self.root.name, buried, "replicas without rules left to Rucio's reaper");
                Ok(())
            }
            Err(error @ RucioError::Refused { .. }) => {
                debug!(error = %error_chain(&error), "replicas stay for now");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The rules of others that keep some of the sample here. This account's own count where they are
    /// none of those that are told to end.
    fn holders(&self, ending: bool) -> Result<Vec<Holder>, RemovalError> {
        let now = self.removing.ground.clock.now();
        let own = &self.rucio.config().account;
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut expressions: BTreeMap<String, bool> = BTreeMap::new();
        let mut holders = Vec::new();
        for file in &self.sample {
            for rule in self.rules_over(file)? {
                let rule = rule?;
                let is_ours = rule.account == *own && (ending || rule.is_ending(now));
                if is_ours || holders.len() >= HOLDERS_MAX || !seen.insert(rule.id.clone()) {
                    continue;
                }
                let expression = &rule.rse_expression;
                let is_here = if let Some(is_here) = expressions.get(expression) {
                    *is_here
                } else {
                    let rses = self.rucio.rses(expression)?;
                    let is_here = rses.contains(&self.there.rse);
                    expressions.insert(expression.clone(), is_here);
                    is_here
                };
                if is_here {
                    holders.push(Holder {
                        did: rule.did().to_string(),
                        rule: rule.id,
                        account: rule.account,
                        rse_expression: rule.rse_expression,
                    });
                }
            }
        }
        Ok(holders)
    }

    /// The rules over a file; none of one that is gone meanwhile.
    fn rules_over(
        &self,
        file: &Did,
    ) -> Result<
        impl Iterator<Item = Result<crate::rucio::rules::Rule, RucioError>> + use<>,
        RucioError,
    > {
        let rules = match self.rucio.rules_over(file) {
            Ok(rules) => Some(rules),
            Err(error) if error.is(&Exception::DataIdentifierNotFound) => None,
            Err(error) => return Err(error),
        };
        Ok(rules.into_iter().flatten())
    }

    fn failed(&self, source: crate::datastore::DatastoreError) -> RemovalError {
        RemovalError::Root {
            root: self.root.name.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use runsync_manifest::name::RepositoryId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_a_run_that_goes_whole_has_rules_that_end() {
        let run = |name: &str| RunKey {
            origin: RepositoryId(Uuid::from_u128(7)),
            name: name.parse().unwrap(),
        };
        let part = |name: &str, which| RunPart {
            run: run(name),
            which,
        };
        let parts = [
            part("u/whole", Which::All),
            part("u/some", Which::Omitted),
            part("u/typed", Which::Type("raw".parse().unwrap())),
        ];
        let runs = ["u/whole", "u/some", "u/typed", "u/not-in-the-registry"].map(run);
        let going: Vec<&RunKey> = going_whole(&runs, &parts).collect();
        assert_eq!(going, [&run("u/whole")]);
    }
}
