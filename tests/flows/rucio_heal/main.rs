//! A site whose jobs scan, repair and compare with Rucio by themselves, beside a real Rucio server: what is
//! lost or corrupt at the site behind Rucio's back is declared, carried again and confirmed, and nothing
//! else is declared.
//!
//! Jobs are those of `[[schedule]]`, done at their times by a clock that is moved; Rucio's daemons are stepped.
//! Nobody does anything else. One section has a daemon live by the machine's clock. `cargo xtask rucio-heal`
//! prints what each case came to.

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

#[path = "../rucio_sync/scene.rs"]
#[expect(
    dead_code,
    reason = "the scene of comparing, of which this target uses a part"
)]
mod scene;

mod living;

mod lost;

mod names;

mod corrupt;

mod careful;

mod alone;

mod view;

use harness::{Part, Rucio};

use crate::sections::Section;

const ALL: &[Section] = &[
    ("lost identity", lost::identity),
    ("lost hash", lost::hash),
    ("declared by another", lost::declared_by_another),
    ("own name", names::own_name_is_gone),
    ("own name other", names::own_name_is_another_file),
    ("rucio name", names::rucios_name_is_gone),
    ("corrupt identity", corrupt::identity),
    ("corrupt hash", corrupt::hash),
    ("suspicious", careful::suspicious),
    ("not taken", careful::not_taken),
    ("away", careful::away),
    ("all gone", careful::all_gone),
    ("rucio away", careful::rucio_away),
    ("closed", careful::closed),
    ("came back", careful::came_back),
    ("view identity", view::identity),
    ("view hash", view::hash),
    ("alone", alone::nothing_before_its_time),
];

#[test]
fn what_is_lost_behind_rucios_back_comes_back_by_policy_alone() {
    let server = Rucio::start(&[Part::Daemons, Part::Transfers]).unwrap();
    rucio::add_account(&server);
    sections::go_through(ALL, &server);
}
