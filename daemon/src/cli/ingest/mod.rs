//! `ingest`: takes manifests now, by the same flow as the daemon's.
//!
//! Each file is told of as soon as it is done, and none keeps the others from being taken: only
//! what no file can go without (the registry, the ledger) ends the command at once.

mod place;

mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;
use runsync_config::root::{ConfirmLevel, RootName};

use self::place::Refused;
use self::report::{Confirmed, Taken};
use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::{progress, turn};
use crate::clock::{Clock, SystemClock};
use crate::ingest::IngestError;
use crate::ingest::confirm::Confirming;
use crate::ingest::flow::{Decision, Flow, Progress, Undecided};
use crate::ingest::settle::{Fault, Settled};
use crate::ledger::record::{ManifestRow, ManifestState};

/// Register manifests now, and confirm the artifacts that are there
///
/// A file outside the root's manifest folder is first checked, and then copied there. A running
/// daemon does this work by itself, and lets no command do it beside it. Ends with exit code 1
/// unless every file is registered, or valid and held.
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
    let (_held, assembly) = turn::take(site, context, |tenure| {
        Assembly::open(site, tenure, Arc::new(SystemClock))
    })?;
    let mut missed = 0;
    for file in &args.files {
        let flow = choose_flow(file, args.root.as_ref(), &assembly)?;
        let taken = match place::place(file, flow, args.unsigned) {
            Ok(path) => take(file, path, flow, args.unsigned, context)?,
            Err(refused) => Taken::refused(file, &refused),
        };
        missed += usize::from(!taken.is_in());
        context.output().value(&taken)?;
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
    let settled = Settled::by_operator(path, SystemClock.now());
    let mut decisions = flow.decide(vec![settled], unsigned, &mut |progress| {
        show(&bar, progress);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    match decisions.pop() {
        Some(Decision::Decided(row)) => decided(file, &row, flow, context),
        Some(Decision::Undecided(undecided)) => undecided_yet(file, &undecided, flow),
        Some(Decision::Gone(_)) | None => Ok(Taken::refused(file, &Refused::gone())),
    }
}

fn show(bar: &ProgressBar, progress: Progress) {
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

fn decided(
    file: &Path,
    row: &ManifestRow,
    flow: &Flow,
    context: &Context,
) -> Result<Taken, Failure> {
    let run = row.summary.as_ref().map(|summary| &summary.run);
    let (ManifestState::Registered, Some(run)) = (row.state, run) else {
        return Ok(Taken::new(file, row, None));
    };
    if flow.root().confirm != ConfirmLevel::Trust {
        let spinner = progress::spinner(context, "confirming");
        Confirming::new(flow.clone()).confirm_run(run, &mut || {
            spinner.tick();
            ControlFlow::Continue(())
        })?;
        spinner.finish_and_clear();
    }
    let counts = flow.site().registry.run(run).map_err(IngestError::from)?;
    let confirmed = counts.map(|run| Confirmed {
        confirmed: run.confirmed(),
        of: run.claims,
    });
    Ok(Taken::new(file, row, confirmed))
}

/// A file that the daemon would still wait for. The operator says that it is all there: what is
/// wrong in itself is set aside now; what is cut may still grow, and stays waited for.
fn undecided_yet(file: &Path, undecided: &Undecided, flow: &Flow) -> Result<Taken, Failure> {
    match undecided.fault {
        Fault::Wrong => Ok(Taken::new(file, &flow.quarantine(undecided)?, None)),
        Fault::Cut => Ok(Taken::refused(
            file,
            &Refused::reading("incomplete", &undecided.error),
        )),
        Fault::Unreadable => Ok(Taken::refused(
            file,
            &Refused::reading("unreadable", &undecided.error),
        )),
    }
}
