//! What looks like drift and is none, or may not be touched: scanned, scanned again a day later, and repaired with
//! every policy on and deletion allowed. Files and records stay exactly as they were, and a word says why. Beside each
//! stands something that is repaired, where anything is, so that a trap can fail.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use runsync::clock::ManualClock;
use runsync::datastore::Datastore;
use runsync::datastore::LocalRoot;
use runsync::datastore::faulty::Faulty;
use runsync::ledger::scans::DriftKind::{Corrupt, Dark, Lost};
use runsync::recovery::ScanReport;
use runsync::recovery::repair::{RepairOrder, RootRepaired};
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Request, Requester};
use runsync_manifest::content::Content;
use runsync_manifest::name::RepositoryId;
use uuid::Uuid;

use crate::commands::ripe_now;
use crate::process::text;
use crate::scene::{DAY, PATHS, RUN, bytes, faulty, found, full, is, manifest, scan, scan_by};
use crate::site::{
    LATER, State, deleting, plan_by, repair_by, repairing_of, scan_twice, state, state_of,
    with_root,
};
use crate::support::{Manifest, OpenSite, TestSite, artifact, entry, rename, write};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const NEEDS_ROOT: &str = "run this as root: it acts as another user of the machine";
/// A user that the machine has no name for.
const USER: u32 = 4_003;
const STRAY: &str = "u/stray/x.fits";

/// Deletion is allowed here.
fn site() -> TestSite {
    with_root("scan_deletes = true")
}

fn told(case: &str, outcome: &str) {
    println!("case: {case} | {outcome}");
}

/// Repairs with deletion, as `--yes` does; what is told of it.
fn repair(open: &OpenSite) -> String {
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &deleting());
    let report = repair_by(repairing, &deleting());
    let json = serde_json::to_string(&(&plan, &report)).unwrap();
    let acts: u64 = report.roots.iter().map(RootRepaired::repaired).sum();
    format!("{acts} repaired; {json}")
}

/// Sees that a repair has done nothing, and why it says so.
fn nothing_done(case: &str, (site, open): (&TestSite, &OpenSite), before: &State, word: &str) {
    let repaired = repair(open);
    assert!(repaired.starts_with("0 repaired"), "{case}: {repaired}");
    assert!(repaired.contains(word), "{case}: {repaired}");
    assert_eq!(&state(site, open), before, "{case}");
    told(case, &format!("nothing done: `{word}`"));
}

/// Something lost and something dark that two passes have seen: without a trap both are repaired.
fn ripe(site: &TestSite, open: &OpenSite) {
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    site.put(STRAY, b"nobody's");
    scan_twice(site, open);
    assert_eq!(found(open), [is(Dark, STRAY), is(Lost, PATHS[1])]);
}

fn notes(report: &ScanReport) -> String {
    report.notes.join("\n")
}

#[test]
fn without_a_trap_each_kind_is_repaired() {
    let site = site();
    let open = site.open();
    ripe(&site, &open);
    let repaired = repair(&open);
    assert!(repaired.starts_with("2 repaired"), "{repaired}");
    assert!(!site.root().join(STRAY).is_file());
    told("control: lost", "its record is forgotten");
    told("control: dark, with --delete-dark", "deleted");
    let root = "main".parse().unwrap();
    let claimed = PATHS[2].parse().unwrap();
    open.registry().forget_at(&root, &[&claimed]).unwrap();
    site.put(PATHS[5], &artifact(99, 50));
    scan_twice(&site, &open);
    let repaired = repair(&open);
    assert!(repaired.starts_with("2 repaired"), "{repaired}");
    told("control: dark, and a dataset names it", "recorded again");
    told("control: corrupt", "forgotten, and set aside");
    site.put(STRAY, b"nobody's");
    scan_twice(&site, &open);
    let repairing = &open.assembly.repairing;
    let report = repair_by(repairing, &RepairOrder::default());
    assert_eq!(report.roots[0].repaired(), 1);
    told("control: dark", "set aside");
}

