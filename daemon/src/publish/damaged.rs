//! Tells Rucio of replicas here whose files are not what they should be, or are gone.
//!
//! An operator has it done, or policy. Whoever asks has looked at the artifacts already; here Rucio is asked
//! which of them it counts on, and where it has them, so that the second look is at the replica itself: at an
//! RSE that places files by an algorithm that is another name than the artifact's. Rucio is asked before
//! that look: a file that is still being carried is there before it is listed as available.

use std::collections::{BTreeMap, BTreeSet};

use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RseName, RunKey};

use super::error::PublishError;
use super::flow::{PublishRoot, Publishing};
use super::place::Placing;
use crate::rucio::declare::Suspect;
use crate::rucio::permissions::Act;
use crate::rucio::replicas::{AVAILABLE, Anywhere, BAD, COPYING};
use crate::rucio::{Did, Rucio};

/// What a replica is declared to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declaration {
    /// Rucio counts it, and does nothing yet.
    Suspicious,
    /// It is no source any more, and is copied anew, or given up.
    Bad,
}

/// A replica at this site's RSE that Rucio takes for available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaHere {
    /// The artifact.
    pub path: ArtifactPath,
    /// Where Rucio has it in the root.
    pub place: ArtifactPath,
    /// What Rucio calls it.
    pub suspect: Suspect,
}

/// Artifacts of which Rucio lists no replica at this site's RSE as available.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unavailable {
    /// It has no replica of these here, in whatever state.
    pub gone: BTreeSet<ArtifactPath>,
    /// It has been told before that their replicas here are bad, and has others that are available.
    pub bad: BTreeSet<ArtifactPath>,
    /// The same, and it has no other.
    pub given_up: BTreeSet<ArtifactPath>,
    /// It is carrying these here.
    pub carried: BTreeSet<ArtifactPath>,
    /// It has replicas of these here, in these states; none where it does not list them, as where the RSE is closed
    /// for reading.
    pub others: BTreeMap<ArtifactPath, Option<String>>,
}

impl Publishing {
    /// Those of a run's artifacts in a root that Rucio takes for available there.
    ///
    /// # Errors
    ///
    /// Where Rucio, registry or ledger fails, or the RSE has files elsewhere than in the root, or in the place of
    /// another dataset's.
    pub fn replicas_here(
        &self,
        rucio: &Rucio,
        root: &RootName,
        run: &RunKey,
        paths: &[ArtifactPath],
    ) -> Result<Vec<ReplicaHere>, PublishError> {
        let (root, rse) = self.root_and_rse(root, run)?;
        let placing = Placing::find(rucio, &root.config, rse)?;
        let mut here = Vec::new();
        self.in_scopes(rucio, run, paths, &mut |dids| {
            for replica in rucio.replicas(dids, Some(rse))? {
                let replica = replica?;
                let is_available = replica.is(rse, AVAILABLE);
                let pfns = replica.rses.get(rse.as_str()).filter(|_| is_available);
                let (Some(pfns), Ok(path)) = (pfns, replica.name.parse::<ArtifactPath>()) else {
                    continue;
                };
                let Some(pfn) = pfns.first() else { continue };
                let did = Did::new(&replica.scope, replica.name);
                here.push(ReplicaHere {
                    place: placing.place(&did, &path, pfns)?,
                    path,
                    suspect: Suspect {
                        did,
                        pfn: pfn.clone(),
                    },
                });
            }
            Ok(())
        })?;
        self.are_no_others(&placing, &here)?;
        here.sort_by(|one, other| one.place.cmp(&other.place));
        Ok(here)
    }

