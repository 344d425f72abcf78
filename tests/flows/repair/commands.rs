//! `repair` as an operator meets it.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use runsync::clock::{Clock, ManualClock, SystemClock};
use serde_json::Value;

use crate::process::text;
use crate::scene::{PATHS, RUN, full, manifest, scan};
use crate::site::{EVERYTHING, LATER, presence};
use crate::support::TestSite;

/// A site whose second pass was just now, by the machine's own clock. No file is old in it.
pub(crate) fn ripe_now(harm: impl Fn(&TestSite)) -> TestSite {
    let site = TestSite::in_memory("size");
    site.configure("size", &format!("waiting_deadline = \"1ms\"\n{EVERYTHING}"));
    let now = SystemClock.now() - jiff::SignedDuration::try_from(LATER).unwrap();
    let site = TestSite {
        clock: Arc::new(ManualClock::new(now)),
        ..site
    };
    for path in PATHS {
        site.put(path, &crate::scene::bytes(path));
    }
    site.place(&manifest(&site, "u/test/run", "1-1", 1, &PATHS));
    let mut open = site.open();
    open.work();
    open.confirm();
    harm(&site);
    scan(&open, &full());
    site.pass(LATER.saturating_sub(Duration::from_secs(1)));
    scan(&open, &full());
    drop(open);
    site
}

fn lose(site: &TestSite) {
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
}

#[test]
fn an_operator_looks_at_the_plan_repairs_and_reads_what_was_done() {
    let site = ripe_now(lose);
    let dry = site.run_command(&["repair", "--dry-run"]);
    let told = text(&dry.stdout);
    assert_eq!(dry.status.code(), Some(3), "{told}{}", text(&dry.stderr));
    assert!(
        told.contains("1 records of lost artifacts to forget"),
        "{told}"
    );
    let json = site.run_command(&["repair", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_slice(&json.stdout).unwrap();
    let id = plan["id"].as_str().unwrap();
    assert!(told.contains(id));
    let unasked = site.run_command(&["repair"]);
    assert_eq!(unasked.status.code(), Some(2));
    let other = site.run_command(&["repair", "--approve", "0123456789abcdef"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("is not what would be done now"));
    assert_eq!(presence(&site.open(), 2), "Yes");

    let done = site.run_command(&["repair", "--approve", id]);
    let told = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{told}{}", text(&done.stderr));
    assert!(
        told.contains("1 records of lost artifacts forgotten"),
        "{told}"
    );
    assert_eq!(presence(&site.open(), 2), "Pending");
    let history = site.answer(&["repair", "history"]);
    assert!(
        history.contains("forget") && history.contains(PATHS[1]),
        "{history}"
    );
    let again = site.run_command(&["repair", "--yes"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).contains("nothing to repair"));
}

#[test]
fn a_corrupt_file_is_listed_aside_and_brought_back() {
    let site = ripe_now(|site| site.put(PATHS[5], b"short"));
    let done = site.run_command(&["repair", "--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let aside = site.answer(&["repair", "aside", "--json"]);
    let row: Value = serde_json::from_str(aside.trim()).unwrap();
    assert_eq!(
        (&row["path"], &row["act"]),
        (&PATHS[5].into(), &"unstore".into())
    );
    // What a dataset names is not given the wrong file again.
    let named = site.run_command(&["repair", "bring-back", PATHS[5]]);
    assert_eq!(named.status.code(), Some(1));
    assert!(text(&named.stderr).contains("look at the other one where it lies"));
    site.answer(&["remove-runs", RUN, "--yes", "--direct"]);
    let back = site.answer(&["repair", "bring-back", PATHS[5]]);
    assert!(back.contains("back"), "{back}");
    assert_eq!(fs::read(site.root().join(PATHS[5])).unwrap(), b"short");
    assert_eq!(site.answer(&["repair", "aside", "--json"]), "");
    let none = site.run_command(&["repair", "bring-back", PATHS[5]]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("repair aside"));
}

/// Whoever runs it by a script hears that nothing could be done, beside what is left.
#[test]
fn a_root_that_may_not_be_repaired_is_a_failure() {
    let site = ripe_now(|site| {
        for path in &PATHS[..4] {
            fs::remove_file(site.root().join(path)).unwrap();
        }
    });
    for words in [["repair", "--yes"], ["repair", "--dry-run"]] {
        let refused = site.run_command(&words);
        let told = text(&refused.stdout);
        assert!(told.contains("more than the share"), "{told}");
        assert_eq!(refused.status.code(), Some(1), "{words:?}");
        assert!(text(&refused.stderr).contains("not all roots can be repaired"));
    }
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_done() {
    let site = ripe_now(lose);
    for wrong in [
        &["repair", "--kind", "irregular"][..],
        &["repair", "--kind", "blue"],
        &["repair", "--yes", "--dry-run"],
        &["repair", "--yes", "--approve", "1"],
        &["repair", "bring-back"],
    ] {
        assert_eq!(site.run_command(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let other = site.run_command(&["repair", "--root", "other", "--dry-run"]);
    assert!(text(&other.stderr).contains("this site has no root `other`"));
    assert_eq!(presence(&site.open(), 2), "Yes");
}

#[test]
fn help_of_repair() {
    for words in [
        &["repair"][..],
        &["repair", "history"],
        &["repair", "aside"],
        &["repair", "bring-back"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsync"));
        let output = command.args(words).arg("--help").output().unwrap();
        let name = format!("help-{}", words.join("-"));
        insta::assert_snapshot!(name, text(&output.stdout));
    }
}

#[test]
fn times_below_their_floors_are_refused() {
    let check = |line: &str| {
        let site = crate::support::TestSite::in_memory("size");
        site.configure("size", &format!("[repair]\n{line}"));
        let output = site.run_command(&["config", "check"]);
        (output.status.code(), text(&output.stderr))
    };
    for (key, short, floor) in [("apart", "59min", "1h"), ("dark_age", "23h", "1day")] {
        assert_eq!(check(&format!("{key} = \"{floor}\"")).0, Some(0), "{key}");
        let (code, told) = check(&format!("{key} = \"{short}\""));
        assert_eq!(code, Some(78), "{told}");
        assert!(
            told.contains(&format!("must be at least \"{floor}\"")),
            "{told}"
        );
        assert!(told.contains(key), "{told}");
    }
}
