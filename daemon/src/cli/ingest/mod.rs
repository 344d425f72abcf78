//! `ingest`: takes manifests now, by the same flow as those that arrive.
//!
//! Each file is told of as soon as it is done, and none keeps the others from being taken: only
//! what no file can go without (the daemon, the registry, the ledger) ends the command at once.

mod handed_in;

mod by_hand;

mod report;

use std::path::PathBuf;

use indicatif::ProgressBar;
use runsync_config::root::RootName;

use self::report::Report;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::source::Way;
use crate::http::HandInEvent;

/// Register manifests now, and confirm the artifacts that are there
///
/// A file outside the root's manifest folder is first checked, and then copied there. The running
/// daemon does it, as whoever runs this command. Ends with exit code 1 unless every file is
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
    #[command(flatten)]
    way: Way,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let mut missed = 0;
    let mut each = |taken| -> Result<(), Failure> {
        let report = Report(taken);
        missed += usize::from(!report.is_in());
        Ok(context.output().value(&report)?)
    };
    if args.way.direct {
        by_hand::take(args, context, &mut each)?;
    } else {
        handed_in::take(args, context, &mut each)?;
    }
    if missed == 0 {
        return Ok(Outcome::Done);
    }
    let all = args.files.len();
    Err(Failure::new(format!(
        "not registered: {missed} of {all} manifests"
    )))
}

/// Configuration names no such root.
fn no_root(name: &RootName) -> Failure {
    Failure::new(format!("there is no root `{name}`"))
        .hint("`runsync config show` lists the roots")
        .usage()
}

/// Shows how far a manifest has come.
fn show(bar: &ProgressBar, event: &HandInEvent) {
    match *event {
        HandInEvent::Waiting => bar.set_message("waiting for another process that registers"),
        HandInEvent::Compared { rows } => {
            bar.set_message("comparing");
            bar.set_position(rows);
        }
        // How many lines there are is not known before the last.
        HandInEvent::Read { lines } => bar.update(|bar| {
            bar.set_pos(lines);
            bar.set_len(lines);
        }),
        HandInEvent::Registered { rows, of } => {
            bar.set_message("registering");
            bar.set_length(of.max(rows));
            bar.set_position(rows);
        }
        HandInEvent::Confirming => bar.set_message("confirming"),
        HandInEvent::Working | HandInEvent::Taken(_) | HandInEvent::Failed(_) => {}
    }
}
