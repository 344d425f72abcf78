//! `cargo xtask dropin`: in the place of `ctrl_ingestd`, with the messages of its senders through real brokers.

use anyhow::Result;

use crate::cases::prove;
use crate::verdict::Outcome;

/// The cases of each broker: good messages, wrong ones of each kind, repetition, a kill, the owner.
const BAR: u64 = 24;

/// Goes through all cases by STOMP and by Kafka.
pub(crate) fn run() -> Result<Outcome> {
    harness::prepare()?;
    Ok(prove("dropin", "dropin", BAR, &[]))
}