#[test]
fn a_root_that_is_away_or_another_is_left() {
    let site = site();
    let open = site.open();
    ripe(&site, &open);
    let (root, aside) = (site.root(), site.folder.path().join("aside"));
    let before = state(&site, &open);
    rename(&root, &aside);
    let away = |word: &str, case: &str| {
        let scanned = scan_by(&open.assembly.scanning, &full());
        assert!(scanned.is_err(), "{case}");
        let repaired = repair(&open);
        assert!(repaired.starts_with("0 repaired"), "{case}: {repaired}");
        assert!(repaired.contains(word), "{case}: {repaired}");
        assert_eq!(state_of(&aside, &open), before, "{case}");
        told(case, &format!("nothing done: `{word}`"));
    };
    away("mounted", "root: not there");
    fs::create_dir(&root).unwrap();
    away("mount", "root: an empty folder in its place");
    let file = "runsync/repository.json";
    write(&root.join(file), &fs::read(aside.join(file)).unwrap());
    away(
        "mount",
        "root: another folder with the same repository file",
    );
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}

fn run(program: &str, args: &[&str]) -> bool {
    let output = Command::new(program).args(args).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_volume_that_is_unmounted_or_covered_is_left() {
    let site = site();
    let (root, real) = (site.root(), site.folder.path().join("real"));
    rename(&root, &real);
    fs::create_dir(&root).unwrap();
    let (at, from) = (root.to_str().unwrap(), real.to_str().unwrap());
    if !run("mount", &["--bind", from, at]) {
        told(
            "mount: unmounted, and another volume",
            "NOT CHECKED: this user or machine may not mount",
        );
        return;
    }
    let open = site.open();
    ripe(&site, &open);
    let before = state_of(&real, &open);
    let check = |case: &str| {
        assert!(scan_by(&open.assembly.scanning, &full()).is_err(), "{case}");
        let repaired = repair(&open);
        assert!(repaired.starts_with("0 repaired"), "{case}: {repaired}");
        assert!(repaired.contains("mount"), "{case}: {repaired}");
        assert_eq!(state_of(&real, &open), before, "{case}");
        told(case, "nothing done: `mount`");
    };
    let covered = run("mount", &["-t", "tmpfs", "none", at]);
    if covered {
        check("mount: another volume is mounted over it");
        assert!(run("umount", &[at]));
    }
    assert!(run("umount", &["-l", at]));
    check("mount: the volume is unmounted");
    assert!(covered, "a tmpfs cannot be mounted");
}

/// Gives all below `path` to a user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

#[test]
fn what_may_not_be_looked_at_is_left() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = ripe_now(|site| fs::remove_file(site.root().join(PATHS[1])).unwrap());
    site.put(PATHS[1], &bytes(PATHS[1]));
    let before = state(&site, &site.open());
    give(site.folder.path(), USER);
    let folder = site.root().join("u/test/run/a");
    chown(&folder, Some(0), Some(0)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let act = |args: &[&str], code| {
        let output = site.command(args).uid(USER).gid(USER).output().unwrap();
        let told = text(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{told}{}",
            text(&output.stderr)
        );
        told
    };
    let repair = &["repair", "--yes", "--delete-dark"];
    let repaired = act(repair, 3);
    assert!(
        repaired.contains("it cannot be looked at: Permission denied"),
        "{repaired}"
    );
    // Once a scan has met it too, it counts for the share.
    assert!(act(&["scan"], 3).contains("not listed: u/test/run/a: Permission denied"));
    let repaired = act(repair, 1);
    let refused = "3 records or files could not be looked at by the last scan";
    assert!(repaired.contains(refused), "{repaired}");
    give(site.folder.path(), 0);
    assert_eq!(state(&site, &site.open()), before);
    told(
        "a folder may not be read, under another user",
        "nothing done: `it cannot be looked at: Permission denied`",
    );
}

/// What a repair as another user says, which leaves something.
fn repair_as_another(site: &TestSite) -> String {
    let mut command = site.command(&["repair", "--yes", "--delete-dark"]);
    let output = command.uid(USER).gid(USER).output().unwrap();
    let told = text(&output.stdout);
    let code = output.status.code();
    assert_eq!(code, Some(3), "{told}{}", text(&output.stderr));
    told
}

#[test]
fn what_lies_in_a_folder_that_may_not_be_written_keeps_file_and_record() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = ripe_now(|site| site.put(PATHS[5], &artifact(99, 50)));
    let before = state(&site, &site.open());
    give(site.folder.path(), USER);
    let folder = site.root().join("u/test/run/b");
    chown(&folder, Some(0), Some(0)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let repaired = repair_as_another(&site);
    let word = "it cannot be moved: Permission denied";
    assert!(repaired.contains(word), "{repaired}");
    give(site.folder.path(), 0);
    let open = site.open();
    assert_eq!(state(&site, &open), before);
    assert_eq!(found(&open), [is(Corrupt, PATHS[5])]);
    told(
        "a corrupt file's folder may not be written, under another user",
        &format!("nothing done: `{word}`"),
    );
}

/// Its `runsync` folder may not be looked into.
#[test]
fn what_lies_in_a_folder_that_may_be_a_root_of_its_own_is_left() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = ripe_now(|site| fs::remove_file(site.root().join(PATHS[1])).unwrap());
    let before = state(&site, &site.open());
    give(site.folder.path(), USER);
    let closed = site.root().join("u/test/run/a/runsync");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let repaired = repair_as_another(&site);
    let word = "a root of its own, or may be one";
    assert!(repaired.contains(word), "{repaired}");
    give(site.folder.path(), 0);
    assert_eq!(state(&site, &site.open()), before);
    told(
        "a folder may be a root of its own, under another user",
        &format!("nothing done: `{word}`"),
    );
    let repaired = site.run_command(&["repair", "--yes"]);
    assert_eq!(repaired.status.code(), Some(0));
    told("control: the folder is none", "its record is forgotten");
}

