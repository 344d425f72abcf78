//! Python programs from the package index, each in a virtual environment of its own, kept in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::out::say;
use crate::tools::{self, PYTHON_VENV};
use crate::{cache, files, process};

/// A program of a package at one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PythonTool {
    name: &'static str,
    version: &'static str,
}

/// Makes up requests from an OpenAPI document and judges the answers by it.
pub(crate) const SCHEMATHESIS: PythonTool = PythonTool {
    name: "schemathesis",
    version: "4.32.5",
};

impl PythonTool {
    /// Its path; installs it first where it is missing.
    pub(crate) fn path(self) -> Result<PathBuf> {
        let Self { name, version } = self;
        let folder = cache::folder(name)?.join(version);
        let program = folder.join("bin").join(name);
        if files::is_there(&program)? {
            return Ok(program);
        }
        say!(
            "installing {name} {version} into {} (once)",
            folder.display()
        );
        tools::ensure_python_module("ensurepip", PYTHON_VENV)?;
        process::run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        )?;
        process::run(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .arg(format!("{name}=={version}")),
        )?;
        Ok(program)
    }
}
