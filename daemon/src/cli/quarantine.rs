//! `quarantine`: manifests that were set aside, and what to do with them.

use std::fmt;

use runsync_config::root::RootName;
use serde::Serialize;

use crate::assembly::Stores;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::source::{Source, Way};
use crate::cli::turn;
use crate::clock::{Clock, SystemClock};
use crate::http::{ActedOn, Locations};
use crate::ingest::quarantine;
use crate::ledger::record::{Location, ManifestRow};
use crate::ledger::{Ledger, LedgerError};

/// List manifests that were set aside; have them tried again, or drop them from the list
///
/// A manifest is set aside when it is wrong in itself. Its file stays where it is, and its run
/// is as if it had never come.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List them with the reasons
    List(Way),
    /// Have manifests read again, when what was wrong is put right: by the daemon within seconds, or
    /// when it starts
    Retry(Which),
    /// Take manifests off the list for good; their files stay, and are read again only when they
    /// change
    Drop(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Paths as `list` shows them
    #[arg(required_unless_present = "all", value_name = "PATH")]
    paths: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "paths")]
    all: bool,
    /// Only in this root
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    #[command(flatten)]
    way: Way,
}

/// A manifest in quarantine.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Aside(ManifestRow);

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(row) = self;
        write!(f, "{}", row.location.path)?;
        write!(f, "\n  root    {}", row.location.root)?;
        if let Some(summary) = &row.summary {
            let (run, generation, site) = (&summary.run.name, summary.generation, &summary.site);
            write!(f, "\n  run     {run}, generation {generation}, from {site}")?;
        }
        write!(f, "\n  since   {:.0}", row.decided_at)?;
        if let Some(reason) = &row.reason {
            write!(f, "\n  reason  {reason}")?;
        }
        match &row.hint {
            Some(hint) => write!(f, "\n  hint    {hint}"),
            None => Ok(()),
        }
    }
}

/// What was done with one manifest.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    location: Location,
    done: &'static str,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location.path, self.done)
    }
}

/// What to do with a manifest in quarantine.
#[derive(Debug, Clone, Copy)]
enum Act {
    Retry,
    Drop,
}

impl Act {
    fn path(self) -> &'static str {
        match self {
            Self::Retry => "/v1/manifests/retry",
            Self::Drop => "/v1/manifests/drop",
        }
    }

    fn done(self, way: Way) -> &'static str {
        match self {
            Self::Retry if way.direct => "will be read again when the daemon starts",
            Self::Retry => "will be read again within seconds",
            Self::Drop => "dropped",
        }
    }

    fn directly(self, ledger: &dyn Ledger, at: &Location) -> Result<bool, LedgerError> {
        match self {
            Self::Retry => quarantine::retry(ledger, at),
            Self::Drop => quarantine::drop(ledger, at, SystemClock.now()),
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List(way) => {
            let aside = way.open(context)?.quarantined()?;
            print(aside.into_iter().map(Aside), context)?;
        }
        What::Retry(which) => act(which, Act::Retry, context)?,
        What::Drop(which) => act(which, Act::Drop, context)?,
    }
    Ok(Outcome::Done)
}

/// Prints all, or to people that there are none.
fn print<T: Serialize + fmt::Display>(
    all: impl ExactSizeIterator<Item = T>,
    context: &Context,
) -> Result<(), Failure> {
    let mut output = context.output();
    if all.len() == 0 && !context.json() {
        output.raw(b"nothing is in quarantine\n")?;
    }
    for one in all {
        output.value(&one)?;
    }
    Ok(())
}

fn act(which: &Which, act: Act, context: &Context) -> Result<(), Failure> {
    let source = which.way.open(context)?;
    let locations = choose(which, source.quarantined()?)?;
    let acted: Vec<Location> = match source {
        Source::Daemon { client, .. } => {
            let acted: ActedOn = client.post(act.path(), &Locations { locations })?;
            acted.locations
        }
        Source::Direct { site, .. } => {
            let (_held, stores) = turn::take(site, context, |tenure| Stores::open(site, tenure))?;
            let mut acted = Vec::with_capacity(locations.len());
            for at in locations {
                if act.directly(&*stores.ledger, &at)? {
                    acted.push(at);
                }
            }
            acted
        }
    };
    let done = act.done(which.way);
    let all = acted.into_iter().map(|location| Done { location, done });
    print(all, context)
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