#[test]
fn a_live_object_that_a_listing_left_out_is_left() {
    let site = site();
    let open = site.open();
    let (root, scanning) = faulty(&site, &open);
    let before = state(&site, &open);
    root.omit(PATHS[2]);
    for _ in 0..2 {
        assert_eq!(scan_by(&scanning, &full()).unwrap().counts.left_out, 1);
        site.pass(LATER);
    }
    assert_eq!(found(&open), []);
    assert!(repair(&open).starts_with("0 repaired"));
    assert_eq!(state(&site, &open), before);
    told(
        "a listing leaves out a live object",
        "not found lost: `left_out`",
    );
}

#[test]
fn an_object_that_cannot_be_looked_at_when_it_is_repaired_is_left() {
    let site = site();
    let open = site.open();
    ripe(&site, &open);
    let root = Arc::new(Faulty::new(LocalRoot::open(&site.root()).unwrap()));
    root.fail_at(PATHS[1]);
    root.fail_at(STRAY);
    let before = state(&site, &open);
    let repairing = repairing_of(&site, &open, Arc::clone(&root) as Arc<dyn Datastore>);
    let report = repair_by(&repairing, &deleting());
    assert_eq!((report.roots[0].repaired(), report.roots[0].left), (0, 2));
    assert!(format!("{report:?}").contains("it cannot be looked at"));
    assert_eq!(state(&site, &open), before);
    told(
        "storage does not answer",
        "nothing done: `it cannot be looked at`",
    );
}

fn at(site: TestSite, now: jiff::Timestamp) -> TestSite {
    TestSite {
        clock: Arc::new(ManualClock::new(now)),
        ..site
    }
}

