//! What scans have found, as one page that stands alone: no script, nothing that is fetched, every name escaped.
//!
//! Numbers come summed up from the ledger, so that a page of a million findings is as small as one of ten. The
//! page says of itself what a browser may do with it: use this one style, and nothing else.

use data_encoding::BASE64;
use indicatif::HumanBytes;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use runsync_config::root::RootName;
use runsync_manifest::name::SiteName;
use sha2::{Digest, Sha256};

use super::chart::{Bar, bars};
use super::printed::shown;
use super::standing::{ScanStanding, standings};
use crate::ledger::drift_summary::{AGES, DriftSummary, DriftTally, SIZES};
use crate::ledger::scans::{DriftFinding, DriftKind};
use crate::ledger::{Ledger, LedgerError};

/// Runs that get a bar of their own.
const RUNS: usize = 25;
/// Findings that are shown one by one.
const NEWEST: usize = 200;

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #ddd;overflow-wrap:anywhere}
td.number,th.number{text-align:right;white-space:nowrap}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg .label{text-anchor:end}
.lost{fill:#b2182b}.dark{fill:#4d4d4d}.corrupt{fill:#ef8a62}.irregular{fill:#67a9cf}.site-only{fill:#762a83}.rucio-differs{fill:#af8dc3}.rucio-state{fill:#7fbf7b}.rucio-only{fill:#1b7837}
.key svg{width:1em;height:1em;margin:0 .3em 0 1em;vertical-align:-.1em}
p.note{color:#555}
";

const AGE_LABELS: [&str; 7] = [
    "under an hour",
    "under a day",
    "under a week",
    "under 30 days",
    "under 90 days",
    "under a year",
    "a year or more",
];
const SIZE_LABELS: [&str; 7] = [
    "under 1 KiB",
    "under 1 MiB",
    "under 16 MiB",
    "under 256 MiB",
    "under 1 GiB",
    "under 16 GiB",
    "16 GiB or more",
];
const _: () = assert!(AGE_LABELS.len() == AGES.len() + 1 && SIZE_LABELS.len() == SIZES.len() + 1);

/// What a page tells.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingsPage {
    site: SiteName,
    root: Option<RootName>,
    at: Timestamp,
    summary: DriftSummary,
    newest: Vec<DriftFinding>,
    scans: Vec<ScanStanding>,
}

impl FindingsPage {
    /// Reads what it tells, of one root or of all.
    ///
    /// # Errors
    ///
    /// Where the ledger does not answer.
    pub fn read(
        site: SiteName,
        root: Option<RootName>,
        ledger: &dyn Ledger,
        at: Timestamp,
    ) -> Result<Self, LedgerError> {
        let mut scans = standings(ledger)?;
        scans.retain(|scan| root.as_ref().is_none_or(|root| *root == scan.root));
        Ok(Self {
            summary: ledger.drift_summary(root.as_ref(), at, RUNS)?,
            newest: ledger.newest_drift(root.as_ref(), NEWEST)?,
            site,
            root,
            at,
            scans,
        })
    }

    /// The page.
    pub fn to_html(&self) -> String {
        let about = match &self.root {
            Some(root) => format!("root {root} of {}", self.site),
            None => self.site.to_string(),
        };
        let title = format!("Drift at {about}");
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy());
                    meta name="referrer" content="no-referrer";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (title) }
                    (self.head())
                    (self.charts())
                    (self.scans())
                    (self.newest())
                }
            }
        };
        page.into_string()
    }

    fn head(&self) -> Markup {
        let count: u64 = self.summary.roots.iter().map(|one| one.tally.count).sum();
        let ignored = self.summary.ignored;
        html! {
            p {
                (count) " findings as of " (format!("{:.0}", self.at)) ", by runsync " (env!("CARGO_PKG_VERSION")) "."
                @if ignored > 0 { " " (ignored) " more are left out by an operator's word." }
            }
            p.key {
                "Kinds:"
                @for kind in DriftKind::ALL {
                    svg viewBox="0 0 10 10" aria-hidden="true" { rect width="10" height="10" class=(kind) {} }
                    (kind)
                }
            }
        }
    }

    fn charts(&self) -> Markup {
        let summary = &self.summary;
        let (other_runs, rest) = &summary.rest;
        let mut runs = grouped(&summary.runs, |run| match run {
            Some(run) => run.clone(),
            None => "no run".to_owned(),
        });
        if !rest.is_empty() {
            runs.extend(grouped(rest, |()| format!("{other_runs} other runs")));
        }
        let ages = grouped(&summary.ages, |bin| named(&AGE_LABELS, Some(*bin)));
        let sizes = grouped(&summary.sizes, |bin| named(&SIZE_LABELS, *bin));
        html! {
            (chart("By kind", &self.kinds(|one| one.tally.count, |sum| sum.to_string())))
            (chart("By kind, in bytes", &self.kinds(|one| one.tally.bytes, |sum| HumanBytes(sum).to_string())))
            (chart("By run", &runs))
            (chart("By age: since when it is found", &ages))
            (chart("By size", &sizes))
        }
    }

    fn kinds(
        &self,
        value: impl Fn(&DriftTally<RootName>) -> u64,
        told: impl Fn(u64) -> String,
    ) -> Vec<Bar> {
        let of = |kind: DriftKind| {
            let all = self.summary.roots.iter().filter(|one| one.kind == kind);
            let sum = all.map(&value).fold(0, u64::saturating_add);
            Bar {
                label: kind.to_string(),
                parts: vec![(kind, sum)],
                sum: told(sum),
            }
        };
        DriftKind::ALL.map(of).to_vec()
    }

    fn scans(&self) -> Markup {
        html! {
            h2 { "What scans have concluded" }
            @if self.scans.is_empty() {
                p.note { "No scan was made yet." }
            } @else {
                table {
                    thead { tr {
                        th { "root" } th { "part" } th { "pass" } th { "all seen since" }
                        th.number { "files" } th.number { "bytes" } th.number { "records" }
                        th.number { "read" } th.number { "folders not listed" } th.number { "unreadable" }
                        th.number { "left open" }
                    } }
                    tbody { @for scan in &self.scans { (row(scan)) } }
                }
            }
        }
    }

    fn newest(&self) -> Markup {
        html! {
            h2 { "Newest findings" }
            @if self.newest.is_empty() {
                p.note { "Nothing is found." }
            } @else {
                table {
                    thead { tr {
                        th { "first seen" } th { "kind" } th { "root" } th { "path" } th.number { "bytes" }
                        th.number { "times" } th { "run" } th { "detail" }
                    } }
                    tbody { @for finding in &self.newest { (finding_row(finding)) } }
                }
                @if self.newest.len() == NEWEST {
                    p.note { "These are the newest " (NEWEST) "; `runsync findings list` has all." }
                }
            }
        }
    }
}

