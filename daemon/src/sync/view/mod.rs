//! Compares this site's records with the replicas that Rucio has at its RSE, file by file, and keeps what differs.
//!
//! records, by path → asked of Rucio        replicas, by name → asked of the registry
//!
//! What [`pass`](super::pass) compares is what is on its way: locks of Rucio datasets, runs that wait. This goes through
//! everything, seldom: it finds the one file that Rucio lost while the lock on its dataset stayed, the replica that
//! nobody here has a record of, and the one whose size or checksum Rucio knows otherwise. It changes nothing; what it
//! finds is kept beside the drift of [`recovery`](crate::recovery)'s scans, which look at storage and never at
//! Rucio.
//!
//! Both ways through are passes of their own, each with a position in the ledger, and each is as good as its answers:
//! where Rucio gives none the pass stops, and what was found earlier stays.

mod order;

mod report;

mod flow;

mod records;

mod replicas;

mod work;

pub use self::flow::ViewTold;
pub use self::order::ViewOrder;
pub use self::report::{ViewCounts, ViewReport};
pub use self::work::ViewWork;
