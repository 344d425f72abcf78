//! The real input: a Butler export from the Python package of the Butler itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::out::say;
use crate::tools::{self, PYTHON_VENV};
use crate::{cache, files, process};

/// The version of `lsst-daf-butler`.
pub(super) const VERSION: &str = "30.2026.4300";
/// The export within the wheel: 33 calexp datasets of real HSC visits and detectors.
const MEMBER: &str = "lsst/daf/butler/tests/registry_data/ci_hsc-subset.yaml";
/// Prints one member of a zip file.
const UNZIP: &str = "import sys, zipfile; \
                     sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";

/// A Butler export.
#[derive(Debug)]
pub(super) struct Export {
    /// The YAML file.
    pub(super) file: PathBuf,
    /// The run of its datasets.
    pub(super) run: String,
    /// The paths of its artifacts, relative to the datastore root.
    pub(super) paths: Vec<String>,
}

/// Fetches the export, once; later calls need no network.
pub(super) fn fetch() -> Result<Export> {
    let folder = cache::folder("input")?.join(format!("lsst-daf-butler-{VERSION}"));
    let file = folder.join("ci_hsc-subset.yaml");
    if !files::is_there(&file)? {
        let wheel = fetch_wheel(&folder)?;
        let unzip = process::output(
            Command::new("python3")
                .args(["-c", UNZIP])
                .arg(&wheel)
                .arg(MEMBER),
        )?;
        // Under another name first: an interrupted write must not pass for the whole file.
        let partial = folder.join("partial.yaml");
        files::write(&partial, &unzip)?;
        files::rename(&partial, &file)?;
    }
    say!("real input: {}", file.display());
    parse(file)
}

fn fetch_wheel(folder: &Path) -> Result<PathBuf> {
    let wheels = folder.join("wheel");
    let mut pip = pip(folder)?;
    process::run(
        pip.args(["download", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary", ":all:", "--dest"])
            .arg(&wheels)
            .arg(format!("lsst-daf-butler=={VERSION}")),
    )?;
    let found = files::below(&wheels)?
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "whl"));
    Ok(wheels.join(found.context("pip has downloaded no wheel")?))
}

/// pip as the machine has it, else from a virtual environment of our own.
fn pip(folder: &Path) -> Result<Command> {
    let works = |program: &Path| {
        Command::new(program)
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let command = |program: &Path| {
        let mut pip = Command::new(program);
        pip.args(["-m", "pip"]);
        pip
    };
    let machine = Path::new("python3");
    if works(machine) {
        return Ok(command(machine));
    }
    let environment = folder.join("venv");
    let python = environment.join("bin/python3");
    if !works(&python) {
        tools::ensure_python_module("ensurepip", PYTHON_VENV)?;
        process::run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&environment),
        )?;
    }
    if !works(&python) {
        bail!("python3 has no pip; install it: sudo apt-get install python3-pip");
    }
    Ok(command(&python))
}

/// Takes run and paths from the lines that hold them; the rest is runsync's to understand.
fn parse(file: PathBuf) -> Result<Export> {
    let text = files::read(&file)?;
    let value = |key: &'static str| {
        text.lines()
            .filter_map(move |line| line.strip_prefix("  ")?.trim_start().strip_prefix(key))
            .map(str::to_owned)
    };
    let run = value("run: ").next().context("the export names no run")?;
    let paths: Vec<String> = value("path: ").collect();
    ensure!(!paths.is_empty(), "the export names no artifact");
    Ok(Export { file, run, paths })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_and_paths_are_read_from_an_export() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("export.yaml");
        let yaml = "data:\n- type: dataset\n  dataset_type: calexp\n  run: HSC/r\n  records:\n  \
                    - dataset_id:\n    - !uuid 'x'\n    path: HSC/r/a.fits\n    formatter: f\n";
        files::write(&file, yaml.as_bytes()).unwrap();
        let export = parse(file).unwrap();
        assert_eq!(export.run, "HSC/r");
        assert_eq!(export.paths, ["HSC/r/a.fits"]);
    }
}
