//! Keeps a data facility's registry true to its datastore.
//!
//! `docs/ARCHITECTURE.md` tells the flows, the layers and the invariants. Modules
//! stand here from the lowest layer up; each imports only what stands above it.

pub mod clock;

pub mod file_identity;

mod embedded_json;

mod schema;

mod error_chain;

mod beside;

mod poison;

mod sorting;

mod spelling;

pub mod tls;

pub mod disposition;

pub mod adopted;

pub mod durable;

pub mod lease;

pub mod sqlite;

pub mod telemetry;

pub mod registration_lock;

pub mod registry;

pub mod ledger;

pub mod datastore;

pub mod rucio;

pub mod worker;

pub mod jobs;

pub mod removal;

pub mod ingest;

pub mod create;

pub mod publish;

pub mod adopt;

pub mod events;
pub mod sync;

pub mod recovery;

pub mod assembly;

pub mod service;

pub mod loops;

pub mod steward;

pub mod http;

pub mod cli;
