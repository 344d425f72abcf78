//! What comparing with Rucio works with, and the ways to ask for it.

use std::sync::{Arc, Mutex, OnceLock};

use runsync_manifest::name::{ArtifactPath, RepositoryId, RseName, RunKey, RunName};

use super::SyncError;
use super::arrivals::Arrival;
use super::budget::{Budget, Progress};
use super::deletions::Gone;
use super::naming::{Named, named};
use super::report::SyncReport;
use super::root::RootSync;
use crate::ingest::Flow;
use crate::ledger::record::ManifestState;
use crate::publish::{Publishing, names};
use crate::registry::record::RunRow;
use crate::removal::Removing;
use crate::rucio::{Did, Rucio};
use crate::worker::Wake;

/// What comparing with Rucio works with.
#[derive(Debug)]
pub struct Ground {
    /// The site's repository.
    pub repository: RepositoryId,
    /// Rucio, where configuration has one.
    pub rucio: Option<Rucio>,
    /// The ingest flow of each root.
    pub flows: Vec<Flow>,
    /// The removal flow, which brings back what was unstored.
    pub removing: Arc<Removing>,
    /// The publishing flow, which ends the rules of what was removed.
    pub publishing: Arc<Publishing>,
}

/// Compares this site with what Rucio says should be here, and acts on it.
#[derive(Debug)]
pub struct Syncing {
    pub(super) ground: Ground,
    /// The loops that what Rucio tells may concern, where they run in this process.
    concerned: OnceLock<Concerned>,
    /// Held while artifacts are declared to Rucio.
    pub(super) declaring: Mutex<()>,
    /// Held while records are compared with Rucio's view.
    pub(super) viewing: Mutex<()>,
}

/// Loops that wait for something to happen in Rucio.
#[derive(Debug)]
pub struct Concerned {
    /// The loop of removals, which waits for files to be deleted.
    pub removals: Wake,
    /// The loop that ends rules, which waits for removal manifests to be where they go.
    pub rules: Wake,
}

impl Syncing {
    /// Compares on this ground.
    pub fn new(ground: Ground) -> Self {
        Self {
            ground,
            concerned: OnceLock::new(),
            declaring: Mutex::default(),
            viewing: Mutex::default(),
        }
    }

    /// Rucio.
    ///
    /// # Errors
    ///
    /// [`SyncError::NoRucio`] where there is none.
    pub fn rucio(&self) -> Result<&Rucio, SyncError> {
        self.ground.rucio.as_ref().ok_or(SyncError::NoRucio)
    }

    /// These loops run in this process: they are woken where Rucio tells what they wait for.
    pub fn concerns(&self, loops: Concerned) {
        self.concerned.get_or_init(|| loops);
    }

    /// Has the loop of removals look soon: Rucio has deleted something here.
    pub(super) fn wake_removals(&self) {
        self.ground.removing.hear_of_deletions();
        if let Some(concerned) = self.concerned.get() {
            concerned.removals.wake();
        }
    }

    /// Has the loop that ends rules look now: manifests of this site's own have got somewhere.
    pub(super) fn wake_rules(&self) {
        self.ground.publishing.press();
        if let Some(concerned) = self.concerned.get() {
            concerned.rules.wake();
        }
    }

    /// The roots that Rucio knows, or the one that is an RSE.
    ///
    /// # Errors
    ///
    /// [`SyncError::NoRse`] and [`SyncError::NoRses`] where there is none.
    pub fn roots(&self, rse: Option<&RseName>) -> Result<Vec<(&Flow, &RseName)>, SyncError> {
        let flows = self.ground.flows.iter();
        let known = flows.filter_map(|flow| Some((flow, flow.root().rse.as_ref()?)));
        let roots: Vec<_> = known
            .filter(|(_, known)| rse.is_none_or(|rse| rse == *known))
            .collect();
        match (roots.is_empty(), rse) {
            (false, _) => Ok(roots),
            (true, Some(rse)) => Err(SyncError::NoRse { rse: rse.clone() }),
            (true, None) => Err(SyncError::NoRses),
        }
    }

    /// Does something for one root; `rucio` is the way to ask, which may break off.
    pub(super) fn at<'p, T>(
        &self,
        (flow, rse): (&Flow, &RseName),
        (rucio, budget): (&Rucio, &mut Budget<'p>),
        report: &mut SyncReport,
        work: impl FnOnce(&mut RootSync<'_, 'p>) -> Result<T, SyncError>,
    ) -> Result<T, SyncError> {
        let before = budget.spent();
        let mut root = RootSync {
            syncing: self,
            flow,
            rse,
            rucio,
            budget,
            report,
        };
        let done = work(&mut root);
        report.requests += budget.spent() - before;
        done
    }

    /// The runs of others that have this name.
    fn runs_of(&self, name: &RunName) -> Result<Vec<RunRow>, SyncError> {
        let Some(flow) = self.ground.flows.first() else {
            return Ok(Vec::new());
        };
        let site = flow.site();
        let mut runs = Vec::new();
        for peer in site.trust().peers() {
            let (origin, name) = (peer.origin, name.clone());
            runs.extend(site.registry.run(&RunKey { origin, name })?);
        }
        Ok(runs)
    }

