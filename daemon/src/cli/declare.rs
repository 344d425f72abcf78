//! `declare`: tells Rucio of artifacts that are damaged here, or gone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use runsync_config::root::RootName;
use runsync_manifest::name::{ArtifactPath, RepositoryId, RunKey, RunName};
use serde::Serialize;

use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::progress;
use crate::clock::SystemClock;
use crate::ingest::differences;
use crate::ingest::flow::Flow;
use crate::publish::{Declaration, PublishError, ReplicaHere};
use crate::registry::record::WaitingArtifact;
use crate::rucio::Rucio;

/// Datasets whose artifacts are looked at together.
const TOGETHER: usize = 4_096;
/// What Rucio keeps as the reason.
const REASON: &str = "runsync: it is not what its manifest says";

/// Declare damaged or lost replicas of runs to Rucio: shows them; with `--yes`, does it
///
/// All artifacts of the runs are read and compared with what their manifests say. Of those that differ
/// or are not there, the ones that Rucio takes for available here are looked at once more, where Rucio
/// has them. Exit code 3 tells that there are some, and nothing was declared.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunName>,
    /// The repository that owns them, where several have runs of that name
    #[arg(long, value_name = "UUID")]
    origin: Option<RepositoryId>,
    /// Declare them bad, and not only suspicious: Rucio copies them anew from elsewhere, or gives them up as
    /// lost
    #[arg(long)]
    bad: bool,
    /// Declare nothing where more than so many are damaged: it may be the storage, and not the files
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: usize,
    /// Declare them, and not only show them
    #[arg(long)]
    yes: bool,
}

/// What became of one artifact.
#[derive(Debug, Serialize)]
struct Told {
    run: RunName,
    root: RootName,
    path: ArtifactPath,
    difference: String,
    outcome: String,
    #[serde(skip)]
    failed: bool,
}

impl Row for Told {
    const HEADER: &'static [&'static str] = &["run", "path", "difference", "outcome"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.run.to_string(),
            self.path.to_string(),
            self.difference.clone(),
            self.outcome.clone(),
        ]
    }
}

/// An artifact that is not what its manifest says, and in which way.
type Damaged = BTreeMap<ArtifactPath, (WaitingArtifact, String)>;

/// A replica that is not what Rucio takes it for either.
struct Replica {
    here: ReplicaHere,
    difference: String,
}

/// What is declared of one run in one root.
struct Case<'a> {
    run: &'a RunKey,
    flow: &'a Flow,
    replicas: Vec<Replica>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    // Neither registry nor ledger changes: a daemon may be at work meanwhile.
    let assembly = Assembly::open_read_only(context.site()?, Arc::new(SystemClock))?;
    let rucio = assembly.publishing.rucio()?;
    let runs = find_runs(args, &assembly)?;
    let mut told = Vec::new();
    let mut cases = Vec::new();
    let mut left = args.limit;
    for run in &runs {
        for flow in &assembly.flows {
            if flow.root().rse.is_none() {
                continue;
            }
            let damaged = damaged(run, flow, left, context)?;
            left -= damaged.len();
            let case = look_again(run, flow, damaged, (rucio, &assembly), &mut told)?;
            cases.push(case);
        }
    }
    let found = cases.iter().map(|case| case.replicas.len()).sum::<usize>();
    for case in cases {
        tell(case, args, (rucio, &assembly), &mut told)?;
    }
    let failed = told.iter().filter(|one| one.failed).count();
    context.output().rows(told)?;
    if failed > 0 {
        return Err(Failure::new(format!(
            "{failed} of {found} replicas were not declared"
        )));
    }
    if found > 0 && !args.yes {
        return Ok(Outcome::Differences);
    }
    Ok(Outcome::Done)
}

fn find_runs(args: &Args, assembly: &Assembly) -> Result<Vec<RunKey>, Failure> {
    let mut found = Vec::new();
    for name in &args.runs {
        let rows = assembly.parts.registry.runs(Some(name.as_str()))?;
        let mut keys: Vec<RunKey> = rows.into_iter().map(|row| row.key).collect();
        keys.retain(|key| key.name == *name);
        keys.retain(|key| args.origin.is_none_or(|origin| key.origin == origin));
        match keys.len() {
            0 => {
                return Err(
                    Failure::new(format!("cannot find run `{name}` in the registry"))
                        .hint("list the runs with `runsync query runs`"),
                );
            }
            1 => found.append(&mut keys),
            several => {
                return Err(
                    Failure::new(format!("{several} repositories own a run `{name}`"))
                        .hint("choose one with `--origin`")
                        .usage(),
                );
            }
        }
    }
    Ok(found)
}

