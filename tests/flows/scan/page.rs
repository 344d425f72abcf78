//! The page of findings, which names come into that others have chosen.

use std::fs;
use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use runsync::ledger::Ledger;
use runsync::ledger::scans::{Drift, DriftKind};
use runsync::recovery::FindingsPage;
use sha2::{Digest, Sha256};

use crate::http::Request;
use crate::process::{Daemon, text};
use crate::scene::{PATHS, site_with};
use crate::support::TestSite;

const HOSTILE: &str = "u/test/run/<img src=x onerror=alert(1)>\u{202e}\"&'.fits";

fn site() -> TestSite {
    site_with("waiting_deadline = \"1ms\"", Duration::ZERO)
}

#[test]
fn a_page_stands_alone_and_runs_nothing() {
    let site = site();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    site.put(HOSTILE, b"x");
    assert_eq!(site.run_command(&["scan"]).status.code(), Some(3));
    let file = site.folder.path().join("report.html");
    let told = site.answer(&["findings", "report", "--html", file.to_str().unwrap()]);
    assert!(told.contains("written to"), "{told}");
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.contains("2 findings as of"), "{page}");
    assert!(
        page.contains("&lt;img src=x onerror=alert(1)&gt;\u{FFFD}&quot;&amp;"),
        "{page}"
    );
    for forbidden in [
        "<img",
        "<script",
        "javascript:",
        "src=\"",
        "href",
        "url(",
        "style=\"",
        "\u{202e}",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    // Of the page itself its style alone is allowed.
    let style = page
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        BASE64.encode(&Sha256::digest(style))
    );
    let policy = policy.replace('\'', "&#39;");
    assert!(
        page.contains(&policy) || page.contains(&policy.replace("&#39;", "'")),
        "{page}"
    );
    for title in [
        "By kind",
        "By run",
        "By age",
        "By size",
        "What scans have concluded",
        "Newest findings",
    ] {
        assert!(page.contains(title), "{title}");
    }
    assert_eq!(page.matches("<svg viewBox=\"0 0 900").count(), 5);
    let output = site.run_command(&["findings", "report", "--html", "-", "--root", "main"]);
    assert!(text(&output.stdout).contains("<title>Drift at root main of SITE_A</title>"));
    let nowhere = site.run_command(&["findings", "report", "--html", "/nonexistent/x.html"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("cannot write the report"));
}

#[test]
fn a_daemon_makes_the_same_page() {
    let site = site();
    fs::remove_file(site.root().join(PATHS[1])).unwrap();
    assert_eq!(site.run_command(&["scan"]).status.code(), Some(3));
    let directly = site.answer(&["findings", "report", "--html", "-"]);
    let root = "settle = \"1ms\"\nwaiting_deadline = \"1ms\"";
    site.configure_daemon("size", root, "");
    let daemon = Daemon::start(&site);
    let by_daemon = site.answer(&["findings", "report", "--html", "-"]);
    // They are of different seconds.
    let rest = |page: &str| {
        page.split_once("by runsync")
            .unwrap()
            .1
            .trim_end()
            .to_owned()
    };
    assert_eq!(rest(&directly), rest(&by_daemon));
    let answer = Request::get("/v1/findings/report").at(&site.site().http.socket);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    daemon.stop();
}

fn drift(number: u64) -> Drift {
    Drift {
        path: format!("u/{}/{number}", number % 100).parse().unwrap(),
        kind: DriftKind::ALL[usize::try_from(number % 4).unwrap()],
        detail: "found".to_owned(),
        size: (!number.is_multiple_of(7)).then_some(number * 1_000),
        identity: None,
        claimed: false,
        run: format!("u/{}", number % 100).parse().ok(),
        folded: format!("{number}"),
    }
}

/// Keeps so much drift.
fn fill(ledger: &dyn Ledger, site: &TestSite, count: u64, at: Timestamp) {
    let root = site.site().roots[0].name.clone();
    let scan = ledger.begin_scan(&root, "", "", at).unwrap();
    let all: Vec<Drift> = (0..count).map(drift).collect();
    ledger.note_scan(&scan, &all, &[]).unwrap();
}

#[test]
fn a_page_of_very_many_findings_is_small_and_adds_up() {
    let site = site();
    let open = site.open();
    let (count, now) = (20_000, site.now());
    let long_ago = now - jiff::SignedDuration::from_hours(24 * 40);
    fill(open.ledger(), &site, count, long_ago);
    let summary = open.ledger().drift_summary(None, now, 25).unwrap();
    let sum = |counts: Vec<u64>| counts.into_iter().sum::<u64>();
    assert_eq!(
        sum(summary.roots.iter().map(|one| one.tally.count).collect()),
        count
    );
    assert_eq!(
        sum(summary.sizes.iter().map(|one| one.tally.count).collect()),
        count
    );
    assert!(
        summary.ages.iter().all(|one| one.of == 4),
        "{:?}",
        summary.ages
    );
    let (others, rest) = &summary.rest;
    let of_runs = sum(summary.runs.iter().map(|one| one.tally.count).collect());
    let of_rest = sum(rest.iter().map(|one| one.tally.count).collect());
    assert_eq!((*others, of_runs, of_rest), (75, 5_000, 15_000));
    let bytes: u64 = summary.roots.iter().map(|one| one.tally.bytes).sum();
    let expected: u64 = (0..count).filter_map(|number| drift(number).size).sum();
    assert_eq!(bytes, expected);
    let page = FindingsPage::read(site.site().name, None, open.ledger(), now).unwrap();
    let page = page.to_html();
    assert!(
        page.len() < 200_000 && page.contains("75 other runs"),
        "{}",
        page.len()
    );
}
