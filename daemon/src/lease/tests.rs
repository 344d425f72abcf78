//! Keeper and holder over a table in memory, which tests can break.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::clock::{ManualUptime, SystemUptime, Uptime};

/// So long that a holder never renews while its test runs, unless the test moves its clock.
const DURATION: Duration = Duration::from_secs(3600);
/// Short enough for tests that wait for real renewals, and for nothing else.
const SHORT: Duration = Duration::from_millis(80);

#[derive(Debug)]
struct MemoryTable {
    row: Mutex<LeaseRow>,
    broken: AtomicBool,
    renewed: SyncSender<()>,
}

impl MemoryTable {
    fn new() -> (Arc<Self>, Receiver<()>) {
        let (renewed, renewals) = mpsc::sync_channel(1);
        let table = Self {
            row: Mutex::new(LeaseRow {
                fence: Fence::default(),
                beat: 0,
                holder: None,
            }),
            broken: AtomicBool::new(false),
            renewed,
        };
        (Arc::new(table), renewals)
    }

    fn change(&self, fence: Fence, change: impl FnOnce(&mut LeaseRow)) -> Result<(), LeaseError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(LeaseError::Table(
                io::Error::other("the disk is gone").into(),
            ));
        }
        let mut row = self.row.lock().unwrap();
        if row.fence != fence {
            return Err(Fenced { fence }.into());
        }
        row.beat += 1;
        change(&mut row);
        Ok(())
    }
}

impl LeaseTable for MemoryTable {
    fn read(&self) -> Result<LeaseRow, LeaseError> {
        Ok(self.row.lock().unwrap().clone())
    }

    fn claim(&self, seen: &LeaseRow, fence: Fence, holder: &Holder) -> Result<bool, LeaseError> {
        let mut row = self.row.lock().unwrap();
        if *row != *seen || fence <= row.fence {
            return Ok(false);
        }
        *row = LeaseRow {
            fence,
            beat: row.beat + 1,
            holder: Some(holder.clone()),
        };
        Ok(true)
    }

    fn renew(&self, fence: Fence) -> Result<(), LeaseError> {
        self.change(fence, |_| ())?;
        self.renewed.try_send(()).ok();
        Ok(())
    }

    fn release(&self, fence: Fence) -> Result<(), LeaseError> {
        self.change(fence, |row| row.holder = None)
    }
}

struct Site {
    folder: TempDir,
    table: Arc<MemoryTable>,
    renewals: Receiver<()>,
}

impl Site {
    fn new() -> Self {
        let (table, renewals) = MemoryTable::new();
        Self {
            folder: tempfile::tempdir().unwrap(),
            table,
            renewals,
        }
    }

    fn keeper(&self, duration: Duration, uptime: Arc<dyn Uptime>) -> Keeper {
        let table = Arc::clone(&self.table);
        Keeper::new(table, self.folder.path(), duration, uptime)
    }

    fn lock_files(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }
}

fn vacant(keeper: &mut Keeper) -> Vacancy {
    match keeper.look().unwrap() {
        Standing::Vacant(vacancy) => vacancy,
        Standing::Held(row, _) => panic!("it is held: {row:?}"),
    }
}

fn wait(keeper: &mut Keeper) -> Duration {
    match keeper.look().unwrap() {
        Standing::Held(_, wait) => wait,
        Standing::Vacant(vacancy) => panic!("it may be claimed: {vacancy:?}"),
    }
}

fn claim(keeper: &Keeper, vacancy: &Vacancy) -> Option<Held> {
    claim_above(keeper, vacancy, Fence::default())
}

fn take(keeper: &mut Keeper) -> Option<Held> {
    let vacancy = vacant(keeper);
    claim(keeper, &vacancy)
}

fn claim_above(keeper: &Keeper, vacancy: &Vacancy, registry: Fence) -> Option<Held> {
    let who = (HolderKind::Daemon, Timestamp::UNIX_EPOCH);
    keeper.claim(vacancy, registry, who, || ()).unwrap()
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    let site = Site::new();
    let uptime = Arc::new(ManualUptime::default());
    let mut first = site.keeper(DURATION, Arc::clone(&uptime) as _);
    let mut second = site.keeper(DURATION, uptime);
    let held = take(&mut first).unwrap();
    assert_eq!(held.tenure().fence(), Fence::stored(1));
    wait(&mut second);
    let tenure = held.tenure().clone();
    drop(held);
    assert_eq!(tenure.ended(), Some(End::Released));
    assert_eq!(site.lock_files(), 0);
    let held = take(&mut second).unwrap();
    assert_eq!(held.tenure().fence(), Fence::stored(2));
}

#[test]
fn a_lease_whose_holder_is_gone_is_taken_at_once() {
    let site = Site::new();
    let uptime = Arc::new(ManualUptime::default());
    let mut first = site.keeper(DURATION, Arc::clone(&uptime) as _);
    let mut second = site.keeper(DURATION, uptime);
    let held = take(&mut first).unwrap();
    wait(&mut second);
    // What the kernel does when the holder's process ends.
    site.table.broken.store(true, Ordering::SeqCst);
    drop(held);
    site.table.broken.store(false, Ordering::SeqCst);
    assert!(site.table.read().unwrap().holder.is_some());
    assert_eq!(site.lock_files(), 1);
    let _held = take(&mut second).unwrap();
    assert_eq!(site.lock_files(), 1, "the old file is removed");
}

