//! `quarantine`: manifests that were set aside, and what to do with them.

use runsync_config::root::RootName;
use serde::Serialize;

use crate::assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::clock::{Clock, SystemClock};
use crate::ingest::quarantine;
use crate::ledger::record::{Location, ManifestRow, ManifestState};

/// List manifests that were set aside; have them tried again, or drop them from the list
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List them with the reasons
    List,
    /// Have manifests read again, after their cause is gone
    Retry(Which),
    /// Take manifests off the list; their files stay, and count again only if they change
    Drop(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Paths as `list` shows them
    #[arg(required_unless_present = "all")]
    paths: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "paths")]
    all: bool,
    /// Only in this root
    #[arg(long)]
    root: Option<RootName>,
}

impl Row for ManifestRow {
    const HEADER: &'static [&'static str] = &["root", "path", "state", "since", "reason", "hint"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.location.root.to_string(),
            self.location.path.clone(),
            self.state.to_string(),
            self.decided_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            self.reason.clone().unwrap_or_default(),
            self.hint.clone().unwrap_or_default(),
        ]
    }
}

/// What was done with one manifest.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    location: Location,
    done: &'static str,
}

impl Row for Done {
    const HEADER: &'static [&'static str] = &["root", "path", "done"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.location.root.to_string(),
            self.location.path.clone(),
            self.done.to_owned(),
        ]
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let ledger = assembly::open_ledger(site)?;
    let aside = ledger.manifests(Some(ManifestState::Quarantined))?;
    match &args.what {
        What::List => context.output().rows(aside)?,
        What::Retry(which) => act(which, aside, context, "will be read again", |at| {
            quarantine::retry(&*ledger, at)
        })?,
        What::Drop(which) => act(which, aside, context, "dropped", |at| {
            quarantine::drop(&*ledger, at, SystemClock.now())
        })?,
    }
    Ok(Outcome::Done)
}

fn act(
    which: &Which,
    aside: Vec<ManifestRow>,
    context: &Context,
    done: &'static str,
    mut act: impl FnMut(&Location) -> Result<bool, crate::ledger::LedgerError>,
) -> Result<(), Failure> {
    let chosen = choose(which, aside)?;
    let mut rows = Vec::with_capacity(chosen.len());
    for location in chosen {
        if act(&location)? {
            rows.push(Done { location, done });
        }
    }
    context.output().rows(rows)?;
    Ok(())
}

/// The manifests meant; all paths are checked before anything is done.
fn choose(which: &Which, aside: Vec<ManifestRow>) -> Result<Vec<Location>, Failure> {
    let in_root: Vec<Location> = aside
        .into_iter()
        .map(|row| row.location)
        .filter(|location| {
            which
                .root
                .as_ref()
                .is_none_or(|root| location.root == *root)
        })
        .collect();
    if which.all {
        return Ok(in_root);
    }
    if let Some(unknown) = which
        .paths
        .iter()
        .find(|path| !in_root.iter().any(|location| location.path == **path))
    {
        return Err(
            Failure::new(format!("cannot find `{unknown}` in quarantine"))
                .hint("copy the path from `runsync quarantine list`"),
        );
    }
    Ok(in_root
        .into_iter()
        .filter(|location| which.paths.contains(&location.path))
        .collect())
}
