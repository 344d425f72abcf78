//! Replicas, by name, asked of the registry: what Rucio has here, and nothing here has a record of.

use std::collections::{BTreeMap, BTreeSet};

use runsync_manifest::name::{ArtifactPath, RunName, Scope};

use super::flow::Way;
use crate::ledger::scans::{Drift, DriftKind, Span};
use crate::registry::record::{ArtifactStanding, ClaimAt};
use crate::rucio::Did;
use crate::sorting::{Sorted, Sorter};
use crate::spelling::folded;
use crate::sync::SyncError;
use crate::sync::naming::{Named, named};
use crate::sync::root::{Here, RootSync};

/// Names held in memory, in bytes; the rest goes to disk.
const MEMORY_BYTES: usize = 16 << 20;
/// Findings of a pass whose rules are asked for: each takes a request.
const RULES_ASKED: u64 = 1_000;
/// Rules that are named for a file.
const RULES_NAMED: usize = 3;
/// Between scope and name: no scope has it.
const BETWEEN: char = '\n';

/// A replica that may be one of no record.
struct Suspect {
    did: Did,
    path: ArtifactPath,
    here: Here,
    /// A run that names it, and does not want it here or has forgotten it.
    run: Option<RunName>,
}

impl RootSync<'_, '_> {
    /// Goes through the names in Rucio's scopes to their end, or as far as the budget allows.
    pub(super) fn ask_for_replicas(&mut self, way: &mut Way) -> Result<(), SyncError> {
        let Some(position) = way.row.position.clone() else {
            return Ok(());
        };
        let names = self.names(&position)?;
        let mut cursor = names.cursor().map_err(scratch)?;
        let most = self.rucio.config().bulk;
        let mut rules_left = RULES_ASKED;
        loop {
            let mut dids = Vec::with_capacity(most);
            while dids.len() < most
                && let Some(record) = cursor.next().map_err(scratch)?
            {
                dids.extend(did_of(record));
            }
            let next = (dids.len() == most)
                .then(|| dids.last())
                .flatten()
                .map(record_of);
            way.counts.names += dids.len() as u64;
            let suspects = self.unrecorded(way, &dids)?;
            let found = self.with_rules(suspects, &mut rules_left)?;
            // Only a pass that went through all names has seen what is there no more.
            let concluded: &[Span] = if next.is_none() { &[Span::all()] } else { &[] };
            let is_end = next.is_none();
            self.note_way(way, next, (&found, concluded))?;
            if is_end || self.budget.is_spent() {
                return Ok(());
            }
        }
    }

    /// The names of files in all scopes that files may have here, from a position on, sorted.
    fn names(&mut self, position: &str) -> Result<Sorted, SyncError> {
        let mut scopes: BTreeSet<Scope> = [self.rucio.config().scope.clone()].into();
        for peer in self.flow.site().trust().peers() {
            scopes.extend(self.scopes(peer.origin));
        }
        let mut sorter = Sorter::new(&self.flow.site().scratch, MEMORY_BYTES);
        for scope in scopes {
            self.budget.ask()?;
            for name in self.rucio.files_in(&scope)? {
                let record = record_of(&Did::new(&scope, name?));
                if record.as_str() > position {
                    sorter.push(record.as_bytes()).map_err(scratch)?;
                }
                self.budget.go_on()?;
            }
        }
        sorter.sort().map_err(scratch)
    }

    /// Of the files, those with a replica here and no record.
    fn unrecorded(&mut self, way: &mut Way, dids: &[Did]) -> Result<Vec<Suspect>, SyncError> {
        let mut replicas = Vec::new();
        for (did, here) in self.list(dids, false)?.here {
            way.counts.replicas += 1;
            match named(&did.name) {
                Named::Other(path) => replicas.push((did, path, here)),
                Named::Manifest(..)
                | Named::Instalment(..)
                | Named::Control(_)
                | Named::Run(_)
                | Named::Nothing => way.counts.others += 1,
            }
        }
        replicas.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let paths: Vec<&ArtifactPath> = replicas.iter().map(|(_, path, _)| path).collect();
        let claims = self.registry().claims_at(&self.root().name, &paths)?;
        let (mut scopes, mut suspects) = (BTreeMap::new(), Vec::new());
        for ((did, path, here), claims) in replicas.into_iter().zip(claims) {
            let mut own = Vec::new();
            for claim in claims {
                if self
                    .remembered(&claim.run, &mut scopes)?
                    .all
                    .contains(&did.scope)
                {
                    own.push(claim);
                }
            }
            let is = |standing| own.iter().any(|claim: &ClaimAt| claim.standing == standing);
            if own.iter().any(|claim| claim.busy) {
                way.counts.undecided += 1;
            } else if is(ArtifactStanding::Awaited) {
                way.counts.awaited += 1;
            } else if !is(ArtifactStanding::Confirmed) {
                let run = own.first().map(|claim| claim.run.name.clone());
                suspects.push(Suspect {
                    did,
                    path,
                    here,
                    run,
                });
            }
        }
        Ok(suspects)
    }

    /// What is found, with what keeps it in Rucio.
    fn with_rules(
        &mut self,
        suspects: Vec<Suspect>,
        left: &mut u64,
    ) -> Result<Vec<Drift>, SyncError> {
        let mut found = Vec::with_capacity(suspects.len());
        for suspect in suspects {
            let rules = match left.checked_sub(1) {
                Some(fewer) => {
                    *left = fewer;
                    self.rules_here(&suspect.did)?
                }
                None => "its rules were not asked for".to_owned(),
            };
            let record = if suspect.run.is_some() {
                "a dataset names it, and it is not wanted, or was forgotten, here"
            } else {
                "no dataset here names it"
            };
            found.push(Drift {
                kind: DriftKind::RucioOnly,
                detail: format!(
                    "{} in Rucio as {}, {rules}; {record}",
                    suspect.here.state, suspect.did
                ),
                size: suspect.here.bytes,
                identity: None,
                claimed: suspect.run.is_some(),
                run: suspect.run,
                folded: folded(suspect.path.as_str()),
                path: suspect.path,
            });
        }
        Ok(found)
    }

    /// The rules that lock a file, in a few words.
    fn rules_here(&mut self, file: &Did) -> Result<String, SyncError> {
        self.budget.ask()?;
        let (mut named, mut more) = (Vec::new(), 0_u64);
        for rule in self.rucio.rules_over(file)? {
            let rule = rule?;
            if named.len() < RULES_NAMED {
                named.push(format!("{} of {} ({})", rule.id, rule.account, rule.state));
            } else {
                more += 1;
            }
        }
        Ok(match (named.is_empty(), more) {
            (true, _) => "no rule keeps it".to_owned(),
            (false, 0) => format!("under rule {}", named.join(", ")),
            (false, more) => format!("under rule {} and {more} others", named.join(", ")),
        })
    }
}

fn record_of(did: &Did) -> String {
    format!("{}{BETWEEN}{}", did.scope, did.name)
}

fn did_of(record: &[u8]) -> Option<Did> {
    let (scope, name) = std::str::from_utf8(record).ok()?.split_once(BETWEEN)?;
    Some(Did::new(&scope.parse().ok()?, name))
}

fn scratch(source: std::io::Error) -> SyncError {
    SyncError::Scratch { source }
}
