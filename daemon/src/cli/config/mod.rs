//! `config`: what the configuration says, and whether it can be used.

mod check;

mod import_ingestd;

mod online;

mod show;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};

/// Check or show the configuration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    ImportIngestd(import_ingestd::Args),
    /// Print the configuration with all defaults, and no secrets
    Show,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Check(args) => check::run(args, context),
        Command::ImportIngestd(args) => import_ingestd::run(args, context),
        Command::Show => show::run(context),
    }
}
