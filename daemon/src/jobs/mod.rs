//! Does what the site's configuration says at the times that it says.
//!
//! A [`Job`] is a name, its times and what was last made of it; what it does is the [`Work`] of another flow. A
//! scheduler only wakes: whether a job is due follows from the ledger, where it says up to which time all is
//! done. So a wake-up that is lost costs nothing, and what was missed while the daemon was down is one
//! question with what is due now.
//!
//! # Invariants
//!
//! - A job is never under way twice, whoever asks for it. Times that pass meanwhile are done with when it ends.
//! - A job that a stop of the daemon or a crash broke off is due again.
//!
//! # What a crash leaves
//!
//! A job that was begun and has not ended, and whose times are not done with: the next daemon calls it
//! interrupted, and begins it again.

mod due;

mod job;

mod status;

mod worker;

pub use self::due::{is_due, next, overdue};
pub use self::job::{Ending, GoOn, Job, NotBegun, Occasion, Work};
pub use self::status::{JobStatus, statuses};
pub use self::worker::JobWorker;
