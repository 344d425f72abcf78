//! `scan` and `findings` as an operator meets them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::text;
use crate::scene::{PATHS, site_with};
use crate::support::TestSite;

const NEEDS_ROOT: &str = "run this as root: it acts as another user of the machine";
/// A user that the machine has no name for.
const USER: u32 = 4_003;

fn json(site: &TestSite, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = site.run_command(&[args, &["--json"]].concat());
    let out = text(&output.stdout);
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code(), lines.collect())
}

/// What is there is old at once.
fn site() -> TestSite {
    site_with("waiting_deadline = \"1ms\"", Duration::ZERO)
}

#[test]
fn an_operator_scans_and_reads_what_was_found() {
    let site = site();
    let (code, clean) = json(&site, &["scan", "--checksum", "full"]);
    assert_eq!(code, Some(0), "{clean:?}");
    assert_eq!(clean[0]["counts"]["checked"], 8);
    fs::remove_file(site.root().join(PATHS[0])).unwrap();
    site.put("dark, or \"not\"", b"x");
    let (code, stopped) = json(&site, &["scan", "--objects", "2"]);
    assert_eq!((code, &stopped[0]["whole"]), (Some(3), &Value::Bool(false)));
    let output = site.run_command(&["scan"]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stdout);
    assert!(
        told.contains("which is through") && told.contains("1 lost"),
        "{told}"
    );

    let (_, found) = json(&site, &["findings", "list"]);
    let kinds: Vec<_> = found
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["dark", "lost"]);
    let csv = site.answer(&["findings", "list", "--csv", "--kind", "dark"]);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("kind,root,path,bytes"), "{csv}");
    assert!(
        lines[1].starts_with("dark,main,\"dark, or \"\"not\"\"\",1,"),
        "{csv}"
    );

    let shown = site.answer(&["findings", "show", PATHS[0]]);
    assert!(
        shown.contains("lost") && shown.contains("50 bytes"),
        "{shown}"
    );
    site.answer(&["findings", "ignore", PATHS[0], "--why", "known to be away"]);
    let (_, left) = json(&site, &["findings", "list"]);
    assert_eq!(left.len(), 1);
    let (_, all) = json(&site, &["findings", "list", "--all"]);
    assert_eq!(all[1]["ignored"]["why"], "known to be away");
    fs::remove_file(site.root().join("dark, or \"not\"")).unwrap();
    assert_eq!(
        json(&site, &["scan"]).0,
        Some(0),
        "what is left out counts for nothing"
    );
    site.answer(&["findings", "ignore", PATHS[0], "--undo"]);
    assert_eq!(json(&site, &["scan"]).0, Some(3));
    let none = site.run_command(&["findings", "show", "u/nothing"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("nothing is found at `u/nothing`"));
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_done() {
    let site = site();
    for wrong in [
        &["scan", "--sample", "0.5"][..],
        &["scan", "--checksum", "sampled", "--sample", "2"],
        &["scan", "--time", "soon"],
        &["scan", "--run", "u/a", "--prefix", "u"],
        &["scan", "--runs-since", "yesterday"],
        &["findings", "report"],
        &["schedule", "run", "no name"],
        &["findings", "list", "--kind", "blue"],
        &["findings", "ignore", "a"],
    ] {
        assert_eq!(site.run_command(wrong).status.code(), Some(2), "{wrong:?}");
        let told = site.run_command(&[wrong, &["--json"]].concat()).stderr;
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["error"]["exit_code"], 2, "{wrong:?}");
    }
    let output = site.run_command(&["scan", "--root", "other"]);
    assert!(text(&output.stderr).contains("this site has no root `other`"));
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
fn a_folder_that_may_not_be_read_is_told_and_nothing_below_it_is_lost() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = site();
    give(site.folder.path(), USER);
    let folder = site.root().join("u/test/run/a");
    chown(&folder, Some(0), Some(0)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(site.root().join(PATHS[4])).unwrap();
    let output = site
        .command(&["scan"])
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap();
    let told = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(3),
        "{told}{}",
        text(&output.stderr)
    );
    assert!(
        told.contains("not listed: u/test/run/a: Permission denied"),
        "{told}"
    );
    assert!(told.contains("3 records below these"), "{told}");
    assert!(told.contains("1 lost"), "{told}");
    let (_, found) = json(&site, &["findings", "list"]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["path"], PATHS[4]);
}

