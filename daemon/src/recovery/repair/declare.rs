//! Tells Rucio of replicas whose files are lost or corrupt, so that it carries them here again.
//!
//! Before anything is done about them here: where Rucio does not answer, they are left for the next repair. At an
//! RSE that places files by an algorithm the replica is looked at where Rucio has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use runsync_config::root::{ConfirmLevel, Deleter};
use runsync_config::rucio::Declare;
use runsync_manifest::name::{ArtifactPath, RseName, RunKey};

use super::RepairError;
use super::plan::{Item, Left};
use super::scene::Scene;
use crate::error_chain::error_chain;
use crate::ingest::differences;
use crate::ledger::repairs::RepairAct;
use crate::publish::{Declaration, PublishError, Publishing, ReplicaHere, Unavailable};
use crate::registry::record::WaitingArtifact;
use crate::rucio::replicas::AVAILABLE;
use crate::rucio::{Did, Rucio};

/// What Rucio keeps as the reason.
const REASON: &str = "runsync: it is not what its manifest says";

/// Why an artifact is left that Rucio would not bring again.
const NEVER: &str = "its replica is not declared (`[repair] declare = \"never\"`), so that Rucio would not bring it again";

/// Why an artifact is left whose replica would have to be declared bad.
const ONLY_BAD: &str = "its replica may not be declared bad, and suspicious it would still be available: its record would come back, or its file stay";

/// What Rucio was told of replicas, by artifact.
pub(super) type Declared = BTreeMap<ArtifactPath, Told>;

/// What Rucio was told of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is bad: Rucio copies it anew.
    Bad,
    /// It is bad, and was told so before, by whomever: nothing is told again.
    BadBefore,
    /// It is suspicious, for this account may not say more: Rucio counts it, and copies nothing.
    Suspicious,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bad | Self::BadBefore => "bad",
            Self::Suspicious => "suspicious",
        })
    }
}

