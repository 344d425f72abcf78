//! Hears that files came and went, and has somebody look.
//!
//! ```text
//! source -> parse -> note (ledger) -> acknowledge      a message becomes a hint, durably
//!                      |
//!                      +-> hand on -> take             a hint becomes a look at what is so
//! ```
//!
//! A message is a hint and never an order. Rucio writes `transfer-done` seconds before it calls the
//! replica available, a broker delivers a message twice or out of order, a sender may be wrong, and a
//! message may be lost. So what a message says is never acted on: it says where to look now, and whoever
//! looks asks Rucio, the root and the registry. What no message tells of is found by the next look at
//! everything, later.
//!
//! [`source`] is what brokers have in common: [`stomp`] listens to Rucio's Hermes, `kafka` to what is fed into
//! Kafka; `POST /v1/events` gives messages to [`noting`] directly. [`noting`] reads them and writes hints. `listen`
//! is the loop of a source, `hand_on` the loop that gives hints to those who act on them
//! ([`crate::ledger::hints`]); [`Hearing`] is all of it.
//!
//! # Invariants
//!
//! - A message is acknowledged only once what it hints at is in the ledger.
//! - No message stops a source: what cannot be read is set aside, counted and acknowledged.
//! - Nothing that a message names is opened or resolved here: it is text.
//! - Memory and the ledger's tables are bounded. Where there is no room, hints are dropped, counted, and
//!   everything is looked at instead; what nothing else tells of stays at its broker.
//!
//! # What a crash leaves
//!
//! | after        | left behind                                | next start              |
//! |--------------|--------------------------------------------|-------------------------|
//! | receive      | nothing                                    | the broker gives it again |
//! | note         | a hint, and a message not acknowledged     | the same hint, once     |
//! | acknowledge  | a hint                                     | hands it on             |
//! | take         | a hint that was acted on                   | looks once more         |

mod error;

pub mod source;

mod parse;

pub mod noting;

pub mod stomp;

#[cfg(feature = "kafka")]
pub mod kafka;

mod open;

pub mod sources;

mod listen;

mod hand_on;

mod hearing;

pub use self::error::{EventsError, SourceError};
pub use self::hearing::{Hearing, Takers};
pub use self::noting::{Noted, Noting};
pub use self::open::{check_built, open};
pub use self::source::{Checked, EventSource, Message};
pub use self::sources::{SourceStatus, Sources};
