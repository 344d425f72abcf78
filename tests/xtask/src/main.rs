//! Every check, test, demo, proof and benchmark of runsync: `cargo xtask NAME`.
//!
//! One module per task. A proof or a benchmark prints its figures and last a line
//! `NAME: <what was measured> (bar: <bar>)`; it exits non-zero where the bar is missed.

mod bench_confirm;
mod bench_events;
mod bench_exists;
mod bench_ingest;
mod bench_latency;
mod bench_parse;
mod bench_publish;
mod bench_remove;
mod bench_replay;
mod bench_scan;
mod bench_verify;
mod cache;
mod cases;
mod check;
mod config_online;
mod confirming;
mod demo;
mod dropin;
mod figures;
mod files;
mod idle;
mod links;
mod load_http;
mod model_removal;
mod model_scan;
mod no_storage;
mod order;
mod out;
mod process;
mod python;
mod random;
mod removal_proofs;
mod rounds;
mod rucio_client;
mod rucio_e2e;
mod rucio_heal;
mod rucio_publish;
mod rucio_removal;
mod rucio_server;
mod rucio_sync;
mod runsync_command;
mod schemathesis;
mod surface;
mod synthetic;
mod test;
mod tools;
mod traps;
mod two_daemons;
mod units;
mod verdict;
mod walkthrough;
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
    /// Proof: whatever two sites do, in whatever order, they end as a model in set algebra says
    ModelRemoval(model_removal::Arguments),
    /// Proof: whatever is lost, spoiled, scanned and repaired, only what a model allows is changed
    ModelScan(model_scan::Arguments),
    /// Proof: a million existence questions are answered without a look at storage
    NoStorage(no_storage::Arguments),
    /// Datasets per second, beside what SQLite itself can do, and peak memory
    BenchIngest(bench_ingest::Arguments),
    /// Existence questions answered per second: in process, over the Unix socket and over TCP
    BenchExists(bench_exists::Arguments),
    /// Proof: the surface under load, with clients beside that do not behave
    LoadHttp(load_http::Arguments),
    /// Proof: requests made up from the OpenAPI document meet no answer that it does not have
    Schemathesis(schemathesis::Arguments),
    /// Artifacts confirmed at level checksum, beside a bare program that reads the same files
    BenchVerify(bench_verify::Arguments),
    /// A run of a million files confirmed at both levels, beside a bare walk; its memory; throttled
    BenchConfirm(bench_confirm::Arguments),
    /// A run of 100,000 datasets removed, beside `rm -rf` and a bare SQL delete; readers; memory
    BenchRemove(bench_remove::Arguments),
    /// A million files compared with their records, beside `find` and a bare merge; killed; throttled
    BenchScan(bench_scan::Arguments),
    /// A run of 10,000 files published to a real Rucio server, beside the bare bulk calls; memory
    BenchPublish(bench_publish::Arguments),
    /// 10,000 messages by STOMP and by Kafka to records in the registry, beside bare consumers; memory
    BenchEvents(bench_events::Arguments),
    /// How soon an idle daemon has what arrives in its registry
    BenchLatency(bench_latency::Arguments),
    /// Entries per second of reading a manifest, beside bare JSON parsing; packed beside plain
    BenchParse(bench_parse::Arguments),
    /// Manifests per second where they are known already, and where a daemon finds them at its start
    BenchReplay(bench_replay::Arguments),
    /// Proof: of two daemons one works, and the other takes over from one that is killed or stopped
    TwoDaemons(two_daemons::Arguments),
    /// Proof: a removal killed at any step, or whose commit's reply is lost, ends untouched or gone
    CrashRemoval(removal_proofs::CrashArguments),
    /// Proof: what a removal comes to where storage, permissions or databases fail at any step
    FaultsRemoval,
    /// Proof: what looks like drift and is none is never repaired, and what is drift is
    Traps,
    /// Proof: of two accounts on one root, neither deletes what is the other's to delete
    TwoAccounts,
    /// Proof: what each answer of Rucio comes to, of a real server and of one that misbehaves
    RucioClient,
    /// Proof: what one site publishes and removes the other has and loses, with a real Rucio between
    RucioE2e,
    /// Proof: the same with events lost and doubled, tokens and servers failing, and sites killed
    RucioFaults(rucio_e2e::Faults),
    /// Proof: what is published is in Rucio, killed at any request, and by Rucio's own tools
    RucioPublish(rucio_publish::Arguments),
    /// Proof: what is removed is gone from Rucio, killed at any request, and nothing else is
    RucioRemoval(rucio_removal::Arguments),
    /// Proof: a site comes to what Rucio says should be there, whatever it hears
    RucioSync,
    /// Proof: what is lost behind Rucio's back is found, declared, carried again and confirmed by policy alone
    RucioHeal,
    /// Proof: in the place of `ctrl_ingestd`, per-file messages become runs, whatever else comes
    Dropin,
    /// Proof: what Rucio and a configuration do not agree about is told before the daemon starts
    ConfigOnline,
    /// Types every command of docs/WALKTHROUGH.md and compares what it prints
    Walkthrough,
    /// A real Rucio server with all its parts, until Ctrl-C; with --check two at once, which move files
    RucioServer(rucio_server::Arguments),
    /// What a daemon takes that has nothing to do: processor and memory
    Idle(idle::Arguments),
    /// Proof: systemd accepts the units, and finds them hardened
    Units,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Check => Ok(check::run()),
        Task::Test => test::run(),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Order(arguments) => order::run(arguments),
        Task::ModelRemoval(arguments) => model_removal::run(arguments),
        Task::ModelScan(arguments) => model_scan::run(arguments),
        Task::NoStorage(arguments) => no_storage::run(arguments),
        Task::BenchIngest(arguments) => bench_ingest::run(&arguments),
        Task::BenchExists(arguments) => bench_exists::run(&arguments),
        Task::LoadHttp(arguments) => load_http::run(&arguments),
        Task::Schemathesis(arguments) => schemathesis::run(arguments),
        Task::BenchVerify(arguments) => bench_verify::run(&arguments),
        Task::BenchConfirm(arguments) => bench_confirm::run(&arguments),
        Task::BenchRemove(arguments) => bench_remove::run(&arguments),
        Task::BenchScan(arguments) => bench_scan::run(&arguments),
        Task::BenchPublish(arguments) => bench_publish::run(&arguments),
        Task::BenchEvents(arguments) => bench_events::run(&arguments),
        Task::BenchLatency(arguments) => bench_latency::run(&arguments),
        Task::BenchParse(arguments) => bench_parse::run(arguments),
        Task::BenchReplay(arguments) => bench_replay::run(&arguments),
        Task::TwoDaemons(arguments) => two_daemons::run(&arguments),
        Task::CrashRemoval(arguments) => removal_proofs::crash(arguments),
        Task::FaultsRemoval => removal_proofs::faults(),
        Task::Traps => traps::run(),
        Task::TwoAccounts => removal_proofs::accounts(),
        Task::RucioE2e => rucio_e2e::run(),
        Task::RucioFaults(arguments) => rucio_e2e::faults(arguments),
        Task::RucioPublish(arguments) => rucio_publish::run(arguments),
        Task::RucioRemoval(arguments) => rucio_removal::run(arguments),
        Task::RucioSync => rucio_sync::run(),
        Task::RucioHeal => rucio_heal::run(),
        Task::Dropin => dropin::run(),
        Task::RucioClient => rucio_client::run(),
        Task::ConfigOnline => config_online::run(),
        Task::Walkthrough => walkthrough::run(),
        Task::RucioServer(arguments) => rucio_server::run(arguments),
        Task::Idle(arguments) => idle::run(arguments),
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
