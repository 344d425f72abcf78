//! A file whose bytes are not what its manifest says.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use harness::{Naming, Rucio};
use runsync::ledger::scans::DriftKind;
use runsync::registry::record::Presence;

use crate::living::{DAY, Living};
use crate::proof::shown;

/// The artifact whose bytes are changed.
const CORRUPT: u32 = 5;

pub(crate) fn identity(server: &Rucio) {
    heals(server, "ROTS_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    heals(server, "ROTS_HASH", Naming::Hash);
}

/// Found by two scans that read everything, declared, carried again and confirmed.
fn heals(server: &Rucio, name: &str, naming: Naming) {
    let living = Living::new(server, name, naming);
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);
    living.bring();
    // In place, so under both names where it has two.
    let file = OpenOptions::new().write(true).open(living.own(CORRUPT));
    file.unwrap().write_all_at(b"rot", 10).unwrap();
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::Corrupt, 1)]);
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    say(
        "bytes are changed, and one scan has read them",
        "found, and nothing is repaired or declared",
    );

    living.live(DAY);
    assert_eq!(living.exists(CORRUPT), Presence::Pending);
    assert_eq!(living.heard(), [format!("{CORRUPT}.fits B 1")]);
    let repairs = living.repairs();
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    assert!(repairs[0].aside.is_some());
    assert!(!living.own(CORRUPT).exists());
    say(
        "a second scan a day later",
        "its record is taken back, the file is set aside, its replica is declared bad",
    );

    living.carry_again();
    living.live(1);
    living.is_whole();
    living.live(2 * DAY);
    living.is_whole();
    assert_eq!(living.repairs().len(), 1);
    say(
        "Rucio carries it again",
        "confirmed, equal to its origin's, and every scan is clean",
    );
}
