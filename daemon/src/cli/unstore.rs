//! `unstore`, `forget`, `restore`: what of runs is in the datastore, while the datasets stay.

use std::fmt;

use runsync_manifest::name::{DatasetTypeName, RepositoryId, RunName};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::remove_runs::{Agreement, carry_out};
use crate::cli::remover::Remover;
use crate::cli::source::Way;
use crate::http::{Restored, Wanted};
use crate::registry::removal::{Operation, Unwanted};
use crate::removal::Request;

/// Which datasets.
#[derive(Debug, clap::Args)]
struct Which {
    /// The runs' origin, where several repositories own runs of these names
    #[arg(long, value_name = "UUID", value_parser = crate::cli::origin::parse)]
    origin: Option<RepositoryId>,
    /// Only their datasets of this type
    #[arg(long, value_name = "NAME")]
    dataset_type: Option<DatasetTypeName>,
}

/// What `unstore` and `forget` are told.
#[derive(Debug, clap::Args)]
struct Taking {
    /// The runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<RunName>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    agreement: Agreement,
}

/// Delete artifacts of runs and their records at this site; the datasets stay in the registry
///
/// The artifacts are not wanted here from then on, also where manifests name them again, until
/// `restore`. Other sites are not told.
#[derive(Debug, clap::Args)]
pub(crate) struct Unstore {
    #[command(flatten)]
    taking: Taking,
}

/// Delete datastore records of runs at this site; datasets and artifacts stay
///
/// For artifacts that are known to be gone. Other sites are not told.
#[derive(Debug, clap::Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    taking: Taking,
}

/// Want artifacts of runs again that were unstored or forgotten
///
/// They are waited for as if their manifests had just come: whoever carries files has to bring
/// what was deleted.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The runs
    #[arg(required_unless_present = "list", value_name = "RUN")]
    runs: Vec<RunName>,
    #[command(flatten)]
    which: Which,
    /// List what is not wanted here
    #[arg(long, conflicts_with_all = ["runs", "origin", "dataset_type"])]
    list: bool,
    #[command(flatten)]
    way: Way,
}

impl Row for Unwanted {
    const HEADER: &'static [&'static str] =
        &["run", "dataset type", "origin", "unstored by", "since"];

    fn cells(&self) -> Vec<String> {
        let dataset_type = self.dataset_type.as_ref().map(ToString::to_string);
        vec![
            self.run.name.to_string(),
            dataset_type.unwrap_or_else(|| "-".to_owned()),
            self.run.origin.to_string(),
            self.account.clone(),
            format!("{:.0}", self.since),
        ]
    }
}

/// What is wanted again.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told(Restored);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Restored { parts }) = self;
        write!(f, "{parts} restored: their artifacts are waited for")
    }
}

pub(crate) fn unstore(args: &Unstore, context: &Context) -> Result<Outcome, Failure> {
    take(Operation::Unstore, &args.taking, context)
}

pub(crate) fn forget(args: &Forget, context: &Context) -> Result<Outcome, Failure> {
    take(Operation::Forget, &args.taking, context)
}

fn take(operation: Operation, args: &Taking, context: &Context) -> Result<Outcome, Failure> {
    let request = Request {
        operation,
        runs: args.runs.clone(),
        chain: None,
        origin: args.which.origin,
        dataset_type: args.which.dataset_type.clone(),
        now: false,
    };
    carry_out(&request, &args.agreement, context)
}

pub(crate) fn restore(args: &Restore, context: &Context) -> Result<Outcome, Failure> {
    let remover = Remover::open(args.way, context)?;
    if args.list {
        context.output().rows(remover.unwanted()?)?;
        return Ok(Outcome::Done);
    }
    let restored = remover.restore(&Wanted {
        runs: args.runs.clone(),
        origin: args.which.origin,
        dataset_type: args.which.dataset_type.clone(),
    })?;
    context.output().value(&Told(restored))?;
    Ok(Outcome::Done)
}
