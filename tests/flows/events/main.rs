//! Messages, from a real broker to what is known here: each is heard at least once, none stops anything, and a
//! lost, doubled or late one changes nothing but when it is looked.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../../support/proof.rs"]
mod proof;

#[path = "../../support/http.rs"]
mod client;

#[path = "../../support/event_source.rs"]
mod event_source;

mod site;

mod corpus;

mod stomp;

mod daemon;

mod http;

mod hermes;

#[cfg(feature = "kafka")]
mod kafka;

#[cfg(feature = "kafka")]
mod kafka_daemon;
