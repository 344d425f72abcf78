//! `cargo xtask test`: installs what the tests need and runs all of them.

use anyhow::Result;

use crate::tools::{self, UNSHARE};
use crate::verdict::Outcome;
use crate::{process, workspace};

/// Ends with the runner's own summary: documentation's examples run first.
pub(crate) fn run() -> Result<Outcome> {
    tools::ensure(&[UNSHARE])?;
    // Once, before tests that all need it begin side by side.
    harness::prepare()?;
    process::run(workspace::cargo().args(["test", "--locked", "--workspace", "--doc"]))?;
    let mut all = workspace::cargo();
    if tools::is_on_path("cargo-nextest") {
        all.args([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ]);
    } else {
        all.args(["test", "--locked", "--workspace", "--all-targets"])
            .arg("--no-fail-fast");
    }
    process::run(&mut all)?;
    Ok(Outcome::Passed)
}
