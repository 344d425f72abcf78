//! Scans, findings and jobs beside a running daemon.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use runsync::ledger::scans::{Drift, DriftKind};
use serde_json::Value;

use crate::http::Request;
use crate::process::{Daemon, text};
use crate::scene::{PATHS, bytes, manifest, site_with};
use crate::support::{OpenSite, TestSite, write};

const NIGHTLY: &str =
    "[[schedule]]\nname = \"nightly\"\njob = \"scan\"\nat = \"0 0 3 1 1 *\"\nroots = [\"main\"]\n";

/// A site whose files are old at once, and a daemon of it that runs the loops.
fn started(more: &str) -> (TestSite, Daemon) {
    started_after(more, |_| {})
}

/// The same, after something was done to the site.
fn started_after(more: &str, prepare: impl FnOnce(&OpenSite)) -> (TestSite, Daemon) {
    let root = "waiting_deadline = \"1ms\"";
    let site = site_with(root, Duration::ZERO);
    prepare(&site.open());
    site.configure_daemon("size", &format!("settle = \"1ms\"\n{root}"), more);
    let daemon = Daemon::start(&site);
    daemon.until("it runs the loops", || {
        site.status()["daemon"]["role"] == "owner"
    });
    (site, daemon)
}

fn json(site: &TestSite, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = site.run_command(&[args, &["--json"]].concat());
    let out = text(&output.stdout);
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code(), lines.collect())
}

fn get(site: &TestSite, path: &str) -> String {
    Request::get(path).at(&site.site().http.socket).text()
}

