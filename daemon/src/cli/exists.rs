//! `exists`: are these datasets here? Answered from records; no root is looked at.

use std::io::{self, BufRead};

use runsync_manifest::name::DatasetId;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::cli::output::Output;
use crate::cli::source::{BATCH, Source, Way};

/// Characters of a wrong line that an error shows.
const EXCERPT: usize = 60;

/// Tell for each dataset whether it is here: yes, pending or no (JSON Lines)
///
/// yes: all its artifacts have datastore records. pending: a registered manifest names it, and at
/// least one artifact is not confirmed. no: neither. Answers come in the order of the questions,
/// one object a line, with or without `--json`; no storage is looked at.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Dataset UUIDs; without any they are read from standard input, one a line
    #[arg(value_name = "UUID")]
    datasets: Vec<DatasetId>,
    #[command(flatten)]
    way: Way,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let source = args.way.open(context)?;
    let mut output = context.output();
    if args.datasets.is_empty() {
        answer_lines(&mut io::stdin().lock(), &source, &mut output)?;
    } else {
        source.exists(&args.datasets, &mut output)?;
    }
    output.flush()?;
    Ok(Outcome::Done)
}

fn answer_lines(
    input: &mut impl BufRead,
    source: &Source<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut batch = Vec::with_capacity(BATCH);
    for (number, line) in (1_u64..).zip(input.lines()) {
        match read_uuid(line, number) {
            Ok(uuid) => batch.extend(uuid),
            Err(failure) => {
                // What was asked before it is answered.
                source.exists(&batch, output)?;
                output.flush()?;
                return Err(failure);
            }
        }
        if batch.len() == BATCH {
            source.exists(&batch, output)?;
            batch.clear();
        }
    }
    source.exists(&batch, output)
}

/// The UUID on a line; none on an empty one.
pub(crate) fn read_uuid(
    line: io::Result<String>,
    number: u64,
) -> Result<Option<DatasetId>, Failure> {
    let reading = || format!("cannot read line {number} of standard input");
    let line = line.while_doing(reading())?;
    match line.trim() {
        "" => Ok(None),
        text => {
            let start: String = text.chars().take(EXCERPT).collect();
            text.parse()
                .while_doing(format!("{}, `{}`", reading(), start.escape_debug()))
                .hint("give one dataset UUID a line")
                .map_err(Failure::usage)
                .map(Some)
        }
    }
}
