//! `manifest show|validate|verify`: looks into manifest files, wherever they lie.

use std::fmt;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runsync_config::root::RootName;
use runsync_manifest::limits::Limits;
use runsync_manifest::summary::Summary;
use serde::Serialize;

use super::root;
use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::cli::output::Row;
use crate::cli::progress;
use crate::clock::SystemClock;
use crate::ingest::confirm::{Difference, differences};
use crate::ingest::flow::{Flow, SiteParts};
use crate::ingest::parse::{Checked, check};
use crate::ingest::verify::judge;
use crate::registry::record::{RowSource, WaitingArtifact};

/// Artifacts compared at once, by several threads.
const BATCH: usize = 8_192;

#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// Manifest files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Check manifests as this site would: format, origin, run-name prefixes, signature
///
/// With `--artifacts`, also compare each artifact in a root with its size and checksums. Exit
/// code 3 tells that something differs.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    files: Files,
    /// Compare the artifacts in the root too
    #[arg(long)]
    artifacts: bool,
    /// The root to compare with [default: the only one]
    #[arg(long, value_name = "NAME", requires = "artifacts")]
    root: Option<RootName>,
}

/// What `show` tells of a manifest.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    file: &'a Path,
    #[serde(flatten)]
    summary: Summary,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            header, trailer, ..
        } = &self.summary;
        writeln!(f, "{}", self.file.display())?;
        writeln!(
            f,
            "  manifest    {}, format {}",
            header.manifest, header.format
        )?;
        writeln!(f, "  content     {}", header.content)?;
        writeln!(f, "  run         {}", header.run)?;
        writeln!(
            f,
            "  origin      {} at {}",
            header.origin.repository, header.origin.site
        )?;
        writeln!(f, "  generation  {}", header.generation)?;
        writeln!(f, "  created     {}", header.created_at)?;
        let universe = &header.universe;
        writeln!(f, "  universe    {} {}", universe.name, universe.version)?;
        for (kind, held) in header.dataset_types.iter().zip(&self.summary.dataset_types) {
            let dimensions = kind.dimensions.join(", ");
            writeln!(
                f,
                "  type        {} ({dimensions}), {}: {} lines, {} bytes",
                kind.name, kind.storage_class, held.lines, held.bytes
            )?;
        }
        for element in &self.summary.dimensions {
            writeln!(
                f,
                "  dimension   {}: {} records",
                element.element, element.records
            )?;
        }
        let counts = trailer.counts;
        writeln!(
            f,
            "  lines       {} dimension, {} dataset",
            counts.dimension, counts.dataset
        )?;
        writeln!(f, "  bytes       {} of artifacts", trailer.total_bytes)?;
        writeln!(f, "  sha256      {}", trailer.sha256)?;
        match &trailer.signature {
            Some(signature) => write!(f, "  signed by   {}", signature.key_id),
            None => write!(f, "  unsigned"),
        }
    }
}

/// What became of checking one file.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    file: &'a Path,
    ok: bool,
    reason: Option<String>,
    hint: Option<String>,
}

impl Row for Verdict<'_> {
    const HEADER: &'static [&'static str] = &["file", "result", "reason", "hint"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.file.display().to_string(),
            if self.ok { "ok" } else { "wrong" }.to_owned(),
            self.reason.clone().unwrap_or_default(),
            self.hint.clone().unwrap_or_default(),
        ]
    }
}

impl Row for Difference {
    const HEADER: &'static [&'static str] = &["path", "difference"];

    fn cells(&self) -> Vec<String> {
        vec![self.path.to_string(), self.detail.clone()]
    }
}

pub(super) fn show(files: &Files, context: &Context) -> Result<Outcome, Failure> {
    for file in &files.files {
        let doing = format!("cannot read {}", file.display());
        let opened = File::open(file).while_doing(doing.clone())?;
        let summary = Summary::read(opened, Limits::default()).while_doing(doing)?;
        let shown = Shown { file, summary };
        context.output().value(&shown)?;
    }
    Ok(Outcome::Done)
}

