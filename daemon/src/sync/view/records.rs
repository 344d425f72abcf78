//! Records, by path, asked of Rucio: what it has not here, has in another state, or knows otherwise.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runsync_manifest::name::ArtifactPath;

use super::flow::Way;
use crate::ledger::scans::{Drift, DriftKind, Span, after};
use crate::ledger::spans::without;
use crate::registry::record::{ArtifactAt, ArtifactStanding, ClaimAt};
use crate::rucio::Did;
use crate::rucio::replicas::Anywhere;
use crate::spelling::folded;
use crate::sync::SyncError;
use crate::sync::arrivals::differs;
use crate::sync::root::{Here, RootSync};

/// An artifact that is recorded here, and what Rucio may call it.
struct Asked {
    artifact: ArtifactAt,
    dids: Vec<Did>,
    /// Whether manifests tell that these are its scopes.
    are_told: bool,
}

/// What a page of records came to.
#[derive(Default)]
struct Page {
    found: Vec<Drift>,
    holes: Vec<Span>,
}

impl RootSync<'_, '_> {
    /// Goes through the records to their end, or as far as the budget allows.
    pub(super) fn ask_for_records(&mut self, way: &mut Way) -> Result<(), SyncError> {
        let most = self.rucio.config().bulk;
        while let Some(from) = way.row.position.clone() {
            let root = &self.root().name;
            let records = self.registry().artifacts_between(root, &from, None, most)?;
            let next = (records.len() == most)
                .then(|| records.last())
                .flatten()
                .map(|last| after(last.path.as_str()));
            let page = self.records(way, records)?;
            let span = Span {
                from,
                until: next.clone(),
            };
            let concluded = without(&span, &page.holes);
            self.note_way(way, next, (&page.found, &concluded))?;
            if self.budget.is_spent() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn records(&mut self, way: &mut Way, records: Vec<ArtifactAt>) -> Result<Page, SyncError> {
        let mut page = Page::default();
        let asked = self.of_rucio(way, records, &mut page)?;
        let dids: Vec<Did> = asked.iter().flat_map(|one| one.dids.clone()).collect();
        let here = self.list(&dids, false)?.here;
        let had = self.had_unlisted(&asked, &here)?;
        let mut suspects = Vec::new();
        for one in asked {
            let listed = one.dids.iter().find_map(|did| here.get(did));
            let drift = match listed {
                Some(here) => otherwise(&one.artifact, here),
                // An RSE that is closed for reading lists nothing, and has lost nothing.
                None if one.dids.iter().any(|did| had.contains(did)) => {
                    way.counts.undecided += 1;
                    page.holes.push(Span::at(one.artifact.path.as_str()));
                    continue;
                }
                // It may be in a scope that nobody here knows of.
                None if !one.are_told => {
                    way.counts.undecided += 1;
                    page.holes.push(Span::at(one.artifact.path.as_str()));
                    continue;
                }
                None => Some((
                    DriftKind::SiteOnly,
                    "Rucio has no replica of it here".to_owned(),
                )),
            };
            match drift {
                Some((kind, detail)) => suspects.push((one.artifact, kind, detail)),
                None => way.counts.agree += 1,
            }
        }
        self.still_recorded(way, suspects, &mut page)?;
        Ok(page)
    }

    /// Those of the records that Rucio should have.
    fn of_rucio(
        &mut self,
        way: &mut Way,
        records: Vec<ArtifactAt>,
        page: &mut Page,
    ) -> Result<Vec<Asked>, SyncError> {
        let (recorded, others): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|one| one.standing == ArtifactStanding::Confirmed && !one.busy);
        for one in others.iter().filter(|one| one.busy) {
            way.counts.undecided += 1;
            page.holes.push(Span::at(one.path.as_str()));
        }
        let paths: Vec<&ArtifactPath> = recorded.iter().map(|one| &one.path).collect();
        let claims = self.registry().claims_at(&self.root().name, &paths)?;
        let mut in_rucio = BTreeMap::new();
        let mut asked = Vec::new();
        for (artifact, claims) in recorded.into_iter().zip(claims) {
            let (mut dids, mut are_told) = (BTreeSet::new(), true);
            for claim in claims.iter().filter(|claim| is_recorded(claim)) {
                if self.is_in_rucio(&claim.run, &mut in_rucio)? {
                    let of_run = self.remembered(&claim.run, &mut way.scopes)?;
                    are_told &= of_run.are_told;
                    let named = |scope| Did::new(scope, artifact.path.as_str());
                    dids.extend(of_run.all.iter().map(named));
                }
            }
            // What Rucio cannot have is nothing of its.
            dids.retain(|did| self.rucio.schema().check(did).is_ok());
            if dids.is_empty() {
                way.counts.not_of_rucio += 1;
                continue;
            }
            way.counts.records += 1;
            let dids = dids.into_iter().collect();
            asked.push(Asked {
                artifact,
                dids,
                are_told,
            });
        }
        Ok(asked)
    }

    /// Of those that Rucio has not listed, those that it has all the same, asked in two ways.
    fn had_unlisted(
        &mut self,
        asked: &[Asked],
        here: &HashMap<Did, Here>,
    ) -> Result<BTreeSet<Did>, SyncError> {
        let unlisted = asked
            .iter()
            .filter(|one| !one.dids.iter().any(|did| here.contains_key(did)));
        let unlisted: Vec<&Did> = unlisted.flat_map(|one| &one.dids).collect();
        let mut had = BTreeSet::new();
        for anywhere in [Anywhere::No, Anywhere::Yes] {
            let left: Vec<&Did> = (unlisted.iter().copied())
                .filter(|did| !had.contains(*did))
                .collect();
            if !left.is_empty() {
                self.budget.ask()?;
                had.extend(self.rucio.had_at(self.rse, &left, anywhere)?);
            }
        }
        Ok(had)
    }

    /// Keeps of what is suspect that which is recorded still, after Rucio has answered.
    fn still_recorded(
        &self,
        way: &mut Way,
        suspects: Vec<(ArtifactAt, DriftKind, String)>,
        page: &mut Page,
    ) -> Result<(), SyncError> {
        if suspects.is_empty() {
            return Ok(());
        }
        let paths: Vec<&ArtifactPath> = suspects.iter().map(|(one, ..)| &one.path).collect();
        let claims = self.registry().claims_at(&self.root().name, &paths)?;
        for ((artifact, kind, detail), claims) in suspects.into_iter().zip(claims) {
            let is_still = claims.iter().any(is_recorded) && !claims.iter().any(|one| one.busy);
            if !is_still {
                way.counts.undecided += 1;
                page.holes.push(Span::at(artifact.path.as_str()));
                continue;
            }
            page.found.push(Drift {
                kind,
                detail,
                size: Some(artifact.size),
                identity: None,
                claimed: true,
                run: claims
                    .iter()
                    .find(|one| is_recorded(one))
                    .map(|one| one.run.name.clone()),
                folded: folded(artifact.path.as_str()),
                path: artifact.path,
            });
        }
        Ok(())
    }
}

fn is_recorded(claim: &ClaimAt) -> bool {
    claim.standing == ArtifactStanding::Confirmed
}

/// In which way Rucio's replica is another than the record.
fn otherwise(artifact: &ArtifactAt, here: &Here) -> Option<(DriftKind, String)> {
    if let Some(detail) = differs(here, artifact.size, &artifact.checksums) {
        return Some((DriftKind::RucioDiffers, detail));
    }
    let state = &here.state;
    (!here.is_available()).then(|| {
        (
            DriftKind::RucioState,
            format!("it is recorded here, and {state} in Rucio"),
        )
    })
}
