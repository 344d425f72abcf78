//! `cargo xtask schemathesis`: no answer that the OpenAPI document does not know.
//!
//! A daemon with a small run listens on the loopback; schemathesis reads the document that it serves,
//! makes up requests for every operation, right ones and wrong ones, and judges each answer: no 5xx,
//! no status, content type or body that the document does not have.

use std::process::Command;

use anyhow::{Context, Result};

use crate::out::grouped;
use crate::python::SCHEMATHESIS;
use crate::surface::{Surface, TOKEN};
use crate::verdict::{Outcome, Verdict};
use crate::workspace::{self, Profile};
use crate::{process, synthetic};

/// What each answer is judged by.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
     response_headers_conformance,response_schema_conformance,unsupported_method";
/// Datasets of the run: few, for a scan at one call a second is among what is asked for.
const DATASETS: u64 = 20;

/// How much to ask.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Arguments {
    /// Requests made up for each operation, at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    examples: u32,
    /// Where to begin making up: the same number makes the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the proof.
pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    let program = SCHEMATHESIS.path()?;
    let binary = workspace::build_runsync(Profile::Dev)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let site = synthetic::registered_site(&binary, folder.path(), DATASETS)?;
    let surface = Surface::open(&site, "requests_per_second = 100000")?;
    let document = format!("http://{}/openapi.json", surface.address());
    let Arguments { examples, seed } = arguments;
    let mut operations = 0;
    let outcome = process::for_each_line(
        Command::new(program)
            .current_dir(folder.path())
            .args(["run", &document, "--no-color", "--checks", CHECKS])
            .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
            .args(["--max-examples", &examples.to_string()])
            .args(["--seed", &seed.to_string()])
            .args(["--phases", "examples,coverage,fuzzing"]),
        |line| {
            crate::out::line(format_args!("{line}"));
            if let Some(found) = tested(line) {
                operations = found;
            }
        },
    );
    // It exits non-zero where an answer did not pass.
    let passed = outcome.is_ok();
    Ok(Outcome::Measured(Verdict {
        task: "schemathesis",
        measured: format!(
            "{operations} operations, at most {} requests made up for each: {}",
            grouped(examples.into()),
            if passed {
                "no 5xx, no undocumented answer"
            } else {
                "answers that the document does not know, see above"
            }
        ),
        bar: "no 5xx, no undocumented answer".to_owned(),
        met: passed && operations > 0,
    }))
}

/// How many operations were tested, where a line of the report tells it.
fn tested(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("Tested:")?;
    rest.trim().parse().ok()
}