#[test]
fn a_daemon_scans_and_tells_what_it_finds() {
    let (site, daemon) = started("");
    let (code, clean) = json(&site, &["scan", "--checksum", "full"]);
    assert_eq!((code, clean.len()), (Some(0), 1), "{clean:?}");
    assert_eq!(clean[0]["counts"]["checked"], 8);
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    site.put("u/test/run/dark", b"x");
    let output = site.run_command(&["scan", "--run", "u/test/run"]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stdout);
    assert!(
        told.contains("runs u/test/run:") && told.contains("1 lost"),
        "{told}"
    );
    let (_, listed) = json(&site, &["findings", "list"]);
    let (_, direct) = json(&site, &["findings", "list", "--direct"]);
    assert_eq!((listed.len(), &listed), (2, &direct));
    assert_eq!(listed[0]["run"], "u/test/run");
    let shown = site.answer(&["findings", "show", PATHS[1]]);
    assert!(
        shown.contains("lost") && shown.contains("run      u/test/run"),
        "{shown}"
    );
    site.answer(&["findings", "ignore", PATHS[1], "--why", "on tape"]);
    let (_, left) = json(&site, &["findings", "list"]);
    assert_eq!(left.len(), 1);
    let (_, dark) = json(
        &site,
        &["findings", "list", "--kind", "dark", "--prefix", "u/test"],
    );
    assert_eq!(dark, left);
    let none = site.run_command(&["findings", "ignore", "u/nothing", "--why", "x"]);
    assert_eq!(none.status.code(), Some(1));
    for (args, part) in [
        (
            &["scan", "--root", "other"][..],
            "this site has no root `other`",
        ),
        (
            &["scan", "--run", "u/nothing"],
            "this site knows no run `u/nothing`",
        ),
        (&["scan", "--direct"], "holds the lease"),
    ] {
        let output = site.run_command(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            text(&output.stderr).contains(part),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
    let asked = site.answer(&["requests"]);
    assert!(asked.contains("all roots, run u/test/run"), "{asked}");
    let scans = get(&site, "/v1/scans");
    assert_eq!(scans.lines().count(), 2, "{scans}");
    assert!(
        scans.contains("\"scope\":\"/runs u/test/run\"") && scans.contains("\"scanning\":false")
    );
    daemon.stop();
}

#[test]
fn a_scan_holds_up_neither_ingest_nor_the_daemons_end_and_goes_on_later() {
    let (site, daemon) = started("");
    let slow = ["scan", "--calls-per-second", "1", "--json"];
    let mut scan = site.command(&slow);
    let scan = scan
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.until("the scan is under way", || {
        get(&site, "/v1/scans").contains("\"scanning\":true")
    });
    let second = site.run_command(&["scan"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("root `main` is being scanned already"));
    let path = "u/next/1";
    site.put(path, &bytes(path));
    site.place(&manifest(&site, "u/next", "1-1", 20, &[path]));
    let seen = site.watch();
    daemon.until("a run is registered and confirmed meanwhile", || {
        seen.complete("u/next", 1)
    });
    assert!(get(&site, "/v1/scans").contains("\"scanning\":true"));
    assert!(daemon.stop() < Duration::from_secs(20));
    let output = scan.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let (_, rest) = json(&site, &["scan"]);
    assert_eq!(
        (&rest[0]["pass"], &rest[0]["whole"]),
        (&1.into(), &true.into()),
        "{rest:?}"
    );
}

/// The second root takes a minute.
#[test]
fn what_came_of_a_root_is_read_while_the_next_is_scanned() {
    let root = "waiting_deadline = \"1ms\"";
    let site = site_with(root, Duration::ZERO);
    let second = site.folder.path().join("second");
    let identity = fs::read(site.root().join("runsync/repository.json")).unwrap();
    write(&second.join("runsync/repository.json"), &identity);
    for number in 0..600 {
        write(&second.join(format!("x/{number}")), b"x");
    }
    let roots = format!(
        "[[root]]\nname = \"second\"\nurl = \"file://{}\"",
        second.display()
    );
    site.configure_daemon("size", root, &roots);
    let daemon = Daemon::start(&site);
    daemon.until("it runs the loops", || {
        site.status()["daemon"]["role"] == "owner"
    });
    let mut scan = site.command(&["scan", "--calls-per-second", "10", "--json"]);
    let mut scan = scan
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(scan.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(
        (&first["root"], &first["whole"]),
        (&"main".into(), &true.into())
    );
    daemon.until("the second root is being scanned", || {
        let scans = get(&site, "/v1/scans");
        let mut scans = scans
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        scans.any(|scan| scan["root"] == "second" && scan["scanning"] == true)
    });
    daemon.stop();
    assert_eq!(scan.wait().unwrap().code(), Some(1));
    // The next goes on with the second.
    let (_, rest) = json(&site, &["scan", "--root", "second"]);
    assert_eq!(rest[0]["pass"], 2, "{rest:?}");
}

#[test]
fn a_page_of_findings_does_not_end_amid_those_of_a_path() {
    let kinds = [DriftKind::Lost, DriftKind::SiteOnly, DriftKind::RucioOnly];
    let (site, daemon) = started_after("", |open| {
        for kind in kinds {
            let (root, scope) = ("main".parse().unwrap(), kind.side().scope());
            let now = open.assembly.parts.clock.now();
            let scan = open.ledger().begin_scan(&root, scope, "", now).unwrap();
            let seen = ["a/1", "a/2"].map(|path| Drift {
                path: path.parse().unwrap(),
                kind,
                detail: "found".to_owned(),
                size: None,
                identity: None,
                claimed: true,
                run: None,
                folded: path.to_owned(),
            });
            open.ledger().note_scan(&scan, &seen, &[]).unwrap();
        }
    });
    let page = |query: &str| -> Vec<(String, String)> {
        let text = get(&site, &format!("/v1/findings?{query}"));
        let lines = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].as_str().unwrap().to_owned();
            (field("path"), field("kind"))
        });
        lines.collect()
    };
    let at = |path: &str| kinds.map(|kind| (path.to_owned(), kind.to_string()));
    for limit in 1..=3 {
        assert_eq!(page(&format!("limit={limit}")), at("a/1"), "{limit}");
    }
    assert_eq!(page("limit=4"), [at("a/1"), at("a/2")].concat());
    let after = "after_root=main&after_path=a/1";
    assert_eq!(page(&format!("{after}&limit=1")), at("a/2"));
    assert_eq!(page("after_root=main&after_path=a/2&limit=1"), []);
    assert_eq!(page(""), [at("a/1"), at("a/2")].concat());
    daemon.stop();
}

#[test]
fn jobs_are_listed_done_on_demand_and_measured() {
    let (site, daemon) = started(NIGHTLY);
    let (_, jobs) = json(&site, &["schedule", "list"]);
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        (&jobs[0]["name"], &jobs[0]["job"]),
        (&"nightly".into(), &"scan".into())
    );
    assert!(
        jobs[0]["next"]
            .as_str()
            .unwrap()
            .ends_with("-01-01T03:00:00Z")
    );
    assert_eq!(
        (&jobs[0]["runs"], &jobs[0]["overdue"]),
        (&0.into(), &false.into())
    );
    let done = site.answer(&["schedule", "run", "nightly"]);
    assert_eq!(
        done,
        "nightly: done: root main: 8 paths met, the pass is through, 0 findings\n"
    );
    fs::remove_file(site.root().join(PATHS[0])).unwrap();
    assert_eq!(
        site.run_command(&["schedule", "run", "nightly"])
            .status
            .code(),
        Some(3)
    );
    let unknown = site.run_command(&["schedule", "run", "weekly"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there is no job `weekly`"));
    let listed = site.answer(&["schedule", "list"]);
    assert!(
        listed.contains("nightly") && listed.contains("found"),
        "{listed}"
    );
    assert_eq!(
        json(&site, &["schedule", "list"]).1,
        json(&site, &["schedule", "list", "--direct"]).1
    );
    let status = site.answer(&["status"]);
    assert!(
        status.contains("job        nightly (scan), found"),
        "{status}"
    );
    assert!(
        status.contains("scans      main, all seen since"),
        "{status}"
    );
    let metrics = get(&site, "/metrics");
    for line in [
        "runsync_job_runs_total{job=\"nightly\"} 2",
        "runsync_job_failures_total{job=\"nightly\"} 0",
        "runsync_job_overdue{job=\"nightly\"} 0",
        "runsync_scan_findings{kind=\"lost\"} 1",
        "runsync_scan_behind{root=\"main\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(metrics.contains("runsync_job_last_success_age_seconds{job=\"nightly\"} "));
    assert!(metrics.contains("runsync_scan_seen_age_seconds{root=\"main\"} "));
    daemon.stop();
}

#[test]
fn a_job_is_done_when_its_time_comes() {
    let every_second = NIGHTLY.replace("0 0 3 1 1 *", "* * * * * *");
    let (site, daemon) = started(&every_second);
    fs::remove_file(site.root().join(PATHS[0])).unwrap();
    daemon.until("it has found what is lost", || {
        json(&site, &["findings", "list"]).1.len() == 1
    });
    daemon.until("it was done more than once", || {
        json(&site, &["schedule", "list"]).1[0]["runs"].as_u64() > Some(2)
    });
    daemon.stop();
}
