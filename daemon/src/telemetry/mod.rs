//! What the daemon tells of itself: its log, and its metrics with their names.

mod log;

pub mod metrics;

pub mod removals;

pub mod adopting;

pub mod rucio;

pub mod events;

pub mod jobs;

pub use self::log::{TelemetryError, filter, start, start_for_a_command};
