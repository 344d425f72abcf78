//! What looks like drift and is none: nothing is concluded, and the report says why.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use runsync::ledger::scans::DriftKind::{Corrupt, Dark, Lost};
use runsync::recovery::Order;
use runsync::registry::removal::Operation;
use runsync::removal::{Consent, Request, Requester};
use runsync_manifest::content::Content;
use uuid::Uuid;

use crate::scene::{
    DAY, PATHS, RUN, bytes, drift, faulty, found, full, is, manifest, order, scan, scan_by, site,
    site_with,
};
use crate::support::{Manifest, TestSite, artifact, entry, put, rename, write};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[test]
fn a_root_that_is_away_or_another_yields_no_conclusion() {
    let site = site();
    let open = site.open();
    fs::remove_file(site.root().join(PATHS[3])).unwrap();
    scan(&open, &order());
    let before = drift(open.ledger());
    let (root, aside) = (site.root(), site.folder.path().join("aside"));
    rename(&root, &aside);
    let scanning = &open.assembly.scanning;
    let told = |error: runsync::recovery::ScanError| (format!("{error:?}"), error.hint().unwrap());
    let (away, hint) = told(scan_by(scanning, &order()).unwrap_err());
    assert!(
        away.contains("RootMissing") && hint.contains("mounted"),
        "{away} {hint}"
    );
    fs::create_dir(&root).unwrap();
    let (empty, hint) = told(scan_by(scanning, &order()).unwrap_err());
    assert!(
        empty.contains("RootChanged") && hint.contains("mount"),
        "{empty} {hint}"
    );
    // Another volume, which even has the same repository file.
    let file = "runsync/repository.json";
    write(&root.join(file), &fs::read(aside.join(file)).unwrap());
    let (other, hint) = told(scan_by(scanning, &order()).unwrap_err());
    assert!(
        other.contains("RootChanged") && hint.contains("mount"),
        "{other} {hint}"
    );
    assert_eq!(drift(open.ledger()), before);
    fs::remove_dir_all(&root).unwrap();
    rename(&aside, &root);
    scan(&open, &order());
    assert_eq!(found(&open), [is(Lost, PATHS[3])]);
}

/// A site's root in a folder of another's.
#[test]
fn a_root_in_a_folder_of_another_is_left_alone() {
    let site = site();
    let open = site.open();
    let repository = fs::read(site.root().join("runsync/repository.json")).unwrap();
    for name in ["u/other/data", "u/other/more/data"] {
        site.put(name, b"theirs");
    }
    scan(&open, &full());
    assert_eq!(found(&open).len(), 2);
    site.put("u/other/runsync/repository.json", &repository);
    let report = scan(&open, &full());
    assert_eq!(found(&open), [], "what was found there before is theirs");
    let note = "`u/other` is a root of its own";
    assert!(report.notes.iter().any(|one| one.contains(note)));
    for below in ["u/other", "u/other/more"] {
        let part = Order {
            below: Some(below.parse().unwrap()),
            ..full()
        };
        let report = scan(&open, &part);
        assert_eq!((report.counts.files, found(&open)), (0, vec![]), "{below}");
        assert!(report.notes.iter().any(|one| one.contains(note)));
    }
    // A folder of that name alone makes no root.
    fs::remove_file(site.root().join("u/other/runsync/repository.json")).unwrap();
    scan(&open, &full());
    assert_eq!(found(&open).len(), 2);
}

#[test]
fn a_root_that_goes_away_during_a_scan_yields_no_conclusion() {
    let site = site();
    let open = site.open();
    let (root, aside) = (site.root(), site.folder.path().join("aside"));
    let mut moved = false;
    let scanned = open.assembly.scanning.scan(&order(), &mut |_| {
        if !moved {
            rename(&root, &aside);
            fs::create_dir(&root).unwrap();
            moved = true;
        }
        std::ops::ControlFlow::Continue(())
    });
    assert!(scanned.unwrap().remove(0).is_err());
    assert_eq!(found(&open), []);
    fs::remove_dir(&root).unwrap();
    rename(&aside, &root);
    assert!(scan(&open, &order()).is_well());
}

