//! `sync`: has this site compared with what Rucio says should be here.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use runsync_manifest::name::{RseName, RunName};
use serde::Serialize;

use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::source::Way;
use crate::cli::{progress, turn};
use crate::clock::SystemClock;
use crate::http::{Client, ClientError, SyncEvent, ToSync};
use crate::rucio::Did;
use crate::sync::{Subject, SyncReport};
use crate::telemetry;

/// Late runs that are shown; `--json` has them all.
const SHOWN: usize = 20;

/// Compare this site with what Rucio says should be here, and act on it
///
/// Takes in manifests that no event announced, confirms what has arrived, forgets what Rucio has deleted,
/// and tells what is late, with Rucio's reason. Without arguments all roots that are RSEs are compared; the
/// daemon does the same by schedule. Exits with 3 where something is late, or is not what it should be.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the runs of this name
    #[arg(value_name = "RUN", conflicts_with_all = ["did", "rse"])]
    run: Option<RunName>,
    /// Only what this DID stands for: an artifact, a run, an instalment, or an origin's manifests
    #[arg(long, value_name = "SCOPE:NAME", conflicts_with = "rse")]
    did: Option<Did>,
    /// Only the root that is this RSE
    #[arg(long, value_name = "RSE")]
    rse: Option<RseName>,
    #[command(flatten)]
    way: Way,
}

impl Args {
    fn subject(&self) -> Subject {
        let run = || self.run.clone().map(Subject::Run);
        let did = || self.did.clone().map(Subject::Did);
        let rse = || self.rse.clone().map(Subject::Rse);
        run().or_else(did).or_else(rse).unwrap_or(Subject::All)
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let subject = args.subject();
    let report = if args.way.direct {
        directly(&subject, context)?
    } else {
        by_daemon(&subject, context)?
    };
    let is_well = report.is_well();
    context.output().value(&Told(report))?;
    Ok(if is_well {
        Outcome::Done
    } else {
        Outcome::Differences
    })
}

fn directly(subject: &Subject, context: &Context) -> Result<SyncReport, Failure> {
    let site = context.site()?;
    telemetry::start_for_a_command(&site.log)?;
    let (_held, assembly) = turn::take(site, context, |tenure| {
        Assembly::open(site, tenure, Arc::new(SystemClock))
    })?;
    let spinner = progress::spinner(context, "comparing with Rucio");
    let syncing = &assembly.syncing;
    let report = syncing.compare(syncing.rucio()?, subject, &mut || {
        spinner.tick();
        ControlFlow::Continue(())
    });
    spinner.finish_and_clear();
    Ok(report?)
}

fn by_daemon(subject: &Subject, context: &Context) -> Result<SyncReport, Failure> {
    let client = Client::connect(&context.site()?.http.socket)?;
    let spinner = progress::spinner(context, "comparing with Rucio");
    let mut lines = client.post_lines("/v1/syncs", &ToSync::from(subject))?;
    while let Some(event) = lines.next()? {
        spinner.tick();
        match event {
            SyncEvent::Working => {}
            SyncEvent::Done(report) => {
                spinner.finish_and_clear();
                return Ok(report);
            }
            SyncEvent::Failed(problem) => {
                spinner.finish_and_clear();
                return Err(ClientError::Refused(Box::new(problem)).into());
            }
        }
    }
    Err(Failure::new("the daemon has ended in the middle")
        .hint("see its log; comparing again changes nothing that is done"))
}

/// What came of it, for people.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Told(SyncReport);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        write!(
            f,
            "{} runs compared in {} requests",
            report.runs, report.requests
        )?;
        for (count, what) in [
            (report.manifests, "manifests that had not been seen"),
            (report.confirmed, "artifacts confirmed"),
            (report.reading, "artifacts being read"),
            (report.linked, "files given their names"),
            (report.awaited_again, "claims waited for again"),
            (report.declared, "artifacts declared to Rucio"),
            (
                report.forgotten,
                "claims forgotten: Rucio has deleted their artifacts",
            ),
            (report.waiting, "artifacts waited for"),
            (
                report.wrong,
                "artifacts or manifests that are not what they should be: see `runsync status`",
            ),
            (
                report.manifests_elsewhere,
                "manifests that Rucio has elsewhere and does not bring here: see `runsync status`",
            ),
        ] {
            if count > 0 {
                write!(f, "\n{count} {what}")?;
            }
        }
        for late in report.late.iter().take(SHOWN) {
            let (run, root, reason) = (&late.run, &late.root, &late.reason);
            write!(
                f,
                "\nlate: {run} in {root} waits for {}: {reason}",
                late.waiting
            )?;
        }
        match report.late.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\nlate: {more} more"),
        }
    }
}
