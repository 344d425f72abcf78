//! The site's configuration: strict, typed TOML, all problems at once.
//!
//! [`load`] turns a file into a [`site::Site`] or into every problem it has; nothing
//! downstream rechecks. Unknown keys are refused, because a typo in a policy of deletion is worse
//! than a failed start. Secrets are named by file, never written inline.
//!
//! `raw` reads the file as written, `value` and its neighbours single values; each section's own
//! module says which keys it has; `consistency` then compares the sections.

mod raw;

mod value;

mod duration;

mod bytes;

pub mod problem;

pub mod secret;

pub mod root;

pub mod peer;

pub mod key_file;

pub mod trust;

pub mod registry;

mod limits;

pub mod lease;

pub mod removal;

mod ratio;

pub mod repair;

mod schedule;

pub mod jobs;

mod sync;

pub mod rucio;

pub mod adopt;

pub mod events;

pub mod log;

pub mod http;

mod consistency;

pub mod site;

mod load;

pub mod example;

pub use crate::load::{LoadError, load};
