//! `removal`: what origins have removed and is still here.

use runsync_manifest::name::ManifestId;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::remove_runs::{GoAhead, Shown, go_ahead, tell};
use crate::cli::remover::Remover;
use crate::cli::source::Way;
use crate::ingest::following::{Asked, AskedState};

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
        go_ahead: GoAhead,
        /// Do what the plan of this number says, also where it is larger than a removal usually may
        /// be
        #[arg(long, value_name = "PLAN_ID", conflicts_with_all = ["yes", "dry_run"])]
        approve: Option<String>,
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

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List { way } => {
            let asked = Remover::open(*way, context)?.asked()?;
            context.output().rows(asked)?;
            Ok(Outcome::Done)
        }
        What::Confirm {
            manifest,
            go_ahead: given,
            approve,
            way,
        } => {
            let remover = Remover::open(*way, context)?;
            let plan = remover.plan_asked(*manifest)?;
            context.output().value(&Shown(&plan))?;
            if !go_ahead(*given, approve.as_deref(), &plan, context)? {
                return Ok(Outcome::Done);
            }
            let standing = remover.confirm(*manifest, &plan, approve.is_some(), context)?;
            tell(&standing, context)
        }
        What::Refuse { manifest, way } => {
            let asked = Remover::open(*way, context)?.refuse(*manifest)?;
            context.output().rows([asked])?;
            Ok(Outcome::Done)
        }
    }
}