#[test]
fn a_clock_that_leaps_before_the_repair_makes_nothing_ripe() {
    // One pass alone, and then ten years; and two, and then ten years.
    for passes in [1, 2] {
        let site = site();
        let open = site.open();
        if passes == 2 {
            ripe(&site, &open);
        } else {
            fs::remove_file(site.root().join(PATHS[1])).unwrap();
            site.put(STRAY, b"nobody's");
            scan(&open, &full());
        }
        let before = state(&site, &open);
        site.pass(TEN_YEARS);
        let case = format!("clock: {passes} passes, then + 10 years");
        nothing_done(&case, (&site, &open), &before, "the clock was set from");
        // Also with passes by the wrong clock, which are not a day apart.
        scan(&open, &full());
        scan(&open, &full());
        let case = format!("clock: {passes} passes, then + 10 years, then two at once");
        nothing_done(&case, (&site, &open), &before, "the clock was set from");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_ripe() {
    let site = site();
    let right = site.now();
    let open = site.open();
    ripe(&site, &open);
    let before = state(&site, &open);
    drop(open);
    let past = at(
        site,
        right - jiff::SignedDuration::try_from(TEN_YEARS).unwrap(),
    );
    let open = past.open();
    nothing_done(
        "clock: - 10 years",
        (&past, &open),
        &before,
        "the clock was set from",
    );
    scan(&open, &full());
    drop(open);
    // The right time again, which is another leap, forward.
    let site = at(
        past,
        right + jiff::SignedDuration::try_from(LATER * 2).unwrap(),
    );
    let open = site.open();
    scan(&open, &full());
    nothing_done(
        "clock: - 10 years and back",
        (&site, &open),
        &before,
        "the clock was set from",
    );
    // A day on, with another pass, lost is lost, and the dark file is a day old since the leap, as long as it must be.
    site.pass(LATER);
    scan(&open, &full());
    let repaired = repair(&open);
    assert!(repaired.starts_with("2 repaired"), "{repaired}");
    told("control: clock right for a day", "repaired");
}

#[test]
fn a_file_is_not_older_than_the_last_leap_of_the_clock() {
    let everything = crate::site::EVERYTHING.replace("dark_age = \"1day\"", "dark_age = \"7days\"");
    let root = format!("scan_deletes = true\n{everything}");
    let site = crate::scene::site_with(&root, DAY * 2);
    let open = site.open();
    site.put(STRAY, b"nobody's");
    scan(&open, &full());
    site.pass(TEN_YEARS);
    scan(&open, &full());
    let before = state(&site, &open);
    site.pass(LATER);
    scan(&open, &full());
    site.pass(LATER);
    scan(&open, &full());
    nothing_done(
        "clock: + 10 years, two passes a day apart",
        (&site, &open),
        &before,
        "dark_age",
    );
}

#[test]
fn a_registry_from_an_old_backup_is_left() {
    let site = site();
    let folder = site.folder.path().join("state");
    let registry = ["registry.sqlite3", "registry.sqlite3-wal"].map(|name| folder.join(name));
    let backup = registry.each_ref().map(|file| fs::read(file).ok());
    let later = ["u/test/run/later/1", "u/test/run/later/2"];
    for path in later {
        site.put(path, &bytes(path));
    }
    site.place(&manifest(&site, RUN, "1-2", 40, &later));
    let mut open = site.open();
    open.work();
    open.confirm();
    // Found before the backup was restored, and ripe.
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    scan_twice(&site, &open);
    drop(open);
    for (file, bytes) in registry.iter().zip(backup) {
        match bytes {
            Some(bytes) => write(file, &bytes),
            None => drop(fs::remove_file(file)),
        }
    }
    let open = site.open();
    let before = state(&site, &open);
    let report = scan(&open, &full());
    assert!(notes(&report).contains("restored from a backup"));
    site.pass(LATER);
    scan(&open, &full());
    let case = "the registry is of an old backup";
    nothing_done(case, (&site, &open), &before, "the registry knows less");
}

#[test]
fn two_per_cent_gone_at_a_cap_of_one_are_left_whatever_is_approved() {
    let policy = crate::site::EVERYTHING.replace("share_max = 0.25", "share_max = 0.01");
    let site = crate::scene::site_with(&policy, DAY * 2);
    let paths: Vec<String> = (0..192)
        .map(|number| format!("u/many/{number:03}"))
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    for path in &paths {
        site.put(path, &bytes(path));
    }
    let entries = (100_u32..).zip(&paths).map(|(number, path)| {
        entry(
            number.into(),
            i64::from(number % 20),
            i64::from(number / 20),
            path,
            &bytes(path),
        )
    });
    let many = Manifest::new(site.repository, "u/many", "1-1", Content::Additions)
        .with_dimensions(50)
        .with_entries(entries.collect::<Vec<_>>());
    site.place(&many);
    let mut open = site.open();
    open.work();
    open.confirm();
    for path in &paths[..4] {
        fs::remove_file(site.root().join(path)).unwrap();
    }
    scan_twice(&site, &open);
    let before = state(&site, &open);
    let case = "2 % of the files are gone, at a cap of 1 %";
    nothing_done(case, (&site, &open), &before, "more than the share 0.01");
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &deleting());
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    let approved = repairing.run(&plan, ("alice", true), go_on).unwrap();
    assert_eq!(approved.roots[0].repaired(), 0);
    assert_eq!(state(&site, &open), before);
    for path in &paths[..2] {
        site.put(path, &bytes(path));
    }
    scan_twice(&site, &open);
    assert!(repair(&open).starts_with("2 repaired"));
    told("control: 1 % of the files are gone", "repaired");
}

#[test]
fn more_gone_than_the_share_since_the_plan_was_made_is_left() {
    let site = site();
    let open = site.open();
    ripe(&site, &open);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &deleting());
    assert_eq!(plan.total.artifacts, 2);
    for number in 21..37 {
        fs::remove_file(site.root().join(format!("u/more/{number}"))).unwrap();
    }
    scan(&open, &full());
    let before = state(&site, &open);
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    let report = repairing.run(&plan, ("alice", true), go_on).unwrap();
    let refused = report.roots[0].refused.as_deref().unwrap();
    assert!(refused.contains("more than the share"), "{refused}");
    assert_eq!(report.roots[0].repaired(), 0);
    assert_eq!(state(&site, &open), before);
    told(
        "more is gone than the share between plan and act",
        "nothing done: `more than the share`",
    );
}

