//! `query`: what the registry holds, page by page.

use runsync_manifest::name::{DatasetTypeName, RepositoryId, RunKey, RunName};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::origin;
use crate::cli::output::{Output, Row};
use crate::cli::source::{Source, Way};
use crate::registry::record::{DatasetRow, RecordRow, RunRow};

/// List runs, the datasets of a run, or its datastore records
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List runs
    Runs {
        /// Only this run and those below it, such as `HSC/runs`
        prefix: Option<String>,
        #[command(flatten)]
        way: Way,
    },
    /// List the datasets of a run
    Datasets {
        #[command(flatten)]
        of: OfRun,
        /// Only this dataset type
        #[arg(long = "type", value_name = "NAME")]
        dataset_type: Option<DatasetTypeName>,
    },
    /// List the datastore records of a run, and the artifacts it still waits for
    Records {
        #[command(flatten)]
        of: OfRun,
        /// Only artifacts that are waited for
        #[arg(long)]
        waiting: bool,
    },
}

#[derive(Debug, clap::Args)]
struct OfRun {
    /// The run
    run: RunName,
    /// The run's origin, where two repositories own a run of that name
    #[arg(long, value_name = "UUID", value_parser = crate::cli::origin::parse)]
    origin: Option<RepositoryId>,
    #[command(flatten)]
    way: Way,
}

/// A run, with what its origin is called where this site has adopted it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    row: RunRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    adopted: Option<String>,
}

impl Row for Shown {
    const HEADER: &'static [&'static str] = &[
        "run",
        "origin",
        "generation",
        "floor",
        "datasets",
        "confirmed",
        "of",
        "bytes",
    ];

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        vec![
            self.row.key.name.to_string(),
            self.adopted
                .clone()
                .unwrap_or_else(|| self.row.key.origin.to_string()),
            self.row
                .generation
                .map_or_else(dash, |generation| generation.to_string()),
            self.row.floor.map_or_else(dash, |floor| floor.to_string()),
            self.row.datasets.to_string(),
            self.row.confirmed().to_string(),
            self.row.claims.to_string(),
            self.row.bytes.to_string(),
        ]
    }
}

impl Row for DatasetRow {
    const HEADER: &'static [&'static str] = &["uuid", "dataset type", "data ID", "generation"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.uuid.to_string(),
            self.dataset_type.to_string(),
            self.data_id.clone(),
            self.generation.to_string(),
        ]
    }
}

impl Row for RecordRow {
    const HEADER: &'static [&'static str] =
        &["uuid", "component", "confirmed", "size", "adler32", "path"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.uuid.to_string(),
            self.component.clone(),
            if self.confirmed { "yes" } else { "no" }.to_owned(),
            self.size.to_string(),
            self.checksums.adler32.to_string(),
            self.path.to_string(),
        ]
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    match &args.what {
        What::Runs { prefix, way } => {
            let runs = way.open(context)?.runs(prefix.as_deref())?;
            let site = context.site()?;
            let shown = runs.into_iter().map(|row| Shown {
                adopted: origin::adopted_label(row.key.origin, site),
                row,
            });
            context.output().rows(shown)?;
        }
        What::Datasets { of, dataset_type } => {
            let source = of.way.open(context)?;
            let run = find_run(of, &source)?;
            let mut pages = Pages::new(context);
            source.datasets(&run, dataset_type.as_ref(), &mut |page| pages.print(page))?;
        }
        What::Records { of, waiting } => {
            let source = of.way.open(context)?;
            let run = find_run(of, &source)?;
            let mut pages = Pages::new(context);
            source.records(&run, *waiting, &mut |page| pages.print(page))?;
        }
    }
    Ok(Outcome::Done)
}

/// Prints page after page, so that a run of any size costs the memory of one.
struct Pages {
    output: Output,
    begun: bool,
}

impl Pages {
    fn new(context: &Context) -> Self {
        let output = context.output();
        let begun = false;
        Self { output, begun }
    }

    /// Prints one; the first has the header, also where it is empty.
    fn print<T: Row + Serialize>(&mut self, page: Vec<T>) -> Result<(), Failure> {
        if !self.begun {
            self.begun = true;
            self.output.rows(page)?;
        } else if !page.is_empty() {
            self.output.more_rows(page)?;
        }
        Ok(())
    }
}

/// The one run of that name.
fn find_run(of: &OfRun, source: &Source<'_>) -> Result<RunKey, Failure> {
    let mut runs = source.runs(Some(of.run.as_str()))?;
    runs.retain(|row| row.key.name == of.run);
    runs.retain(|row| of.origin.is_none_or(|origin| row.key.origin == origin));
    // A run of which only its row is left, such as an adopted one that gave way, makes no other ambiguous.
    if runs.iter().any(|row| !row.is_removed()) {
        runs.retain(|row| !row.is_removed());
    }
    match runs.as_slice() {
        [only] => Ok(only.key.clone()),
        [] => Err(
            Failure::new(format!("cannot find run `{}` in the registry", of.run))
                .hint("list the runs with `runsync query runs`"),
        ),
        several => {
            let origins: Vec<_> = several
                .iter()
                .map(|row| row.key.origin.to_string())
                .collect();
            Err(Failure::new(format!(
                "{} repositories own a run `{}`",
                several.len(),
                of.run
            ))
            .hint(format!(
                "choose one with `--origin`: {}",
                origins.join(", ")
            ))
            .usage())
        }
    }
}
