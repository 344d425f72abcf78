//! Two sites and a real Rucio between them: what is made and published at one is registered at the other,
//! and what is removed there vanishes here, with no human step but the first.
//!
//! Rucio's own daemons move the bytes and tell the broker, side by side with a daemon of runsync at each
//! site. `cargo xtask rucio-e2e` goes through it and prints what each case came to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../../support/pair.rs"]
mod pair;

#[path = "../../support/proof.rs"]
mod proof;

#[path = "../../support/rucio.rs"]
mod rucio;

mod conveyor;

mod scene;

mod carried;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use harness::{Naming, Part, Rucio};

use crate::conveyor::Conveyor;
use crate::scene::Way;

/// Names the sections to go through, with commas between; all where it is not set.
const SECTIONS: &str = "RUNSYNC_TEST_SECTIONS";

const WAYS: &[Way] = &[
    Way {
        name: "identity",
        naming: Naming::Identity,
    },
];

#[test]
fn what_one_site_publishes_and_removes_the_other_has_and_loses() {
    let server = Rucio::start(&[Part::Broker, Part::Daemons, Part::Transfers]).unwrap();
    rucio::add_account(&server);
    let server = Arc::new(server);
    let wanted = std::env::var(SECTIONS).ok();
    let mut failed = Vec::new();
    let conveyor = Conveyor::start(&server);
    for way in WAYS {
        let is_wanted = |wanted: &String| wanted.split(',').any(|name| name == way.name);
        if !wanted.as_ref().is_none_or(is_wanted) {
            continue;
        }
        let start = std::time::Instant::now();
        if catch_unwind(AssertUnwindSafe(|| carried::both_ways(&server, way))).is_err() {
            failed.push(way.name);
        }
        proof::aside(&format!("{}: {:.1?}", way.name, start.elapsed()));
    }
    conveyor.stop();
    assert!(failed.is_empty(), "failed: {failed:?}");
}
