//! Brings runs that arrive into the registry.

pub mod watch;