#[test]
fn nothing_is_concluded_below_a_folder_that_could_not_be_listed() {
    let site = site();
    let open = site.open();
    let (root, scanning) = faulty(&site, &open);
    fs::remove_file(site.root().join(PATHS[3])).unwrap();
    scan_by(&scanning, &order()).unwrap();
    // What was found below stays, what is beside is found, and nothing is lost for not being seen.
    root.fail_at("u/test/run/a");
    fs::remove_file(site.root().join(PATHS[4])).unwrap();
    let report = scan_by(&scanning, &order()).unwrap();
    assert_eq!((report.counts.unlisted, report.counts.unjudged), (1, 3));
    assert!(report.whole && !report.is_well());
    assert!(
        report.unlisted[0].starts_with("u/test/run/a: "),
        "{:?}",
        report.unlisted
    );
    assert_eq!(found(&open), [is(Lost, PATHS[3]), is(Lost, PATHS[4])]);
    let times: Vec<u64> = drift(open.ledger()).iter().map(|one| one.times).collect();
    assert_eq!(times, [1, 1]);
    root.heal();
    site.put(PATHS[3], &bytes(PATHS[3]));
    scan_by(&scanning, &order()).unwrap();
    assert_eq!(found(&open), [is(Lost, PATHS[4])]);
}

#[test]
fn a_file_that_cannot_be_looked_at_is_not_lost() {
    let site = site();
    let open = site.open();
    let (root, scanning) = faulty(&site, &open);
    root.fail_at(PATHS[4]);
    fs::remove_file(site.root().join(PATHS[5])).unwrap();
    root.fail_at(PATHS[5]);
    let report = scan_by(&scanning, &order()).unwrap();
    assert_eq!(report.counts.unreadable, 2);
    assert!(!report.is_well());
    assert_eq!(found(&open), []);
}

#[test]
fn an_error_at_any_call_to_the_root_leaves_nothing_wrong_behind() {
    let site = site();
    let open = site.open();
    let (root, scanning) = faulty(&site, &open);
    fs::remove_file(site.root().join(PATHS[3])).unwrap();
    for passing in 0..20 {
        root.fail_after(passing, 1);
        let scanned = scan_by(&scanning, &order());
        let failed = root.failures_left() == 0;
        root.heal();
        drop(scanned);
        let wrong = found(&open).into_iter();
        let wrong = wrong.filter(|found| *found != is(Lost, PATHS[3]));
        assert_eq!(wrong.count(), 0, "{passing}");
        scan_by(&scanning, &order()).unwrap();
        assert_eq!(found(&open), [is(Lost, PATHS[3])], "{passing}");
        if !failed {
            return;
        }
    }
    unreachable!("a scan makes fewer calls to the root as a whole");
}

#[test]
fn a_file_that_a_listing_left_out_is_not_lost() {
    let site = site();
    let open = site.open();
    let (root, scanning) = faulty(&site, &open);
    root.omit(PATHS[2]);
    root.omit(PATHS[6]);
    let report = scan_by(&scanning, &order()).unwrap();
    assert_eq!((report.counts.left_out, report.counts.files), (2, 6));
    assert_eq!(found(&open), []);
}

#[test]
fn what_was_found_stays_where_it_is_too_new_left_out_or_spoken_for() {
    let site = site_with("waiting_deadline = \"1day\"", DAY * 2);
    let open = site.open();
    site.put("u/torn/1", b"x");
    site.put("dark", b"x");
    site.put(PATHS[1], &artifact(9, 50));
    scan(&open, &full());
    let before = found(&open);
    assert_eq!(before.len(), 3);
    let torn = site.place(&manifest(&site, "u/torn", "1-1", 40, &["u/torn/1"]));
    let whole = fs::read(&torn).unwrap();
    write(&torn, &whole[..whole.len() / 2]);
    let (root, scanning) = faulty(&site, &open);
    root.omit(PATHS[1]);
    let report = scan_by(&scanning, &order()).unwrap();
    assert_eq!((report.counts.left_out, report.counts.spoken_for), (1, 1));
    assert_eq!(found(&open), before);
    drop(open);
    // As after a change of its mode: the time of its last change is now.
    let young = site.config();
    let config = fs::read_to_string(&young).unwrap();
    write(&young, config.replace("1day", "30day").as_bytes());
    let open = site.open();
    assert_eq!(scan(&open, &order()).counts.new, 1);
    assert_eq!(found(&open), before);
}

#[test]
fn what_was_corrupt_then_lost_and_is_back_is_read() {
    let site = site();
    let open = site.open();
    let path = PATHS[1];
    site.put(path, &artifact(9, 50));
    scan(&open, &full());
    fs::remove_file(site.root().join(path)).unwrap();
    scan(&open, &order());
    assert_eq!(found(&open), [is(Lost, path)]);
    site.put(path, &artifact(9, 50));
    scan(&open, &order());
    assert_eq!(found(&open), [is(Corrupt, path)]);
}

