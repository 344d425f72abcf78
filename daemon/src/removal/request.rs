//! What is asked for, and the plan that is shown before anything is done.
//!
//! A plan's number is the digest of what it says. So a plan is the same plan only while it would
//! do the same, and nobody has to keep it: it is made anew and compared.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use runsync_config::removal::Removal as Caps;
use runsync_config::root::RootName;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{
    CollectionName, DatasetTypeName, ManifestId, RepositoryId, RseName, RunKey, RunName,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::RemovalError;
use super::flow::{Ground, NamedRoot};
use super::pattern::{self, PlannedChain};
use crate::adopted;
use crate::ledger::record::Holder;
use crate::registry::collection::{Actor, Links};
use crate::registry::conflict::Conflict;
use crate::registry::record::RunRow;
use crate::registry::removal::{Extent, Notice, Operation, RunPart, Which};
use crate::registry::{Registry, RegistryError};
use crate::schema::{GenerationSchema, RunKeySchema};

/// Datasets of a removal from which on its share of the site is asked for: a small site is soon
/// removed by half.
const SHARE_ASKED_ABOVE: u64 = 10_000;
/// Hexadecimal digits of a plan's number: enough that no two plans of a site are mistaken.
const PLAN_DIGITS: usize = 16;
/// Runs of one name that are looked at together.
const ORIGINS_PAGE: usize = 64;

/// Who asks: the owner of what is left where it fails.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Requester {
    /// The account's name.
    pub account: String,
    /// The user, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Whether a daemon was asked, which then sees it through.
    pub daemon: bool,
    /// Whether it may change what others own: root, and the daemon's account. Nothing that is written
    /// down may say that.
    #[serde(skip)]
    pub any: bool,
}

impl Requester {
    /// Whoever asks, as collections know accounts.
    pub fn actor(&self) -> Actor {
        Actor {
            account: self.account.clone(),
            any: self.any,
        }
    }
}

/// Says yes to a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The number of the plan that was seen: nothing is done where it would be another by now.
    pub plan: String,
    /// Whether it is approved by this number although it is larger than a removal usually may be.
    #[serde(default)]
    pub approved: bool,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is to be done.
    pub operation: Operation,
    /// The names of the runs; none where a chain is named.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunName>,
    /// The chain, of `purge` and `cleanup`, which choose its runs themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub chain: Option<CollectionName>,
    /// The origin of all of them, where several repositories own runs of these names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub origin: Option<RepositoryId>,
    /// Only their datasets of this type: of what leaves the datasets in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dataset_type: Option<DatasetTypeName>,
    /// Whether the rules of published runs end at once, and not only when other sites have the removal
    /// manifest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
}

/// What a removal would do, and nothing that is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Its number: the same as long as the same would be done.
    pub id: String,
    /// What is to be done.
    pub operation: Operation,
    /// The runs, by name.
    pub runs: Vec<PlannedRun>,
    /// The chain whose runs they are, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<PlannedChain>,
    /// All of them together.
    pub total: Extent,
    /// Why it is larger than a removal may be without being approved by its number; empty where it is
    /// not.
    pub above: Vec<String>,
    /// Whether the runs' rules end at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
    /// The roots whose artifacts Rucio deletes; runsync unlinks those of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_to_rucio: Vec<PlannedRoot>,
    /// What becomes of the runs in Rucio, as it is now: no part of the plan's number. None where the
    /// site has no Rucio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rucio: Option<PlannedInRucio>,
}

/// A root whose artifacts Rucio deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedRoot {
    /// The root.
    #[schema(value_type = String)]
    pub root: RootName,
    /// The RSE that it is.
    #[schema(value_type = String)]
    pub rse: RseName,
}

