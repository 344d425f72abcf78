//! `ingest`: takes manifests now, by the same flow as the daemon's.

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runsync_config::root::{ConfirmLevel, RootName};
use runsync_manifest::limits::Limits;
use runsync_manifest::reader::Reader;
use serde::Serialize;

use crate::assembly::Assembly;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Hint, Outcome};
use crate::cli::output::Row;
use crate::cli::progress;
use crate::clock::{Clock, SystemClock};
use crate::datastore;
use crate::ingest::confirm::Confirming;
use crate::ingest::flow::{Decision, Flow, Progress};
use crate::ingest::refuse::is_held;
use crate::ingest::settle::Settled;
use crate::ledger::record::{ManifestRow, ManifestState};

/// First bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Register manifests now, and confirm the artifacts that are there
///
/// A file outside the root's manifest folder is first copied there. A running daemon is no
/// obstacle: the two take turns.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Manifest files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The root that their paths are relative to [default: the root that holds the file, or the only one]
    #[arg(long)]
    root: Option<RootName>,
    /// Take manifests of this site's own repository although they carry no signature
    #[arg(long)]
    unsigned: bool,
}

/// What became of one file.
#[derive(Debug, Serialize)]
struct Taken {
    file: PathBuf,
    #[serde(flatten)]
    result: Fate,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
struct Fate {
    state: &'static str,
    run: Option<String>,
    confirmed: Option<u64>,
    of: Option<u64>,
    reason: Option<String>,
    hint: Option<String>,
}

impl Row for Taken {
    const HEADER: &'static [&'static str] = &["file", "state", "run", "confirmed", "of", "reason"];

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        vec![
            self.file.display().to_string(),
            self.result.state.to_owned(),
            self.result.run.clone().unwrap_or_default(),
            number(self.result.confirmed),
            number(self.result.of),
            self.result.reason.clone().unwrap_or_default(),
        ]
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Outcome, Failure> {
    let site = context.site()?;
    let assembly = Assembly::open(site, Arc::new(SystemClock))?;
    let mut taken = Vec::with_capacity(args.files.len());
    for file in &args.files {
        let flow = choose_flow(file, args.root.as_ref(), &assembly)?;
        let path =
            place(file, flow).while_doing(format!("cannot take {} for ingest", file.display()))?;
        let result = take(path, flow, args.unsigned, context)?;
        taken.push(Taken {
            file: file.clone(),
            result,
        });
    }
    let refused: Vec<String> = taken
        .iter()
        .filter(|taken| !matches!(taken.result.state, "registered" | "held"))
        .map(|taken| match &taken.result.hint {
            Some(hint) => format!("{}: {hint}", taken.file.display()),
            None => taken.file.display().to_string(),
        })
        .collect();
    let all = taken.len();
    context.output().rows(taken)?;
    if refused.is_empty() {
        return Ok(Outcome::Done);
    }
    Err(Failure::new(format!(
        "{} of {all} manifests were not registered",
        refused.len()
    ))
    .hint(refused.join("; ")))
}

/// The flow of the root that is named, that holds the file, or that is the only one.
fn choose_flow<'a>(
    file: &Path,
    root: Option<&RootName>,
    assembly: &'a Assembly,
) -> Result<&'a Flow, Failure> {
    if let Some(name) = root {
        return assembly
            .flows
            .iter()
            .find(|flow| flow.root().name == *name)
            .ok_or_else(|| Failure::new(format!("there is no root `{name}`")).usage());
    }
    if let Some(flow) = assembly
        .flows
        .iter()
        .find(|flow| below(file, flow).is_some())
    {
        return Ok(flow);
    }
    match assembly.flows.as_slice() {
        [only] => Ok(only),
        _ => Err(
            Failure::new(format!("cannot tell which root {} is for", file.display()))
                .hint("name it with `--root`")
                .usage(),
        ),
    }
}

/// The file's path relative to the root's folder, where it is below its manifests.
fn below(file: &Path, flow: &Flow) -> Option<String> {
    let file = file.canonicalize().ok()?;
    let root = flow.root().directory.canonicalize().ok()?;
    let path = file.strip_prefix(root).ok()?.to_str()?.to_owned();
    path.starts_with(datastore::manifest_path::MANIFEST_FOLDER)
        .then_some(path)
}

/// The manifest's path in the root; copies it there where it is elsewhere.
fn place(file: &Path, flow: &Flow) -> Result<String, Failure> {
    if let Some(path) = below(file, flow) {
        return Ok(path);
    }
    let mut opened = File::open(file)?;
    let mut magic = [0; ZSTD_MAGIC.len()];
    let packed = opened.read(&mut magic)? == magic.len() && magic == ZSTD_MAGIC;
    opened.rewind()?;
    let reader = Reader::new(&mut opened, Limits::default())?;
    let header = reader.header();
    let path = datastore::manifest_path(
        header.origin.repository,
        &header.run,
        header.generation,
        packed,
    );
    opened.rewind()?;
    // One that is there already is read where it is: what it says decides.
    let installed = flow.datastore().install_manifest(&path, &mut opened)?;
    if !installed && !same_bytes(file, flow, &path)? {
        return Err(
            Failure::new(format!("another file lies at `{path}` in the root"))
                .hint("a manifest is never replaced: give a correction the next generation"),
        );
    }
    Ok(path)
}

fn same_bytes(file: &Path, flow: &Flow, path: &str) -> Result<bool, Failure> {
    let (there, _) = flow.datastore().open_manifest(path)?;
    let wanted = runsync_manifest::checksum::Wanted {
        md5: false,
        sha256: true,
    };
    let digest = |file: File| runsync_manifest::checksum::checksum(file, wanted);
    Ok(digest(there)? == digest(File::open(file)?)?)
}

fn take(path: String, flow: &Flow, unsigned: bool, context: &Context) -> Result<Fate, Failure> {
    let bar = progress::bar(context, "registering", 0);
    let settled = Settled::by_operator(path, SystemClock.now());
    let mut decisions = flow.decide(vec![settled], unsigned, &mut |progress| {
        match progress {
            Progress::Read { lines } => bar.set_length(lines),
            Progress::Registered { rows } => bar.set_position(rows),
        }
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    match decisions.pop() {
        Some(Decision::Decided(row)) => decided(&row, flow),
        Some(Decision::Undecided(undecided)) => Ok(Fate {
            state: "unreadable",
            run: None,
            confirmed: None,
            of: None,
            reason: Some(crate::ingest::error_chain(&undecided.error)),
            hint: None,
        }),
        Some(Decision::Gone(_)) | None => Err(Failure::new("the manifest file has gone")),
    }
}

fn decided(row: &ManifestRow, flow: &Flow) -> Result<Fate, Failure> {
    let run = row.summary.as_ref().map(|summary| &summary.run);
    let mut counts = None;
    if let (ManifestState::Registered, Some(run)) = (row.state, run) {
        if flow.root().confirm != ConfirmLevel::Trust {
            Confirming::new(flow.clone()).confirm_run(run, &mut || ControlFlow::Continue(()))?;
        }
        counts = flow.site().registry.run(run)?;
    }
    Ok(Fate {
        state: if is_held(row) {
            "held"
        } else {
            row.state.as_str()
        },
        run: run.map(|run| run.name.to_string()),
        confirmed: counts.as_ref().map(|run| run.claims - run.waiting),
        of: counts.as_ref().map(|run| run.claims),
        reason: row.reason.clone(),
        hint: row.hint.clone(),
    })
}
