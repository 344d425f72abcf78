//! Makes runs of messages about single files, as Rubin's senders send them and `ctrl_ingestd` takes them.
//!
//! message → place → gather → vet → write → (ingest)
//!
//! A sender that publishes no manifests adds to each `transfer-done` what dataset the file is. Such hints are
//! read strictly ([`message`]); the file's URL becomes a path in the root of its RSE (`place`). What is of
//! one run is gathered, checked against the registry file by file, and written as one additions manifest of
//! this site's own hand, under an origin that stands for the RSE ([`crate::adopted`]). From there it is
//! a manifest like any other: registered, confirmed at the root's level, replayed without effect, removable.
//!
//! # Invariants
//!
//! - A message that is wrong, unknown or contrary keeps no other out: it is set aside, counted, and told.
//! - What is registered already is not written again; so a topic that is read from its beginning changes nothing.
//! - A run whose owner has spoken by a manifest is adopted no more, nor is one that was removed here.
//! - An adopted run is told to no other site.
//!
//! # What a crash leaves
//!
//! | after | left behind                    | recovery                                           |
//! |-------|--------------------------------|----------------------------------------------------|
//! | vet   | the hints                      | they are taken again                               |
//! | write | a manifest, and the hints      | the sweep registers it; the hints find it known    |

pub mod error;

pub mod message;

mod place;

mod set_aside;

mod desk;

mod sort;

mod gather;

mod batch;

mod compact;

mod merge;

mod dimensions;

pub mod flow;

pub mod ingestd;

pub use self::error::AdoptError;
pub use self::flow::{Adopting, Ground};
