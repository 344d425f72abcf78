//! Scans of a real root: what they find, what they must not find, and where they go on.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../../support/http.rs"]
mod http;

mod scene;

mod beside;

mod commands;

mod drift;

mod interruption;

mod page;

mod scheduled;

mod scopes;

mod traps;
