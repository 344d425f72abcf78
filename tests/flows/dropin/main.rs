//! In the place of `ctrl_ingestd`: a running daemon hears the messages that Rubin's senders send, through a real
//! broker, and registers and confirms what they tell of. What is wrong with some keeps out no others, a
//! topic that is read again changes nothing, a kill loses nothing, and the runs' owner takes over.
//!
//! `cargo xtask dropin` goes through the same, and prints what each case came to.

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

#[path = "../../support/sender.rs"]
mod sender;

mod ingestd;

mod traffic;

mod way;

mod stomp;

#[cfg(feature = "kafka")]
mod kafka;
