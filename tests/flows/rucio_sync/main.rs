//! A site that compares itself with a real Rucio server: what has come and nobody told of is taken in,
//! what Rucio has deleted is forgotten, what does not come is told; and nothing that Rucio says leads
//! to another file, or out of the root.
//!
//! No message of Rucio's reaches the site: hints are made here, where a section is about them. All
//! sections share one server, one after the other: Rucio's daemons act on all of it. Each has sites of its
//! own. `cargo xtask rucio-sync` prints what each case came to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]
#![expect(clippy::disallowed_methods, reason = "test data needs no durability")]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../../support/daemon.rs"]
mod process;

#[path = "../../support/pair.rs"]
mod pair;

#[path = "../../support/proof.rs"]
mod proof;

#[path = "../../support/sections.rs"]
mod sections;

#[path = "../../support/rucio.rs"]
mod rucio;

#[path = "../../support/between.rs"]
mod between;

mod scene;

mod arrivals;

mod hints;

mod deletions;

mod declared;

mod late;

mod hostile;

mod away;

mod unattended;

mod seen;

use harness::{Part, Rucio};

use crate::sections::Section;

const ALL: &[Section] = &[
    ("identity", arrivals::identity),
    ("hash", arrivals::hash),
    ("non-deterministic", arrivals::non_deterministic),
    ("trust", arrivals::trust),
    ("checksum", arrivals::checksum),
    ("gap", arrivals::gap),
    ("hints identity", hints::identity),
    ("hints hash", hints::hash),
    ("hints many", hints::many),
    ("hints of nothing", hints::of_nothing),
    ("deleted identity", deletions::identity),
    ("deleted hash", deletions::hash),
    ("kept", deletions::kept),
    ("guarded", deletions::guarded),
    ("withdrawn", deletions::withdrawn),
    ("wanted again", deletions::wanted_again),
    ("late", late::late),
    ("declared identity", declared::identity),
    ("declared hash", declared::hash),
    ("declared carefully", declared::careful),
    ("may not declare", declared::refused),
    ("taken", hostile::taken),
    ("hostile places", hostile::places),
    ("other bytes", hostile::other_bytes),
    ("away", away::away),
    ("in parts", away::in_parts),
    ("unattended identity", unattended::identity),
    ("unattended hash", unattended::hash),
    ("asked", unattended::asked),
    ("seen identity", seen::identity),
    ("seen hash", seen::hash),
    ("seen closed", seen::closed),
    ("seen second", seen::second),
    ("seen away", seen::away),
];

#[test]
fn a_site_comes_to_what_rucio_says_should_be_there() {
    let server = Rucio::start(&[Part::Daemons, Part::Transfers]).unwrap();
    rucio::add_account(&server);
    sections::go_through(ALL, &server);
}
