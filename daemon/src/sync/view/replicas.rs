//! Replicas, by name, asked of the registry: what Rucio has here, and nothing here has a record of.

use runsync_manifest::name::{ArtifactPath, RunName};

use super::flow::Way;
use crate::ledger::scans::{Drift, DriftFilter, DriftKind, DriftSide, Span};
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
        // It has to be listed whole before anything follows from it.
        let names = self.names(way, &position)?;
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
            let (suspects, busy) = self.unrecorded(way, &dids)?;
            let mut found = self.with_rules(suspects, &mut rules_left)?;
            found.extend(self.as_before(&busy)?);
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
    fn names(&mut self, way: &Way, position: &str) -> Result<Sorted, SyncError> {
        let (rucio, scratch_folder) = (self.rucio, &self.flow.site().scratch);
        self.budget.beforehand(|budget| {
            let mut sorter = Sorter::new(scratch_folder, MEMORY_BYTES);
            for scope in &way.in_scopes {
                budget.ask()?;
                for name in rucio.files_in(scope)? {
                    let record = record_of(&Did::new(scope, name?));
                    if record.as_str() > position {
                        sorter.push(record.as_bytes()).map_err(scratch)?;
                    }
                    budget.go_on()?;
                }
            }
            sorter.sort().map_err(scratch)
        })
    }

    /// Of the files, those with a replica here and no record; and those that something under way concerns.
    fn unrecorded(
        &mut self,
        way: &mut Way,
        dids: &[Did],
    ) -> Result<(Vec<Suspect>, Vec<ArtifactPath>), SyncError> {
        let mut replicas = Vec::new();
        for (did, here) in self.list_closed(dids)? {
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
        let (mut suspects, mut busy) = (Vec::new(), Vec::new());
        for ((did, path, here), claims) in replicas.into_iter().zip(claims) {
            let mut own = Vec::new();
            for claim in claims {
                if self
                    .remembered(&claim.run, &mut way.scopes)?
                    .all
                    .contains(&did.scope)
                {
                    own.push(claim);
                }
            }
            let is = |standing| own.iter().any(|claim: &ClaimAt| claim.standing == standing);
            if own.iter().any(|claim| claim.busy) {
                way.counts.undecided += 1;
                busy.push(path);
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
        Ok((suspects, busy))
    }

    /// The replicas here, also while the RSE is closed for reading. Where they lie is not asked for.
    fn list_closed(&mut self, dids: &[Did]) -> Result<Vec<(Did, Here)>, SyncError> {
        let schema = self.rucio.schema();
        let dids = dids.iter().filter(|did| schema.check(did).is_ok());
        let dids: Vec<&Did> = dids.collect();
        let mut here = Vec::new();
        for chunk in dids.chunks(self.rucio.config().bulk) {
            self.budget.ask()?;
            for replica in self.rucio.replicas_at(self.rse, chunk)? {
                let mut replica = replica?;
                if let Some(state) = replica.states.remove(self.rse.as_str()) {
                    let did = Did::new(&replica.scope, replica.name);
                    let at = Here {
                        state,
                        pfns: Vec::new(),
                        bytes: replica.bytes,
                        adler32: replica.adler32,
                    };
                    here.push((did, at));
                }
            }
        }
        Ok(here)
    }

    /// What was found earlier at paths that something under way concerns: it stays as it was.
    fn as_before(&self, busy: &[ArtifactPath]) -> Result<Vec<Drift>, SyncError> {
        let mut before = Vec::new();
        for path in busy {
            let filter = DriftFilter {
                root: Some(self.root().name.clone()),
                kind: None,
                side: Some(DriftSide::Replicas),
                span: Span::at(path.as_str()),
                ignored: true,
            };
            for finding in self.ledger().drift(&filter, None, 1)? {
                before.push(Drift {
                    folded: folded(path.as_str()),
                    path: finding.path,
                    kind: finding.kind,
                    detail: finding.detail,
                    size: finding.size,
                    identity: finding.identity,
                    claimed: finding.claimed,
                    run: finding.run,
                });
            }
        }
        Ok(before)
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
                Some(fewer) if !self.budget.is_spent() => {
                    *left = fewer;
                    self.rules_here(&suspect.did)?
                }
                Some(_) | None => "its rules were not asked for".to_owned(),
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
