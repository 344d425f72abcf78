//! Two sites and a real Rucio between them: what is made and published at one is registered at the other,
//! and what is removed there vanishes here, with no human step but the first, whatever is in the way.
//!
//! Rucio's own daemons move the bytes and tell the broker, side by side with a daemon of runsync at each
//! site. `cargo xtask rucio-e2e` and `cargo xtask rucio-faults` go through it and print what each case
//! came to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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

#[path = "../../support/between.rs"]
mod between;

#[path = "../../support/rucio_state.rs"]
mod state;

mod conveyor;

mod scene;

mod carried;

mod ways;

mod relay;

mod troubled;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use harness::{Part, Rucio};

use crate::carried::States;
use crate::conveyor::Conveyor;
use crate::troubled::Trouble;
use crate::ways::WAYS;

/// Names the ways or troubles to go through, with commas between; all where it is not set.
const SECTIONS: &str = "RUNSYNC_TEST_SECTIONS";
/// How many of the ways are gone with all troubles in them, from the last on. Where it is not set: one way, with
/// those troubles that a plain run of the tests has time for.
const TROUBLED_WAYS: &str = "RUNSYNC_TEST_TROUBLED_WAYS";

#[test]
fn what_one_site_publishes_and_removes_the_other_has_and_loses() {
    let world = World::start();
    let mut failed = Vec::new();
    for way in WAYS.iter().filter(|way| is_wanted(way.name)) {
        if timed(way.name, || ways::go(&world, *way)).is_none() {
            failed.push(way.name);
        }
    }
    world.conveyor.stop();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn whatever_is_in_the_way_it_ends_the_same() {
    let world = World::start();
    let mut failed = Vec::new();
    let all = std::env::var(TROUBLED_WAYS).ok();
    let ways = all.as_ref().map_or(1, |text| text.parse().unwrap());
    for way in WAYS.iter().rev().take(ways) {
        let mut expected: Option<States> = None;
        for (name, trouble) in Trouble::ALL {
            let has_time = all.is_some() || trouble.is_quick();
            if *trouble != Trouble::None && !(has_time && is_wanted(name)) {
                continue;
            }
            let gone = || troubled::go(&world, *way, (name, *trouble), expected.as_ref());
            match timed(&format!("{}: {name}", way.name), gone) {
                Some(states) => expected = expected.or(Some(states)),
                None => failed.push((way.name, name)),
            }
        }
    }
    world.conveyor.stop();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// A server, and its daemons at work.
pub(crate) struct World {
    pub(crate) server: Arc<Rucio>,
    pub(crate) conveyor: Conveyor,
}

impl World {
    fn start() -> Self {
        let server = Rucio::start(&[Part::Broker, Part::Daemons, Part::Transfers]).unwrap();
        rucio::add_account(&server);
        let server = Arc::new(server);
        let conveyor = Conveyor::start(&server);
        Self { server, conveyor }
    }
}

fn is_wanted(name: &str) -> bool {
    let wanted = std::env::var(SECTIONS).ok();
    wanted.is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == name))
}

/// What a part came to; nothing where it failed.
fn timed<T>(name: &str, part: impl FnOnce() -> T) -> Option<T> {
    let start = Instant::now();
    let came_to = catch_unwind(AssertUnwindSafe(part)).ok();
    proof::aside(&format!("{name}: {:.1?}", start.elapsed()));
    came_to
}
