//! Publishes this site's runs into Rucio, which carries them to other sites.
//!
//! order → read → register → link → attach → verify → close → rule → announce
//!
//! A manifest of a run is one instalment: its artifacts and the manifest itself become replicas at this
//! site's RSE and one Rucio dataset, which is closed once it holds what the manifest says, and lies in
//! the run's container; the container has the rules of configuration. Every manifest also goes into
//! this origin's control Rucio dataset, which has rules of its own, so that what removes a run arrives
//! when nothing else of the run is carried any more ([`names`]).
//!
//! # Invariants
//!
//! - Only what is registered and confirmed here is published, from the manifest and from no look at
//!   storage.
//! - What Rucio knows is read back: sizes, checksums, places ([`place`]), attachments (`sum`).
//! - Nothing is closed, given rules or announced before it is whole.
//! - Every step may be done again and then changes nothing: a crash anywhere is mended by doing all
//!   from the first step that the ledger does not know to be done.
//!
//! # What a crash leaves
//!
//! | after    | left behind                          | recovery                                          |
//! |----------|--------------------------------------|---------------------------------------------------|
//! | order    | the order, in the ledger             | the daemon goes on, or the next `publish`         |
//! | register | replicas that are attached to nothing | they are found to be there and equal              |
//! | link     | second names that Rucio knows        | they are found to be there                        |
//! | attach   | an open Rucio dataset                | chunks that are done are skipped, the rest follow |
//! | close, rule, announce | some of them            | found to be done                                  |
//!
//! The way out begins with a removal: `ending` ends the rules of runs that were removed.

pub mod names;

mod artifacts;

pub mod place;

mod sum;

mod order;

mod instalment;

mod rules;

mod flow;

pub mod plan;

pub mod compact;

pub mod withdraw;

mod ending;

mod foresight;

pub mod ending_worker;

mod added;

mod damaged;

pub mod worker;

mod error;

pub use self::compact::Compaction;
pub use self::damaged::{Declaration, ReplicaHere, Unavailable};
pub use self::ending_worker::RuleEndingWorker;
pub use self::error::{Elsewhere, PublishError};
pub use self::flow::{Ground, Phase, Progress, PublishRoot, Publishing};
pub use self::place::{Lies, lies};
pub use self::plan::PublicationPlan;
pub use self::withdraw::Withdrawal;
pub use self::worker::PublishWorker;
