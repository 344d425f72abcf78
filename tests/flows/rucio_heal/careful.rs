//! What is not declared, and what is declared with less.

use harness::{Naming, Rucio};
use runsync::ledger::jobs::JobOutcome;
use runsync::ledger::scans::DriftKind;
use runsync::registry::record::Presence;

use crate::living::{DAY, Living, POLICY};
use crate::proof::shown;
use crate::scene::FILES;

/// The artifact that is deleted.
const GONE: u32 = 1;

/// An account that may not declare replicas bad, where Rucio takes suspicious ones.
pub(crate) fn suspicious(server: &Rucio) {
    let living = Living::as_sites_do(server, "HEAL_SUSPICIOUS", Naming::NonDeterministic);
    living.bring();
    living.delete(GONE);
    living.live(2 * DAY);
    assert_eq!(
        living.heard(),
        [format!("{GONE}.fits S 1")],
        "{:?}",
        living.job("repair")
    );
    assert_eq!(living.exists(GONE), Presence::Pending);
    assert_eq!(living.standing(), (u64::from(FILES) - 1, 1));
    let repairs = living.repairs();
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    assert_eq!(repairs[0].declared.as_deref(), Some("suspicious"));
    let said = living.said("repair");
    assert!(
        said.contains("1 declared to Rucio (1 as suspicious alone"),
        "{said}"
    );
    shown(
        "an account that may not declare replicas bad",
        "suspicious, and the job and `repair history` say so; the artifact is waited for",
    );
    living.live(2 * DAY);
    assert_eq!(living.heard(), [format!("{GONE}.fits S 1")]);
    assert_eq!(living.standing(), (u64::from(FILES) - 1, 1));
    shown(
        "the same, days later",
        "it counts once, and is waited for still",
    );
}

/// The same where Rucio cannot tell by its PFN which file is meant, and takes none.
pub(crate) fn not_taken(server: &Rucio) {
    let living = Living::as_sites_do(server, "HEAL_NOT_TAKEN", Naming::Identity);
    living.bring();
    living.delete(GONE);
    living.live(3 * DAY);
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    assert_eq!(living.kinds(), [(DriftKind::Lost, 3)]);
    assert_eq!(living.standing(), (FILES.into(), 0));
    let said = living.said("repair");
    assert!(said.contains("0 repaired, 1 left"), "{said}");
    assert!(
        said.contains("Rucio does not take that its replica is suspicious"),
        "{said}"
    );
    shown(
        "an account that may not, where Rucio takes no suspicious ones",
        "nothing is forgotten, and the job says why; the finding stays",
    );

    living.scene.as_root();
    living.live(DAY);
    assert_eq!(living.heard(), [format!("{GONE}.fits B 1")]);
    living.carry_again();
    living.live(1);
    living.is_whole();
    shown(
        "the account may by now",
        "declared bad by the next repair, and heals",
    );
}

/// The root is away, and an empty folder lies in its place.
pub(crate) fn away(server: &Rucio) {
    let living = Living::new(server, "HEAL_AWAY", Naming::Identity);
    living.bring();
    let site = &living.scene.b.site;
    living.delete(GONE);
    living.live(DAY);
    assert_eq!(living.kinds(), [(DriftKind::Lost, 1)]);
    let (root, away) = (site.root(), site.folder.path().join("away"));
    // It goes while the site lives: a root that is away when it is opened is refused then.
    living.live_with(2 * DAY, || {
        std::fs::rename(&root, &away).unwrap();
        std::fs::create_dir(&root).unwrap();
    });
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&away, &root).unwrap();
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    assert_eq!(living.kinds(), [(DriftKind::Lost, 1)]);
    assert_eq!(living.standing(), (FILES.into(), 0));
    let scan = living.job("scan");
    assert_eq!(scan.outcome, Some(JobOutcome::Failed), "{scan:?}");
    shown(
        "an empty folder in the root's place for two days",
        "scans fail and say so, nothing is found, repaired or declared",
    );

    living.live(DAY);
    assert_eq!(living.heard(), [format!("{GONE}.fits B 1")]);
    living.carry_again();
    living.live(1);
    living.is_whole();
    shown(
        "the root is back",
        "what is really lost is declared, and heals",
    );
}

