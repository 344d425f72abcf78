//! The ledger in a SQLite file of its own.

mod rows;

mod store;

mod publications;

mod hints;

mod poison;

mod syncs;

mod rule_endings;

mod scans;

mod drift_summary;

mod jobs;

mod repairs;

mod lease;

#[cfg(test)]
mod tests;

pub use self::lease::SqliteLease;
pub use self::store::SqliteLedger;
use crate::sqlite::Schema;

const SCHEMA: Schema = Schema {
    what: "ledger",
    // "rsLG" in ASCII.
    application_id: 0x7273_4c47,
    migrations: &[
        include_str!("../sql/0001_tables.sql"),
        include_str!("../sql/0002_lease.sql"),
        include_str!("../sql/0003_requests.sql"),
        include_str!("../sql/0004_publications.sql"),
        include_str!("../sql/0005_hint.sql"),
        include_str!("../sql/0006_sync.sql"),
        include_str!("../sql/0008_rule_endings.sql"),
        include_str!("../sql/0009_scans.sql"),
        include_str!("../sql/0010_drift_sides.sql"),
        include_str!("../sql/0011_jobs.sql"),
        include_str!("../sql/0012_repairs.sql"),
        include_str!("../sql/0013_drift_counts.sql"),
        include_str!("../sql/0014_repairs_approved.sql"),
        include_str!("../sql/0015_declarations.sql"),
        include_str!("../sql/0016_unseen.sql"),
    ],
    unmoved: None,
};