#[test]
fn nothing_is_dark_where_names_are_rucios() {
    let site = site();
    site.put("dark", b"x");
    scan(&site.open(), &order());
    let password = site.folder.path().join("password");
    write(&password, b"secret");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let rucio = format!(
        "rse = \"TEST\"\npath_mapping = \"rucio\"\n[rucio]\nurl = \"http://localhost:1\"\n\
         account = \"root\"\nscope = \"test\"\n[rucio.userpass]\nusername = \"root\"\n\
         password_file = \"{}\"",
        password.display()
    );
    site.configure("size", &rucio);
    site.put("test/ab/cd/file", b"a file of Rucio's");
    let open = site.open();
    let report = scan(&open, &order());
    assert_eq!(report.counts.untold, 2);
    assert_eq!(found(&open), [is(Dark, "dark")], "it has not healed");
}

#[test]
fn a_mark_of_a_wrong_clock_is_forgotten_with_the_next_pass() {
    let site = site();
    let right = site.now();
    let below = Order {
        below: Some("u/test".parse().unwrap()),
        ..order()
    };
    site.pass(TEN_YEARS);
    scan(&site.open(), &below);
    let site = TestSite {
        clock: std::sync::Arc::new(runsync::clock::ManualClock::new(right)),
        ..site
    };
    site.put("dark", b"x");
    let open = site.open();
    assert_eq!(scan(&open, &order()).counts.undecided, 1);
    scan(&open, &order());
    assert_eq!(found(&open), [is(Dark, "dark")]);
}

#[test]
fn a_clock_that_was_set_makes_nothing_dark() {
    let site = site();
    let mut open = site.open();
    open.arrivals.sweep().unwrap();
    site.put("u/other/new", b"its manifest is on its way");
    site.pass(TEN_YEARS);
    let report = scan(&open, &order());
    assert_eq!(found(&open), []);
    assert_eq!(report.counts.undecided, 1);
    assert!(
        report.notes[0].contains("the clock was set"),
        "{:?}",
        report.notes
    );
    drop(open);
    // Set back: this site has been at work later than that.
    let site = self::site();
    let mut open = site.open();
    open.arrivals.sweep().unwrap();
    drop(open);
    let past = TestSite {
        clock: std::sync::Arc::new(runsync::clock::ManualClock::new(
            jiff::Timestamp::from_second(1_450_000_000).unwrap(),
        )),
        ..site
    };
    past.put("u/other/new", b"its manifest is on its way");
    let open = past.open();
    let report = scan(&open, &order());
    assert_eq!(found(&open), []);
    let notes = report.notes.join("\n");
    assert!(notes.contains("until the clock is right"), "{notes}");
    assert!(notes.contains("from the future"), "{notes}");
}

#[test]
fn findings_stay_under_a_wrong_clock_and_heal_where_no_age_matters() {
    let site = site();
    let mut open = site.open();
    site.put("dark", b"x");
    scan(&open, &order());
    assert_eq!(found(&open), [is(Dark, "dark")]);
    open.arrivals.sweep().unwrap();
    site.pass(TEN_YEARS);
    scan(&open, &order());
    assert_eq!(
        found(&open),
        [is(Dark, "dark")],
        "nothing was concluded about it"
    );
    fs::remove_file(site.root().join("dark")).unwrap();
    scan(&open, &order());
    assert_eq!(found(&open), []);
}

#[test]
fn what_a_registry_from_an_old_backup_does_not_know_is_not_dark() {
    let site = site();
    let state = site.folder.path().join("state");
    let registry = ["registry.sqlite3", "registry.sqlite3-wal"].map(|name| state.join(name));
    let backup = registry.each_ref().map(|file| fs::read(file).ok());
    let later = ["u/test/run/later/1", "u/test/run/later/2"];
    for path in later {
        site.put(path, &bytes(path));
    }
    site.place(&manifest(&site, RUN, "1-2", 20, &later));
    let mut open = site.open();
    open.work();
    open.confirm();
    assert!(scan(&open, &order()).is_well());
    drop(open);
    for (file, bytes) in registry.iter().zip(backup) {
        match bytes {
            Some(bytes) => write(file, &bytes),
            None => drop(fs::remove_file(file)),
        }
    }
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    let open = site.open();
    let report = scan(&open, &order());
    assert_eq!(found(&open), []);
    assert_eq!((report.counts.spoken_for, report.counts.undecided), (2, 1));
    let notes = report.notes.join("\n");
    assert!(
        notes.contains(RUN) && notes.contains("restored from a backup"),
        "{notes}"
    );
}