/// Declares what of some items Rucio takes for available here. Returns those that may be repaired, and adds the
/// others to what is left.
pub(super) fn declare(
    scene: &Scene<'_>,
    publishing: &Publishing,
    items: Vec<Item>,
    left: &mut Vec<Left>,
) -> Result<(Vec<Item>, Declared), RepairError> {
    if scene.flow.root().rse.is_none() {
        return Ok((items, Declared::default()));
    }
    let mut runs: BTreeMap<RunKey, Vec<&Item>> = BTreeMap::new();
    for item in items.iter().filter(|item| item.act.takes_records_back()) {
        let named = item.said.iter().flat_map(|said| &said.runs);
        named.for_each(|run| runs.entry(run.clone()).or_default().push(item));
    }
    let (mut declared, mut failed, mut gone) = (Declared::new(), BTreeMap::new(), BTreeSet::new());
    for (run, items) in runs {
        let answers = match publishing.rucio() {
            Ok(rucio) => declare_of(scene, (publishing, rucio), (&run, &items)),
            Err(error) => Err(error.into()),
        };
        match answers {
            Ok(answers) => {
                gone.extend(answers.gone);
                for (path, answer) in answers.told {
                    match answer {
                        Ok(told) => drop(declared.insert(path, told)),
                        Err(why) => drop(failed.insert(path, why)),
                    }
                }
            }
            Err(Undeclared::Rucio(error)) => {
                let why = format!("its replica cannot be declared: {}", error_chain(&error));
                failed.extend(
                    items
                        .into_iter()
                        .map(|item| (item.path.clone(), why.clone())),
                );
            }
            Err(Undeclared::Here(error)) => return Err(error),
        }
    }
    let mut stand = Vec::with_capacity(items.len());
    for mut item in items {
        item.is_brought = declared.contains_key(&item.path) || !gone.contains(&item.path);
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

/// What came of asking Rucio about artifacts of a run.
struct Answers {
    /// What it was told of each replica, or why an artifact is left.
    told: Vec<(ArtifactPath, Result<Told, String>)>,
    /// Artifacts that it knows and has no replica of here any more.
    gone: BTreeSet<ArtifactPath>,
}

/// Why nothing of a run is declared.
enum Undeclared {
    Rucio(PublishError),
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
) -> Result<Answers, Undeclared> {
    let paths: Vec<ArtifactPath> = items.iter().map(|item| item.path.clone()).collect();
    let here = publishing.replicas_here(rucio, scene.root(), run, &paths)?;
    let is_here = |path: &ArtifactPath| here.iter().any(|one| one.path == *path);
    let others: Vec<ArtifactPath> = paths.into_iter().filter(|path| !is_here(path)).collect();
    let Unavailable { gone, bad } =
        publishing.unavailable_here(rucio, scene.root(), run, &others)?;
    let replicas = damaged(scene, here, items).map_err(Undeclared::Here)?;
    let (replicas, mut answers) = with_others(scene, rucio, replicas)?;
    answers.gone = gone;
    let before = bad.into_iter().map(|path| (path, Ok(Told::BadBefore)));
    answers.told.extend(before);
    if replicas.is_empty() {
        return Ok(answers);
    }
    if scene.policy.declare == Declare::Never {
        let never = replicas
            .into_iter()
            .map(|one| (one.path, Err(NEVER.to_owned())));
        answers.told.extend(never);
        return Ok(answers);
    }
    let told = if scene.policy.declare == Declare::Bad
        && publishing.may_declare_bad(rucio, scene.root(), run)?
    {
        Told::Bad
    } else {
        Told::Suspicious
    };
    let (replicas, idle): (Vec<_>, Vec<_>) = replicas
        .into_iter()
        .partition(|one| told == Told::Bad || !needs_bad(scene, items, &one.path));
    let idle = idle
        .into_iter()
        .map(|one| (one.path, Err(ONLY_BAD.to_owned())));
    answers.told.extend(idle);
    if replicas.is_empty() {
        return Ok(answers);
    }
    let how = match told {
        Told::Bad | Told::BadBefore => Declaration::Bad,
        Told::Suspicious => Declaration::Suspicious,
    };
    let taken = publishing.declare(rucio, (scene.root(), run), &replicas, (how, REASON))?;
    let taken = replicas.into_iter().zip(taken);
    answers.told.extend(taken.map(|(replica, refused)| {
        let answer = refused.map_or(Ok(told), |why| Err(not_taken(told, &why)));
        (replica.path, answer)
    }));
    Ok(answers)
}

/// Whether nothing is won by calling a replica suspicious, which Rucio goes on to call available: its word is the
/// artifact's record, or its file is Rucio's to replace.
fn needs_bad(scene: &Scene<'_>, items: &[&Item], path: &ArtifactPath) -> bool {
    let root = scene.flow.root();
    let is_replaced = |item: &&Item| {
        item.path == *path && item.act == RepairAct::Unstore && root.deleter == Deleter::Rucio
    };
    root.confirm == ConfirmLevel::Trust || items.iter().any(is_replaced)
}

/// The replicas that Rucio has available elsewhere too, and why the others are left: a file whose last replica is
/// called bad is given up.
fn with_others(
    scene: &Scene<'_>,
    rucio: &Rucio,
    replicas: Vec<ReplicaHere>,
) -> Result<(Vec<ReplicaHere>, Answers), Undeclared> {
    let here = scene.flow.root().rse.as_ref().map(RseName::as_str);
    let mut elsewhere = BTreeSet::new();
    for some in replicas.chunks(rucio.config().bulk) {
        let dids: Vec<&Did> = some.iter().map(|one| &one.suspect.did).collect();
        let listed = rucio.replicas(&dids, None).map_err(PublishError::from)?;
        for replica in listed {
            let replica = replica.map_err(PublishError::from)?;
            let mut states = replica.states.iter();
            if states.any(|(rse, state)| Some(rse.as_str()) != here && state == AVAILABLE) {
                elsewhere.insert(Did::new(&replica.scope, replica.name));
            }
        }
    }
    let has_other = |one: &ReplicaHere| elsewhere.contains(&one.suspect.did);
    let (replicas, last): (Vec<_>, Vec<_>) = replicas.into_iter().partition(has_other);
    let left = last.into_iter().map(|one| {
        let why =
            "Rucio has no other replica that is available: declared bad, it would be given up";
        (one.path, Err(why.to_owned()))
    });
    let answers = Answers {
        told: left.collect(),
        gone: BTreeSet::new(),
    };
    Ok((replicas, answers))
}

/// Why an artifact is left of which Rucio has not heard: forgotten all the same it would be waited for in vain,
/// and no finding would tell.
fn not_taken(told: Told, why: &str) -> String {
    let next = match told {
        Told::Bad | Told::BadBefore => "",
        Told::Suspicious => {
            "; the account may not declare replicas bad, which Rucio takes by their names"
        }
    };
    format!("Rucio does not take that its replica is {told}: {why}{next}")
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
