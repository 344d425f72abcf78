//! Where Rucio places files by an algorithm an artifact has two names: its own, and that of Rucio's file. A
//! replica that is as it should be under Rucio's name is never declared.

use harness::{Naming, Rucio};
use runsync::ledger::scans::DriftKind;
use runsync::registry::record::Presence;

use crate::living::{DAY, Living};
use crate::proof::shown;

/// The artifact of which a name is amiss.
const AMISS: u32 = 2;

/// The own name alone is deleted.
pub(crate) fn own_name_is_gone(server: &Rucio) {
    let living = Living::new(server, "HEAL_OWN_NAME", Naming::Hash);
    living.bring();
    std::fs::remove_file(living.own(AMISS)).unwrap();
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::Lost, 1)]);
    living.live(DAY);
    assert_eq!(living.heard(), [""; 0]);
    let repairs = living.repairs();
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    assert_eq!(repairs[0].declared, None);
    // The comparison of the next hour has been done, too.
    living.is_whole();
    shown(
        "Hash: its own name alone is deleted",
        "nothing is declared; it gets its name again, from Rucio's file, and is confirmed",
    );
    living.live(2 * DAY);
    living.is_whole();
    assert_eq!(living.repairs().len(), 1);
}

/// Another file of the same size lies under the own name; Rucio's is right.
pub(crate) fn own_name_is_another_file(server: &Rucio) {
    let living = Living::new(server, "HEAL_OWN_OTHER", Naming::Hash);
    living.bring();
    let mut bytes = std::fs::read(living.own(AMISS)).unwrap();
    bytes[0] ^= 1;
    std::fs::remove_file(living.own(AMISS)).unwrap();
    std::fs::write(living.own(AMISS), &bytes).unwrap();
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::Corrupt, 1)]);
    living.live(DAY);
    assert_eq!(living.heard(), [""; 0]);
    let repairs = living.repairs();
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    let aside = repairs[0].aside.as_ref().unwrap();
    let kept = std::fs::read(living.scene.b.site.root().join(aside)).unwrap();
    assert!(kept == bytes, "what lay there is kept");
    living.is_whole();
    shown(
        "Hash: another file lies under its own name",
        "nothing is declared; that file is set aside, and Rucio's gets the name",
    );
}

/// Rucio's name alone is deleted: the artifact is here, and nobody lost anything.
pub(crate) fn rucios_name_is_gone(server: &Rucio) {
    let living = Living::new(server, "HEAL_RUCIO_NAME", Naming::Hash);
    living.bring();
    std::fs::remove_file(living.rucios(AMISS)).unwrap();
    living.live(3 * DAY);
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    assert_eq!(living.exists(AMISS), Presence::Yes);
    assert!(living.own(AMISS).exists());
    // As documented: no scan and no comparison looks there.
    assert!(!living.rucios(AMISS).exists());
    assert_eq!(living.found(), []);
    shown(
        "Hash: Rucio's name alone is deleted",
        "nothing is declared, and the artifact stays recorded",
    );
}
