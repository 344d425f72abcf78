//! `cargo xtask rucio-publish`: what is published is in Rucio, whatever happens meanwhile.

use anyhow::Result;

use crate::cases::prove;
use crate::verdict::Outcome;

/// Fewest cases, where every request is killed at.
const BAR: u64 = 200;
/// Fewest cases, where some requests are.
const BAR_WITHOUT_KILLS: u64 = 60;

/// How much to go through.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Kills a publishing command at every so many of its requests
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    stride: u32,
}

/// Publishes to a real server.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    harness::prepare()?;
    let bar = if arguments.stride == 1 {
        BAR
    } else {
        BAR_WITHOUT_KILLS
    };
    let settings = [("RUNSYNC_TEST_STRIDE", arguments.stride.to_string())];
    Ok(prove("rucio-publish", "rucio_publish", bar, &settings))
}
