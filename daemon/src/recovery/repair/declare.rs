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
use super::act::Order;
use super::plan::{Item, Left};
use super::scene::Scene;
use crate::beside::Ending;
use crate::error_chain::error_chain;
use crate::ingest::differences;
use crate::ledger::repairs::{NewDeclaration, RepairAct};
use crate::publish::{Declaration, PublishError, Publishing, ReplicaHere};
use crate::registry::record::WaitingArtifact;
use crate::rucio::replicas::AVAILABLE;
use crate::rucio::{Did, Rucio};

/// What Rucio keeps as the reason.
const REASON: &str = "runsync: it is not what its manifest says";

/// Why an artifact is left that Rucio would not bring again.
const NEVER: &str = "its replica is not declared (`[repair] declare = \"never\"`), so that Rucio would not bring it again";

/// Why an artifact is left whose replica would have to be declared bad.
const ONLY_BAD: &str = "its replica is not declared bad (`[repair] declare`, or the account may not), and suspicious it would still be available: its record would come back, or its file stay";

/// Why an artifact is left that nobody else has.
const LAST: &str =
    "Rucio has no other replica that is available: declared bad, it would be given up";

/// Why an artifact is left that nobody has any more.
const GIVEN_UP: &str =
    "its replica is bad, and Rucio has no other that is available: it gives it up";

/// What Rucio was told of replicas, by artifact.
pub(super) type Declared = BTreeMap<ArtifactPath, Told>;

/// What Rucio was told of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It is bad: Rucio copies it anew.
    Bad,
    /// It is bad, and was told so before, by whomever: nothing is told again.
    BadBefore,
    /// It is suspicious, for policy says no more, or the account may not: Rucio counts it, and copies nothing.
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

/// Tells Rucio, in one root.
pub(super) struct Declaring<'a> {
    pub(super) scene: &'a Scene<'a>,
    pub(super) publishing: &'a Publishing,
    pub(super) order: Order<'a>,
    /// Whether it is to be broken off.
    pub(super) ending: &'a Ending,
}

