//! Removes runs from this site.
//!
//! request → journal → commit → delete → (propagate)
//!
//! A removal is a promise kept in steps, each durable before the next begins. [`journal`] writes into
//! each root what is to be deleted there; the commit hides the runs, so that no reader finds them;
//! only then may [`delete`] touch files, each only where it is still the file that the journal
//! names. When all that was there is gone the hidden rows are reaped, and the journals go.
//!
//! # Invariants
//!
//! - No artifact is deleted while a reader can find a record of it.
//! - An artifact that a dataset which stays names too is not deleted.
//! - A journal goes only when each of its deletions is confirmed and durable; one that failed stays
//!   in it.
//! - What Rucio has is not unlinked where Rucio deletes (`by_rucio`): neither on its silence, nor
//!   because configuration has changed.
//! - What one account asked for, no other account's command continues, unless it says so by name.
//!
//! # What a crash leaves
//!
//! | after   | left behind                   | recovery                                |
//! |---------|-------------------------------|-----------------------------------------|
//! | journal | a journal without its commit  | drops it: nothing was deleted           |
//! | commit  | artifacts without records     | deletes what the journal names          |
//! | delete  | hidden rows, a journal        | reaps the rows, removes the journal     |
//!
//! Files that nobody asked to remove belong to a scan.

pub mod error;

pub mod taken;

pub mod request;

pub mod pattern;

pub mod journal;

pub mod delete;

pub mod standing;

pub mod flow;

mod scopes;

mod by_rucio;

mod late;

mod propagate;

mod follow;

mod restore;

pub mod recover;

pub mod worker;

pub use self::error::RemovalError;
pub use self::flow::{Ground, NamedRoot, Outcome, Phase, Progress, Removing};
pub use self::follow::Word;
pub use self::journal::Journal;
pub use self::pattern::PlannedChain;
pub use self::recover::{JournalRow, JournalState};
pub use self::request::{
    Consent, Plan, PlannedInRucio, PlannedRoot, PlannedRun, Request, Requester,
};
pub use self::scopes::{PeerScopes, scopes_of};
pub use self::standing::{Standing, Standings, State};
pub use self::taken::{GenerationError, Taken};
pub use self::worker::RemovalWorker;
