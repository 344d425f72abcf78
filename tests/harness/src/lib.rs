//! Starts a real Rucio server on the loopback, with all it needs, for tests.
//!
//! What runsync says to Rucio is only right if Rucio thinks so too. A stand-in for Rucio would agree
//! with whoever wrote it; so tests and proofs speak to Rucio itself: its REST server, its daemons,
//! its tables, its message broker. [`Rucio::start`] brings them up in seconds, each time in a folder
//! and on ports of their own, and takes them down again when it is dropped, or when its process
//! dies, however it dies.
//!
//! # What is a stand-in
//!
//! - The FTS server, which moves bytes between storage systems for Rucio. The stand-in copies files
//!   between folders and checks their checksums; Rucio's daemons talk to it as to the real one.
//! - The web server before Rucio. It would speak TLS and tell Rucio the owner of a client's
//!   certificate; gunicorn does, with a few lines around Rucio's application.
//! - The issuer of tokens: it signs one for whoever asks. Rucio checks them as those of any issuer.
//!
//! # Invariants
//!
//! - Nothing listens beyond the loopback.
//! - Nothing outlives its harness: one child, the supervisor, keeps all processes, and ends them and
//!   removes the folder once its standard input ends.
//! - A part that cannot be started is an error. No test is skipped.

mod broker;
mod cache;
mod certificates;
mod config;
mod daemons;
mod database;
mod fixtures;
mod install;
mod kafka;
mod ports;
mod rest;
mod rucio;
mod scratch;
mod server;
mod stand_in;
mod supervisor;

pub use broker::{Broker, RabbitMq};
pub use certificates::Certificate;
pub use daemons::Daemon;
pub use fixtures::{Naming, Rse};
pub use install::prepare;
pub use kafka::{Door, Kafka};
pub use rest::Answer;
pub use rucio::{Part, Rucio};
