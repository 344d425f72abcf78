//! `findings`: drift that scans have found, and what an operator says of it.

use std::fmt;

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use serde::Serialize;

use crate::assembly::{Readers, Stores};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::scan::without_daemon;
use crate::cli::{collector, turn};
use crate::clock::{Clock, SystemClock};
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
    /// Have findings left out of lists and exit codes, for as long as the same is found; the daemon must
    /// not run meanwhile
    Ignore(Ignore),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of this kind: `lost`, `dark`, `corrupt` or `irregular`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<DriftKind>,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    /// Only below this folder of the root
    #[arg(long, value_name = "FOLDER")]
    prefix: Option<ArtifactPath>,
    /// Also those that are to be left out
    #[arg(long)]
    all: bool,
    /// Print comma-separated values (RFC 4180)
    #[arg(long)]
    csv: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Its path, as `list` shows it
    #[arg(value_name = "PATH")]
    path: ArtifactPath,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
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
    #[arg(long, value_name = "TEXT", required_unless_present = "undo")]
    why: Option<String>,
    /// Leave them out no more
    #[arg(long, conflicts_with = "why")]
    undo: bool,
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
struct Done {
    root: RootName,
    path: ArtifactPath,
    ignored: bool,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.ignored {
            "left out"
        } else {
            "no longer left out"
        };
        write!(f, "{} in {}: {what}", self.path, self.root)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List(list) => self::list(list, context),
        What::Show(show) => self::show(show, context),
        What::Ignore(which) => ignore(which, context),
    }
}

fn list(list: &List, context: &Context) -> Result<Outcome, Failure> {
    if list.csv && context.json() {
        return Err(Failure::new("`--csv` and `--json` are two forms of one answer").usage());
    }
    let ledger = Readers::for_a_command(context.site()?)?.ledger;
    let filter = DriftFilter {
        root: list.root.clone(),
        kind: list.kind,
        side: None,
        span: Span::below(list.prefix.as_ref()),
        ignored: list.all,
    };
    let mut output = context.output();
    if list.csv {
        output.raw(
            csv(&DriftFinding::HEADER
                .iter()
                .map(|cell| (*cell).to_owned())
                .collect::<Vec<_>>())
            .as_bytes(),
        )?;
    }
    let (mut after, mut is_first) = (None, true);
    loop {
        let at = after.as_ref();
        let at = at.map(|(root, path): &(RootName, String)| (root, path.as_str()));
        let page = ledger.drift(&filter, at, PAGE)?;
        let is_last = page.len() < PAGE;
        after = page
            .last()
            .map(|last| (last.root.clone(), last.path.to_string()));
        if list.csv {
            let lines = page.iter().map(|finding| csv(&finding.cells()));
            output.bytes(lines.collect::<String>().as_bytes())?;
        } else if is_first {
            output.rows(page)?;
        } else {
            output.more_rows(page)?;
        }
        is_first = false;
        if is_last {
            output.flush()?;
            return Ok(Outcome::Done);
        }
    }
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

/// The findings at a path, in one root or in all.
fn at(
    ledger: &dyn Ledger,
    root: Option<&RootName>,
    path: &ArtifactPath,
) -> Result<Vec<DriftFinding>, Failure> {
    let found = ledger.drift(
        &DriftFilter {
            root: root.cloned(),
            kind: None,
            side: None,
            span: Span::at(path.as_str()),
            ignored: true,
        },
        None,
        usize::MAX,
    )?;
    if found.is_empty() {
        return Err(Failure::new(format!("nothing is found at `{path}`"))
            .hint("`runsync findings list` shows what is; it goes when it has healed"));
    }
    Ok(found)
}

fn show(show: &Show, context: &Context) -> Result<Outcome, Failure> {
    let ledger = Readers::for_a_command(context.site()?)?.ledger;
    let found = at(&*ledger, show.root.as_ref(), &show.path)?;
    let mut output = context.output();
    for finding in found {
        output.value(&Shown(finding))?;
    }
    Ok(Outcome::Done)
}

fn ignore(which: &Ignore, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let opened = turn::take(site, context, |tenure| Stores::open(site, tenure));
    let (_held, stores) = opened.map_err(without_daemon)?;
    let word = which.why.as_ref().map(|why| Ignored {
        by: collector::myself(site).account,
        why: why.clone(),
        at: SystemClock.now(),
    });
    let ledger = &*stores.ledger;
    let mut found = Vec::new();
    for path in &which.paths {
        found.extend(at(ledger, which.root.as_ref(), path)?);
    }
    let mut output = context.output();
    for finding in found {
        let (root, path) = (finding.root, finding.path);
        if ledger.ignore_drift(&root, path.as_str(), word.as_ref())? {
            let ignored = word.is_some();
            output.value(&Done {
                root,
                path,
                ignored,
            })?;
        }
    }
    Ok(Outcome::Done)
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
