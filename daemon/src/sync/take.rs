//! Acts on hints: what Rucio's messages tell of files, rules and locks.
//!
//! A thousand hints cost a handful of requests. Each is looked up first in what this site knows: one about
//! a DID that nothing here names is done with, whoever sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use runsync_config::root::ConfirmLevel;
use runsync_manifest::name::{ArtifactPath, RepositoryId, RseName, RunKey, Scope};
use tracing::warn;

use super::SyncError;
use super::arrivals::Arrival;
use super::budget::{Budget, Progress};
use super::deletions::{Fate, Gone};
use super::flow::Syncing;
use super::naming::{Named, named};
use super::report::SyncReport;
use super::root::{Here, RootSync};
use crate::beside::beside;
use crate::error_chain::error_chain;
use crate::ledger::hints::{HintTaker, TakeError};
use crate::ledger::record::{Hint, HintKind, Taken};
use crate::registry::record::{ArtifactStanding, ClaimAt, RunRow};
use crate::rucio::{Did, Rucio};

/// The first pause before a hint is looked into again; doubled with each try. A transfer is told of up
/// to some twenty seconds before its replica is AVAILABLE.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// A hint that could be understood, and its place among those that were asked about.
#[derive(Debug, Clone)]
struct Heard {
    index: usize,
    did: Did,
    tries: u32,
}

/// An artifact that is said to have come, and what runs say of it.
type Known = (Heard, ArtifactPath, Vec<ClaimAt>);