#[test]
fn another_spelling_of_a_name_is_left() {
    for (case, old, new) in [
        ("case", "u/caf\u{e9}.fits", "u/CAF\u{c9}.fits"),
        ("NFC and NFD", "u/caf\u{e9}.fits", "u/cafe\u{301}.fits"),
    ] {
        let site = site();
        site.put(old, &bytes(old));
        site.place(&manifest(&site, "u/twins", "1-1", 45, &[old]));
        let mut open = site.open();
        open.work();
        assert_eq!(open.confirm(), 1);
        rename(&site.root().join(old), &site.root().join(new));
        scan_twice(&site, &open);
        assert_eq!(found(&open).len(), 2);
        let before = state(&site, &open);
        let case = format!("another spelling: {case}");
        nothing_done(
            &case,
            (&site, &open),
            &before,
            "another spelling of its name",
        );
    }
}

#[test]
fn what_was_replaced_between_scan_and_repair_is_left() {
    let site = site();
    let open = site.open();
    ripe(&site, &open);
    site.put(STRAY, b"somebody's");
    site.put(PATHS[1], b"another");
    let before = state(&site, &open);
    let case = "files were replaced between scan and repair";
    nothing_done(case, (&site, &open), &before, "it was replaced or changed");
    nothing_done(
        "a lost file is back",
        (&site, &open),
        &before,
        "a file lies there again",
    );
}