pub(super) fn validate(files: &Files, context: &Context) -> Result<Outcome, Failure> {
    let verdicts: Vec<_> = files
        .files
        .iter()
        .map(
            |file| match read(file, Limits::default(), &std::env::temp_dir()) {
                Ok(_) => Verdict {
                    file,
                    ok: true,
                    reason: None,
                    hint: None,
                },
                Err(failure) => Verdict {
                    file,
                    ok: false,
                    reason: Some(failure.to_string()),
                    hint: failure.hint_text().map(ToOwned::to_owned),
                },
            },
        )
        .collect();
    tell(verdicts, context)
}

pub(super) fn verify(args: &VerifyArgs, context: &Context) -> Result<Outcome, Failure> {
    let assembly = Assembly::open_read_only(context.site()?, Arc::new(SystemClock))?;
    let SiteParts {
        limits, scratch, ..
    } = &*assembly.parts;
    let compared = if args.artifacts {
        let named = args.root.as_ref();
        Some(root::choose(named, &assembly.flows, Flow::root)?)
    } else {
        None
    };
    let trust = assembly.parts.trust();
    let mut verdicts = Vec::new();
    let mut found = Vec::new();
    for file in &args.files.files {
        let checked = match read(file, *limits, scratch) {
            Ok(checked) => checked,
            Err(failure) => {
                let hint = failure.hint_text().map(ToOwned::to_owned);
                let reason = Some(failure.to_string());
                verdicts.push(Verdict {
                    file,
                    ok: false,
                    reason,
                    hint,
                });
                continue;
            }
        };
        let refusal = judge(&checked.header, &checked.trailer, &trust).err();
        let (reason, hint) =
            refusal.map_or((None, None), |refusal| (Some(refusal.reason), refusal.hint));
        verdicts.push(Verdict {
            file,
            ok: reason.is_none(),
            reason,
            hint,
        });
        if let Some(flow) = compared {
            found.extend(compare(&checked, flow, context)?);
        }
    }
    let differs = !found.is_empty();
    if differs {
        context.output().rows(found)?;
    }
    let outcome = tell(verdicts, context)?;
    Ok(if differs {
        Outcome::Differences
    } else {
        outcome
    })
}

fn tell(verdicts: Vec<Verdict<'_>>, context: &Context) -> Result<Outcome, Failure> {
    let wrong = verdicts.iter().filter(|verdict| !verdict.ok).count();
    let all = verdicts.len();
    context.output().rows(verdicts)?;
    if wrong == 0 {
        return Ok(Outcome::Done);
    }
    Err(Failure::new(format!(
        "{wrong} of {all} manifests are wrong"
    )))
}

fn read(file: &Path, limits: Limits, scratch: &Path) -> Result<Checked, Failure> {
    let doing = || format!("cannot read {}", file.display());
    let opened = File::open(file).while_doing(doing())?;
    let go_on = &mut |_| ControlFlow::Continue(());
    check(opened, limits, scratch, go_on).while_doing(doing())
}

/// The artifacts of a manifest that are not in the root as it says.
fn compare(checked: &Checked, flow: &Flow, context: &Context) -> Result<Vec<Difference>, Failure> {
    let bar = progress::bar(context, "comparing artifacts", checked.rows.claims());
    let mut cursor = checked.rows.by_path()?;
    let mut batch: Vec<WaitingArtifact> = Vec::with_capacity(BATCH);
    let mut found = Vec::new();
    while let Some(row) = cursor.next()? {
        if batch
            .last()
            .is_some_and(|last| last.path.as_str() == row.path)
        {
            continue;
        }
        bar.inc(1);
        if batch.len() == BATCH {
            found.extend(differences(
                &batch,
                flow,
                &mut || ControlFlow::Continue(()),
            )?);
            batch.clear();
        }
        batch.push(WaitingArtifact {
            path: row.path.parse()?,
            size: row.size,
            checksums: row.checksums,
        });
    }
    found.extend(differences(
        &batch,
        flow,
        &mut || ControlFlow::Continue(()),
    )?);
    bar.finish_and_clear();
    Ok(found)
}