impl Syncing {
    /// Looks into hints of one kind, and answers for each of them, in their order.
    ///
    /// # Errors
    ///
    /// Where Rucio, or this site, do not answer, or `progress` broke off: what is done stays, and hints
    /// that are taken up again change nothing more.
    pub fn take(
        &self,
        hints: &[Hint],
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Taken>, SyncError> {
        match self.rucio() {
            Ok(rucio) => self.take_with(rucio, hints, progress),
            Err(_) => Ok(vec![Taken::Done; hints.len()]),
        }
    }

    fn take_with(
        &self,
        rucio: &Rucio,
        hints: &[Hint],
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Taken>, SyncError> {
        let mut answers = vec![Taken::Done; hints.len()];
        self.wake_concerned(hints);
        let (mut report, mut budget) = (SyncReport::default(), Budget::open(progress));
        let (mut any, mut failed) = (false, None);
        for kind in [HintKind::Arrived, HintKind::Deleted, HintKind::Settled] {
            for (rse, heard) in by_rse(hints, kind) {
                let Ok(roots) = self.roots(rse) else { continue };
                for root in roots {
                    let way = (rucio, &mut budget);
                    let taken = self.at(root, way, &mut report, |root| {
                        root.take(kind, heard.clone(), &mut answers)
                    });
                    match taken {
                        Ok(()) => any = true,
                        Err(error)
                            if error.is_interruption()
                                || error.is_fenced()
                                || error.is_about_rucio() =>
                        {
                            return Err(error);
                        }
                        // One root holds up no other.
                        Err(error) => {
                            for one in &heard {
                                later(&mut answers, one);
                            }
                            warn!(root = %root.0.root().name, error = %error_chain(&error), "hints wait");
                            failed = Some(error);
                        }
                    }
                }
            }
        }
        if let Some(error) = failed.filter(|_| !any) {
            return Err(error);
        }
        if report.has_changed() {
            let SyncReport {
                manifests,
                confirmed,
                linked,
                forgotten,
                ..
            } = report;
            tracing::debug!(
                hints = hints.len(),
                manifests,
                confirmed,
                linked,
                forgotten,
                "hints taken"
            );
        }
        Ok(answers)
    }

    /// Other loops of this site may wait for what was heard: they look again, and earlier than by themselves.
    fn wake_concerned(&self, hints: &[Hint]) {
        let is_own = |name: &str| match named(name) {
            Named::Control(origin) | Named::Manifest(origin, _) => origin == self.ground.repository,
            Named::Instalment(..) | Named::Run(_) | Named::Other(_) | Named::Nothing => false,
        };
        if hints.iter().any(|hint| hint.kind == HintKind::Deleted) {
            self.wake_removals();
        }
        if hints
            .iter()
            .any(|hint| hint.kind == HintKind::Settled && is_own(&hint.name))
        {
            self.wake_rules();
        }
    }
}

impl HintTaker for Syncing {
    fn take(
        &self,
        hints: &[Hint],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Taken>, TakeError> {
        let taken = beside(progress, |ending| {
            let Ok(rucio) = self.rucio() else {
                return Ok(vec![Taken::Done; hints.len()]);
            };
            let asked = ending.clone();
            let rucio = rucio.waiting(Arc::new(move || asked.go_on()));
            self.take_with(&rucio, hints, &mut || ending.go_on())
        });
        match taken.unwrap_or_else(|panic| resume_unwind(panic)) {
            Ok(taken) => Ok(taken),
            Err(error) if error.is_interruption() => {
                Ok(vec![Taken::Later(Duration::ZERO); hints.len()])
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Hints of one kind that can be understood, by the RSE that they are about.
fn by_rse(hints: &[Hint], kind: HintKind) -> BTreeMap<Option<&RseName>, Vec<Heard>> {
    let mut by_rse: BTreeMap<Option<&RseName>, Vec<Heard>> = BTreeMap::new();
    for (index, hint) in hints.iter().enumerate() {
        if hint.kind != kind {
            continue;
        }
        let Ok(scope) = hint.scope.parse::<Scope>() else {
            continue;
        };
        let did = Did::new(&scope, hint.name.clone());
        let tries = hint.tries;
        let heard = Heard { index, did, tries };
        by_rse.entry(hint.rse.as_ref()).or_default().push(heard);
    }
    by_rse
}

impl RootSync<'_, '_> {
    fn take(
        &mut self,
        kind: HintKind,
        heard: Vec<Heard>,
        answers: &mut [Taken],
    ) -> Result<(), SyncError> {
        match kind {
            HintKind::Arrived => self.arrived(heard, answers),
            HintKind::Deleted => self.deleted(heard, answers),
            HintKind::Settled => self.settled(&heard),
            HintKind::PerFile => Ok(()),
        }
    }

    fn arrived(&mut self, heard: Vec<Heard>, answers: &mut [Taken]) -> Result<(), SyncError> {
        let (mut manifests, mut artifacts) = (Vec::new(), Vec::new());
        for one in heard {
            match named(&one.did.name) {
                Named::Manifest(origin, _) if self.is_peer(origin) => manifests.push(one),
                Named::Other(path) => artifacts.push((one, path)),
                Named::Manifest(..)
                | Named::Instalment(..)
                | Named::Control(_)
                | Named::Run(_)
                | Named::Nothing => {}
            }
        }
        if !manifests.is_empty() {
            self.manifests_arrived(&manifests, answers)?;
        }
        let known = self.known(artifacts)?;
        if known.is_empty() {
            return Ok(());
        }
        let known = self.look_first(known)?;
        self.ask_for(known, answers)
    }

    fn manifests_arrived(
        &mut self,
        heard: &[Heard],
        answers: &mut [Taken],
    ) -> Result<(), SyncError> {
        let paths: Vec<&str> = heard.iter().map(|one| one.did.name.as_str()).collect();
        let known = self.ledger().manifests_at(&self.root().name, &paths)?;
        let known: BTreeSet<String> = known.into_iter().map(|row| row.location.path).collect();
        let new: Vec<&Heard> = (heard.iter())
            .filter(|one| !known.contains(&one.did.name))
            .collect();
        let dids: Vec<Did> = new.iter().map(|one| one.did.clone()).collect();
        let coming = self.fetch(&dids, false)?;
        for one in new {
            if coming.contains(&one.did) {
                later(answers, one);
            }
        }
        Ok(())
    }

    /// Those that runs of others wait for, or have forgotten.
    fn known(&self, heard: Vec<(Heard, ArtifactPath)>) -> Result<Vec<Known>, SyncError> {
        let paths: Vec<&ArtifactPath> = heard.iter().map(|(_, path)| path).collect();
        let claims = self.registry().claims_at(&self.root().name, &paths)?;
        let known = heard.into_iter().zip(claims);
        let known = known.map(|((heard, path), mut claims)| {
            claims.retain(|claim| self.is_carried(&claim.run));
            (heard, path, claims)
        });
        let open: Vec<Known> = known
            .filter(|(_, _, claims)| claims.iter().any(is_open))
            .collect();
        let mut ours = Vec::with_capacity(open.len());
        let mut scopes = BTreeMap::new();
        for (heard, path, claims) in open {
            if self.are_of_known(&heard.did.scope, &claims, &mut scopes)? {
                ours.push((heard, path, claims));
            }
        }
        Ok(ours)
    }

    /// Where artifacts have their own names, and a look is what confirms: looks, and keeps those that
    /// are not confirmed by that.
    fn look_first(&mut self, known: Vec<Known>) -> Result<Vec<Known>, SyncError> {
        if self.has_second_names() || self.root().confirm == ConfirmLevel::Trust {
            return Ok(known);
        }
        self.flow.datastore().check_identity()?;
        let looked = known
            .iter()
            .map(|(_, path, claims)| (path.clone(), claims.clone()));
        self.look_now(&looked.collect::<Vec<_>>())?;
        self.left(known)
    }

    /// Those that are still waited for, or forgotten.
    fn left(&self, known: Vec<Known>) -> Result<Vec<Known>, SyncError> {
        self.known(
            known
                .into_iter()
                .map(|(heard, path, _)| (heard, path))
                .collect(),
        )
    }

    fn ask_for(&mut self, known: Vec<Known>, answers: &mut [Taken]) -> Result<(), SyncError> {
        if known.is_empty() {
            return Ok(());
        }
        let dids: Vec<Did> = known.iter().map(|(heard, ..)| heard.did.clone()).collect();
        let here = self.list(&dids, false)?.here;
        let arrival = |(heard, path, claims): &Known| {
            let here: Here = here.get(&heard.did)?.clone();
            let (path, claims) = (path.clone(), claims.clone());
            Some(Arrival { path, here, claims })
        };
        self.take_in(known.iter().filter_map(arrival).collect())?;
        for (heard, _, claims) in self.left(known)? {
            let here = here.get(&heard.did);
            let is_busy = claims.iter().any(|claim| claim.busy);
            if is_busy || here.is_some_and(|here| !here.is_available()) {
                later(answers, &heard);
            }
        }
        Ok(())
    }

    fn deleted(&mut self, heard: Vec<Heard>, answers: &mut [Taken]) -> Result<(), SyncError> {
        let (mut gone, mut of) = (Vec::new(), Vec::new());
        for one in heard {
            if let Named::Other(path) = named(&one.did.name) {
                let scope = Some(one.did.scope.clone());
                gone.push(Gone { scope, path });
                of.push(one);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        for (one, fate) in of.iter().zip(self.forget(&gone)?) {
            if fate == Fate::Later {
                later(answers, one);
            }
        }
        Ok(())
    }

    /// Compares the runs, and the manifests of origins, that rules and locks are about.
    fn settled(&mut self, heard: &[Heard]) -> Result<(), SyncError> {
        let mut runs: BTreeMap<RunKey, RunRow> = BTreeMap::new();
        let mut origins: BTreeSet<(RepositoryId, Scope)> = BTreeSet::new();
        for one in heard {
            let name = named(&one.did.name);
            let found = self.runs_named(&name)?;
            match name {
                Named::Control(origin) => {
                    origins.insert((origin, one.did.scope.clone()));
                }
                // Its manifest has come with it.
                Named::Instalment(origin, _) if found.is_empty() => {
                    origins.insert((origin, one.did.scope.clone()));
                }
                Named::Instalment(..)
                | Named::Manifest(..)
                | Named::Other(_)
                | Named::Run(_)
                | Named::Nothing => {}
            }
            runs.extend(found.into_iter().map(|row| (row.key.clone(), row)));
        }
        for (origin, scope) in origins {
            if self.is_peer(origin) {
                self.control(origin, &scope)?;
            }
        }
        let runs: Vec<RunRow> = runs.into_values().collect();
        self.runs(&runs, true)
    }
}

/// Whether a claim is one for an artifact that comes.
fn is_open(claim: &ClaimAt) -> bool {
    claim.busy || (claim.wanted && claim.standing != ArtifactStanding::Confirmed)
}

fn later(answers: &mut [Taken], heard: &Heard) {
    let doubled = FIRST_PAUSE.saturating_mul(1 << heard.tries.min(16));
    if let Some(answer) = answers.get_mut(heard.index) {
        *answer = Taken::Later(doubled.min(LONGEST_PAUSE));
    }
}
