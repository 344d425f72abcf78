//! Removing what was published into a real Rucio server: whose rules end, when, and who deletes; what a
//! kill at any request leaves, and what the next look makes of it; what keeps a run, and that nothing of
//! Rucio's is unlinked meanwhile.
//!
//! All of it shares one server. Each case has a site and a run of its own.
//! `cargo xtask rucio-removal` goes through more of the kills, and prints what each case came to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../../support/pair.rs"]
mod pair;

#[path = "../../support/http.rs"]
mod http;

#[path = "../../support/proof.rs"]
mod proof;

#[path = "../../support/rucio.rs"]
mod rucio;

#[path = "../../support/between.rs"]
mod between;

#[path = "../../support/rucio_state.rs"]
mod state;

mod site;

mod deleters;

mod kept;

mod killed;

mod copies;

mod declared;

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::{Part, Rucio};

/// Names the sections to go through, with commas between; all where it is not set.
const SECTIONS: &str = "RUNSYNC_TEST_SECTIONS";
/// Every so many of the requests are killed at.
const STRIDE: &str = "RUNSYNC_TEST_STRIDE";
/// As many as a plain run of the tests has time for.
const STRIDE_HERE: usize = 7;

/// A section and what goes through it.
type Section = (&'static str, fn(&World));

const SECTIONS_ALL: &[Section] = &[
    ("runsync deletes", deleters::runsync),
    ("rucio deletes", deleters::rucio_identity),
    ("rucio deletes hash", deleters::rucio_hash),
    ("at once", deleters::at_once),
    ("unpublished", deleters::unpublished),
    ("half published", deleters::half_published),
    ("comes back", deleters::comes_back),
    ("left out", deleters::left_out),
    ("shared container", deleters::shared_container),
    ("closed", kept::closed),
    ("changed", kept::changed),
    ("held", kept::held),
    ("away", kept::away),
    ("daemon", kept::daemon),
    ("copy follows", copies::follows),
    ("copy unstores", copies::unstores),
    ("killed", killed::removal),
    ("failing", killed::failing),
];

/// What is damaged, and stays.
const SECTIONS_DAMAGED: &[Section] = &[
    ("declared bad", declared::bad),
    ("declared suspicious", declared::suspicious),
    ("mistaken", declared::mistaken),
    ("second name", declared::second_name),
];

/// What all sections share.
pub(crate) struct World {
    pub(crate) server: Rucio,
    /// Kills are at every so many requests.
    pub(crate) stride: usize,
}

#[test]
fn what_is_removed_is_gone_from_rucio_whatever_happens_meanwhile() {
    go_through(SECTIONS_ALL, &[Part::Daemons, Part::Transfers]);
}

#[test]
fn what_is_damaged_is_declared_to_rucio_and_nothing_else_is() {
    go_through(SECTIONS_DAMAGED, &[]);
}

fn go_through(sections: &[Section], parts: &[Part]) {
    let wanted = std::env::var(SECTIONS).ok();
    let is_wanted = |name: &str| {
        let mut names = wanted.iter().flat_map(|names| names.split(','));
        wanted.is_none() || names.any(|wanted| wanted == name)
    };
    let sections: Vec<&Section> = sections
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .collect();
    if sections.is_empty() {
        return;
    }
    let server = Rucio::start(parts).unwrap();
    rucio::add_account(&server);
    let stride = std::env::var(STRIDE).map_or(STRIDE_HERE, |text| text.parse().unwrap());
    let world = World { server, stride };
    let mut failed = Vec::new();
    for (name, section) in sections {
        let start = std::time::Instant::now();
        if catch_unwind(AssertUnwindSafe(|| section(&world))).is_err() {
            failed.push(*name);
        }
        proof::aside(&format!("{name}: {:.1?}", start.elapsed()));
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
