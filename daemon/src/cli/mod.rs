//! The operator's command line.
//!
//! A command is a file here with `Args` and `run`, one variant of `Command` and one arm of
//! `Command::run`. It prints through `output` alone, so that `--json` means the same
//! everywhere, and ends as `failure` says, so that scripts can rely on exit codes.

mod arguments;

mod output;

mod failure;

mod context;

mod source;

mod progress;

mod turn;

mod identity;

mod completions;

mod manifest;

mod ingest;

mod daemon;

mod status;

mod quarantine;

mod requests;

mod origin;

mod events;

mod exists;

mod query;

mod remover;

mod remove_runs;

mod publish;

mod sync;

mod scan;

mod findings;

mod findings_report;

mod schedule;

mod repair;

mod declare;

mod purge;

mod cleanup;

mod unstore;

mod removal;

mod collector;

mod tree;

mod collections;

mod remove_collections;

mod journal;

mod config;

mod init;

mod keys;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure, Outcome};

/// Keeps a data facility's registry true to its datastore.
#[derive(Debug, Parser)]
#[command(name = "runsync", version, after_help = failure::EXIT_CODES, max_term_width = 100)]
struct Arguments {
    /// Configuration file [default: /etc/runsync/site.toml as root, else
    /// `$XDG_CONFIG_HOME/runsync/site.toml`]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "RUNSYNC_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,

    /// Print JSON: one object, or one line for each
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Config(config::Args),
    Keys(keys::Args),
    Manifest(manifest::Args),
    Ingest(ingest::Args),
    Daemon(daemon::Args),
    Status(status::Args),
    Quarantine(quarantine::Args),
    Requests(requests::Args),
    Events(events::Args),
    Exists(exists::Args),
    Query(query::Args),
    Collections(collections::Args),
    RemoveCollections(remove_collections::Args),
    RemoveRuns(remove_runs::Args),
    Publish(publish::Args),
    Sync(sync::Args),
    Scan(scan::Args),
    Findings(findings::Args),
    Schedule(schedule::Args),
    Repair(repair::Args),
    Declare(declare::Args),
    Purge(purge::Args),
    Cleanup(cleanup::Args),
    Unstore(unstore::Unstore),
    Forget(unstore::Forget),
    Restore(unstore::Restore),
    Removal(removal::Args),
    Journal(journal::Args),
    Completions(completions::Args),
}

impl Command {
    fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        match self {
            Self::Init(args) => init::run(args, context),
            Self::Config(args) => config::run(args, context),
            Self::Keys(args) => keys::run(args, context),
            Self::Manifest(args) => manifest::run(args, context),
            Self::Ingest(args) => ingest::run(args, context),
            Self::Daemon(args) => daemon::run(args, context),
            Self::Status(args) => status::run(args, context),
            Self::Quarantine(args) => quarantine::run(args, context),
            Self::Requests(args) => requests::run(args, context),
            Self::Events(args) => events::run(args, context),
            Self::Exists(args) => exists::run(args, context),
            Self::Query(args) => query::run(args, context),
            Self::Collections(args) => collections::run(args, context),
            Self::RemoveCollections(args) => remove_collections::run(args, context),
            Self::RemoveRuns(args) => remove_runs::run(args, context),
            Self::Publish(args) => publish::run(args, context),
            Self::Sync(args) => sync::run(args, context),
            Self::Scan(args) => scan::run(args, context),
            Self::Findings(args) => findings::run(args, context),
            Self::Schedule(args) => schedule::run(args, context),
            Self::Repair(args) => repair::run(args, context),
            Self::Declare(args) => declare::run(args, context),
            Self::Purge(args) => purge::run(args, context),
            Self::Cleanup(args) => cleanup::run(args, context),
            Self::Unstore(args) => unstore::unstore(args, context),
            Self::Forget(args) => unstore::forget(args, context),
            Self::Restore(args) => unstore::restore(args, context),
            Self::Removal(args) => removal::run(args, context),
            Self::Journal(args) => journal::run(args, context),
            Self::Completions(args) => completions::run(args, context),
        }
    }
}

/// Runs the command that the process's arguments ask for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) if refusal.use_stderr() && env::args_os().any(|word| word == "--json") => {
            return unusable(&refusal).report(true).into();
        }
        Err(refusal) => {
            // Help, a version, or what is wrong with the arguments; a closed pipe hides it.
            drop(refusal.print());
            let exit = if refusal.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return exit.into();
        }
    };
    let context = Context::new(arguments.config, arguments.json);
    match arguments.command.run(&context) {
        Ok(outcome) => Exit::from(outcome).into(),
        Err(failure) => failure.report(arguments.json).into(),
    }
}

/// What is wrong with the arguments, for programs.
fn unusable(refusal: &clap::Error) -> Failure {
    let text = refusal.to_string();
    let (message, hint) = text.split_once("\n\n").unwrap_or((&text, ""));
    let message = message.strip_prefix("error: ").unwrap_or(message);
    Failure::new(message.trim_end().to_owned())
        .hint(hint.trim_end())
        .usage()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
