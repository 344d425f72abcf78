//! `purge`: a chain and the runs that its name owns go, by a plan that is shown first.

use runsync_manifest::name::CollectionName;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::remove_runs::{Agreement, carry_out};
use crate::registry::removal::Operation;
use crate::removal::Request;

/// Remove an output chain and the runs that were written for it
///
/// Those are the runs that are called CHAIN/TIMESTAMP, such as u/alice/out/20261127T120000Z, whether or
/// not they are in the chain; never its inputs. Shows what would be removed and asks. A run that
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
    let request = Request::of_chain(Operation::Purge, args.chain.clone());
    carry_out(&request, &args.agreement, context)
}