    /// What Rucio has at a root's RSE of those of a run's artifacts that it does not take for available there.
    /// What it does not know at all is not among them.
    ///
    /// # Errors
    ///
    /// Where Rucio or ledger fails.
    pub fn unavailable_here(
        &self,
        rucio: &Rucio,
        root: &RootName,
        run: &RunKey,
        paths: &[ArtifactPath],
    ) -> Result<Unavailable, PublishError> {
        let (_, rse) = self.root_and_rse(root, run)?;
        let mut found = Unavailable::default();
        let (mut known, mut here) = (BTreeSet::new(), BTreeSet::new());
        self.in_scopes(rucio, run, paths, &mut |dids| {
            for replica in rucio.replicas(dids, None)? {
                let replica = replica?;
                let Ok(path) = replica.name.parse::<ArtifactPath>() else {
                    continue;
                };
                known.insert(path.clone());
                let is_elsewhere = replica.states.values().any(|state| state == AVAILABLE);
                match replica.states.get(rse.as_str()).map(String::as_str) {
                    Some(BAD) if is_elsewhere => drop(found.bad.insert(path)),
                    Some(BAD) => drop(found.given_up.insert(path)),
                    Some(COPYING) => drop(found.carried.insert(path)),
                    Some(state) => drop(found.others.insert(path, Some(state.to_owned()))),
                    None => {}
                }
            }
            let had = rucio.had_at(rse, dids, Anywhere::Yes)?;
            here.extend(had.iter().filter_map(|did| did.name.parse().ok()));
            Ok(())
        })?;
        let listed = |path: &ArtifactPath| {
            found.bad.contains(path)
                || found.given_up.contains(path)
                || found.carried.contains(path)
                || found.others.contains_key(path)
        };
        let unlisted: Vec<ArtifactPath> =
            here.iter().filter(|path| !listed(path)).cloned().collect();
        found
            .others
            .extend(unlisted.into_iter().map(|path| (path, None)));
        found.gone = &known - &here;
        Ok(found)
    }

    /// Checks that no replica lies in the place of another dataset's artifact: what is copied anew would take it.
    fn are_no_others(&self, placing: &Placing, here: &[ReplicaHere]) -> Result<(), PublishError> {
        let apart: Vec<&ReplicaHere> = here.iter().filter(|one| one.place != one.path).collect();
        let places: Vec<&ArtifactPath> = apart.iter().map(|one| &one.place).collect();
        let claimed = self.ground.registry.claimed(placing.root(), &places)?;
        let mut taken = apart.iter().zip(claimed).filter(|(_, claimed)| *claimed);
        taken.next().map_or(Ok(()), |(one, _)| {
            let Suspect { did, pfn } = &one.suspect;
            Err(placing.elsewhere(did, std::slice::from_ref(pfn)))
        })
    }

    /// Whether this account may declare replicas in a root bad.
    ///
    /// # Errors
    ///
    /// Where Rucio gives no answer.
    pub fn may_declare_bad(
        &self,
        rucio: &Rucio,
        root: &RootName,
        run: &RunKey,
    ) -> Result<bool, PublishError> {
        let (_, rse) = self.root_and_rse(root, run)?;
        Ok(rucio.denied(Act::DeclareBad(rse))?.is_none())
    }

    /// Declares replicas in a root; answers for each why Rucio has not taken it, in the order asked.
    ///
    /// # Errors
    ///
    /// [`PublishError::MayNotDeclare`] where the account may not; where Rucio fails some may be declared.
    pub fn declare(
        &self,
        rucio: &Rucio,
        (root, run): (&RootName, &RunKey),
        replicas: &[ReplicaHere],
        (declaration, reason): (Declaration, &str),
    ) -> Result<Vec<Option<String>>, PublishError> {
        let (_, rse) = self.root_and_rse(root, run)?;
        let suspects: Vec<Suspect> = replicas.iter().map(|one| one.suspect.clone()).collect();
        match declaration {
            Declaration::Suspicious => Ok(rucio.declare_suspicious(rse, &suspects, reason)?),
            Declaration::Bad => {
                if let Some(why) = rucio.denied(Act::DeclareBad(rse))? {
                    let rse = rse.clone();
                    return Err(PublishError::MayNotDeclare { rse, why });
                }
                Ok(rucio.declare_bad(rse, &suspects, reason)?)
            }
        }
    }

    pub(super) fn root_and_rse(
        &self,
        name: &RootName,
        run: &RunKey,
    ) -> Result<(&PublishRoot, &RseName), PublishError> {
        let mut roots = self.ground.roots.iter();
        let root = roots.find(|root| root.config.name == *name);
        let found = root.and_then(|root| Some((root, root.config.rse.as_ref()?)));
        found.ok_or_else(|| PublishError::NoRse {
            root: name.clone(),
            run: run.name.clone(),
        })
    }
}
