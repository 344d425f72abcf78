//! Repairs of a real root: what they do, what they must not do, and what a crash leaves.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; a proof prints its cases"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../scan/scene.rs"]
#[expect(dead_code, reason = "scans' scene, of which this target uses a part")]
mod scene;

#[path = "../../support/registry.rs"]
mod registry;

#[path = "../rucio_client/front.rs"]
#[expect(
    dead_code,
    reason = "a server for tests, of which this target uses a part"
)]
mod front;

/// Where the server tells of secrets, which are looked for elsewhere.
mod told {
    pub(crate) fn is_secret(_: &str) {}
}

mod fake;

mod site;

mod acts;

mod late;

mod limits;

mod passed_over;

mod commands;

mod interruption;

mod unmoved;

mod resumed;

mod declared;

mod added;

mod traps;
