//! `remove-runs`: the plan first, then the removal.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use indicatif::HumanBytes;
use runsync_manifest::name::{RepositoryId, RseName, RunName};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::remover::Remover;
use crate::cli::source::Way;
use crate::registry::collection::Links;
use crate::registry::removal::Operation;
use crate::removal::{
    Plan, PlannedChain, PlannedRoot, PlannedRun, RemovalError, Request, Standing, State,
};

/// Remove runs: all their datasets, records and artifacts
///
/// Shows what would be removed and asks. Then no reader finds the runs any more, at once, and their
/// artifacts are deleted, but for those that other runs name too. There is no way back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunName>,
    /// The runs' origin, where several repositories own runs of these names
    #[arg(long, value_name = "UUID", value_parser = crate::cli::origin::parse)]
    origin: Option<RepositoryId>,
    /// Drop this site's copy of another repository's runs, and tell nobody
    #[arg(long)]
    local: bool,
    /// End the rules of published runs in Rucio at once, also where other sites do not have the removal
    /// manifest yet: their copies may vanish before they hear why
    #[arg(long, conflicts_with = "local")]
    now: bool,
    #[command(flatten)]
    agreement: Agreement,
}

/// How a plan is agreed to, and who carries it out.
#[derive(Debug, clap::Args)]
pub(crate) struct Agreement {
    #[command(flatten)]
    go_ahead: GoAhead,
    /// Do what the plan of this number says, also where it is larger than a removal usually may be
    #[arg(long, value_name = "PLAN_ID", conflicts_with_all = ["yes", "dry_run"])]
    pub(crate) approve: Option<String>,
    #[command(flatten)]
    pub(crate) way: Way,
}

/// Whether to go ahead.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct GoAhead {
    /// Show the plan and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl GoAhead {
    /// Whether to go ahead with the plan that was just shown.
    pub(crate) fn given(self, question: &str, context: &Context) -> Result<bool, Failure> {
        if self.dry_run || self.yes {
            return Ok(self.yes);
        }
        if context.json() || !io::stdin().is_terminal() {
            return Err(Failure::new("nobody is there to ask")
                .hint("`--yes` goes ahead without asking, `--dry-run` only shows the plan")
                .usage());
        }
        let mut error = io::stderr().lock();
        let asked = write!(error, "{question} [y/N] ").and_then(|()| error.flush());
        asked.map_err(Failure::from)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        let is_given = matches!(answer.trim(), "y" | "Y" | "yes");
        if !is_given {
            writeln!(error, "nothing was done")?;
        }
        Ok(is_given)
    }

    /// Whether somebody is asked.
    pub(crate) fn asks(self) -> bool {
        !self.dry_run && !self.yes
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let request = Request {
        operation: if args.local {
            Operation::DropCopy
        } else {
            Operation::RemoveRuns
        },
        runs: args.runs.clone(),
        chain: None,
        origin: args.origin,
        dataset_type: None,
        now: args.now,
    };
    carry_out(&request, &args.agreement, context)
}

/// Shows what would be removed, and has it removed where that is agreed to.
pub(crate) fn carry_out(
    request: &Request,
    agreement: &Agreement,
    context: &Context,
) -> Result<Outcome, Failure> {
    let remover = Remover::open(agreement.way, context)?;
    let plan = remover.plan(request)?;
    context.output().value(&Shown(&plan))?;
    if !go_ahead(agreement, &plan, context)? {
        return Ok(Outcome::Done);
    }
    let approved = agreement.approve.is_some();
    let standing = remover.remove(request, &plan, approved, context)?;
    tell(&standing, context)
}

/// Whether to go ahead with the plan: approved by its number, or consented to. Nobody is asked where
/// there is nothing to do.
pub(crate) fn go_ahead(
    agreement: &Agreement,
    plan: &Plan,
    context: &Context,
) -> Result<bool, Failure> {
    match &agreement.approve {
        None if plan.is_empty() => Ok(false),
        None => agreement.go_ahead.given("Remove them?", context),
        Some(approved) if *approved == plan.id => Ok(!plan.is_empty()),
        Some(approved) => {
            let approved = approved.clone();
            Err(RemovalError::PlanChanged { approved }.into())
        }
    }
}

/// Prints what a removal has come to; one that does not go on is a failure.
pub(crate) fn tell(standing: &Standing, context: &Context) -> Result<Outcome, Failure> {
    context.output().value(&Told(standing))?;
    match standing.state {
        State::Done | State::Late | State::AwaitsRucio | State::PartiallyRemoved => match &standing.untold {
            None => Ok(Outcome::Done),
            Some(reason) => Err(Failure::new(format!("other sites are not told yet: {reason}"))
                .hint("the removal manifest is written as soon as it can be: by the daemon, or by the next command that removes")),
        },
        State::Refused => Err(Failure::new(format!(
            "nothing was removed: {}",
            standing.reason.as_deref().unwrap_or("see the daemon's log")
        ))),
        State::Journaling | State::Waiting | State::Deleting | State::Reaping | State::Failed => {
            let removal = standing.removal;
            let failure = if let Some(reason) = &standing.reason {
                Failure::new(format!("removal {removal} does not go on: {reason}"))
            } else {
                let failed = standing.deletions.failed;
                Failure::new(format!("{failed} artifacts cannot be deleted"))
            };
            Err(failure.hint(format!(
                "nobody finds the runs any more, and the journal stays until all is deleted: put right what keeps the artifacts, then `runsync journal resume {removal}`"
            )))
        }
    }
}