/// All files are gone, and the root is the one it was.
pub(crate) fn all_gone(server: &Rucio) {
    let living = Living::new(server, "HEAL_ALL_GONE", Naming::Identity);
    living.bring();
    for number in 0..FILES {
        living.delete(number);
    }
    living.live(3 * DAY);
    assert_eq!(living.kinds(), [(DriftKind::Lost, 3); FILES as usize]);
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    assert_eq!(living.standing(), (FILES.into(), 0));
    let repair = living.job("repair");
    assert_eq!(repair.outcome, Some(JobOutcome::Failed), "{repair:?}");
    let said = repair.detail.unwrap();
    assert!(said.contains("more than the share"), "{said}");
    shown(
        "all files of a root are gone",
        "found by each scan, nothing is repaired or declared: it is more than the share",
    );
}

/// Rucio does not answer while a repair would tell it.
pub(crate) fn rucio_away(server: &Rucio) {
    let living = Living::new(server, "HEAL_RUCIO_AWAY", Naming::Identity);
    living.bring();
    living.delete(GONE);
    // To half way between the second scan and the repair.
    living.live(DAY + 2);
    let config = living.scene.b.site.config();
    let right = std::fs::read_to_string(&config).unwrap();
    assert!(right.contains(POLICY));
    let nowhere = right.replace(&server.url(), "http://127.0.0.1:9");
    std::fs::write(&config, nowhere).unwrap();
    living.live(1);
    std::fs::write(&config, right).unwrap();
    assert_eq!(living.repairs(), []);
    assert_eq!(living.standing(), (FILES.into(), 0));
    let said = living.said("repair");
    assert!(said.contains("0 repaired, 1 left"), "{said}");
    shown(
        "Rucio does not answer when a file is to be declared",
        "its record stays, and it is left for the next repair",
    );

    living.live(DAY);
    assert_eq!(living.heard(), [format!("{GONE}.fits B 1")]);
    living.carry_again();
    living.live(1);
    living.is_whole();
    shown(
        "Rucio answers again",
        "declared by the next repair, and heals",
    );
}

/// Nobody may read from the RSE: Rucio does not list what it has there.
pub(crate) fn closed(server: &Rucio) {
    let living = Living::new(server, "HEAL_CLOSED", Naming::Identity);
    living.bring();
    living.delete(GONE);
    let open_for_reading = |is_open: bool| {
        let body = serde_json::json!({"availability_read": is_open});
        let rse = format!("/rses/{}", living.scene.b.rse.name);
        server.must("PUT", &rse, Some(&body)).unwrap();
    };
    open_for_reading(false);
    living.live(2 * DAY);
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    assert_eq!(living.standing(), (FILES.into(), 0));
    assert_eq!(living.kinds(), [(DriftKind::Lost, 2)]);
    let said = living.said("repair");
    assert!(said.contains("closed for reading"), "{said}");
    shown(
        "a file is lost while its RSE is closed for reading",
        "nothing is declared or forgotten, and the job says why; the finding stays",
    );

    open_for_reading(true);
    living.live(DAY);
    assert_eq!(living.heard(), [format!("{GONE}.fits B 1")]);
    living.carry_again();
    living.live(1);
    living.is_whole();
    shown(
        "the RSE is open again",
        "declared by the next repair, and heals",
    );
}

/// Somebody puts the file back between the scan and the repair.
pub(crate) fn came_back(server: &Rucio) {
    let living = Living::new(server, "HEAL_CAME_BACK", Naming::Identity);
    living.bring();
    let bytes = std::fs::read(living.own(GONE)).unwrap();
    living.delete(GONE);
    // To half way between the second scan and the repair.
    living.live(DAY + 2);
    assert_eq!(living.kinds(), [(DriftKind::Lost, 2)]);
    living.scene.b.site.put(&living.path(GONE), &bytes);
    living.live(2);
    let said = living.said("repair");
    assert!(said.contains("0 repaired, 1 left"), "{said}");
    living.live(DAY);
    assert_eq!(living.heard(), [""; 0]);
    assert_eq!(living.repairs(), []);
    living.is_whole();
    shown(
        "a file is put back between the second scan and the repair",
        "nothing is repaired or declared, and the finding goes",
    );
}
