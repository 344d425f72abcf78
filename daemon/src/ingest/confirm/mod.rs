//! Looks for the artifacts that runs wait for, and turns those it finds into records.
//!
//! The only stage that looks at artifacts. It looks by directory, often at first and then less
//! and less often, and where a watched directory has changed as soon as that directory has rested
//! from its last look. No look holds up the others for longer than about a second. An artifact of another size or checksum stays waited for and becomes a
//! finding once it has stopped changing.
//!
//! - [`Confirming`] says what is looked at when: `schedule` gives every run its turn, `owed` holds
//!   what events ask for, `overdue` tells of runs that wait for too long.
//! - `session` lets looks, reads and commits go on at the same time: `compare` judges artifacts,
//!   `records` commits those that are right, `findings` tells of those that are not, and `obsolete`
//!   drops findings that nobody needs any more.
//! - [`confirm_arrived`] and [`confirm_unseen`] are for those who know that artifacts have arrived;
//!   [`Looking`] is what they share with the loop.
//! - `taken_away` keeps what was seen of a file from becoming its record once a repair has moved the file.
//! - `throttle` keeps all of it below what the configuration allows.
//!
//! # What a crash leaves
//!
//! The records committed so far. What had been read and not committed is read again. A finding about
//! an artifact is dropped before the artifact gets its record, so none outlives its cause.

mod confirming;

mod schedule;

mod owed;

mod overdue;

mod obsolete;

mod session;

mod queue;

mod brake;

mod throttle;

mod compare;

mod records;

mod findings;

mod looking;

mod taken_away;

mod arrived;

pub use self::arrived::{OfRun, confirm_arrived, confirm_unseen};
pub use self::compare::{Difference, differences};
pub use self::confirming::{Confirmed, Confirming};
pub use self::looking::{Looking, Paths};
pub use self::overdue::waits_since;
