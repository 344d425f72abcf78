//! Registers the runs that arrive at this site.
//!
//! watch → settle → parse → verify → register → confirm → acknowledge
//!
//! A manifest travels with its run's files and may come before, between or after them, cut,
//! twice, or out of order. [`watch`] tells that something is there, [`settle`] whether it has
//! stopped changing; [`parse`] reads it to its trailer, [`verify`] asks whether it may speak for
//! its run and fits what is registered; [`register`] makes its datasets known. From then on
//! [`confirm`] looks for the artifacts, and each one that is found gets its datastore record.
//! [`acknowledge`] writes the manifest's state into the ledger.
//!
//! # Invariants
//!
//! - No row of a manifest is visible before the whole manifest was read and checked.
//! - Nothing but a [`verify::Verified`] can be registered.
//! - Events are hints: a sweep at start and every interval finds the same work without them.
//! - The registry that results depends on which manifests and artifacts came, not on their order
//!   (`docs/ARCHITECTURE.md` names the exceptions).
//! - One bad file blocks no other.
//!
//! # What a crash leaves
//!
//! | after    | left behind                    | recovery                                        |
//! |----------|--------------------------------|-------------------------------------------------|
//! | parse    | nothing (scratch has no names) | the sweep takes the file for new                |
//! | register | some batches of rows           | the same, and registration goes on where it was |
//! | confirm  | some records                   | the rest is still waited for                    |
//!
//! What removals and snapshots take away goes by the removal flow: see [`following`].

pub mod watch;

pub mod settle;

pub mod parse;

pub mod stage;

pub mod trust;

pub mod refuse;

pub mod verify;

pub mod give_way;

mod hear;

pub mod following;

mod group;

pub mod register;

pub mod confirm;

pub mod acknowledge;

pub mod quarantine;

pub mod flow;

mod known;

mod unreadable;

pub mod vet;

pub mod hand_in;

pub mod sweep;

pub mod gaps;

pub mod workers;

mod error;

pub use self::confirm::{OfRun, confirm_arrived, confirm_unseen, differences, waits_since};
pub use self::flow::{Flow, SiteParts};
pub use self::parse::ParseError;
pub(crate) use crate::error_chain::error_chain;
pub use error::IngestError;
