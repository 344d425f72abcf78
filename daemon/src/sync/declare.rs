//! Declares to Rucio what it calls available here and what is not what its manifest says.
//!
//! Only where configuration has it done (`[rucio.sync] declare`), and only of runs whose artifacts have been
//! waited for past the root's deadline: until then a file system may be behind, and an operator's word may
//! still come. Rucio is asked first and the file is looked at afterwards, as for an operator
//! ([`Publishing::replicas_here`](crate::publish::Publishing::replicas_here)), and what cannot be read is
//! not declared. Where more than `declare_max` artifacts would be looked at, the storage may be what is
//! wrong: then nothing is declared, and a finding says so.

use std::collections::{BTreeMap, BTreeSet};

use runsync_config::rucio::Declare;
use runsync_manifest::name::{ArtifactPath, RunKey};

use super::SyncError;
use super::late::Awaited;
use super::root::RootSync;
use crate::ingest::differences;
use crate::publish::{Declaration, PublishError, ReplicaHere};
use crate::registry::record::{ArtifactStanding, ClaimAt, WaitingArtifact};

/// Finding: an artifact was declared to Rucio, or refused by it, and is still waited for.
const DECLARED: &str = "rucio_declared";
/// Finding: so many artifacts of a run are not what they should be that none was declared.
const NOT_DECLARED: &str = "rucio_not_declared";
/// What Rucio keeps as the reason.
const REASON: &str = "runsync: it is not what its manifest says";
/// Findings looked through together.
const TOGETHER: usize = 1_000;

/// Artifacts of a run that Rucio calls available, as their manifests have them, and their replicas.
type Candidates = (BTreeMap<ArtifactPath, WaitingArtifact>, Vec<ReplicaHere>);

impl RootSync<'_, '_> {
    /// Declares what of an overdue run is available by Rucio's word, and damaged or gone in fact.
    pub(super) fn declare_overdue(
        &mut self,
        run: &RunKey,
        awaited: Awaited,
    ) -> Result<(), SyncError> {
        let Some(declaration) = declaration(self.rucio.config().sync.declare) else {
            return Ok(());
        };
        let subject = self.subject(&run.to_string());
        let left = (self.rucio.config().sync.declare_max).saturating_sub(self.report.declared);
        if awaited.available == 0 || self.overdue_since(run)?.is_none() {
            return Ok(self.ledger().healed(NOT_DECLARED, &subject)?);
        }
        if awaited.available > left {
            let count = awaited.available;
            let detail = format!(
                "{count} artifacts that Rucio calls available are not confirmed, and {left} more may be declared \
                 in this pass: see whether the storage is all there; `runsync declare` shows what differs"
            );
            return self.tell(NOT_DECLARED, &[(run.to_string(), detail)]);
        }
        self.ledger().healed(NOT_DECLARED, &subject)?;
        let (artifacts, replicas) = match self.candidates(run, left) {
            // It is told of as a finding of its own, too; other runs are compared all the same.
            Err(SyncError::Publish(error @ PublishError::Elsewhere(_))) => {
                return self.tell(NOT_DECLARED, &[(run.to_string(), error.to_string())]);
            }
            candidates => candidates?,
        };
        let damaged = self.damaged(&artifacts, replicas)?;
        self.declare(run, declaration, damaged)
    }

    /// Those that the run waits for and that Rucio calls available here; at most `most`, and none that
    /// was declared before.
    fn candidates(&mut self, run: &RunKey, most: u64) -> Result<Candidates, SyncError> {
        let declared = self.declared()?;
        let (mut artifacts, mut replicas) = (BTreeMap::new(), Vec::new());
        let (root, together) = (self.root().name.clone(), self.rucio.config().bulk);
        let mut after = None::<ArtifactPath>;
        loop {
            let between = (after.as_ref().map(ArtifactPath::as_str), None);
            let page = (self.registry()).waiting_artifacts(run, &root, between, together)?;
            let is_last = page.len() < together;
            after = page.last().map(|one| one.path.clone());
            let new = page.into_iter().filter(|one| !declared.contains(&one.path));
            let new: BTreeMap<ArtifactPath, WaitingArtifact> =
                new.map(|one| (one.path.clone(), one)).collect();
            if !new.is_empty() {
                self.budget.ask()?;
                let paths: Vec<ArtifactPath> = new.keys().cloned().collect();
                let publishing = &self.syncing.ground.publishing;
                replicas.extend(publishing.replicas_here(self.rucio, &root, run, &paths)?);
                artifacts.extend(new);
            }
            if is_last || replicas.len() as u64 >= most {
                replicas.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                return Ok((artifacts, replicas));
            }
        }
    }

