//! `cargo xtask crash-removal`, `faults-removal` and `two-accounts`: what removals promise where
//! something goes wrong.
//!
//! Every run of the tests goes through the cases at a small size; a task, at the size asked for.

use anyhow::{Result, ensure};
use rustix::process::geteuid;

use crate::cases::prove;
use crate::out::say;
use crate::random::Random;
use crate::tools::{self, UNSHARE};
use crate::verdict::Outcome;

/// Fewest cases of each proof, without those of random moments.
const CRASH_BAR: u64 = 80;
const FAULTS_BAR: u64 = 65;
const ACCOUNTS_BAR: u64 = 35;

/// How often to kill at a random moment.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct CrashArguments {
    /// Kills at random moments, of each command, with a daemon and without one
    #[arg(long, default_value_t = 50)]
    rounds: u64,

    /// Brings the moments of another run again
    #[arg(long)]
    seed: Option<u64>,
}

/// Kills every removal command at every step, and at random moments.
pub(crate) fn crash(arguments: CrashArguments) -> Result<Outcome> {
    let seed = arguments.seed.map_or_else(Random::seed, Ok)?;
    say!("--seed {seed} draws these moments again, as long as the machine is as fast");
    let settings = [
        ("RUNSYNC_TEST_ROUNDS", arguments.rounds.to_string()),
        ("RUNSYNC_TEST_SEED", seed.to_string()),
    ];
    Ok(prove(
        "crash-removal",
        "crash_removal",
        CRASH_BAR,
        &settings,
    ))
}

/// Lets storage, permissions and databases fail at every step of a removal.
pub(crate) fn faults() -> Result<Outcome> {
    ensure_root("it mounts file systems, and acts as other users")?;
    tools::ensure(&[UNSHARE])?;
    Ok(prove("faults-removal", "faults_removal", FAULTS_BAR, &[]))
}

/// Lets two users of this machine remove from one root.
pub(crate) fn accounts() -> Result<Outcome> {
    ensure_root("it acts as other users")?;
    Ok(prove("two-accounts", "two_accounts", ACCOUNTS_BAR, &[]))
}

fn ensure_root(why: &str) -> Result<()> {
    ensure!(geteuid().is_root(), "run this as root: {why}");
    Ok(())
}
