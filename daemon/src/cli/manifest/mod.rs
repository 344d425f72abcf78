//! `manifest`: make manifests, and look into them.

mod root;

mod create;

mod compact;

mod inspect;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};

/// Make a manifest of a run, or look into one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Create(create::Args),
    Compact(compact::Args),
    /// Show what a manifest says of itself
    Show(inspect::Files),
    /// Check manifests against the format; needs no site
    Validate(inspect::Files),
    Verify(inspect::VerifyArgs),
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::Create(args) => create::run(args, context),
        What::Compact(args) => compact::run(args, context),
        What::Show(files) => inspect::show(files, context),
        What::Validate(files) => inspect::validate(files, context),
        What::Verify(args) => inspect::verify(args, context),
    }
}
