//! `completions`: scripts by which shells complete arguments.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(args.shell, &mut command, "runsync", &mut script);
    context.output().raw(&script)?;
    Ok(Outcome::Done)
}
