//! How the daemon is asked: one router, over its Unix socket and over TCP.
//!
//! [`Server`] opens the sockets; `connection` serves each client in a task of its own, with a
//! deadline for everything that a client may draw out. `gate` finds out who asks and refuses who
//! may not; then a handler answers from [`Surface`]: from the registry and the ledger, opened for
//! reading, whatever this daemon is about, or through the loops, where it runs them.
//!
//! # Invariants
//!
//! - Nothing is answered before it is known who asks, but whether the daemon is well.
//! - What blocks has a thread for the time it blocks, and there are so many at a time; a client that
//!   is slow holds none.
//! - What changes something is refused where this daemon does not run the loops, and is recorded
//!   with who asked for it. Messages (`events`) are hints, and only counted.
//! - Every refusal is a problem (RFC 9457); no answer and no line of the log holds a token.

mod error;

mod problem;

mod names;

mod account;

mod peer;

mod limits;

mod shares;

mod surface;

mod unix;

mod tcp;

mod connection;

mod gate;

mod body;

mod query;

mod ndjson;

mod pages;

mod openapi;

mod health;

pub mod status;

mod uuids;

pub mod exists;

mod runs;

mod record;

mod manifests;

mod hand_in;

mod wake;

mod removals;

mod asked;

mod collections;

mod publications;

mod events;

mod syncs;

mod scans;

mod schedule;

mod findings;

mod metrics;

mod router;

mod server;

mod client;

pub use self::account::AccessError;
pub use self::client::{Client, ClientError, Lines, path};
pub use self::collections::{Changed, Collections, Unlinking};
pub use self::error::ListenError;
pub use self::events::{Forgotten, SetAside, ToForget};
pub use self::exists::ExistsError;
pub use self::findings::{IgnoredFinding, ToIgnore};
pub use self::hand_in::HandInEvent;
pub use self::health::{Health, Readiness};
pub use self::manifests::{ActedOn, Locations};
pub use self::openapi::document;
pub use self::problem::ProblemBody;
pub use self::publications::{Ordered, ToCompact, ToPublish};
pub use self::removals::{Approved, AsOwner, Committed, Ended, GivenUp, Restored, ToEnd, Wanted};
pub use self::scans::{ScanEvent, ScanShown, ToScan};
pub use self::schedule::JobEvent;
pub use self::server::{Server, check_tls, check_tokens};
pub use self::status::{DaemonStatus, DriftCount, RootStatus, Status, StatusError};
pub use self::surface::Surface;
pub use self::syncs::{SyncEvent, ToSync};
pub use self::wake::{WakeRequest, Woken};