#[test]
fn what_is_replaced_between_plan_and_act_is_left() {
    let site = site();
    let open = site.open();
    ripe(&site, &open);
    let repairing = &open.assembly.repairing;
    let plan = plan_by(repairing, &deleting());
    assert_eq!(plan.total.artifacts, 2);
    site.put(STRAY, b"somebody's");
    site.put(PATHS[1], &bytes(PATHS[1]));
    let before = state(&site, &open);
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    let report = repairing.run(&plan, ("alice", false), go_on).unwrap();
    assert_eq!((report.roots[0].repaired(), report.roots[0].left), (0, 2));
    assert_eq!(state(&site, &open), before);
    told(
        "files are replaced between plan and act",
        "nothing done: `it was replaced or changed`",
    );
}

#[test]
fn a_run_that_is_arriving_is_left() {
    let site = site();
    let mut open = site.open();
    // Found dark before its manifest came: one that is not trusted, and one that is torn.
    for path in ["u/foreign/1", "u/torn/1"] {
        site.put(path, &bytes(path));
    }
    scan_twice(&site, &open);
    assert_eq!(found(&open).len(), 2);
    let stranger = RepositoryId(Uuid::from_u128(99));
    let foreign = entry(40, 30, 0, "u/foreign/1", &bytes("u/foreign/1"));
    site.place(
        &Manifest::new(stranger, "u/foreign", "1-1", Content::Additions)
            .with_dimensions(40)
            .with_entries([foreign]),
    );
    let torn = site.place(&manifest(&site, "u/torn", "1-1", 41, &["u/torn/1"]));
    let whole = fs::read(&torn).unwrap();
    write(&torn, &whole[..whole.len() / 2]);
    // And one that waits for files.
    site.place(&manifest(
        &site,
        "u/waits",
        "1-1",
        42,
        &["u/waits/1", "u/waits/2"],
    ));
    site.put("u/waits/2", b"half of i");
    open.work();
    scan_twice(&site, &open);
    let before = state(&site, &open);
    let case = "a run is arriving";
    nothing_done(
        case,
        (&site, &open),
        &before,
        "a manifest that is not registered",
    );
}

#[test]
fn what_an_open_journal_names_is_left() {
    let site = site();
    let open = site.open();
    ripe(&site, &open);
    let removing = &open.assembly.removing;
    let request = Request {
        operation: Operation::RemoveRuns,
        runs: vec![RUN.parse().unwrap()],
        chain: None,
        origin: None,
        dataset_type: None,
        now: false,
    };
    let consent = Consent {
        plan: removing.plan(&request).unwrap().id,
        approved: false,
    };
    let alice = Requester {
        uid: Some(1_000),
        account: "alice".to_owned(),
        daemon: false,
        any: false,
    };
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    removing
        .begin(Uuid::new_v4(), &request, &consent, &alice, go_on)
        .unwrap();
    let folder = site.root().join("runsync/journal");
    let name = fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&name).unwrap();
    // The stray file is nobody's; what the journal names is left.
    let plan = plan_by(&open.assembly.repairing, &deleting());
    let left = &plan.roots[0].left_named;
    assert_eq!((plan.total.artifacts, left.len()), (1, 1), "{plan:?}");
    assert_eq!(left[0].path.as_str(), PATHS[1]);
    assert!(left[0].why.contains("an open journal"), "{left:?}");
    let lost = RepairOrder {
        kind: Some(Lost),
        ..deleting()
    };
    let before = state(&site, &open);
    let report = repair_by(&open.assembly.repairing, &lost);
    assert_eq!((report.roots[0].repaired(), report.roots[0].left), (0, 1));
    assert_eq!(state(&site, &open), before);
    told("an open journal names it", "left: `an open journal`");
    fs::remove_file(&name).unwrap();
    write(&name, &whole[..whole.len() / 2]);
    let before = state(&site, &open);
    let case = "a journal cannot be read";
    nothing_done(case, (&site, &open), &before, "cannot be read");
}
