//! A replica that Rucio has lost, while its file is here and right.

use harness::{Naming, Rucio};
use runsync::ledger::repairs::RepairAct;
use runsync::ledger::scans::DriftKind;
use runsync::registry::record::Presence;

use crate::living::{DAY, Living};
use crate::proof::shown;
use crate::scene::FILES;

pub(crate) fn identity(server: &Rucio) {
    is_added(server, "HEAL_VIEW_IDENTITY", Naming::Identity);
}

pub(crate) fn hash(server: &Rucio) {
    is_added(server, "HEAL_VIEW_HASH", Naming::Hash);
}

/// The artifact whose replica Rucio has lost.
const LOST: u32 = 4;
/// Another, which it knows by another checksum besides.
const OTHER: u32 = 5;

/// Found by two comparisons, read, and told to Rucio: by jobs alone.
fn is_added(server: &Rucio, name: &str, naming: Naming) {
    let living = Living::new(server, name, naming);
    let say = |case: &str, outcome: &str| shown(&format!("{naming:?}: {case}"), outcome);
    living.bring();
    erase(&living, LOST);
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::SiteOnly, 1)]);
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::SiteOnly, 2)]);
    assert!(living.said("repair").contains("0 repaired"));
    assert!(!living.scene.is_available(&living.run, FILES));
    say(
        "Rucio has lost a replica, and one comparison has passed",
        "found, and nothing is done",
    );

    living.live(DAY);
    let repairs = living.repairs();
    assert_eq!((repairs.len(), repairs[0].act), (1, RepairAct::AddReplica));
    assert_eq!(repairs[0].path.as_str(), living.path(LOST));
    living.is_whole();
    assert_eq!(living.heard(), [""; 0]);
    say(
        "a second comparison a day later",
        "its file is read, Rucio knows it to be here again, and nothing is found any more",
    );

    // Another checksum than Rucio's is nobody's to change.
    erase(&living, OTHER);
    let sql = format!(
        "update dids set adler32 = '00000001' where name = '{}'",
        living.path(OTHER)
    );
    server.sql(&sql).unwrap();
    let other = format!(
        "update replicas set adler32 = '00000001' where name = '{}'",
        living.path(OTHER)
    );
    server.sql(&other).unwrap();
    living.live(3 * DAY);
    assert_eq!(living.repairs().len(), 1);
    assert_eq!(living.kinds()[0].0, DriftKind::SiteOnly);
    let said = living.said("repair");
    assert!(said.contains("by another size or checksum"), "{said}");
    assert_eq!(living.exists(OTHER), Presence::Yes);
    say(
        "a lost replica of a file that Rucio knows by another checksum",
        "left, and the job says why",
    );
}

/// Has Rucio lose a replica at site B behind everybody's back, but not the lock of its dataset.
fn erase(living: &Living<'_>, number: u32) {
    let (there, name) = (&living.scene.b.rse.name, living.path(number));
    for table in ["locks", "replicas"] {
        let sql = format!(
            "delete from {table} where name = '{name}' and rse_id = (select id from rses where rse = '{there}')"
        );
        living.scene.server.sql(&sql).unwrap();
    }
}