#[test]
fn another_spelling_of_a_name_is_told_as_such() {
    let site = site();
    let open = site.open();
    let root = site.root();
    let twin = "u/test/run/C.fits";
    rename(&root.join(PATHS[6]), &root.join(twin));
    scan(&open, &order());
    let findings = drift(open.ledger());
    let told: Vec<_> = findings
        .iter()
        .map(|one| {
            (
                one.kind,
                one.path.as_str(),
                one.twin.as_ref().unwrap().as_str(),
            )
        })
        .collect();
    assert_eq!(told, [(Dark, twin, PATHS[6]), (Lost, PATHS[6], twin)]);
}

#[test]
fn a_run_that_is_arriving_is_neither_lost_nor_dark() {
    let site = site();
    let mut open = site.open();
    // Its manifest is here and some of its files; the files of another without a manifest; a third's
    // manifest is not trusted, a fourth's is torn.
    site.place(&manifest(
        &site,
        "u/waits",
        "1-1",
        20,
        &["u/waits/1", "u/waits/2"],
    ));
    put(&site.root().join("u/waits/2"), &bytes("u/waits/2"));
    open.work();
    let stranger = runsync_manifest::name::RepositoryId(Uuid::from_u128(99));
    let foreign = entry(30, 30, 0, "u/foreign/1", &bytes("u/foreign/1"));
    let foreign = Manifest::new(stranger, "u/foreign", "1-1", Content::Additions)
        .with_dimensions(40)
        .with_entries([foreign]);
    site.place(&foreign);
    let torn = site.place(&manifest(
        &site,
        "u/torn",
        "1-1",
        40,
        &["u/torn/1", "u/torn/2"],
    ));
    let whole = fs::read(&torn).unwrap();
    write(&torn, &whole[..whole.len() / 2]);
    for path in ["u/foreign/1", "u/torn/1", "u/torn/2"] {
        site.put(path, &bytes(path));
    }
    let report = scan(&open, &order());
    let counts = report.counts;
    assert_eq!((counts.awaited, counts.spoken_for), (2, 3), "{report:?}");
    assert!(
        report.notes.join("\n").contains("u/torn"),
        "{:?}",
        report.notes
    );
    assert_eq!(found(&open), []);
}

#[test]
fn a_file_that_has_just_come_is_not_dark_whatever_time_it_bears() {
    let site = site_with("", Duration::from_secs(60 * 60));
    site.put("u/new/1", b"x");
    let file = fs::File::options()
        .write(true)
        .open(site.root().join("u/new/1"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let open = site.open();
    let report = scan(&open, &order());
    assert_eq!((report.counts.new, report.counts.undecided), (1, 0));
    assert_eq!(found(&open), []);
    assert!(report.is_well(), "{report:?}");
    site.pass(DAY);
    scan(&open, &order());
    assert_eq!(found(&open), [is(Dark, "u/new/1")]);
}

#[test]
fn what_a_removal_under_way_names_is_nobodys_to_judge() {
    let site = site();
    let open = site.open();
    let removing = &open.assembly.removing;
    let request = Request {
        operation: Operation::RemoveRuns,
        runs: vec![RUN.parse().unwrap()],
        chain: None,
        origin: None,
        dataset_type: None,
        now: false,
    };
    let plan = removing.plan(&request).unwrap();
    let consent = Consent {
        plan: plan.id.clone(),
        approved: false,
    };
    let alice = Requester {
        uid: Some(1_000),
        account: "alice".to_owned(),
        daemon: false,
        any: false,
    };
    let removal = Uuid::new_v4();
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    removing
        .begin(removal, &request, &consent, &alice, go_on)
        .unwrap();
    let report = scan(&open, &order());
    assert_eq!(found(&open), []);
    assert_eq!(report.counts.files, 8);
    assert!(report.stale_journals.is_empty());
    site.pass(DAY * 3);
    let report = scan(&open, &order());
    assert_eq!(report.stale_journals.len(), 1);
    assert_eq!(report.stale_journals[0].removal, Some(removal));
    // One that cannot be read says nothing, so nothing is dark.
    site.put("dark", b"x");
    let folder = site.root().join("runsync/journal");
    let name = fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&name).unwrap();
    fs::remove_file(&name).unwrap();
    write(&name, &whole[..whole.len() / 2]);
    let report = scan(&open, &order());
    assert!(
        report.notes.join("\n").contains("cannot be read"),
        "{:?}",
        report.notes
    );
    assert_eq!(found(&open), []);
}
