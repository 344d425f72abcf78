//! `journal`: the deletions that are under way, and whose they are.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::remove_runs::tell;
use crate::cli::remover::Remover;
use crate::cli::source::Way;
use crate::http::GivenUp;
use crate::removal::{JournalRow, JournalState};

/// Show deletions that are under way, continue one, or give it up
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the journals in all roots, and removals that are under way without one
    List {
        #[command(flatten)]
        way: Way,
    },
    /// Continue a removal, now that what kept its artifacts is put right
    Resume {
        /// The removal
        removal: Uuid,
        /// Continue it although it is this other account's
        #[arg(long, value_name = "NAME")]
        as_owner: Option<String>,
        #[command(flatten)]
        way: Way,
    },
    /// Give up what a removal could not delete: its artifacts stay, and nothing names them any more
    Drop {
        /// The removal
        removal: Uuid,
        /// Give it up although it is this other account's
        #[arg(long, value_name = "NAME")]
        as_owner: Option<String>,
        #[command(flatten)]
        way: Way,
    },
}

/// What was given up.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Dropped(GivenUp);

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GivenUp { removal, artifacts } = self.0;
        write!(
            f,
            "removal {removal}: given up; what is left of {artifacts} artifacts stays where it is"
        )
    }
}

impl Row for JournalRow {
    const HEADER: &'static [&'static str] = &[
        "removal",
        "state",
        "operation",
        "account",
        "begun",
        "root",
        "artifacts",
        "runs",
    ];

    fn cells(&self) -> Vec<String> {
        let state = match self.state {
            JournalState::Uncommitted => "uncommitted",
            JournalState::Committed => "committed",
            JournalState::AwaitsRucio => "awaits Rucio",
            JournalState::PartiallyRemoved => "partially removed",
            JournalState::Late => "late",
            JournalState::Reaping => "reaping",
            JournalState::Unknown => "unknown",
            JournalState::Unusable => "unusable",
        };
        let Some(of) = &self.of else {
            let dash = || "-".to_owned();
            return vec![
                self.name.clone(),
                state.to_owned(),
                dash(),
                dash(),
                dash(),
                self.in_root().to_owned(),
                dash(),
                self.reason.clone().unwrap_or_else(dash),
            ];
        };
        let names = of.runs.iter().map(|run| run.name.to_string());
        vec![
            of.removal.to_string(),
            state.to_owned(),
            of.operation.to_string(),
            of.account.clone(),
            format!("{:.0}", of.created_at),
            self.in_root().to_owned(),
            of.artifacts.to_string(),
            match (self.state, &self.reason) {
                (JournalState::PartiallyRemoved, Some(reason)) => reason.clone(),
                _ => names.collect::<Vec<_>>().join(", "),
            },
        ]
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::Drop {
            removal,
            as_owner,
            way,
        } => {
            let remover = Remover::open(*way, context)?;
            let given_up = remover.give_up(*removal, as_owner.clone())?;
            context.output().value(&Dropped(given_up))?;
            Ok(Outcome::Done)
        }
        What::List { way } => {
            let journals = Remover::open(*way, context)?.journals()?;
            context.output().rows(journals)?;
            Ok(Outcome::Done)
        }
        What::Resume {
            removal,
            as_owner,
            way,
        } => {
            let remover = Remover::open(*way, context)?;
            tell(
                &remover.resume(*removal, as_owner.clone(), context)?,
                context,
            )
        }
    }
}
