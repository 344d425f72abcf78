//! Opens SQLite files the way all of ours are kept, and lends their connections.
//!
//! One connection writes, a few others read, so that no reader waits for a write: in WAL mode
//! each read sees the last commit. `synchronous = FULL` makes a commit survive a power cut.
//! A file's `application_id` tells whose it is, its `user_version` how far it was migrated.
//!
//! A [`Database`] opened for writing is opened under a [`Tenure`](crate::lease::Tenure) of the site's lease. The file
//! keeps the highest fence that it was opened under, and every write transaction begins by
//! comparing it with the tenure's own: a process that has lost the lease writes nothing more.
//! Only the lease itself is written [`Unfenced`].
//!
//! # What a crash leaves
//!
//! | during      | left behind                | next                                     |
//! |-------------|----------------------------|------------------------------------------|
//! | creation    | a file without any table   | [`Database::create`] takes it for its own |
//! | opening     | the fence and schema before it | [`Database::open`] does both again   |
//! | a write     | the state before it        | the caller repeats it                    |

mod error;

mod schema;

mod connect;

mod fence;

mod database;

mod unfenced;

#[cfg(test)]
mod tests;

pub use self::database::Database;
pub use self::error::SqliteError;
pub(crate) use self::fence::{fence, stamp};
pub use self::schema::{Schema, Unmoved};
pub use self::unfenced::Unfenced;
