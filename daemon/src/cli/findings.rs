//! `findings`: drift that scans have found, and what an operator says of it.

use clap::builder::NonEmptyStringValueParser;
use std::fmt;
use std::sync::Arc;

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use serde::Serialize;

use crate::assembly::{Readers, Stores};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::scan::without_daemon;
use crate::cli::source::Way;
use crate::cli::{arguments, collector, findings_report, turn};
use crate::clock::{Clock, SystemClock};
use crate::http::{Client, IgnoredFinding, Lines, ToIgnore};
use crate::ledger::Ledger;
use crate::ledger::scans::{DriftFilter, DriftFinding, DriftKind, Ignored, Span};

/// Findings read at once.
const PAGE: usize = 1_000;

/// List drift that scans have found, show what is known of it, or have it left out
///
/// A finding is kept, with when and how often it was seen, until a scan sees that it has healed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List findings, by root and path
    List(List),
    /// Show all that is known of the finding at a path
    Show(Show),
    /// Have findings left out of lists and exit codes, for as long as the same is found
    Ignore(Ignore),
    Report(findings_report::Args),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of this kind: `lost`, `dark`, `corrupt`, `irregular`, `site-only`, `rucio-differs`, `rucio-state` or
    /// `rucio-only`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<DriftKind>,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    /// Only below this folder of the root
    #[arg(long, value_name = "FOLDER", value_parser = arguments::folder)]
    prefix: Option<ArtifactPath>,
    /// Also those that are to be left out
    #[arg(long)]
    all: bool,
    /// Print comma-separated values (RFC 4180)
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Its path, as `list` shows it
    #[arg(value_name = "PATH")]
    path: ArtifactPath,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Args)]
struct Ignore {
    /// Paths, as `list` shows them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<ArtifactPath>,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    /// Why they are to be left out
    #[arg(long, value_name = "TEXT", required_unless_present = "undo", value_parser = NonEmptyStringValueParser::new())]
    why: Option<String>,
    /// Leave them out no more
    #[arg(long, conflicts_with = "why")]
    undo: bool,
    #[command(flatten)]
    way: Way,
}

fn kind(text: &str) -> Result<DriftKind, String> {
    text.parse().map_err(|()| {
        let kinds = DriftKind::ALL.map(DriftKind::as_str).join(", ");
        format!("it is one of {kinds}")
    })
}

impl Row for DriftFinding {
    const HEADER: &'static [&'static str] = &[
        "kind",
        "root",
        "path",
        "bytes",
        "first seen",
        "last seen",
        "times",
        "detail",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.to_string(),
            self.root.to_string(),
            self.path.to_string(),
            self.size
                .map_or_else(|| "-".to_owned(), |size| size.to_string()),
            format!("{:.0}", self.first_seen),
            format!("{:.0}", self.last_seen),
            self.times.to_string(),
            told(self),
        ]
    }
}

/// What a finding is about, and what stands in the way of acting on it.
fn told(finding: &DriftFinding) -> String {
    let twin = finding.twin.as_ref();
    let twin = twin.map(|twin| format!("`{twin}` is another spelling of its name"));
    let ignored = finding.ignored.as_ref();
    let ignored = ignored.map(|word| format!("left out by {}: {}", word.by, word.why));
    let told = [Some(finding.detail.clone()), twin, ignored];
    told.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// One of them in full.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(DriftFinding);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(finding) = self;
        write!(f, "{}", finding.path)?;
        write!(f, "\n  root     {}", finding.root)?;
        write!(f, "\n  kind     {}", finding.kind)?;
        write!(f, "\n  detail   {}", finding.detail)?;
        if let Some(size) = finding.size {
            write!(f, "\n  bytes    {size}")?;
        }
        let (first, last, times) = (finding.first_seen, finding.last_seen, finding.times);
        write!(
            f,
            "\n  seen     {times} times, first {first:.0}, last {last:.0}"
        )?;
        if let Some(since) = finding.unchanged_since {
            write!(
                f,
                "\n  alike    since {since:.0}, from when `[repair] apart` counts"
            )?;
        }
        if let Some(run) = &finding.run {
            write!(f, "\n  run      {run}")?;
        }
        if let Some(twin) = &finding.twin {
            write!(
                f,
                "\n  twin     {twin}: another spelling of its name; the two may be one artifact"
            )?;
        }
        match &finding.ignored {
            Some(word) => write!(
                f,
                "\n  left out by {} at {:.0}: {}",
                word.by, word.at, word.why
            ),
            None => Ok(()),
        }
    }
}

