//! `cleanup`: runs that a chain's name owns and that are not in it go, by a plan that is shown first.

use runsync_manifest::name::CollectionName;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::remove_runs::{Agreement, carry_out};
use crate::registry::removal::Operation;
use crate::removal::Request;

/// Remove runs that were written for an output chain and are not in it any more
///
/// Those are the runs that are called CHAIN/TIMESTAMP, such as u/alice/out/20261127T120000Z, and that
/// others have replaced in the chain, which stays. Shows what would be removed and asks. A run that
/// another chain has in it is refused. There is no way back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The chain
    #[arg(value_name = "CHAIN")]
    chain: CollectionName,
    #[command(flatten)]
    agreement: Agreement,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let request = Request::of_chain(Operation::Cleanup, args.chain.clone());
    carry_out(&request, &args.agreement, context)
}
