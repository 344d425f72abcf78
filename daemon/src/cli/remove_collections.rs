//! `remove-collections`: the plan first, then the removal. No dataset goes.

use std::fmt;

use runsync_manifest::name::CollectionName;
use serde::Serialize;

use crate::cli::collector::Collector;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::remove_runs::GoAhead;
use crate::cli::source::Way;
use crate::registry::collection::{CollectionPlan, Kind};

/// Remove tagged collections and chains, and nothing that is in them
///
/// Shows what would be removed and asks. Chains that have one of them in it show [deleted] in its
/// place from then on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The collections
    #[arg(required = true, value_name = "NAME")]
    names: Vec<CollectionName>,
    #[command(flatten)]
    go_ahead: GoAhead,
    #[command(flatten)]
    way: Way,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let collector = Collector::open(args.way, context)?;
    let plan = collector.plan(&args.names)?;
    context.output().value(&Shown(&plan))?;
    if args.go_ahead.given("Remove them?", context)? {
        collector.remove(&args.names, &plan)?;
        let planned = plan.collections.iter();
        let removed = planned.map(|planned| &planned.row.name).collect();
        context.output().value(&Removed { removed })?;
    }
    Ok(Outcome::Done)
}

/// A plan as it is shown.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown<'a>(&'a CollectionPlan);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        write!(f, "plan {}: remove-collections", plan.id)?;
        for planned in &plan.collections {
            let row = &planned.row;
            let what = match row.kind {
                Kind::Chained => "members, which stay",
                Kind::Tagged | Kind::Run => "tags; the datasets stay",
            };
            write!(f, "\n  {} ({}): {} {what}", row.name, row.kind, row.members)?;
            for chain in &planned.chains {
                write!(f, "\n    chain {chain} shows [deleted] in its place")?;
            }
        }
        Ok(())
    }
}

/// What was removed.
#[derive(Debug, Serialize)]
struct Removed<'a> {
    removed: Vec<&'a CollectionName>,
}

impl fmt::Display for Removed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} collections removed", self.removed.len())
    }
}
