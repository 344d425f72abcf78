//! The site's configuration: strict, typed TOML, all problems at once.
//!
//! `load` turns a file into a [`site::Site`] or into every problem it has; nothing
//! downstream rechecks. Secrets are named by file, never written inline.

pub mod log;

pub mod peer;

pub mod registry;

pub mod root;

pub mod site;
