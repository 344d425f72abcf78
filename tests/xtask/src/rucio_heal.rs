//! `cargo xtask rucio-heal`: what is lost or corrupt at a site behind Rucio's back comes back by policy alone.

use anyhow::Result;

use crate::cases::prove;
use crate::verdict::Outcome;

/// Fewest cases.
const BAR: u64 = 35;

/// Damages sites beside a real server, and lets them live.
pub(crate) fn run() -> Result<Outcome> {
    harness::prepare()?;
    Ok(prove("rucio-heal", "rucio_heal", BAR, &[]))
}
