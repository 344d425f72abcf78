//! `schedule`: the jobs of the site, and doing one now.

use std::fmt;

use runsync_config::jobs::JobName;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Row;
use crate::cli::progress;
use crate::cli::source::Way;
use crate::http::{Client, ClientError, JobEvent, path};
use crate::jobs::JobStatus;
use crate::ledger::jobs::JobOutcome;

/// List the jobs that are done by schedule, or do one now
///
/// Jobs are the sections `[[schedule]]` of the configuration, and that of `[rucio.sync]`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List jobs: when each is done next, and what was last made of it
    List(List),
    /// Have the daemon do a job now, whenever its next time is, and wait for its end
    ///
    /// Whoever is interrupted meanwhile does not stop it. Exits with 3 where it found something.
    Run(Run),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Its name, as `list` shows it
    #[arg(value_name = "NAME")]
    name: JobName,
}

impl Row for JobStatus {
    const HEADER: &'static [&'static str] = &[
        "name",
        "job",
        "at",
        "roots",
        "next",
        "last",
        "outcome",
        "last success",
        "detail",
    ];

    fn cells(&self) -> Vec<String> {
        let time = |at: Option<jiff::Timestamp>| at.map_or_else(dash, |at| format!("{at:.0}"));
        let roots: Vec<String> = self.roots.iter().map(ToString::to_string).collect();
        let outcome = match (self.under_way, self.outcome) {
            (true, _) => "under way".to_owned(),
            (false, Some(outcome)) => outcome.to_string(),
            (false, None) => dash(),
        };
        vec![
            self.name.to_string(),
            self.job.to_string(),
            self.at.clone(),
            if roots.is_empty() {
                "all".to_owned()
            } else {
                roots.join(", ")
            },
            if self.overdue {
                format!("{} (overdue)", time(self.next))
            } else {
                time(self.next)
            },
            time(self.begun_at),
            outcome,
            time(self.succeeded_at),
            self.detail.clone().unwrap_or_else(dash),
        ]
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// What came of a job.
#[derive(Debug, Serialize)]
struct Done {
    job: JobName,
    outcome: JobOutcome,
    detail: String,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.job, self.outcome, self.detail)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::List(list) => {
            let jobs = list.way.open(context)?.jobs()?;
            context.output().rows(jobs)?;
            Ok(Outcome::Done)
        }
        What::Run(run) => self::now(&run.name, context),
    }
}

fn now(job: &JobName, context: &Context) -> Result<Outcome, Failure> {
    let client = Client::connect(&context.site()?.http.socket)?;
    let spinner = progress::spinner(context, "doing the job");
    let at = path(&["v1", "schedule", job.as_str(), "run"]);
    let mut lines = client.post_lines(&at, &())?;
    while let Some(event) = lines.next()? {
        spinner.tick();
        match event {
            JobEvent::Working => {}
            JobEvent::Ended { outcome, detail } => {
                spinner.finish_and_clear();
                return ended(job, outcome, detail, context);
            }
            JobEvent::Failed { problem } => {
                spinner.finish_and_clear();
                return Err(ClientError::Refused(Box::new(problem)).into());
            }
        }
    }
    Err(Failure::new("the daemon has ended in the middle").hint(
        "see its log; the job goes on when the daemon runs again, or by `runsync schedule run`",
    ))
}

fn ended(
    job: &JobName,
    outcome: JobOutcome,
    detail: String,
    context: &Context,
) -> Result<Outcome, Failure> {
    let job = job.clone();
    let done = Done {
        job,
        outcome,
        detail,
    };
    if !outcome.is_success() {
        return Err(
            Failure::new(done.to_string()).hint("run it again: it goes on where it stopped")
        );
    }
    context.output().value(&done)?;
    Ok(match outcome {
        JobOutcome::Found => Outcome::Differences,
        JobOutcome::Done | JobOutcome::Failed | JobOutcome::Interrupted => Outcome::Done,
    })
}
