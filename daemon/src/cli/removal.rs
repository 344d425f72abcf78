//! `removal`: what origins have removed and is still here.

use runsync_manifest::name::{ManifestId, RseName, RunName};

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::remove_runs::{Agreement, Shown, go_ahead, tell};
use crate::cli::remover::Remover;
use crate::cli::source::Way;
use crate::ingest::following::{Asked, AskedState};
use crate::ledger::record::{RuleEnding, RuleEndingState};

/// Show what other sites have removed of their runs, and follow or keep it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List what origins have removed and is still here
    List {
        #[command(flatten)]
        way: Way,
    },
    /// Remove here what an origin has removed
    Confirm {
        /// The manifest that says so, as `removal list` names it
        manifest: ManifestId,
        #[command(flatten)]
        agreement: Agreement,
    },
    /// List the runs whose rules are still to end in Rucio, and what they wait for
    Rules {
        /// Have the rules of these runs end at once, wherever their removal manifests are by now
        #[arg(long = "now", value_name = "RUN")]
        now: Vec<RunName>,
        #[command(flatten)]
        way: Way,
    },
    /// Keep what an origin has removed
    Refuse {
        /// The manifest that says so, as `removal list` names it
        manifest: ManifestId,
        #[command(flatten)]
        way: Way,
    },
}

impl Row for Asked {
    const HEADER: &'static [&'static str] = &[
        "manifest",
        "state",
        "content",
        "run",
        "generation",
        "site",
        "datasets",
        "since",
        "reason",
    ];

    fn cells(&self) -> Vec<String> {
        let state = match self.state {
            AskedState::Due => "due",
            AskedState::Waiting => "waiting",
            AskedState::Reported => "reported",
            AskedState::Refused => "refused",
            AskedState::UnderWay => "under way",
        };
        vec![
            self.manifest.to_string(),
            state.to_owned(),
            self.content.to_string(),
            self.run.name.to_string(),
            self.generation.to_string(),
            self.site.to_string(),
            self.datasets.to_string(),
            format!("{:.0}", self.since),
            self.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

impl Row for RuleEnding {
    const HEADER: &'static [&'static str] = &[
        "run",
        "state",
        "ended",
        "at",
        "waits for",
        "kept by",
        "since",
        "problem",
    ];

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        let waits_for = match (self.state, self.waits_for.as_slice()) {
            (RuleEndingState::Waiting, []) => "its removal manifest".to_owned(),
            (_, rses) => {
                let names: Vec<&str> = rses.iter().map(RseName::as_str).collect();
                names.join(", ")
            }
        };
        let holders: Vec<String> = self.holders.iter().map(ToString::to_string).collect();
        vec![
            self.run.name.to_string(),
            self.state.to_string(),
            self.ended.to_string(),
            self.rse.as_ref().map_or_else(dash, ToString::to_string),
            waits_for,
            holders.join("; "),
            format!("{:.0}", self.since),
            self.problem.clone().unwrap_or_else(dash),
        ]
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List { way } => {
            let asked = Remover::open(*way, context)?.asked()?;
            context.output().rows(asked)?;
            Ok(Outcome::Done)
        }
        What::Confirm {
            manifest,
            agreement,
        } => {
            let remover = Remover::open(agreement.way, context)?;
            let plan = remover.plan_asked(*manifest)?;
            context.output().value(&Shown(&plan))?;
            if !go_ahead(agreement, &plan, context)? {
                return Ok(Outcome::Done);
            }
            let approved = agreement.approve.is_some();
            let standing = remover.confirm(*manifest, &plan, approved, context)?;
            tell(&standing, context)
        }
        What::Rules { now, way } => {
            let rules = Remover::open(*way, context)?.rules(now)?;
            context.output().rows(rules)?;
            Ok(Outcome::Done)
        }
        What::Refuse { manifest, way } => {
            let asked = Remover::open(*way, context)?.refuse(*manifest)?;
            context.output().rows([asked])?;
            Ok(Outcome::Done)
        }
    }
}