/// What becomes of a plan's runs in Rucio.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PlannedInRucio {
    /// Rules that end.
    pub ends: Vec<Holder>,
    /// Rules of others, which stay: while they do, the run is partially removed.
    pub stay: Vec<Holder>,
    /// RSEs that must have the removal manifest before any rule ends.
    #[schema(value_type = Vec<String>)]
    pub after: Vec<RseName>,
    /// Why Rucio could not be asked: what stands here is not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// A run in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedRun {
    /// The run.
    #[serde(flatten)]
    #[schema(value_type = RunKeySchema)]
    pub run: RunKey,
    /// Only its datasets of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dataset_type: Option<DatasetTypeName>,
    /// Only what its origin leaves out, and keeps the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub omitted: bool,
    /// Whether it is this repository's own.
    #[serde(default)]
    pub own: bool,
    /// The highest generation registered.
    #[schema(value_type = Option<GenerationSchema>)]
    pub generation: Option<Generation>,
    /// From then on manifests at or below it count for nothing. Of a removal by its origin: the
    /// generation of the removal manifest that tells other sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<GenerationSchema>)]
    pub floor: Option<Generation>,
    /// What it holds.
    #[serde(flatten)]
    pub extent: Extent,
    /// What of people's collections goes with it.
    #[serde(flatten)]
    pub links: Links,
}

impl PlannedRun {
    /// What of the run it is.
    pub fn part(&self) -> RunPart {
        let run = self.run.clone();
        if self.omitted {
            let which = Which::Omitted;
            return RunPart { run, which };
        }
        RunPart::of_type(run, self.dataset_type.clone())
    }
}

