//! Files are lost, spoiled, strayed and brought, runs come and go, clocks leap, processes die, and all the while a site
//! is scanned and repaired, at random. After each step its files, quarantine, records and findings are what a model says,
//! and at the end of each sequence what is amiss is found and repaired.
//!
//! The model says what may follow by the words of docs/SCANS.md and docs/REPAIR.md, and nothing of how it is done.
//! It is exact but for what it takes over as it is found, each named where that is done: whether a sampled scan read an
//! artifact, where a scan was when its bytes were spent, which files a removal that was broken off had deleted, whether
//! a repair that is refused settles what an earlier one had begun, and whether a path is repaired that has another
//! spelling which no pass has found.
//!
//! Files' own times are the machine's. Sites live days to years ahead of it, so that files are old there; what is young
//! is so because configuration, or a clock that was set back, asks for more than that. The model reads the very times
//! that the site reads.
//!
//! Sequences: 48, or `MODEL_SCAN_SEQUENCES`; `cargo xtask model-scan` runs at least 1,000. `MODEL_SCAN_SEED` brings one
//! site's sequences back, as a failure tells it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; a proof prints what it went through"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../scan/scene.rs"]
#[expect(dead_code, reason = "scans' scene, of which this target uses a part")]
mod scene;

#[path = "../repair/site.rs"]
#[expect(dead_code, reason = "repairs' site, of which this target uses a part")]
mod site;

mod tally;

mod model;

mod world;

mod check;

mod guard;

mod steps;

mod ending;

mod run;
