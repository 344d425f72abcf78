//! Compares this site with what Rucio says should be here, and acts on the difference.
//!
//! list → fetch → name → confirm → forget → tell
//!
//! Messages tell of arrivals and deletions at once, but they are hints: lost, doubled, in any order.
//! What holds is what Rucio answers. So whatever wakes this flow, a hint (`take`), the schedule
//! (`worker`) or an operator, it asks Rucio, in bulk (`root`), and does what follows: manifests
//! that nobody has seen are taken in (`manifests`), files get the names that manifests know
//! (`place`) and are confirmed (`arrivals`), what Rucio has deleted is forgotten (`deletions`),
//! and what does not come is told, with Rucio's reason (`late`), or, where configuration has it so, told to
//! Rucio (`declare`). `pass` goes through all of it. `view` compares file by file, seldom, and changes nothing.
//!
//! Bytes travel by Rucio alone: nothing here moves any between sites.
//!
//! # Invariants
//!
//! - A hint changes nothing by itself: what Rucio lists, and what lies in the root, decides.
//! - The event path and the full pass run the same code, and end alike.
//! - A name is given only within the root, never over another file, and never to a file that a dataset
//!   claims under another name.
//! - Only records go; and, where files have second names, the name of an artifact that Rucio has deleted,
//!   unless another file had it when Rucio's came.
//! - Runs of this site's own are never confirmed by Rucio's word.
//!
//! # What a crash leaves
//!
//! | after   | left behind                          | recovery                                   |
//! |---------|--------------------------------------|--------------------------------------------|
//! | fetch   | a manifest in the root               | the sweep of the manifest folder           |
//! | name    | names of files without records       | found to be there by the next comparison   |
//! | confirm | some records                         | the rest is still waited for               |
//! | forget  | names of files that are forgotten    | taken away when the hint is taken up again |
//! | pass    | a cursor in the ledger               | the next pass goes on there                |

mod error;

mod budget;

mod report;

mod naming;

mod root;

mod place;

mod scopes;

mod manifests;

mod arrivals;

mod deletions;

mod late;

mod declare;

mod runs;

mod flow;

mod pass;

mod view;

mod subject;

mod take;

mod worker;

mod work;

pub use self::budget::Progress;
pub use self::error::SyncError;
pub use self::flow::{Concerned, Ground, Syncing};
pub use self::pass::Measure;
pub use self::report::{LateRun, SyncReport};
pub use self::subject::Subject;
pub use self::view::{ViewCounts, ViewOrder, ViewReport, ViewTold, ViewWork};
pub use self::work::{SyncPart, SyncWork};
pub use self::worker::{SyncDue, SyncWorker};
