//! Declares to Rucio what it calls available here and what is not what its manifest says.
//!
//! available, and overdue → looked at, twice → declared, once
//!
//! Only where configuration has it done (`[rucio.sync] declare`), and only in a pass. A bad replica is copied
//! anew, or given up where it was the last, so a good one must never be called bad:
//!
//! - its run has waited past the root's deadline, and it was seen damaged at least [`SEEN_AGAIN`] before:
//!   a file system may be behind what Rucio knows;
//! - Rucio knows it by the size and checksum of the manifest, in a place that is no other dataset's;
//! - what cannot be read, or changes meanwhile, may be whole;
//! - where more than `declare_max` are damaged, the storage may be what is wrong: a finding says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use runsync_config::rucio::Declare;
use runsync_manifest::name::{ArtifactPath, RunKey};

use super::SyncError;
use super::arrivals::differs;
use super::root::{Here, RootSync};
use super::scopes::Scopes;
use crate::clock::later;
use crate::ingest::differences;
use crate::poison::lock;
use crate::publish::{Declaration, Lies, PublishError, ReplicaHere, lies};
use crate::registry::record::{ArtifactStanding, ClaimAt, RunRow, WaitingArtifact};
use crate::rucio::declare::Suspect;
use crate::rucio::{Did, RucioError};

/// Finding: Rucio calls an artifact available, and it is damaged or not there.
const DAMAGED: &str = "rucio_damaged";
/// Finding: an artifact was declared to Rucio, or refused by it, and is still waited for.
const DECLARED: &str = "rucio_declared";
/// Finding: artifacts of a run are damaged, and nothing is declared.
const NOT_DECLARED: &str = "rucio_not_declared";
/// What Rucio keeps as the reason.
const REASON: &str = "runsync: it is not what its manifest says";
/// How long after it was first seen damaged an artifact has to be so still: longer than any client of
/// a network file system remembers what was not there.
const SEEN_AGAIN: Duration = Duration::from_secs(3_600);
/// Findings looked through together.
const TOGETHER: usize = 1_000;

/// An artifact that is waited for and that Rucio calls available here.
#[derive(Debug)]
struct Candidate {
    artifact: WaitingArtifact,
    /// Its replica; that is what is looked at.
    replica: ReplicaHere,
}

/// An artifact's replica, and in which way it is damaged.
type Damaged = (ReplicaHere, String);

impl RootSync<'_, '_> {
    /// Declares what of overdue runs is available by Rucio's word, and damaged or gone in fact.
    pub(super) fn declare_overdue(&mut self, runs: &[RunRow]) -> Result<(), SyncError> {
        let Some(declaration) = self.declaration() else {
            return Ok(());
        };
        let mut clear = Vec::new();
        // An operator's pass and the schedule's look at the same artifacts.
        let syncing = self.syncing;
        let _alone = lock(&syncing.declaring);
        for row in runs {
            let is_overdue = row.waiting > 0 && self.overdue_since(&row.key)?.is_some();
            if !is_overdue || self.declare_of(&row.key, declaration)? {
                clear.push(row.key.to_string());
            }
        }
        self.heal(NOT_DECLARED, &clear)
    }

    /// What is declared of a run. False where something should be, and nothing can.
    fn declare_of(&mut self, run: &RunKey, declaration: Declaration) -> Result<bool, SyncError> {
        let limit = self.rucio.config().sync.declare_max;
        let candidates = self.candidates(run, declaration, limit)?;
        if at_most(candidates.len()) > limit {
            return self.hold(
                run,
                &format!(
                    "more than {limit} artifacts that Rucio calls available are not confirmed"
                ),
            );
        }
        let (damaged, right) = self.look(candidates)?;
        self.heal(DAMAGED, &right)?;
        let seen = self.told(DAMAGED)?;
        let told = damaged
            .iter()
            .map(|(replica, detail)| (&replica.path, detail.clone()));
        self.tell(DAMAGED, &told.collect::<Vec<_>>())?;
        let now = self.flow.site().clock.now();
        let is_due = |(replica, _): &Damaged| {
            let first = seen.get(&replica.path);
            first.is_some_and(|(first, _)| later(*first, SEEN_AGAIN) <= now)
        };
        let due: Vec<Damaged> = damaged.into_iter().filter(is_due).collect();
        if due.is_empty() {
            return Ok(true);
        }
        let count = at_most(seen.len());
        if count > limit {
            return self.hold(
                run,
                &format!("{count} artifacts that Rucio calls available are damaged here"),
            );
        }
        // The next pass declares what this one may not.
        let is_in_time = self.report.declared.saturating_add(at_most(due.len())) <= limit;
        if is_in_time {
            return self.declare(run, declaration, due);
        }
        Ok(true)
    }