/// A plan as it is shown.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Shown<'a>(pub(crate) &'a Plan);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        writeln!(f, "plan {}: {}", plan.id, plan.operation)?;
        if let Some(chain) = &plan.chain {
            write_chain(f, chain)?;
        }
        if plan.is_empty() {
            return write!(f, "  nothing to remove");
        }
        for run in &plan.runs {
            let extent = run.extent;
            write_name(f, run)?;
            writeln!(
                f,
                ": {} datasets, {} artifacts ({} not confirmed), {}",
                extent.datasets,
                extent.claims,
                extent.waiting,
                HumanBytes(extent.bytes)
            )?;
            write_links(f, &run.links)?;
            if run.own && plan.operation == Operation::Unstore {
                writeln!(
                    f,
                    "    this repository owns it, and whether another site has a copy is not known here"
                )?;
            }
            if let (true, Some(generation)) = (plan.operation.is_told(), run.floor) {
                writeln!(
                    f,
                    "    other sites are told by its removal manifest {generation}"
                )?;
            }
        }
        match plan.operation {
            Operation::Unstore => writeln!(
                f,
                "  datasets stay in the registry; their artifacts are not wanted here until `runsync restore`"
            )?,
            Operation::Forget => {
                writeln!(
                    f,
                    "  datasets and artifacts stay; only datastore records go"
                )?;
            }
            Operation::DropCopy => writeln!(f, "  other sites are not told")?,
            Operation::RemoveRuns | Operation::Purge | Operation::Cleanup | Operation::Follow => {}
        }
        write_rucio(f, plan)?;
        let total = plan.total;
        write!(
            f,
            "  {} runs in all: {} datasets, {} artifacts, {}",
            plan.runs.len(),
            total.datasets,
            total.claims,
            HumanBytes(total.bytes)
        )?;
        for above in &plan.above {
            write!(f, "\n  needs `--approve {}`: {above}", plan.id)?;
        }
        Ok(())
    }
}

/// What becomes of it in Rucio.
fn write_rucio(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    for PlannedRoot { root, rse } in &plan.left_to_rucio {
        writeln!(
            f,
            "  root {root}: Rucio deletes what it has at {rse}; what it does not have in any state is deleted here, once it has been asked"
        )?;
    }
    let Some(rucio) = &plan.rucio else {
        return Ok(());
    };
    for rule in &rucio.ends {
        writeln!(f, "  ends: {rule}")?;
    }
    if !rucio.ends.is_empty() && plan.operation.is_told() {
        let names: Vec<&str> = rucio.after.iter().map(RseName::as_str).collect();
        if plan.now {
            writeln!(f, "    at once, wherever its removal manifest is by then")?;
        } else {
            writeln!(
                f,
                "    once its removal manifest is available at {}",
                names.join(", ")
            )?;
        }
    }
    for rule in &rucio.stay {
        writeln!(f, "  stays, and keeps what it is on: {rule}")?;
    }
    if let Some(unknown) = &rucio.unknown {
        writeln!(f, "  which rules there are is not known now: {unknown}")?;
    }
    Ok(())
}

fn write_name(f: &mut fmt::Formatter<'_>, run: &PlannedRun) -> fmt::Result {
    write!(f, "  {}", run.run.name)?;
    if let Some(dataset_type) = &run.dataset_type {
        write!(f, ", {dataset_type}")?;
    }
    if run.omitted {
        write!(f, ", what its origin leaves out")?;
    }
    Ok(())
}

fn write_chain(f: &mut fmt::Formatter<'_>, chain: &PlannedChain) -> fmt::Result {
    let PlannedChain { name, removal, .. } = chain;
    let Some(removal) = removal else {
        return writeln!(f, "  {name} (chain): it stays, and so do its members");
    };
    writeln!(f, "  {name} (chain): it goes, too")?;
    for other in removal.collections.iter().flat_map(|one| &one.chains) {
        writeln!(f, "    chain {other} shows [deleted] in its place")?;
    }
    Ok(())
}

fn write_links(f: &mut fmt::Formatter<'_>, Links { chains, tags }: &Links) -> fmt::Result {
    for chain in chains {
        writeln!(f, "    chain {chain} shows [deleted] in its place")?;
    }
    if *tags > 0 {
        writeln!(f, "    {tags} tags on its datasets vanish")?;
    }
    Ok(())
}

/// What a removal has come to.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told<'a>(&'a Standing);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(standing) = self;
        let deletions = standing.deletions;
        write!(
            f,
            "removal {}: {} artifacts deleted ({})",
            standing.removal,
            deletions.deleted,
            HumanBytes(deletions.bytes)
        )?;
        for (count, what) in [
            (deletions.reaped, "are gone by Rucio's doing"),
            (deletions.absent, "were not there"),
            (deletions.other, "are other files by now and stay"),
            (deletions.failed, "cannot be deleted"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if deletions.held > 0 {
            let held = deletions.held;
            match standing.state {
                State::PartiallyRemoved => write!(
                    f,
                    "\npartially removed: rules of others keep {held} in Rucio, and they go when those end"
                )?,
                State::Journaling
                | State::Refused
                | State::Waiting
                | State::Deleting
                | State::Reaping
                | State::Late
                | State::AwaitsRucio
                | State::Failed
                | State::Done => write!(
                    f,
                    "\n{held} are still in Rucio, which deletes them: `runsync journal list` tells when that is done"
                )?,
            }
            for holder in &standing.holders {
                write!(f, "\n  {holder}")?;
            }
        }
        if let (State::AwaitsRucio, Some(reason)) = (standing.state, &standing.reason) {
            write!(f, "\nRucio is waited for: {reason}")?;
        }
        if let Some(until) = standing.late_until {
            write!(
                f,
                "\nwhat had not been seen here and arrives until {until:.0} is deleted then"
            )?;
        }
        Ok(())
    }
}