#[test]
fn a_lease_that_is_not_renewed_is_taken_after_its_duration() {
    let site = Site::new();
    let uptime = Arc::new(ManualUptime::default());
    let mut first = site.keeper(DURATION, Arc::new(ManualUptime::default()));
    let mut second = site.keeper(DURATION, Arc::clone(&uptime) as _);
    let held = take(&mut first).unwrap();
    let vacancy = loop {
        match second.look().unwrap() {
            Standing::Held(_, wait) => uptime.advance(wait),
            Standing::Vacant(vacancy) => break vacancy,
        }
    };
    assert_eq!(uptime.awake(), DURATION);
    let new = claim(&second, &vacancy).unwrap();
    assert!(new.tenure().fence() > held.tenure().fence());
    assert_eq!(site.lock_files(), 2, "the other still lives");
    let tenure = held.tenure().clone();
    tenure.check(new.tenure().fence()).unwrap_err();
    assert_eq!(tenure.ended(), Some(End::Overtaken));
    drop(held);
    let row = site.table.read().unwrap();
    assert_eq!(row.fence, new.tenure().fence());
    assert!(
        row.holder.is_some(),
        "an overtaken holder gives nothing back"
    );
}

#[test]
fn of_two_that_claim_at_once_one_is_turned_away() {
    let site = Site::new();
    let uptime = Arc::new(ManualUptime::default());
    let mut first = site.keeper(DURATION, Arc::clone(&uptime) as _);
    let mut second = site.keeper(DURATION, uptime);
    let (one, other) = (vacant(&mut first), vacant(&mut second));
    let _held = claim(&first, &one).unwrap();
    assert!(claim(&second, &other).is_none());
    assert_eq!(site.lock_files(), 1);
    wait(&mut second);
}

#[test]
fn the_number_is_above_that_of_a_registry_from_a_newer_backup() {
    let site = Site::new();
    let mut keeper = site.keeper(DURATION, Arc::new(ManualUptime::default()));
    let vacancy = vacant(&mut keeper);
    let held = claim_above(&keeper, &vacancy, Fence::stored(41)).unwrap();
    assert_eq!(held.tenure().fence(), Fence::stored(42));
}

#[test]
fn a_holder_renews_by_itself() {
    let site = Site::new();
    let mut keeper = site.keeper(SHORT, Arc::new(SystemUptime));
    let held = take(&mut keeper).unwrap();
    let beat = site.table.read().unwrap().beat;
    for _ in 0..8 {
        site.renewals.recv().unwrap();
    }
    assert!(site.table.read().unwrap().beat >= beat + 8);
    assert_eq!(held.tenure().ended(), None);
}

/// Runs until the tenure of a holder ends, and tells why it did.
fn end_of(site: &Site, disturb: impl FnOnce(&MemoryTable)) -> (Held, End) {
    let mut keeper = site.keeper(SHORT, Arc::new(SystemUptime));
    let vacancy = vacant(&mut keeper);
    let (ended, end) = mpsc::sync_channel(1);
    let who = (HolderKind::Daemon, Timestamp::UNIX_EPOCH);
    let held = keeper
        .claim(&vacancy, Fence::default(), who, move || {
            ended.send(()).unwrap();
        })
        .unwrap()
        .unwrap();
    site.renewals.recv().unwrap();
    disturb(&site.table);
    end.recv().unwrap();
    let why = held.tenure().ended().unwrap();
    (held, why)
}

#[test]
fn a_holder_that_is_overtaken_ends_its_tenure() {
    let site = Site::new();
    let (_held, why) = end_of(&site, |table| {
        let mut row = table.row.lock().unwrap();
        row.fence = row.fence.next();
    });
    assert_eq!(why, End::Overtaken);
}

#[test]
fn a_holder_that_cannot_renew_ends_its_tenure_and_lets_others_at_once() {
    let site = Site::new();
    let (held, why) = end_of(&site, |table| table.broken.store(true, Ordering::SeqCst));
    assert_eq!(why, End::NotRenewed);
    let uptime = Arc::new(ManualUptime::default());
    let mut other = site.keeper(DURATION, uptime);
    // The renewing thread drops the lock once it has ended the tenure.
    let vacancy = loop {
        if let Standing::Vacant(vacancy) = other.look().unwrap() {
            break vacancy;
        }
        std::thread::yield_now();
    };
    let new = claim(&other, &vacancy).unwrap();
    assert!(new.tenure().fence() > held.tenure().fence());
}

#[test]
fn only_a_holder_whose_lease_has_run_out_is_ended() {
    let site = Site::new();
    let uptime = Arc::new(ManualUptime::default());
    let mut first = site.keeper(DURATION, Arc::new(ManualUptime::default()));
    let free = vacant(&mut first);
    assert!(!first.end_suspended(&free).unwrap());
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let held = claim(&first, &free).unwrap();
    // As if the child were the holder.
    {
        let mut row = site.table.row.lock().unwrap();
        let holder = row.holder.as_mut().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        holder.process = process::Process::of(pid).unwrap();
    }
    let mut second = site.keeper(DURATION, Arc::clone(&uptime) as _);
    wait(&mut second);
    uptime.advance(DURATION);
    let expired = vacant(&mut second);
    site.table.renew(held.tenure().fence()).unwrap();
    assert!(!second.end_suspended(&expired).unwrap(), "it was renewed");
    wait(&mut second);
    uptime.advance(DURATION);
    let expired = vacant(&mut second);
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(second.end_suspended(&expired).unwrap());
    let status = child.wait().unwrap();
    assert!(!status.success());
    // A holder that has let go of its lock is in nobody's way.
    site.table.broken.store(true, Ordering::SeqCst);
    drop(held);
    assert!(!second.end_suspended(&expired).unwrap());
}
