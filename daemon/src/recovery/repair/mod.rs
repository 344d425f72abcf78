//! Repairs what scans have found: only that, only what has lasted, and only as policy says.
//!
//! findings → examine → plan → act
//!
//! A scan tells of a moment. A repair acts on what two passes saw alike, long enough apart, by a clock that did not
//! leap between them; it plans first, and looks at each artifact again at the moment of the act.
//!
//! # Invariants
//!
//! - Nothing is done in a root of which more is amiss than a share, that is not the one that was opened, whose
//!   journals or manifests cannot be read, or under a clock that has just leapt.
//! - Nothing is done about what an open journal or a manifest that is not registered names, what is awaited, or
//!   what has another spelling; nor to another file than the one that was found.
//! - No record says that an artifact is there which a repair has moved: the record goes first.
//! - What the registry passed over is not repaired: its file and its finding stay.
//! - A file that nothing names is moved, and deleted only by an order for that alone, where the root allows it.
//!
//! # What a crash leaves
//!
//! | after   | left behind                       | recovery                                    |
//! |---------|-----------------------------------|---------------------------------------------|
//! | noted   | rows in the ledger, nothing done  | drops them; the findings stay               |
//! | records | records that are taken back       | finishes what was begun about these files   |
//! | files   | files in quarantine, or deleted   | notes that it is done; the findings go      |

mod error;

mod plan;

mod scene;

mod examine;

mod planning;

mod share;

mod spellings;

mod declare;

mod replicas;

mod changed;

mod unmoved;

mod act;

mod resume;

mod report;

mod restore;

mod flow;

mod work;

pub use self::error::RepairError;
pub use self::flow::{RepairOrder, RepairPhase, RepairProgress, Repairing};
pub use self::plan::{Extent, Left, Planned, RepairPlan, RootPlan};
pub use self::report::{RepairReport, RootRepaired};
pub use self::restore::Restoration;
pub use self::work::RepairWork;