impl Declaring<'_> {
    /// Declares what of some items Rucio takes for available here. Returns those that may be repaired, and adds the
    /// others to what is left.
    pub(super) fn declare(
        &self,
        rucio: &Result<Rucio, PublishError>,
        items: Vec<Item>,
        left: &mut Vec<Left>,
    ) -> Result<(Vec<Item>, Declared), RepairError> {
        if self.scene.flow.root().rse.is_none() {
            return Ok((items, Declared::default()));
        }
        let mut runs: BTreeMap<RunKey, Vec<&Item>> = BTreeMap::new();
        for item in items.iter().filter(|item| item.act.takes_records_back()) {
            let named = item.said.iter().flat_map(|said| &said.runs);
            named.for_each(|run| runs.entry(run.clone()).or_default().push(item));
        }
        let mut all = Answers::default();
        let mut failed = BTreeMap::new();
        for (run, items) in runs {
            let answers = match rucio {
                Ok(rucio) => self.declare_of(rucio, &run, &items),
                Err(error) => Err(Undeclared::Rucio(error_chain(error))),
            };
            match answers {
                Ok(answers) => all.add(answers),
                Err(Undeclared::Rucio(error)) => {
                    let why = format!("its replica cannot be declared: {error}");
                    let items = items.into_iter();
                    failed.extend(items.map(|item| (item.path.clone(), why.clone())));
                }
                Err(Undeclared::Here(error)) => return Err(error),
            }
        }
        let mut declared = Declared::new();
        for (path, answer) in all.told {
            match answer {
                // Another run's word may have been just this repair's.
                Ok(Told::BadBefore) => drop(declared.entry(path).or_insert(Told::BadBefore)),
                Ok(told) => drop(declared.insert(path, told)),
                Err(why) => drop(failed.insert(path, why)),
            }
        }
        let mut stand = Vec::with_capacity(items.len());
        for mut item in items {
            // A replica that one run's file has lost may be there as another's.
            item.is_brought = declared.contains_key(&item.path)
                || !all.gone.contains(&item.path)
                || all.here.contains(&item.path);
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

    fn declare_of(
        &self,
        rucio: &Rucio,
        run: &RunKey,
        items: &[&Item],
    ) -> Result<Answers, Undeclared> {
        let (scene, publishing) = (self.scene, self.publishing);
        let (here, mut answers) = self.ask(rucio, run, items)?;
        let replicas = self.damaged(here, items)?;
        let (replicas, last) = with_others(scene, rucio, replicas)?;
        answers.leave(last, LAST);
        if replicas.is_empty() {
            return Ok(answers);
        }
        if scene.policy.declare == Declare::Never {
            answers.leave(replicas, NEVER);
            return Ok(answers);
        }
        let may = scene.policy.declare == Declare::Bad
            && publishing.may_declare_bad(rucio, scene.root(), run)?;
        let (told, how) = if may {
            (Told::Bad, Declaration::Bad)
        } else {
            (Told::Suspicious, Declaration::Suspicious)
        };
        let (replicas, idle): (Vec<_>, Vec<_>) = replicas
            .into_iter()
            .partition(|one| told == Told::Bad || !needs_bad(scene, items, &one.path));
        answers.leave(idle, ONLY_BAD);
        if replicas.is_empty() {
            return Ok(answers);
        }
        self.note(&replicas)?;
        let taken = publishing.declare(rucio, (scene.root(), run), &replicas, (how, REASON))?;
        let taken = replicas.into_iter().zip(taken);
        answers.told.extend(taken.map(|(replica, refused)| {
            let answer = refused.map_or(Ok(told), |why| Err(not_taken(told, &why)));
            (replica.path, answer)
        }));
        Ok(answers)
    }

    /// What Rucio has here of artifacts of a run: the replicas that it takes for available, and what it says of the
    /// others.
    fn ask(
        &self,
        rucio: &Rucio,
        run: &RunKey,
        items: &[&Item],
    ) -> Result<(Vec<ReplicaHere>, Answers), Undeclared> {
        let (publishing, root) = (self.publishing, self.scene.root());
        let paths: Vec<ArtifactPath> = items.iter().map(|item| item.path.clone()).collect();
        let available = publishing.replicas_here(rucio, root, run, &paths)?;
        let here: BTreeSet<ArtifactPath> = available.iter().map(|one| one.path.clone()).collect();
        let others = paths.into_iter().filter(|path| !here.contains(path));
        let others: Vec<ArtifactPath> = others.collect();
        let others = publishing.unavailable_here(rucio, root, run, &others)?;
        let mut answers = Answers {
            gone: others.gone,
            here,
            ..Answers::default()
        };
        answers.here.extend(others.bad.iter().cloned());
        answers.here.extend(others.carried);
        let bad = others.bad.into_iter();
        answers
            .told
            .extend(bad.map(|path| (path, Ok(Told::BadBefore))));
        let given_up = others.given_up.into_iter();
        let given_up = given_up.map(|path| (path, Err(GIVEN_UP.to_owned())));
        answers.told.extend(given_up);
        let doubtful = others.others.into_iter();
        let doubtful = doubtful.map(|(path, state)| (path, Err(not_available(state.as_deref()))));
        answers.told.extend(doubtful);
        Ok((available, answers))
    }

    /// Writes down what Rucio is about to be told.
    fn note(&self, replicas: &[ReplicaHere]) -> Result<(), RepairError> {
        let scene = self.scene;
        scene.ledger().note_declaration(&NewDeclaration {
            repair: self.order.repair,
            root: scene.root().clone(),
            replicas: replicas.len() as u64,
            approved: self.order.approved,
            at: scene.now(),
        })?;
        Ok(())
    }

    /// Replicas that are certainly not what they should be where Rucio has them.
    fn damaged(
        &self,
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
        let places: Vec<WaitingArtifact> = places.collect();
        let found = differences(&places, self.scene.flow, &mut || self.ending.go_on())?;
        let certain = found.into_iter().filter(|one| one.is_certain);
        let certain: BTreeSet<ArtifactPath> = certain.map(|one| one.path).collect();
        let mut here = here;
        here.retain(|one| certain.contains(&one.place));
        Ok(here)
    }
}

/// What came of asking Rucio about artifacts.
#[derive(Default)]
struct Answers {
    /// What it was told of each replica, or why an artifact is left.
    told: Vec<(ArtifactPath, Result<Told, String>)>,
    /// Artifacts that it knows and has no replica of here any more.
    gone: BTreeSet<ArtifactPath>,
    /// Artifacts that it has here, or is carrying here.
    here: BTreeSet<ArtifactPath>,
}

impl Answers {
    fn add(&mut self, others: Self) {
        self.told.extend(others.told);
        self.gone.extend(others.gone);
        self.here.extend(others.here);
    }

    fn leave(&mut self, replicas: Vec<ReplicaHere>, why: &str) {
        let replicas = replicas.into_iter();
        self.told
            .extend(replicas.map(|one| (one.path, Err(why.to_owned()))));
    }
}

/// Why nothing of a run is declared.
enum Undeclared {
    Rucio(String),
    Here(RepairError),
}

impl From<PublishError> for Undeclared {
    fn from(error: PublishError) -> Self {
        Self::Rucio(error_chain(&error))
    }
}

impl From<RepairError> for Undeclared {
    fn from(error: RepairError) -> Self {
        Self::Here(error)
    }
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

/// The replicas that Rucio has available elsewhere too, and the others: a file whose last replica is called bad is
/// given up.
fn with_others(
    scene: &Scene<'_>,
    rucio: &Rucio,
    replicas: Vec<ReplicaHere>,
) -> Result<(Vec<ReplicaHere>, Vec<ReplicaHere>), PublishError> {
    let here = scene.flow.root().rse.as_ref().map(RseName::as_str);
    let mut elsewhere = BTreeSet::new();
    for some in replicas.chunks(rucio.config().bulk) {
        let dids: Vec<&Did> = some.iter().map(|one| &one.suspect.did).collect();
        for replica in rucio.replicas(&dids, None)? {
            let replica = replica?;
            let mut states = replica.states.iter();
            if states.any(|(rse, state)| Some(rse.as_str()) != here && state == AVAILABLE) {
                elsewhere.insert(Did::new(&replica.scope, replica.name));
            }
        }
    }
    let has_other = |one: &ReplicaHere| elsewhere.contains(&one.suspect.did);
    Ok(replicas.into_iter().partition(has_other))
}

/// Why an artifact is left whose replica Rucio has here, and not as available: told nothing, Rucio would go on with
/// it as it does, and forgotten it would be waited for in vain.
fn not_available(state: Option<&str>) -> String {
    match state {
        Some(state) => format!("Rucio has its replica here as {state}: it is not declared"),
        None => "Rucio has its replica here and does not list it, as where the RSE is closed for reading: it is not declared".to_owned(),
    }
}

/// Why an artifact is left of which Rucio has not heard: forgotten all the same it would be waited for in vain,
/// and no finding would tell.
fn not_taken(told: Told, why: &str) -> String {
    let next = match told {
        Told::Bad | Told::BadBefore => "",
        Told::Suspicious => {
            "; replicas that are declared bad it takes by their names (`[repair] declare`, and what the account may)"
        }
    };
    format!("Rucio does not take that its replica is {told}: {why}{next}")
}
