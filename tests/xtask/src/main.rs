//! Every check, test, demo, proof and benchmark of runsync: `cargo xtask NAME`.
//!
//! One module per task. A proof or a benchmark prints its figures and last a line
//! `NAME: <what was measured> (bar: <bar>)`; it exits non-zero where the bar is missed.

mod bench_ingest;
mod cache;
mod check;
mod demo;
mod files;
mod links;
mod no_storage;
mod order;
mod out;
mod process;
mod random;
mod runsync_command;
mod synthetic;
mod test;
mod tools;
mod two_daemons;
mod units;
mod verdict;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::out::say;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Checks, tests, proofs and benchmarks of runsync"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Formatting, links, lints, documentation, layers, dependencies: what every commit must pass
    Check,
    /// Installs what the tests need and runs all of them
    Test,
    /// Two sites, real data IDs: carries 10,033 files from A to B and asks B for each
    Demo(demo::Arguments),
    /// Proof: in whatever order things arrive, the registry ends the same
    Order(order::Arguments),
    /// Proof: a million existence questions are answered without a look at storage
    NoStorage(no_storage::Arguments),
    /// Datasets per second, beside what SQLite itself can do, and peak memory
    BenchIngest(bench_ingest::Arguments),
    /// Proof: of two daemons one works, and the other takes over from one that is killed or stopped
    TwoDaemons(two_daemons::Arguments),
    /// Proof: systemd accepts the units, and finds them hardened
    Units,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Check => Ok(check::run()),
        Task::Test => test::run(),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Order(arguments) => order::run(arguments),
        Task::NoStorage(arguments) => no_storage::run(arguments),
        Task::BenchIngest(arguments) => bench_ingest::run(&arguments),
        Task::TwoDaemons(arguments) => two_daemons::run(&arguments),
        Task::Units => units::run(),
    };
    match outcome {
        Ok(outcome) => outcome.conclude(),
        Err(error) => {
            say!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
