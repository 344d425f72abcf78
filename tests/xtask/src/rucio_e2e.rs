//! `cargo xtask rucio-e2e`: two sites with a real Rucio between them.

use anyhow::Result;

use crate::cases::prove;
use crate::verdict::Outcome;

/// Fewest cases.
const BAR: u64 = 12;

/// Has runs go there and vanish again.
pub(crate) fn run() -> Result<Outcome> {
    harness::prepare()?;
    prove("rucio-e2e", "rucio_e2e", BAR, &[])
}