    /// Of replicas, those whose files are certainly not what manifests say; and in which way.
    fn damaged(
        &self,
        artifacts: &BTreeMap<ArtifactPath, WaitingArtifact>,
        replicas: Vec<ReplicaHere>,
    ) -> Result<Vec<(ReplicaHere, String)>, SyncError> {
        self.datastore().check_identity()?;
        let places = replicas.iter().filter_map(|replica| {
            let path = replica.place.clone();
            let artifact = artifacts.get(&replica.path)?.clone();
            Some(WaitingArtifact { path, ..artifact })
        });
        let found = differences(&places.collect::<Vec<_>>(), self.flow)?;
        // A root that went away meanwhile has no file either.
        self.datastore().check_identity()?;
        let certain = found.into_iter().filter(|one| one.is_certain);
        let mut certain: BTreeMap<ArtifactPath, String> =
            certain.map(|one| (one.path, one.detail)).collect();
        let damaged = replicas.into_iter().filter_map(|replica| {
            let difference = certain.remove(&replica.place)?;
            Some((replica, difference))
        });
        Ok(damaged.collect())
    }

    fn declare(
        &mut self,
        run: &RunKey,
        declaration: Declaration,
        damaged: Vec<(ReplicaHere, String)>,
    ) -> Result<(), SyncError> {
        if damaged.is_empty() {
            return Ok(());
        }
        let (replicas, differences): (Vec<ReplicaHere>, Vec<String>) = damaged.into_iter().unzip();
        self.budget.ask()?;
        let (root, how) = (self.root().name.clone(), (declaration, REASON));
        let publishing = &self.syncing.ground.publishing;
        let answers = match publishing.declare(self.rucio, (&root, run), &replicas, how) {
            Err(error @ PublishError::MayNotDeclare { .. }) => {
                return self.tell(NOT_DECLARED, &[(run.to_string(), error.to_string())]);
            }
            answers => answers?,
        };
        let told = replicas.into_iter().zip(differences).zip(answers);
        let told: Vec<(ArtifactPath, String)> = told
            .map(|((replica, difference), refused)| {
                let detail = match refused {
                    None => {
                        self.report.declared += 1;
                        format!("declared {}: {difference}", word(declaration))
                    }
                    Some(why) => format!("not declared, for Rucio says `{why}`: {difference}"),
                };
                tracing::warn!(run = %run.name, path = %replica.path, "{detail}");
                (replica.path, detail)
            })
            .collect();
        self.tell(DECLARED, &told)
    }

    /// Drops findings about artifacts that are not waited for any more.
    pub(super) fn heal_declared(&mut self) -> Result<(), SyncError> {
        let paths: Vec<ArtifactPath> = self.declared()?.into_iter().collect();
        for chunk in paths.chunks(TOGETHER) {
            let asked: Vec<&ArtifactPath> = chunk.iter().collect();
            let claims = self.registry().claims_at(&self.root().name, &asked)?;
            let is_awaited = |claim: &ClaimAt| claim.standing == ArtifactStanding::Awaited;
            let right: Vec<&ArtifactPath> = (asked.into_iter().zip(&claims))
                .filter(|(_, claims)| !claims.iter().any(is_awaited))
                .map(|(path, _)| path)
                .collect();
            self.heal(DECLARED, &right)?;
        }
        Ok(())
    }

    /// Artifacts of this root about which there is such a finding.
    fn declared(&self) -> Result<BTreeSet<ArtifactPath>, SyncError> {
        let (ours, mut after) = (self.subject(""), None::<String>);
        let mut paths = BTreeSet::new();
        loop {
            let page = (self.ledger()).findings_of(DECLARED, &ours, after.as_deref(), TOGETHER)?;
            let is_last = page.len() < TOGETHER;
            after = page.last().map(|finding| finding.subject.clone());
            let subjects = page
                .iter()
                .filter_map(|one| one.subject.strip_prefix(&ours));
            paths.extend(subjects.filter_map(|path| path.parse::<ArtifactPath>().ok()));
            if is_last {
                return Ok(paths);
            }
        }
    }
}

fn declaration(policy: Declare) -> Option<Declaration> {
    match policy {
        Declare::Never => None,
        Declare::Suspicious => Some(Declaration::Suspicious),
        Declare::Bad => Some(Declaration::Bad),
    }
}

fn word(declaration: Declaration) -> &'static str {
    match declaration {
        Declaration::Suspicious => "suspicious",
        Declaration::Bad => "bad",
    }
}