    /// Artifacts of a run that could be declared; one more than `most` where there are more.
    fn candidates(
        &mut self,
        run: &RunKey,
        declaration: Declaration,
        most: u64,
    ) -> Result<Vec<Candidate>, SyncError> {
        let declared = self.declared(declaration)?;
        let scopes = self.scopes_of(run)?;
        let (root, together) = (self.root().name.clone(), self.rucio.config().bulk);
        let (mut candidates, mut after) = (Vec::new(), None::<ArtifactPath>);
        loop {
            let between = (after.as_ref().map(ArtifactPath::as_str), None);
            let page = (self.registry()).waiting_artifacts(run, &root, between, together)?;
            let is_last = page.len() < together;
            after = page.last().map(|one| one.path.clone());
            let new = page.into_iter().filter(|one| !declared.contains(&one.path));
            candidates.extend(self.available(&scopes, new.collect())?);
            if is_last || at_most(candidates.len()) > most {
                return Ok(candidates);
            }
        }
    }

    /// Those of a run's artifacts that Rucio calls available, as what their manifest says, and in a place of
    /// their own.
    fn available(
        &mut self,
        scopes: &Scopes,
        artifacts: Vec<WaitingArtifact>,
    ) -> Result<Vec<Candidate>, SyncError> {
        let did = |scope, artifact: &WaitingArtifact| Did::new(scope, artifact.path.as_str());
        let dids: Vec<Did> = artifacts
            .iter()
            .flat_map(|artifact| scopes.all.iter().map(|scope| did(scope, artifact)))
            .collect();
        let mut here = self.list(&dids, false)?.here;
        let found = artifacts.into_iter().filter_map(|artifact| {
            let mut scopes = scopes.all.iter();
            let (did, here) = scopes.find_map(|scope| here.remove_entry(&did(scope, &artifact)))?;
            self.candidate(artifact, did, here)
        });
        let found: Vec<Candidate> = found.collect();
        let (paths, places): (Vec<&ArtifactPath>, Vec<&ArtifactPath>) = found
            .iter()
            .map(|one| (&one.replica.path, &one.replica.place))
            .unzip();
        let (registry, root) = (self.registry(), &self.root().name);
        let claimed = registry.claimed(root, &places)?;
        let claims = registry.claims_at(root, &paths)?;
        let is_own = claimed.into_iter().zip(claims).map(|(claimed, claims)| {
            let is_busy = claims.iter().any(|claim| claim.busy);
            (claimed, is_busy)
        });
        let is_own: Vec<(bool, bool)> = is_own.collect();
        let own = found
            .into_iter()
            .zip(is_own)
            .filter(|(one, (claimed, is_busy))| {
                !is_busy && (!claimed || one.replica.place == one.replica.path)
            });
        Ok(own.map(|(one, _)| one).collect())
    }

    fn candidate(&self, artifact: WaitingArtifact, did: Did, here: Here) -> Option<Candidate> {
        if !here.is_available() || differs(&here, artifact.size, &artifact.checksums).is_some() {
            return None;
        }
        let path = artifact.path.clone();
        let place = match lies(self.root(), path.as_str(), &here.pfns) {
            Lies::AsNamed => path.clone(),
            Lies::At(place) => place,
            Lies::Elsewhere => return None,
        };
        let pfn = here.pfns.into_iter().next()?;
        let suspect = Suspect { did, pfn };
        let replica = ReplicaHere {
            path,
            place,
            suspect,
        };
        Some(Candidate { artifact, replica })
    }

    /// Those whose files are certainly not what manifests say, and in which way; and those that are right.
    fn look(
        &mut self,
        mut candidates: Vec<Candidate>,
    ) -> Result<(Vec<Damaged>, Vec<ArtifactPath>), SyncError> {
        if candidates.is_empty() {
            return Ok(Default::default());
        }
        candidates.sort_by(|one, other| one.replica.place.cmp(&other.replica.place));
        let places: Vec<WaitingArtifact> = candidates
            .iter()
            .map(|one| WaitingArtifact {
                path: one.replica.place.clone(),
                ..one.artifact.clone()
            })
            .collect();
        self.datastore().check_identity()?;
        let found = differences(&places, self.flow, &mut *self.budget.progress)?.into_iter();
        let found = found.map(|one| (one.path, (one.is_certain, one.detail)));
        let mut found: BTreeMap<_, _> = found.collect();
        // A root that went away meanwhile has no file either.
        self.datastore().check_identity()?;
        let (mut damaged, mut right) = (Vec::new(), Vec::new());
        for Candidate { replica, .. } in candidates {
            match found.remove(&replica.place) {
                Some((true, detail)) => damaged.push((replica, detail)),
                Some((false, _)) => {}
                None => right.push(replica.path),
            }
        }
        Ok((damaged, right))
    }