/// Its `runsync` folder may not be looked into, so nobody knows whether it is one.
#[test]
fn a_folder_that_may_be_a_root_of_its_own_yields_no_conclusion() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = site();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    fs::remove_file(site.root().join(PATHS[4])).unwrap();
    site.put("u/test/run/a/dark", b"x");
    let own = site.root().join("u/test/run/a/runsync");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
    give(site.folder.path(), USER);
    let scan = |owner: u32| {
        chown(&own, Some(owner), Some(owner)).unwrap();
        let mut command = site.command(&["scan"]);
        let output = command.uid(USER).gid(USER).output().unwrap();
        let told = text(&output.stdout);
        let code = output.status.code();
        assert_eq!(code, Some(3), "{told}{}", text(&output.stderr));
        let (_, found) = json(&site, &["findings", "list"]);
        let paths = found.iter().map(|one| one["path"].as_str().unwrap());
        let times = found.iter().map(|one| one["times"].as_u64().unwrap());
        let seen: Vec<_> = paths.map(str::to_owned).zip(times).collect();
        (told, seen)
    };
    let seen = |path: &str, times: u64| (path.to_owned(), times);
    let (told, found) = scan(0);
    let unlisted = "not listed: u/test/run/a: Permission denied";
    assert!(told.contains(unlisted), "{told}");
    assert!(told.contains("3 records below these"), "{told}");
    assert_eq!(found, [seen(PATHS[4], 1)]);
    // It is none: then what lies in it is this root's.
    let (told, found) = scan(USER);
    assert!(!told.contains("not listed"), "{told}");
    let below = [PATHS[1], "u/test/run/a/dark"];
    let all = [seen(below[0], 1), seen(below[1], 1), seen(PATHS[4], 2)];
    assert_eq!(found, all);
    // It may be one again: what was found stays, and is not seen once more.
    let (told, found) = scan(0);
    assert!(told.contains(unlisted), "{told}");
    let all = [seen(below[0], 1), seen(below[1], 1), seen(PATHS[4], 3)];
    assert_eq!(found, all);
}

#[test]
fn what_may_not_be_looked_at_or_read_is_not_well() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = site();
    give(site.folder.path(), USER);
    let set = |path: &str, mode| {
        fs::set_permissions(site.root().join(path), Permissions::from_mode(mode)).unwrap();
    };
    let scan = || {
        let mut command = site.command(&["scan", "--checksum", "full"]);
        let output = command.uid(USER).gid(USER).output().unwrap();
        (output.status.code(), text(&output.stdout))
    };
    set(PATHS[7], 0o000);
    let (code, told) = scan();
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains("1 paths that could not be looked at or read"),
        "{told}"
    );
    set(PATHS[7], 0o600);
    assert_eq!(scan().0, Some(0));
    // Its names may be read, and nothing else.
    set("u/test/run/b", 0o444);
    let (code, told) = scan();
    assert_eq!(code, Some(3), "{told}");
    assert_eq!(json(&site, &["findings", "list"]).1.len(), 0);
}

#[test]
fn help_of_scans_and_findings() {
    for words in [
        &["scan"][..],
        &["findings"],
        &["findings", "list"],
        &["findings", "show"],
        &["findings", "ignore"],
        &["findings", "report"],
        &["schedule"],
        &["schedule", "list"],
        &["schedule", "run"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsync"));
        let output = command.args(words).arg("--help").output().unwrap();
        let name = format!("help-{}", words.join("-"));
        insta::assert_snapshot!(name, text(&output.stdout));
    }
}
