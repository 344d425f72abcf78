//! `cargo xtask check`: what every commit must pass.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::out::say;
use crate::tools::CARGO_DENY;
use crate::verdict::{Outcome, Verdict};
use crate::{process, workspace};

/// Fails where something is to be mended.
type Part = fn() -> Result<()>;

/// The parts, in the order of how soon they fail.
const PARTS: &[(&str, Part)] = &[
    ("formatting", formatting),
    ("lints", lints),
    ("documentation", documentation),
    ("layers", layers),
    ("dependencies", dependencies),
];

/// Runs every part, also after one has failed, so that one run shows all there is to mend.
pub(crate) fn run() -> Outcome {
    let mut failed = Vec::new();
    for (name, part) in PARTS {
        if let Err(error) = part() {
            say!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    let passed = PARTS.len() - failed.len();
    let failures = match failed.as_slice() {
        [] => String::new(),
        names => format!("; failed: {}", names.join(", ")),
    };
    Outcome::Measured(Verdict {
        task: "check",
        measured: format!("{passed} of {} parts pass{failures}", PARTS.len()),
        bar: "all".to_owned(),
        met: failed.is_empty(),
    })
}

fn formatting() -> Result<()> {
    process::run(workspace::cargo().args(["fmt", "--all", "--", "--check"]))
}

fn lints() -> Result<()> {
    process::run(workspace::cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny=warnings",
    ]))
}

fn documentation() -> Result<()> {
    process::run(
        workspace::cargo()
            .env("RUSTDOCFLAGS", "--deny=warnings")
            .args(["doc", "--locked", "--workspace", "--no-deps"]),
    )
}

fn layers() -> Result<()> {
    process::run(
        workspace::cargo()
            .args(["test", "--locked", "--quiet", "--package", "runsync"])
            .args(["--test", "layers"]),
    )
}

/// Bans, licences and sources always; advisories where their database can be reached.
fn dependencies() -> Result<()> {
    let program = CARGO_DENY.path()?;
    let deny = |arguments: &[&str]| {
        let mut deny = Command::new(&program);
        deny.current_dir(workspace::root())
            .args(["--locked", "--log-level", "error"])
            .args(arguments);
        deny
    };
    process::run(&mut deny(&[
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    let fetched = deny(&["fetch", "db"])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|fetch| fetch.status.success());
    if !fetched {
        say!("advisories: NOT CHECKED (their database cannot be fetched from here)");
        return Ok(());
    }
    process::run(&mut deny(&[
        "check",
        "--disable-fetch",
        "--hide-inclusion-graph",
        "advisories",
    ]))
}
