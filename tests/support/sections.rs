//! Sections that share one Rucio server, one after the other: Rucio's daemons act on all of it.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "test support"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use harness::Rucio;

use crate::proof;

/// Names the sections to go through, with commas between; all where it is not set.
const SECTIONS: &str = "RUNSYNC_TEST_SECTIONS";

/// A section and what goes through it.
pub type Section = (&'static str, fn(&Rucio));

/// Goes through all that are wanted, and fails at the end where one has.
pub fn go_through(all: &[Section], server: &Rucio) {
    let wanted = std::env::var(SECTIONS).ok();
    let is_wanted = |name: &str| {
        let mut names = wanted.iter().flat_map(|names| names.split(','));
        wanted.is_none() || names.any(|wanted| wanted == name)
    };
    let mut failed = Vec::new();
    for (name, section) in all.iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| section(server))).is_err() {
            failed.push(*name);
        }
        proof::aside(&format!("{name}: {:.1?}", start.elapsed()));
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