/// What was done about one finding.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Done(IgnoredFinding);

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IgnoredFinding {
            root,
            path,
            ignored,
        } = &self.0;
        let what = if *ignored {
            "left out"
        } else {
            "no longer left out"
        };
        write!(f, "{path} in {root}: {what}")
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List(list) => self::list(list, context),
        What::Show(show) => self::show(show, context),
        What::Ignore(which) => ignore(which, context),
        What::Report(report) => findings_report::run(report, context),
    }
}

/// Refuses a root that the site does not have: no finding is of it, which would read as if all were well.
pub(super) fn check_root(root: Option<&RootName>, context: &Context) -> Result<(), Failure> {
    let Some(root) = root else { return Ok(()) };
    if context.site()?.roots.iter().any(|one| one.name == *root) {
        return Ok(());
    }
    Err(Failure::new(format!("this site has no root `{root}`"))
        .hint("`runsync config show` lists the roots"))
}

fn list(list: &List, context: &Context) -> Result<Outcome, Failure> {
    check_root(list.root.as_ref(), context)?;
    if list.csv && context.json() {
        return Err(Failure::new("`--csv` and `--json` are two forms of one answer").usage());
    }
    let mut output = context.output();
    if list.csv {
        output.raw(csv(&CSV_HEADER.map(str::to_owned)).as_bytes())?;
    }
    let mut is_first = true;
    let filter = DriftFilter {
        root: list.root.clone(),
        kind: list.kind,
        side: None,
        span: Span::below(list.prefix.as_ref()),
        ignored: list.all,
    };
    let below = list
        .prefix
        .as_ref()
        .map(|folder| ("prefix", folder.as_str()));
    let findings = Findings::open(list.way, context)?;
    findings.each_page(&filter, below, &mut |page| {
        if list.csv {
            let lines = page.iter().map(|finding| csv(&csv_cells(finding)));
            output.bytes(lines.collect::<String>().as_bytes())?;
        } else if is_first {
            output.rows(page)?;
        } else {
            output.more_rows(page)?;
        }
        is_first = false;
        Ok(())
    })?;
    output.flush()?;
    Ok(Outcome::Done)
}

/// Where findings are read.
enum Findings {
    /// By the daemon.
    Daemon(Client),
    /// In the ledger.
    Ledger(Arc<dyn Ledger>),
}

type Page<'e> = dyn FnMut(Vec<DriftFinding>) -> Result<(), Failure> + 'e;

impl Findings {
    fn open(way: Way, context: &Context) -> Result<Self, Failure> {
        Ok(match way.daemon(context)? {
            Some(client) => Self::Daemon(client),
            None => Self::Ledger(Readers::for_a_command(context.site()?)?.ledger),
        })
    }

    /// Passes on page after page, at least one; `span` says to the daemon what the filter's does.
    fn each_page(
        &self,
        filter: &DriftFilter,
        span: Option<(&str, &str)>,
        each: &mut Page<'_>,
    ) -> Result<(), Failure> {
        match self {
            Self::Daemon(client) => {
                let mut query = vec![("all", if filter.ignored { "true" } else { "false" })];
                query.extend(filter.kind.map(|kind| ("kind", kind.as_str())));
                query.extend(filter.root.as_ref().map(|root| ("root", root.as_str())));
                query.extend(span);
                of_lines(client.lines("/v1/findings", &query)?, each)
            }
            Self::Ledger(ledger) => of_ledger(&**ledger, filter, each),
        }
    }
}

fn of_lines(mut lines: Lines, each: &mut Page<'_>) -> Result<(), Failure> {
    let mut page = Vec::new();
    while let Some(finding) = lines.next()? {
        page.push(finding);
        if page.len() == PAGE {
            each(std::mem::take(&mut page))?;
        }
    }
    each(page)
}

fn of_ledger(
    ledger: &dyn Ledger,
    filter: &DriftFilter,
    each: &mut Page<'_>,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let at = after.as_ref();
        let at = at.map(|(root, path): &(RootName, String)| (root, path.as_str()));
        let page = ledger.drift(filter, at, PAGE)?;
        let is_last = page.len() < PAGE;
        let last = page.last();
        after = last.map(|last| (last.root.clone(), last.path.to_string()));
        each(page)?;
        if is_last {
            return Ok(());
        }
    }
}