/// The first look: at all artifacts of a run in a root, at most `limit` of which may be damaged.
fn damaged(run: &RunKey, flow: &Flow, limit: usize, context: &Context) -> Result<Damaged, Failure> {
    let registry = &flow.site().registry;
    let row = registry.run(run)?;
    let bar = progress::bar(
        context,
        "reading artifacts",
        row.map_or(0, |row| row.datasets),
    );
    let mut found = Damaged::new();
    let mut after = None;
    loop {
        let records = registry.records(run, after, TOGETHER)?;
        let Some(last) = records.last() else { break };
        after = Some(last.uuid);
        let ours = records
            .into_iter()
            .filter(|one| one.root == flow.root().name);
        let artifacts: BTreeMap<ArtifactPath, WaitingArtifact> = ours
            .map(|one| {
                let artifact = WaitingArtifact {
                    path: one.path.clone(),
                    size: one.size,
                    checksums: one.checksums,
                };
                (one.path, artifact)
            })
            .collect();
        let sorted: Vec<WaitingArtifact> = artifacts.values().cloned().collect();
        for difference in differences(&sorted, flow, &mut || ControlFlow::Continue(()))? {
            if let Some(artifact) = artifacts.get(&difference.path) {
                let one = (artifact.clone(), difference.detail);
                found.insert(difference.path, one);
            }
        }
        bar.inc(TOGETHER as u64);
        if found.len() > limit {
            return Err(Failure::new(format!(
                "more than {limit} artifacts are damaged or gone: nothing was declared"
            ))
            .hint("see whether the storage is all there; `--limit` allows more"));
        }
    }
    bar.finish_and_clear();
    Ok(found)
}

/// The second look: at those that Rucio takes for available, where it has them.
fn look_again<'a>(
    run: &'a RunKey,
    flow: &'a Flow,
    damaged: Damaged,
    (rucio, assembly): (&Rucio, &Assembly),
    told: &mut Vec<Told>,
) -> Result<Case<'a>, Failure> {
    let root = &flow.root().name;
    let paths: Vec<ArtifactPath> = damaged.keys().cloned().collect();
    let here = if paths.is_empty() {
        Vec::new()
    } else {
        assembly
            .publishing
            .replicas_here(rucio, root, run, &paths)?
    };
    let places: Vec<WaitingArtifact> = here
        .iter()
        .filter_map(|one| {
            let (artifact, _) = damaged.get(&one.path)?;
            Some(WaitingArtifact {
                path: one.place.clone(),
                ..artifact.clone()
            })
        })
        .collect();
    let again = differences(&places, flow, &mut || ControlFlow::Continue(()))?.into_iter();
    let mut again: BTreeMap<ArtifactPath, (bool, String)> = again
        .map(|one| (one.path, (one.is_certain, one.detail)))
        .collect();
    let mut here: BTreeMap<ArtifactPath, ReplicaHere> = here
        .into_iter()
        .map(|one| (one.path.clone(), one))
        .collect();
    let mut replicas = Vec::new();
    for (path, (_, difference)) in damaged {
        let replica = here.remove(&path);
        let outcome = match replica {
            None => "Rucio does not take it for available here",
            Some(here) => match again.remove(&here.place) {
                Some((true, difference)) => {
                    replicas.push(Replica { here, difference });
                    continue;
                }
                // What cannot be read may be whole.
                Some((false, _)) => "it could not be looked at, and is not declared",
                None => "where Rucio has it, it is as it should be",
            },
        };
        told.push(Told {
            run: run.name.clone(),
            root: root.clone(),
            path,
            difference,
            outcome: outcome.to_owned(),
            failed: false,
        });
    }
    Ok(Case {
        run,
        flow,
        replicas,
    })
}

/// Declares what is left, or shows that it would.
fn tell(
    case: Case<'_>,
    args: &Args,
    (rucio, assembly): (&Rucio, &Assembly),
    told: &mut Vec<Told>,
) -> Result<(), PublishError> {
    let (declaration, word) = if args.bad {
        (Declaration::Bad, "bad")
    } else {
        (Declaration::Suspicious, "suspicious")
    };
    let root = &case.flow.root().name;
    let (replicas, differences): (Vec<ReplicaHere>, Vec<String>) = case
        .replicas
        .into_iter()
        .map(|one| (one.here, one.difference))
        .unzip();
    let answers = if args.yes && !replicas.is_empty() {
        let how = (declaration, REASON);
        let declared = assembly
            .publishing
            .declare(rucio, (root, case.run), &replicas, how)?;
        declared
            .into_iter()
            .map(|refused| match refused {
                None => (format!("declared {word}"), false),
                Some(why) => (format!("not declared: {why}"), true),
            })
            .collect()
    } else {
        vec![(format!("would be declared {word}"), false); replicas.len()]
    };
    for ((here, difference), (outcome, failed)) in
        replicas.into_iter().zip(differences).zip(answers)
    {
        told.push(Told {
            run: case.run.name.clone(),
            root: root.clone(),
            path: here.path,
            difference,
            outcome,
            failed,
        });
    }
    Ok(())
}
