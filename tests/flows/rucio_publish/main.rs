//! Publishing into a real Rucio server: what is there afterwards, by Rucio's own tools; what a kill at
//! any request leaves, and what the next `publish` makes of it; what goes wrong, and is put right.
//!
//! All of it shares one server, in lanes that run side by side. Each case has a run of its own.
//! `cargo xtask rucio-publish` goes through more of the kills, and prints what each case came to.

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

mod between;

mod state;

mod listing;

mod killed;

mod faults;

mod daemons;

mod compacted;

mod stays;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

use harness::{Part, Rucio};

/// Names the sections to go through, with commas between; all where it is not set.
const SECTIONS: &str = "RUNSYNC_TEST_SECTIONS";
/// Every so many of the requests are killed at.
const STRIDE: &str = "RUNSYNC_TEST_STRIDE";

/// As many as a plain run of the tests has time for.
const STRIDE_HERE: usize = 29;

/// A section and what goes through it.
type Section = (&'static str, fn(&World));

/// Those that run side by side.
const LANES: [&[Section]; 2] = [
    &[
        ("listing", listing::every_naming),
        ("killed hash", killed::hash),
        ("killed compact", compacted::killed),
        ("overtaken", compacted::overtaken),
        ("places", faults::places),
        ("stays here", stays::here),
        ("stays kept", stays::kept),
        ("rewritten", stays::rewritten),
        ("nowhere", stays::nowhere),
    ],
    &[
        ("killed identity", killed::identity),
        ("orders", faults::orders),
        ("contradictions", faults::contradictions),
        ("killed large", killed::large),
        ("killed daemon", daemons::killed),
        ("policy", daemons::policy),
        ("held up", daemons::held_up),
        ("removed meanwhile", stays::removed_meanwhile),
    ],
];
/// Those that have the server for themselves.
const ALONE: &[Section] = &[
    ("judged", killed::judged),
    ("snapshot", compacted::snapshot),
    ("quota", faults::quota),
    ("stopped", faults::stopped),
];

/// What all sections share.
pub(crate) struct World {
    pub(crate) server: Arc<Rucio>,
    /// Kills are at every so many requests.
    pub(crate) stride: usize,
    /// What is looked at again once Rucio's judge has.
    pub(crate) killed: Mutex<Vec<killed::Killed>>,
}

#[test]
fn what_is_published_is_in_rucio_whatever_happens_meanwhile() {
    let server = Rucio::start(&[Part::Daemons, Part::Transfers]).unwrap();
    rucio::add_account(&server);
    let stride = std::env::var(STRIDE).map_or(STRIDE_HERE, |text| text.parse().unwrap());
    let world = World {
        server: Arc::new(server),
        stride,
        killed: Mutex::default(),
    };
    let failed: Vec<&str> = thread::scope(|scope| {
        let lanes = LANES.map(|lane| scope.spawn(|| go_through(lane, &world)));
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap())
            .collect()
    });
    let failed = [failed, go_through(ALONE, &world)].concat();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// Goes through sections, and names those that failed.
fn go_through(sections: &[Section], world: &World) -> Vec<&'static str> {
    let wanted = std::env::var(SECTIONS).ok();
    let is_wanted = |name: &str| {
        let mut names = wanted.iter().flat_map(|names| names.split(','));
        wanted.is_none() || names.any(|wanted| wanted == name)
    };
    let mut failed = Vec::new();
    for (name, section) in sections.iter().filter(|(name, _)| is_wanted(name)) {
        let start = std::time::Instant::now();
        if catch_unwind(AssertUnwindSafe(|| section(world))).is_err() {
            failed.push(*name);
        }
        proof::aside(&format!("{name}: {:.1?}", start.elapsed()));
    }
    failed
}
