//! `status`: what an operator wants to know first.

mod report;

use self::report::Report;
use crate::assembly::Readers;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::http::status;

/// Show runs, manifests, what is waited for, and what needs a hand
///
/// Answers from registry and ledger, whether or not the daemon runs and the roots are mounted. Shows
/// the first entries of each list; `--json` has them all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let readers = Readers::open(site)?;
    let status = status::collect(site, &readers, SystemClock.now())?;
    context.output().value(&Report(status))?;
    Ok(Outcome::Done)
}
