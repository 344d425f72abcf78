//! `status`: what an operator wants to know first.

mod report;

use self::report::Report;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::source::Way;

/// Show runs, manifests, what is waited for, and what needs a hand
///
/// Answers from registry and ledger, whether or not the roots are mounted. Shows the first entries of
/// each list; `--json` has them all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    way: Way,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let status = args.way.open(context)?.status()?;
    context.output().value(&Report(status))?;
    Ok(Outcome::Done)
}