    /// Compares the runs of that name with what Rucio has of them here, and looks for generations of them
    /// that are missing.
    ///
    /// # Errors
    ///
    /// [`SyncError::NoRun`] where there is none of another's; where Rucio or this site do not answer.
    pub fn run(
        &self,
        rucio: &Rucio,
        name: &RunName,
        progress: &mut Progress<'_>,
    ) -> Result<SyncReport, SyncError> {
        let runs = self.runs_of(name)?;
        if runs.is_empty() {
            return Err(SyncError::NoRun { run: name.clone() });
        }
        let (mut report, mut budget) = (SyncReport::default(), Budget::open(progress));
        for root in self.roots(None)? {
            self.at(root, (rucio, &mut budget), &mut report, |root| {
                root.fill_gaps(&runs)?;
                root.runs(&runs, true)
            })?;
        }
        report.whole = true;
        Ok(report)
    }

    /// Compares what one DID stands for: a file, an instalment, a run, or the manifests of an origin.
    ///
    /// # Errors
    ///
    /// [`SyncError::Unknown`] where it stands for nothing of a peer's; where Rucio or this site do not
    /// answer.
    pub fn did(
        &self,
        rucio: &Rucio,
        did: &Did,
        progress: &mut Progress<'_>,
    ) -> Result<SyncReport, SyncError> {
        let (mut report, mut budget) = (SyncReport::default(), Budget::open(progress));
        let mut known = false;
        for root in self.roots(None)? {
            self.at(root, (rucio, &mut budget), &mut report, |root| {
                known |= root.did(did)?;
                Ok(())
            })?;
        }
        if !known {
            let did = did.to_string();
            return Err(SyncError::Unknown { did });
        }
        report.whole = true;
        Ok(report)
    }
}

impl RootSync<'_, '_> {
    /// Compares what a DID stands for. False where it stands for nothing of a peer's.
    fn did(&mut self, did: &Did) -> Result<bool, SyncError> {
        match named(&did.name) {
            Named::Manifest(origin, _) if self.is_peer(origin) => {
                self.fetch(std::slice::from_ref(did), true)?;
                Ok(true)
            }
            Named::Control(origin) if self.is_peer(origin) => {
                self.control(origin, &did.scope)?;
                Ok(true)
            }
            Named::Other(path) if self.artifact(did, &path)? => Ok(true),
            name @ (Named::Other(_) | Named::Instalment(..) | Named::Run(_)) => {
                let runs = self.runs_named(&name)?;
                self.runs(&runs, true)?;
                Ok(!runs.is_empty())
            }
            Named::Manifest(..) | Named::Control(_) | Named::Nothing => Ok(false),
        }
    }

    /// Compares one artifact. False where no run of another's names it.
    fn artifact(&mut self, did: &Did, path: &ArtifactPath) -> Result<bool, SyncError> {
        let claims = self
            .registry()
            .claims_at(&self.root().name, &[path])?
            .concat();
        if !claims.iter().any(|claim| self.is_carried(&claim.run)) {
            return Ok(false);
        }
        if !self.are_of(&did.scope, &claims)? {
            return Ok(false);
        }
        let here = self
            .list(std::slice::from_ref(did), false)?
            .here
            .remove(did);
        let path = path.clone();
        if let Some(here) = here {
            self.take_in(vec![Arrival { path, here, claims }])?;
        } else {
            let scope = Some(did.scope.clone());
            self.forget(&[Gone { scope, path }])?;
        }
        Ok(true)
    }

    /// The runs of others that a name of an instalment or a container stands for.
    pub(super) fn runs_named(&self, name: &Named) -> Result<Vec<RunRow>, SyncError> {
        match name {
            Named::Instalment(origin, paths) if self.is_peer(*origin) => self.run_of(paths),
            Named::Other(path) => match path.as_str().parse::<RunName>() {
                Ok(name) => {
                    let mut runs = self.syncing.runs_of(&name)?;
                    if runs.is_empty() && names::may_stand_in(path.as_str()) {
                        runs = self.runs_in(path.as_str())?;
                    }
                    Ok(runs)
                }
                Err(_) => Ok(Vec::new()),
            },
            Named::Run(container) => self.runs_in(container),
            Named::Instalment(..) | Named::Manifest(..) | Named::Control(_) | Named::Nothing => {
                Ok(Vec::new())
            }
        }
    }

    /// The run of a manifest that lies at one of the paths.
    fn run_of(&self, paths: &[String; 2]) -> Result<Vec<RunRow>, SyncError> {
        let asked: Vec<&str> = paths.iter().map(String::as_str).collect();
        for row in self.ledger().manifests_at(&self.root().name, &asked)? {
            let is_known = match row.state {
                ManifestState::Registered | ManifestState::Superseded => true,
                ManifestState::Blocked | ManifestState::Untrusted | ManifestState::Quarantined => {
                    false
                }
            };
            if let Some(summary) = row.summary.filter(|_| is_known) {
                return Ok(self.registry().run(&summary.run)?.into_iter().collect());
            }
        }
        Ok(Vec::new())
    }

    /// The runs of others whose container has this name, which is not theirs: all are looked through.
    fn runs_in(&self, container: &str) -> Result<Vec<RunRow>, SyncError> {
        let mut runs = self.registry().runs(None)?;
        runs.retain(|row| {
            self.is_carried(&row.key) && names::container_name(&row.key) == container
        });
        Ok(runs)
    }
}
