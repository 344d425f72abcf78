//! Messages about single files become runs; what is wrong with some keeps out no others; and the run's owner
//! takes over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/pair.rs"]
mod pair;

#[path = "../../support/sender.rs"]
mod sender;

mod site;

mod adopted;

mod set_aside;

mod taken_over;
