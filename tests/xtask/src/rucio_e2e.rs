//! `cargo xtask rucio-e2e` and `cargo xtask rucio-faults`: two sites with a real Rucio between them.

use anyhow::Result;

use crate::cases::prove_some;
use crate::verdict::Outcome;

/// Three steps, four ways.
const BAR: u64 = 12;
/// Three steps and how they end, each with six troubles in it, for each way.
const BAR_FAULTS: u64 = 24;

/// How many ways to go through.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Faults {
    /// Ways to set up sites that are gone with trouble in them, of four
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=4))]
    ways: u64,
}

/// Has runs go there and vanish again.
pub(crate) fn run() -> Result<Outcome> {
    harness::prepare()?;
    let test = "what_one_site_publishes_and_removes_the_other_has_and_loses";
    Ok(prove_some("rucio-e2e", ("rucio_e2e", test), BAR, &[]))
}

/// The same with trouble in it.
pub(crate) fn faults(arguments: Faults) -> Result<Outcome> {
    harness::prepare()?;
    let settings = [("RUNSYNC_TEST_TROUBLED_WAYS", arguments.ways.to_string())];
    let test = "whatever_is_in_the_way_it_ends_the_same";
    let bar = BAR_FAULTS * arguments.ways;
    Ok(prove_some(
        "rucio-faults",
        ("rucio_e2e", test),
        bar,
        &settings,
    ))
}