impl Plan {
    /// Finds out what `request` would do.
    ///
    /// # Errors
    ///
    /// Where a run is not there, is not this repository's to remove, or is being removed.
    pub(super) fn make(request: &Request, ground: &Ground) -> Result<Self, RemovalError> {
        let operation = request.operation;
        if operation == Operation::Follow {
            return Err(RemovalError::OnlyByManifest);
        }
        if request.dataset_type.is_some() && operation.takes_datasets() {
            return Err(RemovalError::OnlyWhole { operation });
        }
        if request.dataset_type.is_some()
            && operation.deletes()
            && let Some(root) = ground.roots.iter().find(|root| root.is_left_to_rucio())
        {
            let root = root.name.clone();
            return Err(RemovalError::OnlyWholeInRucio { root });
        }
        let mut names = request.runs.clone();
        names.sort_unstable();
        names.dedup();
        let (chain, mut rows) = pattern::choose(request, &*ground.registry)?;
        for name in &names {
            rows.push(find(name, request.origin, &*ground.registry)?);
        }
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            check_owner(&row.key, operation, ground.repository)?;
            check_not_guessed(&row.key, operation, &ground.roots)?;
            check_there(&row, ground)?;
            let mut run = planned(row, request, ground)?;
            if let Some(chain) = &chain {
                run.links.chains.retain(|name| !chain.takes_away(name));
            }
            runs.push(run);
        }
        let now = request.now && operation.is_told();
        Self::of((operation, now), chain, runs, ground)
    }

    /// A plan over runs that were looked at.
    pub(super) fn of(
        (operation, now): (Operation, bool),
        chain: Option<PlannedChain>,
        runs: Vec<PlannedRun>,
        ground: &Ground,
    ) -> Result<Self, RemovalError> {
        let mut total = Extent::default();
        for run in &runs {
            total.add(&run.extent);
        }
        let mut plan = Self {
            id: String::new(),
            operation,
            runs,
            chain,
            total,
            above: Vec::new(),
            now,
            left_to_rucio: left_to_rucio(operation, ground),
            rucio: None,
        };
        plan.above = plan.above(&ground.caps, &*ground.registry)?;
        plan.id = plan.number();
        Ok(plan)
    }

    /// Checks that it is the plan that was consented to, and approved where it has to be. Without
    /// anybody's consent it may be no larger than a removal usually is.
    ///
    /// # Errors
    ///
    /// [`RemovalError::PlanChanged`] where it is another;
    /// [`RemovalError::NotApproved`] where it is larger than consent alone allows.
    pub fn check(&self, consent: Option<&Consent>) -> Result<(), RemovalError> {
        if let Some(consent) = consent.filter(|consent| consent.plan != self.id) {
            let approved = consent.plan.clone();
            return Err(RemovalError::PlanChanged { approved });
        }
        if self.above.is_empty() || consent.is_some_and(|consent| consent.approved) {
            return Ok(());
        }
        Err(RemovalError::NotApproved {
            plan: self.id.clone(),
            above: self.above.join(", "),
        })
    }

    fn above(&self, caps: &Caps, registry: &dyn Registry) -> Result<Vec<String>, RemovalError> {
        let mut above = Vec::new();
        let Extent {
            datasets, bytes, ..
        } = self.total;
        if self.runs.len() > caps.runs_max {
            above.push(format!(
                "{} runs (at most {})",
                self.runs.len(),
                caps.runs_max
            ));
        }
        if datasets > caps.datasets_max {
            above.push(format!(
                "{datasets} datasets (at most {})",
                caps.datasets_max
            ));
        }
        if bytes > caps.bytes_max {
            above.push(format!("{bytes} bytes (at most {})", caps.bytes_max));
        }
        if datasets > SHARE_ASKED_ABOVE {
            let all = registry.runs(None)?.iter().map(|run| run.datasets).sum();
            if caps.share_max.is_exceeded_by(datasets, all) {
                let most = caps.share_max;
                above.push(format!("{datasets} of all {all} datasets (at most {most})"));
            }
        }
        Ok(above)
    }

    /// What the plan takes away.
    pub fn parts(&self) -> Vec<(RunPart, Extent)> {
        let runs = self.runs.iter();
        runs.map(|run| (run.part(), run.extent)).collect()
    }

    /// The floors that it raises.
    pub(super) fn floors(&self) -> impl Iterator<Item = (RunKey, Generation)> {
        let runs = self.runs.iter();
        runs.filter_map(|run| Some((run.run.clone(), run.floor?)))
    }

    /// What other sites are to be told.
    pub(super) fn notices(&self, created_at: Timestamp) -> Vec<Notice> {
        if !self.operation.is_told() {
            return Vec::new();
        }
        let notice = |(run, generation)| Notice {
            manifest: ManifestId(Uuid::now_v7()),
            run,
            generation,
            created_at,
            at_once: self.now,
        };
        self.floors().map(notice).collect()
    }

    /// What is confirmed meanwhile changes nothing of what is removed.
    fn number(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.operation.as_str());
        if let Some(chain) = &self.chain {
            digest.update(chain.text());
        }
        if self.now {
            digest.update("\nnow");
        }
        for left in &self.left_to_rucio {
            digest.update(format!("\n{} is Rucio's at {}", left.root, left.rse));
        }
        for run in &self.runs {
            let said = |generation: Option<Generation>| {
                generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string())
            };
            let Extent {
                datasets,
                claims,
                bytes,
                waiting: _,
            } = run.extent;
            let text = format!(
                "\n{} {} {} {} {} {} {datasets} {claims} {bytes}",
                run.run.origin,
                run.run.name,
                run.dataset_type.as_ref().map_or("-", |name| name.as_str()),
                run.omitted,
                said(run.generation),
                said(run.floor),
            );
            digest.update(text);
            digest.update(links_text(&run.links));
        }
        let mut number = HEXLOWER.encode(&digest.finalize());
        number.truncate(PLAN_DIGITS);
        number
    }
}

fn left_to_rucio(operation: Operation, ground: &Ground) -> Vec<PlannedRoot> {
    let roots = ground.roots.iter().filter(|_| operation.deletes());
    let left = roots.filter(|root| root.is_left_to_rucio());
    let planned = |root: &NamedRoot| {
        Some(PlannedRoot {
            root: root.name.clone(),
            rse: root.rse.clone()?,
        })
    };
    left.filter_map(planned).collect()
}

/// What a plan's number is made of, as far as collections are concerned.
fn links_text(Links { chains, tags }: &Links) -> String {
    let chains = chains.iter().map(|chain| format!("\n\t{chain}"));
    chains.chain([format!("\n\t{tags} tags")]).collect()
}

