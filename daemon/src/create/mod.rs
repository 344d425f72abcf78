//! Makes a manifest of files that lie in a datastore root.
//!
//! read → measure → write
//!
//! What the datasets are comes from a Butler export ([`export`]) or from JSON lines
//! ([`listing`]); either becomes a [`draft::Draft`]. What their artifacts are is
//! measured ([`mod@measure`]): size and checksums, in one pass over each file. Then the
//! draft is written ([`draft::Draft::write`]) to wherever the caller says.
//!
//! # Invariants
//!
//! - Nothing is guessed: an input that is wrong or incomplete names its file, line
//!   and field, and no manifest comes of it.
//! - A manifest that is written says of each artifact what was read from it.
//!
//! # Memory
//!
//! The claims of the whole run are held, about 300 bytes each, because they are
//! sorted by UUID; inputs are read as streams. Making a manifest is an
//! operator's command, not the daemon's work.

pub mod error;

mod fields;

pub(crate) mod yaml;

pub mod draft;

pub mod export;

pub mod listing;

pub mod stated;

pub mod measure;

pub use draft::{Draft, Publication};
pub use error::{CreateError, Place};
pub use measure::{Measured, Measuring, measure};
pub use stated::{Stated, StatedDataset};

#[cfg(test)]
mod tests;