/// What a browser may do with the page. A `meta` element cannot say who may frame it.
pub(super) fn policy() -> String {
    let style = BASE64.encode(&Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'")
}

fn chart(title: &str, all: &[Bar]) -> Markup {
    html! {
        h2 { (title) }
        @if all.is_empty() {
            p.note { "Nothing is found." }
        } @else {
            (bars(title, all))
        }
    }
}

fn named(labels: &[&str; 7], bin: Option<u64>) -> String {
    let index = bin.and_then(|bin| usize::try_from(bin).ok());
    let label = index.and_then(|index| labels.get(index));
    label.map_or_else(|| "not known".to_owned(), |label| (*label).to_owned())
}

/// A bar for each key; tallies of one key follow each other.
fn grouped<K: PartialEq>(tallies: &[DriftTally<K>], label: impl Fn(&K) -> String) -> Vec<Bar> {
    let groups = tallies.chunk_by(|a, b| a.of == b.of);
    let bar = |group: &[DriftTally<K>]| {
        let first = group.first()?;
        let parts = group
            .iter()
            .map(|one| (one.kind, one.tally.count))
            .collect();
        let count: u64 = group.iter().map(|one| one.tally.count).sum();
        let bytes: u64 = group
            .iter()
            .map(|one| one.tally.bytes)
            .fold(0, u64::saturating_add);
        Some(Bar {
            label: label(&first.of),
            parts,
            sum: format!("{count}, {}", HumanBytes(bytes)),
        })
    };
    groups.filter_map(bar).collect()
}

fn row(scan: &ScanStanding) -> Markup {
    let counts = &scan.counts;
    let part = match scan.scope.as_str() {
        "" => "all",
        scope => scope.trim_start_matches('/'),
    };
    let pass = match &scan.position {
        None => format!("{} is through", scan.pass),
        Some(_) => format!("{} under way, last {:.0}", scan.pass, scan.tried_at),
    };
    let open = counts.undecided + counts.unjudged + counts.new + counts.untold;
    html! {
        tr {
            td { (scan.root) } td { (shown(part)) } td { (pass) }
            td { @match scan.seen_since { Some(since) => (format!("{since:.0}")), None => "-" } }
            td.number { (counts.files) } td.number { (HumanBytes(counts.bytes)) }
            td.number { (counts.records) } td.number { (counts.checked) }
            td.number { (counts.unlisted) } td.number { (counts.unreadable) } td.number { (open) }
        }
    }
}

fn finding_row(finding: &DriftFinding) -> Markup {
    let size = finding.size.map(|size| HumanBytes(size).to_string());
    html! {
        tr {
            td { (format!("{:.0}", finding.first_seen)) } td { (finding.kind) } td { (finding.root) }
            td { (shown(finding.path.as_str())) }
            td.number { (size.as_deref().unwrap_or("-")) } td.number { (finding.times) }
            td { @if let Some(run) = &finding.run { (shown(run.as_str())) } @else { "-" } }
            td {
                (shown(&finding.detail))
                @if let Some(twin) = &finding.twin { "; " (shown(twin.as_str())) " is another spelling of its name" }
            }
        }
    }
}