fn planned(row: RunRow, request: &Request, ground: &Ground) -> Result<PlannedRun, RemovalError> {
    let run = row.key;
    let floor = match request.operation {
        operation if operation.is_told() => Some(ground.taken(&run)?.choose(&run, None)?),
        // What lies in the root is another's to write: what was turned away there counts for nothing.
        Operation::DropCopy => ground.heard_of(&run)?.last(),
        Operation::RemoveRuns
        | Operation::Purge
        | Operation::Cleanup
        | Operation::Follow
        | Operation::Unstore
        | Operation::Forget => None,
    };
    let links = if request.operation.takes_datasets() {
        ground.registry.links(&run)?
    } else {
        Links::default()
    };
    let part = RunPart::of_type(run.clone(), request.dataset_type.clone());
    Ok(PlannedRun {
        extent: ground.registry.extent(&part)?,
        dataset_type: request.dataset_type.clone(),
        omitted: false,
        own: run.origin == ground.repository,
        generation: row.generation,
        floor,
        links,
        run,
    })
}

pub(super) fn find(
    name: &RunName,
    origin: Option<RepositoryId>,
    registry: &dyn Registry,
) -> Result<RunRow, RemovalError> {
    // A run's own name comes before those below it.
    let mut found = registry.runs_after(Some(name.as_str()), false, None, ORIGINS_PAGE)?;
    found.retain(|row| {
        row.key.name == *name && origin.is_none_or(|origin| row.key.origin == origin)
    });
    // A run of which only its row is left, such as an adopted one that gave way, makes no other ambiguous.
    if found.iter().any(|row| !row.is_removed()) {
        found.retain(|row| !row.is_removed());
    }
    match (found.pop(), found.len()) {
        (None, _) => Err(RemovalError::NoRun { name: name.clone() }),
        (Some(row), 0) => Ok(row),
        (Some(_), others) => Err(RemovalError::Ambiguous {
            name: name.clone(),
            count: others + 1,
        }),
    }
}

/// Checks that what would be left to Rucio has its names there: those of what was adopted are guessed, and
/// what Rucio does not list is unlinked.
fn check_not_guessed(
    run: &RunKey,
    operation: Operation,
    roots: &[NamedRoot],
) -> Result<(), RemovalError> {
    if !operation.deletes() || !adopted::is_adopted(run.origin) {
        return Ok(());
    }
    match roots.iter().find(|root| root.is_left_to_rucio()) {
        None => Ok(()),
        Some(root) => Err(RemovalError::AdoptedInRucio {
            run: run.name.clone(),
            root: root.name.clone(),
        }),
    }
}

/// Checks that there is anything of the run, if only half registered.
fn check_there(row: &RunRow, ground: &Ground) -> Result<(), RemovalError> {
    if !row.is_removed() {
        return Ok(());
    }
    let run = row.key.clone();
    if ground
        .registry
        .still_stands(&Conflict::RemovalUnderWay { run })?
    {
        let run = row.key.clone();
        return Err(RegistryError::RemovalUnderWay { run }.into());
    }
    let registering = ground.registry.registering()?;
    if registering.iter().any(|one| one.run == row.key) {
        return Ok(());
    }
    let name = row.key.name.clone();
    Err(RemovalError::Removed { name })
}

fn check_owner(
    run: &RunKey,
    operation: Operation,
    repository: RepositoryId,
) -> Result<(), RemovalError> {
    let own = run.origin == repository;
    let name = || run.name.clone();
    match operation {
        Operation::RemoveRuns | Operation::Purge | Operation::Cleanup if !own => {
            Err(RemovalError::Foreign { name: name() })
        }
        Operation::DropCopy if own => Err(RemovalError::Own { name: name() }),
        Operation::RemoveRuns
        | Operation::DropCopy
        | Operation::Purge
        | Operation::Cleanup
        | Operation::Follow
        | Operation::Unstore
        | Operation::Forget => Ok(()),
    }
}
