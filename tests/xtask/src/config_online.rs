//! `cargo xtask config-online`: whatever Rucio and a configuration do not agree about is told before the
//! daemon starts.

use anyhow::Result;

use crate::cases::prove;
use crate::verdict::Outcome;

/// Fewest cases.
const BAR: u64 = 34;

/// Checks configurations against a real server.
pub(crate) fn run() -> Result<Outcome> {
    harness::prepare()?;
    Ok(prove("config-online", "config_online", BAR, &[]))
}
