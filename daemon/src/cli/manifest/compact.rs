//! `manifest compact`: one snapshot in the place of a run's manifests.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use runsync_manifest::name::RunName;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::progress;
use crate::cli::publish::{Publisher, tell};
use crate::cli::source::Way;
use crate::http::ToCompact;
use crate::ingest::hand_in;
use crate::publish::{Compaction, Withdrawal};

/// Put one snapshot in the place of a run's manifests, here and in Rucio
///
/// Writes the snapshot, publishes it, and has Rucio delete the older manifests once it is available
/// wherever manifests go. Until then they stay: run it again, or leave it to the daemon.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run: of this site's own
    run: RunName,
    #[command(flatten)]
    way: Way,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown<'a>(&'a Compaction);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(compaction) = self;
        let what = if compaction.written {
            "written"
        } else {
            "there already, and nothing has come since"
        };
        let (run, generation) = (&compaction.run, compaction.generation);
        write!(f, "{run} snapshot {generation}: {what}")
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Left<'a>(&'a Withdrawal);

impl fmt::Display for Left<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(withdrawal) = self;
        write!(f, "{} older manifests withdrawn", withdrawal.withdrawn)?;
        if withdrawal.left > 0 {
            let rses: Vec<&str> = withdrawal.waits_for.iter().map(AsRef::as_ref).collect();
            write!(
                f,
                "; {} stay until the snapshot is available at {}",
                withdrawal.left,
                rses.join(", ")
            )?;
        }
        Ok(())
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let publisher = Publisher::open(args.way, context)?;
    let runs = std::slice::from_ref(&args.run);
    let compaction = write(&publisher, args, context)?;
    context.output().value(&Shown(&compaction))?;
    let before = publisher.published(runs)?;
    let mut rows = publisher.see_through(runs, before, context)?;
    rows.retain(|row| row.generation == compaction.generation);
    tell(&rows, false, context)?;
    let withdrawal = match &publisher {
        Publisher::Daemon(client) => {
            let run = args.run.clone();
            client.post("/v1/withdrawals", &ToCompact { run })?
        }
        Publisher::Direct { assembly, .. } => {
            let publishing = &assembly.publishing;
            publishing.withdraw(publishing.rucio()?, &publishing.own(&args.run))?
        }
    };
    context.output().value(&Left(&withdrawal))?;
    Ok(Outcome::Done)
}

/// Has the snapshot written, and without a daemon registered.
fn write(publisher: &Publisher, args: &Args, context: &Context) -> Result<Compaction, Failure> {
    let spinner = progress::spinner(context, "writing the snapshot");
    let mut go_on = || {
        spinner.tick();
        ControlFlow::Continue(())
    };
    let compaction = match publisher {
        Publisher::Daemon(client) => {
            let run = args.run.clone();
            client.post("/v1/compactions", &ToCompact { run })?
        }
        Publisher::Direct {
            assembly, account, ..
        } => {
            let publishing = &assembly.publishing;
            let compaction = publishing.compact(&args.run, account, &mut go_on)?;
            let flow = (assembly.flows.iter()).find(|flow| flow.root().name == compaction.root);
            if let Some(flow) = flow.filter(|_| compaction.written) {
                let path = compaction.path.clone();
                let file = Path::new(&compaction.path);
                hand_in::take(file, path, flow, false, &mut |_| go_on())?;
            }
            compaction
        }
    };
    spinner.finish_and_clear();
    Ok(compaction)
}
