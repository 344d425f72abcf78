//! The per-run manifest of runsync, format 1: reads it, writes it, checks it.
//!
//! A manifest is an immutable, signed JSON Lines file about one run. It travels
//! with the run's files; every site that receives it learns from it which
//! datasets the run holds and which artifacts to expect. `docs/MANIFEST.md` is
//! the specification.
//!
//! This crate is pure: bytes in, records out. It has no clock, no network and no
//! database, and it imports nothing else of runsync.
//!
//! The modules in the order of a reader's way through a file: names and
//! generations, the four line kinds, the reader and the writer over them.

pub mod name;

pub mod generation;

pub mod version;

pub mod universe;

pub mod content;

pub mod header;

pub mod dimension;

pub mod entry;

pub mod checksum;

pub mod signature;

pub mod trailer;

pub mod limits;

mod strict;

mod rules;

mod unpack;

mod source;

mod lines;

mod line;

pub mod skim;

pub mod reader;

pub mod writer;

pub mod summary;

pub mod schema;

pub mod error;
