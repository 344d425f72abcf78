//! This clone: where it is, and how to build from it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::verdict::Outcome;

/// A cargo profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// What is measured and shipped.
    Release,
}

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// `cargo`, to be run at the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Builds the `runsync` binary and returns its path.
pub(crate) fn build_runsync(profile: Profile) -> Result<PathBuf> {
    let mut build = cargo();
    build.args([
        "build",
        "--locked",
        "--package",
        "runsync",
        "--bin",
        "runsync",
    ]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    process::run(&mut build)?;
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    Ok(target_folder()?.join(folder).join("runsync"))
}

/// Runs this very task again from a release build, unless this is one: `None` then.
pub(crate) fn again_in_release() -> Result<Option<Outcome>> {
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    let status = cargo()
        .args(["run", "--locked", "--release", "--package", "xtask", "--"])
        .args(env::args_os().skip(1))
        .status()
        .context("cannot start cargo")?;
    Ok(Some(Outcome::Elsewhere {
        met: status.success(),
    }))
}

/// Cargo's target folder: this program lies in `<target>/<profile>/`.
fn target_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find this program's own path")?;
    let folder = program.ancestors().nth(2).map(Path::to_path_buf);
    folder.context("this program does not lie in cargo's target folder")
}
