//! Tells Rucio of replicas whose files are lost or corrupt, so that it carries them here again.
//!
//! Before anything is done about them here: where Rucio does not answer, they are left for the next repair. At an
//! RSE that places files by an algorithm the replica is looked at where Rucio has it.

use std::collections::{BTreeMap, BTreeSet};

use runsync_manifest::name::{ArtifactPath, RunKey};

use super::RepairError;
use super::plan::{Item, Left};
use super::scene::Scene;
use crate::error_chain::error_chain;
use crate::ingest::differences;
use crate::ledger::repairs::RepairAct;
use crate::publish::{Declaration, PublishError, Publishing, ReplicaHere};
use crate::registry::record::WaitingArtifact;
use crate::rucio::Rucio;

/// What Rucio keeps as the reason.
const REASON: &str = "runsync: it is not what its manifest says";

/// What became of replicas that Rucio was told of, by artifact.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// What those that Rucio took were declared to be.
    pub(super) taken: BTreeMap<ArtifactPath, &'static str>,
    /// Why Rucio did not take the others. They are repaired here all the same.
    pub(super) refused: BTreeMap<ArtifactPath, String>,
}

impl Declared {
    fn of(
        word: &'static str,
        answers: impl IntoIterator<Item = (ArtifactPath, Option<String>)>,
    ) -> Self {
        let mut declared = Self::default();
        for (path, refused) in answers {
            match refused {
                Some(why) => drop(declared.refused.insert(path, why)),
                None => drop(declared.taken.insert(path, word)),
            }
        }
        declared
    }

    fn extend(&mut self, more: Self) {
        self.taken.extend(more.taken);
        self.refused.extend(more.refused);
        // An artifact of several runs may have been taken for one of them.
        let taken = &self.taken;
        self.refused.retain(|path, _| !taken.contains_key(path));
    }
}

/// Declares what of some items Rucio takes for available here; `room` is how many may still be declared. Returns
/// those that may be repaired, and adds the others to what is left.
pub(super) fn declare(
    scene: &Scene<'_>,
    publishing: &Publishing,
    (items, room): (Vec<Item>, &mut u64),
    left: &mut Vec<Left>,
) -> Result<(Vec<Item>, Declared), RepairError> {
    let (Ok(rucio), true) = (publishing.rucio(), scene.flow.root().rse.is_some()) else {
        return Ok((items, Declared::default()));
    };
    let mut runs: BTreeMap<RunKey, Vec<&Item>> = BTreeMap::new();
    for item in &items {
        if matches!(item.act, RepairAct::Forget | RepairAct::Unstore) {
            let named = item.said.iter().flat_map(|said| &said.runs);
            named.for_each(|run| runs.entry(run.clone()).or_default().push(item));
        }
    }
    let (mut declared, mut failed) = (Declared::default(), BTreeMap::new());
    for (run, items) in runs {
        match declare_of(scene, (publishing, rucio), (&run, &items), room) {
            Ok(done) => declared.extend(done),
            Err(Undeclared::Rucio(error)) => {
                let why = format!("its replica cannot be declared: {}", error_chain(&error));
                failed.extend(
                    items
                        .into_iter()
                        .map(|item| (item.path.clone(), why.clone())),
                );
            }
            Err(Undeclared::TooMany) => {
                let why =
                    "as many replicas are declared as one repair may (`[rucio.sync] declare_max`)";
                failed.extend(
                    items
                        .into_iter()
                        .map(|item| (item.path.clone(), why.to_owned())),
                );
            }
            Err(Undeclared::Here(error)) => return Err(error),
        }
    }
    let mut stand = Vec::with_capacity(items.len());
    for item in items {
        match failed.remove(&item.path) {
            Some(why) => left.push(Left {
                path: item.path,
                kind: item.kind,
                why,
            }),
            None => stand.push(item),
        }
    }
    Ok((stand, declared))
}

/// Why nothing of a run is declared.
enum Undeclared {
    Rucio(PublishError),
    TooMany,
    Here(RepairError),
}

impl From<PublishError> for Undeclared {
    fn from(error: PublishError) -> Self {
        Self::Rucio(error)
    }
}

fn declare_of(
    scene: &Scene<'_>,
    (publishing, rucio): (&Publishing, &Rucio),
    (run, items): (&RunKey, &[&Item]),
    room: &mut u64,
) -> Result<Declared, Undeclared> {
    let paths: Vec<ArtifactPath> = items.iter().map(|item| item.path.clone()).collect();
    let here = publishing.replicas_here(rucio, scene.root(), run, &paths)?;
    let replicas = damaged(scene, here, items).map_err(Undeclared::Here)?;
    if replicas.is_empty() {
        return Ok(Declared::default());
    }
    *room = room
        .checked_sub(replicas.len() as u64)
        .ok_or(Undeclared::TooMany)?;
    let declare = |how| publishing.declare(rucio, (scene.root(), run), &replicas, (how, REASON));
    let (word, answers) = match declare(Declaration::Bad) {
        Err(PublishError::MayNotDeclare { .. }) => {
            ("suspicious", declare(Declaration::Suspicious)?)
        }
        answers => ("bad", answers?),
    };
    let paths = replicas.into_iter().map(|replica| replica.path);
    Ok(Declared::of(word, paths.zip(answers)))
}

/// Replicas that are certainly not what they should be where Rucio has them.
fn damaged(
    scene: &Scene<'_>,
    here: Vec<ReplicaHere>,
    items: &[&Item],
) -> Result<Vec<ReplicaHere>, RepairError> {
    let said = |path: &ArtifactPath| {
        let item = items.iter().find(|item| item.path == *path);
        item.and_then(|item| item.said.as_ref())
    };
    let places = here.iter().filter_map(|one| {
        let said = said(&one.path)?;
        Some(WaitingArtifact {
            path: one.place.clone(),
            size: said.size,
            checksums: said.checksums,
        })
    });
    let found = differences(&places.collect::<Vec<_>>(), scene.flow)?.into_iter();
    let certain = found.filter(|one| one.is_certain).map(|one| one.path);
    let certain: BTreeSet<ArtifactPath> = certain.collect();
    Ok(here
        .into_iter()
        .filter(|one| certain.contains(&one.place))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(refused: &[(&str, Option<&str>)]) -> Declared {
        let answers = refused.iter().map(|(path, why)| {
            let path = path.parse().ok()?;
            Some((path, why.map(str::to_owned)))
        });
        Declared::of("bad", answers.flatten())
    }

    fn paths<T>(of: &BTreeMap<ArtifactPath, T>) -> Vec<&str> {
        of.keys().map(ArtifactPath::as_str).collect()
    }

    #[test]
    fn only_what_rucio_took_is_declared() {
        let declared = answers(&[("a", None), ("b", Some("Unknown replica")), ("c", None)]);
        assert_eq!(paths(&declared.taken), ["a", "c"]);
        assert_eq!(paths(&declared.refused), ["b"]);
    }

    #[test]
    fn what_is_taken_for_one_run_is_not_refused() {
        let mut declared = answers(&[("a", Some("Unknown replica")), ("b", None)]);
        declared.extend(answers(&[("a", None), ("b", Some("Already declared"))]));
        assert_eq!(paths(&declared.taken), ["a", "b"]);
        assert!(declared.refused.is_empty());
    }
}
