//! Messages by STOMP 1.2, which Rucio's Hermes speaks.
//!
//! `source` subscribes durably: the broker keeps messages under the subscription's name while nobody
//! listens, and gives them again until they are acknowledged, one by one. `connection` keeps the
//! heart-beats, on a thread of its own, so that a slow ledger does not look like a dead client.
//! `frame` is the protocol's form.

mod frame;

mod connection;

mod source;

pub use self::source::StompSource;
