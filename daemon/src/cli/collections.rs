//! `collections`: what there is, what is in it, and changing it.

use std::fmt;
use std::io::{self, BufRead};

use runsync_manifest::name::{CollectionName, DatasetId, DatasetTypeName, RunName};
use serde::Serialize;

use crate::cli::collector::Collector;
use crate::cli::context::Context;
use crate::cli::exists::read_uuid;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::source::{Way, batch};
use crate::cli::tree::Tree;
use crate::registry::collection::{Chaining, Change, CollectionRow, Datasets};

/// List collections, and chain, tag and hide them
///
/// A chain is an ordered list of runs and collections; a tagged collection is a set of datasets. Both
/// only name what is in them: hiding or removing one deletes no dataset. Only its owner changes a
/// collection, or root and the daemon's own account.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List runs and collections
    List {
        /// Only this one and those below it, such as `u/alice`
        prefix: Option<String>,
        /// Hidden ones, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        way: Way,
    },
    /// Show what is in a chain, and in the chains in it
    Tree {
        /// The collection
        name: CollectionName,
        #[command(flatten)]
        way: Way,
    },
    /// Set what is in a chain, in order; makes it where it is not there
    Chain(Chain),
    /// Tag datasets; makes the collection where it is not there
    Associate(Tag),
    /// Take tags away
    Disassociate(Tag),
    /// Leave a collection out of `collections list`; nothing is deleted
    Hide(One),
    /// Show a hidden collection again
    Unhide(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The run or collection
    name: CollectionName,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Args)]
struct Chain {
    /// The chain
    name: CollectionName,
    /// Runs and collections
    #[arg(value_name = "MEMBER", required_unless_present = "drop_deleted")]
    members: Vec<CollectionName>,
    #[command(flatten)]
    how: How,
    /// Take out the places that show [deleted]
    #[arg(long, conflicts_with_all = ["members", "prepend", "extend", "remove"])]
    drop_deleted: bool,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
struct How {
    /// Put the members first and leave the others
    #[arg(long)]
    prepend: bool,
    /// Put the members last and leave the others
    #[arg(long)]
    extend: bool,
    /// Take the members out and leave the others
    #[arg(long)]
    remove: bool,
}

#[derive(Debug, clap::Args)]
struct Tag {
    /// The tagged collection
    name: CollectionName,
    /// Dataset UUIDs
    #[arg(value_name = "UUID", conflicts_with_all = ["run", "uuids"], required_unless_present_any = ["run", "uuids"])]
    datasets: Vec<DatasetId>,
    /// Read UUIDs from standard input, one a line: `--uuids -`
    #[arg(long, value_name = "-", value_parser = ["-"], conflicts_with = "run")]
    uuids: Option<String>,
    /// All datasets of this run
    #[arg(long, value_name = "RUN")]
    run: Option<RunName>,
    /// With `--run`: only of this dataset type
    #[arg(long = "type", value_name = "NAME", requires = "run")]
    dataset_type: Option<DatasetTypeName>,
    #[command(flatten)]
    way: Way,
}

impl Row for CollectionRow {
    const HEADER: &'static [&'static str] = &[
        "collection",
        "kind",
        "owner",
        "members",
        "deleted",
        "hidden",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.kind.to_string(),
            self.owner.clone().unwrap_or_else(|| "-".to_owned()),
            self.members.to_string(),
            self.deleted.to_string(),
            if self.hidden { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// What a change has come to.
#[derive(Debug, Serialize)]
struct Done<'n> {
    collection: &'n CollectionName,
    change: &'static str,
    count: u64,
    #[serde(skip)]
    what: &'static str,
}

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.collection, self.count, self.what)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List { prefix, all, way } => {
            let rows = way.open(context)?.collections(prefix.as_deref(), *all)?;
            context.output().rows(rows)?;
        }
        What::Tree { name, way } => {
            let tree = Tree::grow(name, &way.open(context)?)?;
            context.output().value(&tree)?;
        }
        What::Chain(chain) => {
            let change = chain.change();
            change_one(&chain.name, &change, chain.way, context)?;
        }
        What::Associate(tag) => {
            tag.each(context, |datasets| Change::Associate { datasets })?;
        }
        What::Disassociate(tag) => {
            tag.each(context, |datasets| Change::Disassociate { datasets })?;
        }
        What::Hide(One { name, way }) => change_one(name, &Change::Hide, *way, context)?,
        What::Unhide(One { name, way }) => change_one(name, &Change::Unhide, *way, context)?,
    }
    Ok(Outcome::Done)
}

fn change_one(
    name: &CollectionName,
    change: &Change,
    way: Way,
    context: &Context,
) -> Result<(), Failure> {
    let count = Collector::open(way, context)?.change(name, change)?;
    tell(name, change, count, context)
}

fn tell(
    collection: &CollectionName,
    change: &Change,
    count: u64,
    context: &Context,
) -> Result<(), Failure> {
    let what = match change {
        Change::Chain { .. } | Change::DropDeleted => "members",
        Change::Associate { .. } => "tags added",
        Change::Disassociate { .. } => "tags taken away",
        Change::Hide | Change::Unhide => "flags changed",
    };
    let done = Done {
        collection,
        change: change.as_str(),
        count,
        what,
    };
    Ok(context.output().value(&done)?)
}

impl Chain {
    fn change(&self) -> Change {
        if self.drop_deleted {
            return Change::DropDeleted;
        }
        Change::Chain {
            members: self.members.clone(),
            how: self.how.chaining(),
        }
    }
}

impl How {
    fn chaining(self) -> Chaining {
        if self.prepend {
            Chaining::Prepend
        } else if self.extend {
            Chaining::Extend
        } else if self.remove {
            Chaining::Remove
        } else {
            Chaining::Set
        }
    }
}

impl Tag {
    /// Makes the change for all datasets that are named; of many UUIDs so many at once.
    fn each(&self, context: &Context, of: impl Fn(Datasets) -> Change) -> Result<(), Failure> {
        let collector = Collector::open(self.way, context)?;
        let uuids = self.read()?;
        let parts: Vec<Datasets> = match &self.run {
            Some(run) => vec![Datasets::OfRun {
                run: run.clone(),
                dataset_type: self.dataset_type.clone(),
            }],
            None if uuids.is_empty() => vec![Datasets::Uuids(uuids)],
            None => uuids
                .chunks(batch(context.site()?))
                .map(|some| Datasets::Uuids(some.to_vec()))
                .collect(),
        };
        let mut total = 0;
        let mut last = of(Datasets::Uuids(Vec::new()));
        for part in parts {
            last = of(part);
            total += collector.change(&self.name, &last)?;
        }
        tell(&self.name, &last, total, context)
    }

    /// The UUIDs, of which all are read before anything is changed.
    fn read(&self) -> Result<Vec<DatasetId>, Failure> {
        if self.uuids.is_none() {
            return Ok(self.datasets.clone());
        }
        let mut uuids = Vec::new();
        for (number, line) in (1_u64..).zip(io::stdin().lock().lines()) {
            uuids.extend(read_uuid(line, number)?);
        }
        Ok(uuids)
    }
}
