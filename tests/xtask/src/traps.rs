//! `cargo xtask traps`: what looks like drift and is none is never repaired, and what is drift is.

use anyhow::{Result, ensure};
use rustix::process::geteuid;

use crate::cases::prove_some;
use crate::verdict::Outcome;

/// Fewest cases, with those that are not traps.
const CASES_BAR: u64 = 30;

/// Sets every trap, and one of each kind that is none.
pub(crate) fn run() -> Result<Outcome> {
    ensure!(
        geteuid().is_root(),
        "run this as root: it mounts file systems, and acts as another user"
    );
    Ok(prove_some("traps", ("repair", "traps::"), CASES_BAR, &[]))
}
