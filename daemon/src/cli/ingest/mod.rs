//! `ingest`: takes manifests now, by the same flow as the daemon's.
//!
//! Each file is told of as soon as it is done, and none keeps the others from being taken: only
//! what no file can go without (the registry, the ledger) ends the command at once.

mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use runsync_config::root::RootName;

use self::report::Report;
use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::progress;
use crate::clock::SystemClock;
use crate::ingest::flow::{Flow, Progress};
use crate::ingest::hand_in::{self, Step, Taken, place};

/// Register manifests now, and confirm the artifacts that are there
///
/// A file outside the root's manifest folder is first checked, and then copied there. A running
/// daemon is no obstacle: the two take turns. Ends with exit code 1 unless every file is
/// registered, or valid and held.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Manifest files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The root that their paths are relative to [default: the one that holds the file, or the only
    /// one]
    #[arg(long, value_name = "NAME")]
    root: Option<RootName>,
    /// Take manifests of this site's own repository although they carry no signature
    #[arg(long)]
    unsigned: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let assembly = Assembly::open(site, Arc::new(SystemClock))?;
    let mut missed = 0;
    for file in &args.files {
        let flow = choose_flow(file, args.root.as_ref(), &assembly)?;
        let taken = match place::place(file, flow, args.unsigned) {
            Ok(path) => take(file, path, flow, args.unsigned, context)?,
            Err(refused) => Taken::refused(file, &refused),
        };
        missed += usize::from(!taken.is_in());
        context.output().value(&Report(taken))?;
    }
    if missed == 0 {
        return Ok(Outcome::Done);
    }
    let all = args.files.len();
    Err(Failure::new(format!(
        "not registered: {missed} of {all} manifests"
    )))
}

/// The flow of the root that is named, that holds the file, or that is the only one.
fn choose_flow<'a>(
    file: &Path,
    root: Option<&RootName>,
    assembly: &'a Assembly,
) -> Result<&'a Flow, Failure> {
    let flows = &assembly.flows;
    if let Some(name) = root {
        let named = flows.iter().find(|flow| flow.root().name == *name);
        return named.ok_or_else(|| {
            Failure::new(format!("there is no root `{name}`"))
                .hint("`runsync config show` lists the roots")
                .usage()
        });
    }
    let holder = flows
        .iter()
        .find(|flow| place::path_in(file, flow).is_some());
    match (holder, flows.as_slice()) {
        (Some(holder), _) => Ok(holder),
        (None, [only]) => Ok(only),
        (None, _) => Err(
            Failure::new(format!("cannot tell which root {} is for", file.display()))
                .hint("name it with `--root`")
                .usage(),
        ),
    }
}

/// Runs the flow over one file in the root.
fn take(
    file: &Path,
    path: String,
    flow: &Flow,
    unsigned: bool,
    context: &Context,
) -> Result<Taken, Failure> {
    let bar = progress::bar(context, "reading", 0);
    let taken = hand_in::take(file, path, flow, unsigned, &mut |step| {
        show(&bar, step);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    Ok(taken)
}

fn show(bar: &ProgressBar, step: Step) {
    let progress = match step {
        Step::Flow(progress) => progress,
        Step::Confirming => return bar.set_message("confirming"),
    };
    match progress {
        // How many lines there are is not known before the last.
        Progress::Waiting => bar.set_message("waiting for another process that registers"),
        Progress::Compared { rows } => {
            bar.set_message("comparing");
            bar.set_position(rows);
        }
        Progress::Read { lines } => bar.update(|bar| {
            bar.set_pos(lines);
            bar.set_len(lines);
        }),
        Progress::Registered { rows, of } => {
            bar.set_message("registering");
            bar.set_length(of.max(rows));
            bar.set_position(rows);
        }
    }
}
