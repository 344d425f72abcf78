//! `requests`: what operators asked of the daemon, and who.

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::source::Way;
use crate::ledger::record::RequestRow;

/// List what was asked of the daemon, by whom, and what came of it, newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many to list
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    way: Way,
}

impl Row for RequestRow {
    const HEADER: &'static [&'static str] = &["at", "account", "what", "subject", "outcome"];

    fn cells(&self) -> Vec<String> {
        let account = match self.uid {
            Some(_) => self.account.clone(),
            None => format!("token {}", self.account),
        };
        vec![
            format!("{:.0}", self.at),
            account,
            self.what.clone(),
            self.subject.clone(),
            self.outcome.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let requests = args.way.open(context)?.requests(args.limit)?;
    context.output().rows(requests)?;
    Ok(Outcome::Done)
}
