//! The embedded registry: one SQLite file.
//!
//! Rows of a million-dataset run go into five tables. A row costs little where the table is
//! written in the order of its own key and much where it is not, so each table has its own stage
//! (`load`), and each look-up by something other than the UUID is a table of its own.
//! Reading never waits for writing ([`crate::sqlite`]).

mod failure;

mod rows;

mod names;

mod hidden;

mod conflicts;

mod standing;

mod register;

mod load;

mod stages;

mod datasets;

mod confirm;

mod at_paths;

mod recalled;

mod by_path;

mod query;

mod removal;

mod reap;

mod omitted;

mod notices;

mod unwanted;

mod give_way;

mod collections;

mod chains;

mod tags;

mod unlink;

mod store;

#[cfg(test)]
mod tests;

pub use self::store::SqliteRegistry;
use crate::sqlite::{Schema, Unmoved};

const SCHEMA: Schema = Schema {
    what: "registry",
    // "rsRG" in ASCII.
    application_id: 0x7273_5247,
    migrations: &[
        include_str!("../sql/0001_tables.sql"),
        include_str!("../sql/0002_fence.sql"),
        include_str!("../sql/0003_waiting.sql"),
        include_str!("../sql/0004_removal.sql"),
        include_str!("../sql/0005_collections.sql"),
        include_str!("../sql/0006_propagation.sql"),
        include_str!("../sql/0007_notice_at_once.sql"),
    ],
    unmoved: Some(Unmoved {
        what: "open journals",
        since: 4,
        count: "SELECT count(*) FROM removal_journal",
    }),
};
