//! Replicas that Rucio has lost, and repairs that are killed while they tell it of them again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use runsync::clock::{Clock, ManualClock, SystemClock};
use runsync::ledger::repairs::{RepairAct, WhichRepairs};
use runsync::ledger::scans::{Drift, DriftKind, DriftSide, ScanRow, Span};

use crate::fake::{FakeRucio, HERE, When};
use crate::process::text;
use crate::scene::{PATHS, RUN, bytes, drift, manifest};
use crate::site::{EVERYTHING, LATER};
use crate::support::{OpenSite, TestSite};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The artifact whose replica Rucio has lost.
const LOST: &str = PATHS[1];

/// A site whose files Rucio has elsewhere than their names say. It has lost one of its replicas here, which the
/// second of two comparisons saw just now, by the machine's own clock.
fn site(rucio: &FakeRucio) -> TestSite {
    let now = SystemClock.now() - jiff::SignedDuration::try_from(LATER).unwrap();
    let site = TestSite {
        clock: Arc::new(ManualClock::new(now)),
        ..TestSite::in_memory("size")
    };
    for path in PATHS {
        site.put(path, &bytes(path));
    }
    site.place(&manifest(&site, RUN, "1-1", 1, &PATHS));
    let mut open = site.open();
    open.work();
    open.confirm();
    drop(open);
    rucio.hashes();
    rucio.knows(&site, &PATHS.map(|path| (path, bytes(path))));
    rucio.loses(LOST);
    let policy = EVERYTHING.replace("share_max", "site_only = \"add-replica\"\nshare_max");
    let root = format!("rse = \"{HERE}\"\npath_mapping = \"rucio\"");
    site.configure("size", &format!("{root}\n{}{policy}", rucio.section()));
    let open = site.open();
    compare(&site, &open);
    site.pass(LATER.saturating_sub(Duration::from_secs(1)));
    compare(&site, &open);
    drop(open);
    site
}

/// Writes down what a comparison of all records with Rucio finds.
fn compare(site: &TestSite, open: &OpenSite) {
    let (root, now) = ("main".parse().unwrap(), site.now());
    let scope = DriftSide::Records.scope();
    let begun = open.ledger().begin_scan(&root, scope, "", now).unwrap();
    let whole = ScanRow {
        position: None,
        finished_at: Some(now),
        whole_begun_at: Some(begun.begun_at),
        ..begun
    };
    let seen = Drift {
        path: LOST.parse().unwrap(),
        kind: DriftKind::SiteOnly,
        detail: "Rucio has no replica of it here".to_owned(),
        size: Some(50),
        identity: None,
        claimed: true,
        run: None,
        folded: LOST.to_owned(),
    };
    let all = [Span::all()];
    open.ledger().note_scan(&whole, &[seen], &all).unwrap();
}

/// Runs a repair, and kills it (`kill -9`) at its first registration.
fn kill_a_repair(site: &TestSite, rucio: &FakeRucio, when: When) {
    let child = Arc::new(Mutex::new(None));
    let (kills, killed) = mpsc::channel();
    let running = Arc::clone(&child);
    rucio.at_registration(when, move || {
        let mut child: std::process::Child = running.lock().unwrap().take().unwrap();
        child.kill().unwrap();
        kills.send(child.wait().unwrap()).unwrap();
    });
    {
        let mut child = child.lock().unwrap();
        let mut command = site.command(&["repair", "--yes"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        *child = Some(command.spawn().unwrap());
    }
    let status = killed.recv_timeout(PATIENCE).unwrap();
    assert_eq!(status.signal(), Some(9));
    let begun = WhichRepairs::Begun(&"main".parse().unwrap());
    let begun = site.watch().0.ledger.repairs(begun, None, 10).unwrap();
    assert_eq!(begun.len(), 1);
}

/// Repairs again, and sees that all is well.
fn is_finished(site: &TestSite) {
    let done = site.run_command(&["repair", "--yes"]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{told}{}", text(&done.stderr));
    let readers = site.watch();
    let ledger = &*readers.0.ledger;
    assert_eq!(drift(ledger), []);
    let done = ledger.repairs(WhichRepairs::Done, None, 10).unwrap();
    let done: Vec<_> = done
        .iter()
        .map(|row| (row.act, row.path.as_str()))
        .collect();
    assert_eq!(done, [(RepairAct::AddReplica, LOST)]);
}

/// Whether its file has the name that the RSE knows it by.
fn is_named(site: &TestSite, rucio: &FakeRucio) -> bool {
    let inode = |file| fs::metadata(file).map(|status| status.ino());
    let own = inode(site.root().join(LOST)).unwrap();
    inode(rucio.place(LOST)).is_ok_and(|named| named == own)
}

#[test]
fn a_repair_killed_between_naming_a_file_and_telling_rucio_is_made_up_for_and_told_once() {
    let rucio = FakeRucio::start();
    let site = site(&rucio);
    assert!(!is_named(&site, &rucio));
    kill_a_repair(&site, &rucio, When::Before);
    assert!(is_named(&site, &rucio));
    assert_eq!(rucio.told(), [""; 0]);
    is_finished(&site);
    let once = [format!("replica {LOST}")];
    assert_eq!(rucio.told(), once);
    assert!(is_named(&site, &rucio));
    is_finished(&site);
    assert_eq!(rucio.told(), once);
}

#[test]
fn a_repair_killed_once_rucio_has_heard_of_a_file_does_not_tell_it_again() {
    let rucio = FakeRucio::start();
    let site = site(&rucio);
    kill_a_repair(&site, &rucio, When::After);
    let once = [format!("replica {LOST}")];
    assert_eq!(rucio.told(), once);
    is_finished(&site);
    assert_eq!(rucio.told(), once);
    assert_eq!(rucio.count("POST /replicas"), 1);
    assert!(is_named(&site, &rucio));
}
