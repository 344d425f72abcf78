//! `cargo xtask rucio-sync`: a site comes to what Rucio says should be there, whatever it hears.

use anyhow::Result;

use crate::cases::prove;
use crate::verdict::Outcome;

/// Fewest cases.
const BAR: u64 = 80;

/// Compares sites with a real server.
pub(crate) fn run() -> Result<Outcome> {
    harness::prepare()?;
    Ok(prove("rucio-sync", "rucio_sync", BAR, &[]))
}
