//! `cargo xtask rucio-client`: what each answer of Rucio comes to, and each that does not come.

use anyhow::Result;

use crate::cases::prove;
use crate::verdict::Outcome;

/// Fewest cases.
const BAR: u64 = 130;

/// Asks a real server, and one that answers as it is told.
pub(crate) fn run() -> Result<Outcome> {
    harness::prepare()?;
    Ok(prove("rucio-client", "rucio_client", BAR, &[]))
}
