//! `publish`: has runs of this site registered in Rucio, and waits for it.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar};
use runsync_manifest::name::RunName;
use serde::Serialize;

use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::source::{Way, all};
use crate::cli::{collector, progress, turn};
use crate::clock::SystemClock;
use crate::http::{Client, Ordered, ToPublish};
use crate::lease::Held;
use crate::ledger::record::{Publication, PublicationState};
use crate::publish::{Phase, PublicationPlan};
use crate::telemetry;

/// Pause between two questions how far it is.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// Publish runs of this site into Rucio, with the rules of the configuration
///
/// Registers artifacts and manifests as replicas at this site's RSE, as one Rucio dataset for each
/// instalment in the run's container. What is published already is left as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The runs
    #[arg(required_unless_present = "list", value_name = "RUN")]
    runs: Vec<RunName>,
    /// Show what would be registered and do nothing; asks nothing of Rucio
    #[arg(long, conflicts_with_all = ["list", "no_wait"])]
    dry_run: bool,
    /// Order it, and leave it to the daemon
    #[arg(long, conflicts_with_all = ["list", "direct"])]
    no_wait: bool,
    /// List what is, and is to be, in Rucio: of these runs, or of all
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    way: Way,
}

/// Who publishes.
pub(crate) enum Publisher {
    Daemon(Client),
    Direct {
        _held: Held,
        assembly: Box<Assembly>,
        account: String,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    if args.list {
        return list(args, context);
    }
    let publisher = Publisher::open(args.way, context)?;
    if args.dry_run {
        let plan = publisher.plan(&args.runs, context)?;
        context.output().value(&plan)?;
        return Ok(Outcome::Done);
    }
    let ordered = publisher.order(&args.runs)?;
    let rows = if args.no_wait {
        ordered
    } else {
        publisher.see_through(&args.runs, ordered, context)?
    };
    tell(&rows, args.no_wait, context)
}

fn list(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let mut rows = args.way.open(context)?.publications()?;
    if !args.runs.is_empty() {
        rows.retain(|row| args.runs.contains(&row.run.name));
    }
    context.output().rows(rows)?;
    Ok(Outcome::Done)
}

impl Publisher {
    /// Finds whoever publishes.
    pub(crate) fn open(way: Way, context: &Context) -> Result<Self, Failure> {
        let site = context.site()?;
        if !way.direct {
            return Ok(Self::Daemon(Client::connect(&site.http.socket)?));
        }
        telemetry::start_for_a_command(&site.log)?;
        let (held, assembly) = turn::take(site, context, |tenure| {
            Assembly::open(site, tenure, Arc::new(SystemClock))
        })?;
        Ok(Self::Direct {
            _held: held,
            assembly: Box::new(assembly),
            account: collector::myself(site).account,
        })
    }

    fn plan(&self, runs: &[RunName], context: &Context) -> Result<PublicationPlan, Failure> {
        let spinner = progress::spinner(context, "reading manifests");
        let plan = match self {
            Self::Daemon(client) => {
                let runs = runs.to_vec();
                client.post("/v1/publications/plan", &ToPublish { runs })?
            }
            Self::Direct { assembly, .. } => assembly.publishing.plan(runs, &mut || {
                spinner.tick();
                ControlFlow::Continue(())
            })?,
        };
        spinner.finish_and_clear();
        Ok(plan)
    }

    fn order(&self, runs: &[RunName]) -> Result<Vec<Publication>, Failure> {
        match self {
            Self::Daemon(client) => {
                let runs = runs.to_vec();
                let ordered: Ordered = client.post("/v1/publications", &ToPublish { runs })?;
                Ok(ordered.publications)
            }
            Self::Direct {
                assembly, account, ..
            } => Ok(assembly.publishing.order(runs, account)?),
        }
    }

    /// The publications of runs.
    pub(crate) fn published(&self, runs: &[RunName]) -> Result<Vec<Publication>, Failure> {
        let mut rows = Vec::new();
        for run in runs {
            match self {
                Self::Daemon(client) => {
                    let query = [("run", run.as_str())];
                    let lines = client.lines("/v1/publications", &query)?;
                    rows.extend(all::<Publication>(lines)?);
                }
                Self::Direct { assembly, .. } => {
                    let run = assembly.publishing.own(run);
                    rows.extend(assembly.parts.ledger.publications_of(&run)?);
                }
            }
        }
        Ok(rows)
    }

    /// Waits until all is published, or something stops it.
    pub(crate) fn see_through(
        &self,
        runs: &[RunName],
        ordered: Vec<Publication>,
        context: &Context,
    ) -> Result<Vec<Publication>, Failure> {
        let bar = progress::bar(context, "publishing", total(&ordered));
        let published = match self {
            Self::Daemon(_) => self.follow(runs, ordered, &bar),
            Self::Direct { assembly, .. } => {
                publish(assembly, runs, &bar).and_then(|()| self.published(runs))
            }
        };
        bar.finish_and_clear();
        published
    }