/// Columns of comma-separated values.
const CSV_HEADER: [&str; 12] = [
    "kind",
    "root",
    "path",
    "bytes",
    "first seen",
    "last seen",
    "times",
    "detail",
    "run",
    "claimed",
    "twin",
    "alike since",
];

/// A finding under these; what is not known is empty.
fn csv_cells(finding: &DriftFinding) -> [String; 12] {
    let run = finding.run.as_ref();
    let twin = finding.twin.as_ref();
    let time = |at: Option<jiff::Timestamp>| at.map_or_else(String::new, |at| format!("{at:.0}"));
    [
        finding.kind.to_string(),
        finding.root.to_string(),
        finding.path.to_string(),
        finding
            .size
            .map_or_else(String::new, |size| size.to_string()),
        time(Some(finding.first_seen)),
        time(Some(finding.last_seen)),
        finding.times.to_string(),
        told(finding),
        run.map_or_else(String::new, ToString::to_string),
        finding.claimed.to_string(),
        twin.map_or_else(String::new, ToString::to_string),
        time(finding.unchanged_since),
    ]
}

/// A line of comma-separated values.
fn csv(cells: &[String]) -> String {
    let cell = |cell: &String| {
        if cell.contains([',', '"', '\r', '\n']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    let cells: Vec<String> = cells.iter().map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

fn nothing_at(path: &ArtifactPath) -> Failure {
    Failure::new(format!("nothing is found at `{path}`"))
        .hint("`runsync findings list` shows what is; it goes when it has healed")
}

fn show(show: &Show, context: &Context) -> Result<Outcome, Failure> {
    check_root(show.root.as_ref(), context)?;
    let filter = at(show.root.as_ref(), &show.path);
    let mut found = Vec::new();
    let findings = Findings::open(show.way, context)?;
    findings.each_page(&filter, Some(("path", show.path.as_str())), &mut |page| {
        found.extend(page);
        Ok(())
    })?;
    if found.is_empty() {
        return Err(nothing_at(&show.path));
    }
    let mut output = context.output();
    for finding in found {
        output.value(&Shown(finding))?;
    }
    Ok(Outcome::Done)
}

/// All findings at a path.
fn at(root: Option<&RootName>, path: &ArtifactPath) -> DriftFilter {
    DriftFilter {
        root: root.cloned(),
        kind: None,
        side: None,
        span: Span::at(path.as_str()),
        ignored: true,
    }
}

fn ignore(which: &Ignore, context: &Context) -> Result<Outcome, Failure> {
    let noted = match which.way.daemon(context)? {
        Some(client) => client.post(
            "/v1/findings/ignore",
            &ToIgnore {
                paths: which.paths.clone(),
                root: which.root.clone(),
                why: which.why.clone(),
            },
        )?,
        None => ignore_directly(which, context)?,
    };
    let missing = |path: &&ArtifactPath| !noted.iter().any(|one| one.path == **path);
    let missing = which.paths.iter().find(missing);
    let mut output = context.output();
    for finding in &noted {
        output.value(&Done(finding.clone()))?;
    }
    match missing {
        Some(path) => Err(nothing_at(path)),
        None => Ok(Outcome::Done),
    }
}

fn ignore_directly(which: &Ignore, context: &Context) -> Result<Vec<IgnoredFinding>, Failure> {
    let site = context.site()?;
    let opened = turn::take(site, context, |tenure| Stores::open(site, tenure));
    let (_held, stores) = opened.map_err(without_daemon)?;
    let word = which.why.as_ref().map(|why| Ignored {
        by: collector::myself(site).account,
        why: why.clone(),
        at: SystemClock.now(),
    });
    let ledger = &*stores.ledger;
    let mut noted = Vec::new();
    for path in &which.paths {
        let filter = at(which.root.as_ref(), path);
        for finding in ledger.drift(&filter, None, usize::MAX)? {
            let (root, path) = (finding.root, finding.path);
            if ledger.ignore_drift(&root, path.as_str(), word.as_ref())? {
                let ignored = word.is_some();
                noted.push(IgnoredFinding {
                    root,
                    path,
                    ignored,
                });
            }
        }
    }
    Ok(noted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_values_is_quoted() {
        let cells = ["a", "b,c", "d\"e", "f\ng"].map(str::to_owned);
        assert_eq!(csv(&cells), "a,\"b,c\",\"d\"\"e\",\"f\ng\"\r\n");
    }
}
