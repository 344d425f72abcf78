//! Compares a root with its records, within limits, and keeps what differs.
//!
//! scan → diff → report → [`repair`]
//!
//! Everything else in runsync learns of files from somebody who says so. A scan asks storage itself: files that
//! went, came or changed behind everybody's back. It joins a listing with the records in one pass, both in the
//! order of paths, in memory that does not grow with either; it stops when its budget is spent, and the next
//! one goes on from there.
//!
//! # Invariants
//!
//! - Nothing is changed but the ledger. A scan tells; whoever acts on it looks again.
//! - Nothing is concluded from what was not listed whole, nor while the root is not the one that was opened.
//! - Nothing is found lost or corrupt that was not looked at by its name, and asked of the registry, after the
//!   listing; nothing dark that is awaited, being removed, named by a manifest in the root, or new.
//! - A finding goes when a later pass has gone through its path and drawn a conclusion there, and not before.
//!
//! # What a crash leaves
//!
//! A position and what was found before it, in one commit. The next scan goes on there, and ends with the
//! findings of one that was never interrupted.

mod error;

mod order;

mod stretches;

mod merge;

mod streams;

mod ahead;

mod temporary;

mod budget;

mod ages;

mod behind;

mod untouchable;

mod earlier;

mod sample;

mod belonging;

mod judge;

mod batch;

mod report;

mod ground;

mod pass;

mod pace;

mod turns;

mod flow;

mod standing;

mod printed;

mod chart;

mod page;

mod work;

pub mod repair;

pub use self::budget::{Limits, Progress};
pub use self::error::ScanError;
pub use self::flow::{Scanning, Told};
pub use self::order::{Checks, Order, Pace, RunScope};
pub use self::page::FindingsPage;
pub use self::report::{OverdueRun, ScanCounts, ScanReport, StaleJournal};
pub use self::standing::{RootScans, ScanStanding, root_scans, standings};
pub use self::work::ScanWork;