    /// Declares replicas. False where Rucio takes none of it.
    fn declare(
        &mut self,
        run: &RunKey,
        declaration: Declaration,
        damaged: Vec<Damaged>,
    ) -> Result<bool, SyncError> {
        let details = damaged.iter().map(|(replica, difference)| {
            let detail = format!("{}: {difference}", word(declaration));
            (replica.path.clone(), detail)
        });
        let mut told: Vec<(ArtifactPath, String)> = details.collect();
        let (replicas, differences): (Vec<ReplicaHere>, Vec<String>) = damaged.into_iter().unzip();
        // Kept first: each counts in Rucio, and whether one got there may stay unknown.
        self.tell(DECLARED, &told)?;
        self.budget.ask()?;
        let (root, how) = (self.root().name.clone(), (declaration, REASON));
        let publishing = &self.syncing.ground.publishing;
        let paths: Vec<ArtifactPath> = replicas.iter().map(|one| one.path.clone()).collect();
        let answers = match publishing.declare(self.rucio, (&root, run), &replicas, how) {
            Ok(answers) => answers,
            Err(error @ PublishError::Rucio(RucioError::Unknown { .. })) => {
                return Err(error.into());
            }
            Err(error) => {
                self.heal(DECLARED, &paths)?;
                let is_of_all = error.is_about_rucio() || error.is_about_us();
                if is_of_all || error.is_interruption() || error.is_fenced() {
                    return Err(error.into());
                }
                return self.hold(run, &error.to_string());
            }
        };
        for (((path, detail), difference), refused) in told.iter_mut().zip(differences).zip(answers)
        {
            match refused {
                None => self.report.declared += 1,
                Some(why) => {
                    *detail = format!("not declared, for Rucio says `{why}`: {difference}");
                }
            }
            tracing::warn!(run = %run.name, path = %path, "{detail}");
        }
        self.tell(DECLARED, &told)?;
        self.heal(DAMAGED, &paths)?;
        Ok(true)
    }

    /// Keeps why nothing of a run is declared.
    fn hold(&mut self, run: &RunKey, why: &str) -> Result<bool, SyncError> {
        let detail = format!(
            "nothing is declared: {why}; see whether the storage is all there: `runsync declare` shows what differs"
        );
        self.tell(NOT_DECLARED, &[(run.to_string(), detail)])?;
        Ok(false)
    }

    /// Drops findings about artifacts that are not waited for any more; and all that a policy has told which
    /// there is no more.
    pub(super) fn heal_declared(&mut self) -> Result<(), SyncError> {
        for kind in [DAMAGED, DECLARED] {
            let paths: Vec<ArtifactPath> = self.told(kind)?.into_keys().collect();
            for chunk in paths.chunks(TOGETHER) {
                let asked: Vec<&ArtifactPath> = chunk.iter().collect();
                let claims = self.registry().claims_at(&self.root().name, &asked)?;
                let is_awaited = |claim: &ClaimAt| claim.standing == ArtifactStanding::Awaited;
                let right: Vec<&ArtifactPath> = (asked.into_iter().zip(&claims))
                    .filter(|(_, claims)| !claims.iter().any(is_awaited))
                    .map(|(path, _)| path)
                    .collect();
                self.heal(kind, &right)?;
            }
        }
        if self.declaration().is_none() {
            for kind in [DAMAGED, NOT_DECLARED] {
                let subjects = self.subjects(kind)?;
                self.heal(kind, &subjects.into_keys().collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// Artifacts that are not declared again: those that were, as what they would be now, or as more.
    fn declared(&self, declaration: Declaration) -> Result<BTreeSet<ArtifactPath>, SyncError> {
        let of_less = word(Declaration::Suspicious);
        let counts =
            |detail: &str| declaration == Declaration::Suspicious || !detail.starts_with(of_less);
        let told = self.told(DECLARED)?.into_iter();
        let told = told.filter(|(_, (_, detail))| counts(detail));
        Ok(told.map(|(path, _)| path).collect())
    }

    /// Artifacts of this root that findings of a kind are about; when each was first seen, and what it says.
    fn told(&self, kind: &str) -> Result<BTreeMap<ArtifactPath, (Timestamp, String)>, SyncError> {
        let subjects = self.subjects(kind)?.into_iter();
        Ok(subjects
            .filter_map(|(path, told)| Some((path.parse().ok()?, told)))
            .collect())
    }

    fn subjects(&self, kind: &str) -> Result<BTreeMap<String, (Timestamp, String)>, SyncError> {
        let (ours, mut after) = (self.subject(""), None::<String>);
        let mut subjects = BTreeMap::new();
        loop {
            let page = (self.ledger()).findings_of(kind, &ours, after.as_deref(), TOGETHER)?;
            let is_last = page.len() < TOGETHER;
            after = page.last().map(|finding| finding.subject.clone());
            subjects.extend(page.into_iter().filter_map(|finding| {
                let of = finding.subject.strip_prefix(&ours)?.to_owned();
                Some((of, (finding.first_seen, finding.detail)))
            }));
            if is_last {
                return Ok(subjects);
            }
        }
    }

    fn declaration(&self) -> Option<Declaration> {
        match self.rucio.config().sync.declare {
            Declare::Never => None,
            Declare::Suspicious => Some(Declaration::Suspicious),
            Declare::Bad => Some(Declaration::Bad),
        }
    }
}

fn word(declaration: Declaration) -> &'static str {
    match declaration {
        Declaration::Suspicious => "declared suspicious",
        Declaration::Bad => "declared bad",
    }
}

fn at_most(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
