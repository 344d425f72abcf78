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

mod site;

mod acts;

mod late;

mod limits;

mod passed_over;

mod commands;

mod interruption;

mod unmoved;

mod resumed;

mod traps;