    /// Asks the daemon how far it is.
    fn follow(
        &self,
        runs: &[RunName],
        mut rows: Vec<Publication>,
        bar: &ProgressBar,
    ) -> Result<Vec<Publication>, Failure> {
        loop {
            if runs.iter().all(|run| is_over(run, &rows)) {
                return Ok(rows);
            }
            bar.set_length(total(&rows));
            bar.set_position(rows.iter().map(|row| row.files_done).sum());
            thread::sleep(ASK_PAUSE);
            rows = self.published(runs)?;
        }
    }
}

fn publish(assembly: &Assembly, runs: &[RunName], bar: &ProgressBar) -> Result<(), Failure> {
    let publishing = &assembly.publishing;
    let rucio = publishing.rucio()?;
    // What stops one run is kept with its order, and holds up no other.
    for run in runs {
        let published =
            publishing.publish(rucio, &publishing.own(run), &mut |phase| show(bar, phase));
        if let Err(error) = published
            && (runs.len() == 1 || error.is_interruption() || error.is_about_us())
        {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Whether nothing more is to be waited for: all of a run is published, or something stops it.
fn is_over(run: &RunName, rows: &[Publication]) -> bool {
    let mut rows = rows.iter().filter(|row| row.run.name == *run);
    let is_left = |row: &Publication| row.state == PublicationState::Ordered;
    rows.clone().any(|row| stopped(row).is_some()) || !rows.any(is_left)
}

fn show(bar: &ProgressBar, phase: Phase) -> ControlFlow<()> {
    match phase {
        Phase::Reading(_) => bar.set_message("reading the manifest"),
        Phase::Registering { done, total } => {
            bar.set_message("registering");
            bar.set_length(total);
            bar.set_position(done);
        }
        Phase::Verifying(_) => bar.set_message("comparing with Rucio"),
        Phase::Finishing => bar.set_message("adding rules"),
    }
    ControlFlow::Continue(())
}

fn total(rows: &[Publication]) -> u64 {
    rows.iter().filter_map(|row| row.files).sum()
}

/// Why an order does not go on.
fn stopped(row: &Publication) -> Option<&str> {
    let reason = row.problem.as_deref()?;
    (row.state == PublicationState::Ordered).then_some(reason)
}

pub(crate) fn tell(
    rows: &[Publication],
    no_wait: bool,
    context: &Context,
) -> Result<Outcome, Failure> {
    let mut output = context.output();
    for row in rows {
        output.value(&Told(row))?;
    }
    let mut found = rows.iter().filter_map(|row| Some((row, stopped(row)?)));
    if let Some((row, reason)) = found.next().filter(|_| !no_wait) {
        let more = match found.count() {
            0 => String::new(),
            more => format!("; nor are {more} more"),
        };
        let run = &row.run.name;
        let failure = Failure::new(format!("run `{run}` is not published: {reason}{more}"));
        return Err(match &row.hint {
            Some(hint) => failure.hint(hint.clone()),
            None => failure,
        });
    }
    let is_left = |row: &&Publication| row.state == PublicationState::Ordered;
    if let Some(row) = rows.iter().find(is_left).filter(|_| !no_wait) {
        let (run, generation) = (&row.run.name, row.generation);
        let failure = Failure::new(format!(
            "run `{run}` is not published: its manifest {generation} is not registered yet"
        ));
        return Err(failure.hint("it is published as soon as it is: see `runsync status`"));
    }
    Ok(Outcome::Done)
}

/// How a manifest stands.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told<'a>(&'a Publication);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(row) = self;
        write!(
            f,
            "{} {} {}: {}",
            row.run.name, row.content, row.generation, row.state
        )?;
        if let (Some(files), Some(bytes)) = (row.files, row.bytes) {
            write!(f, ", {files} files, {}", HumanBytes(bytes))?;
        }
        Ok(())
    }
}

impl Row for Publication {
    const HEADER: &'static [&'static str] = &[
        "run",
        "generation",
        "content",
        "state",
        "files",
        "done",
        "ordered by",
        "since",
        "problem",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.run.name.to_string(),
            self.generation.to_string(),
            self.content.to_string(),
            self.state.to_string(),
            self.files
                .map_or_else(String::new, |files| files.to_string()),
            self.files_done.to_string(),
            self.ordered_by.clone(),
            format!("{:.0}", self.ordered_at),
            self.problem.clone().unwrap_or_default(),
        ]
    }
}
