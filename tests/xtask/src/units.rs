//! `cargo xtask units`: systemd accepts the units, and finds them hardened.
//!
//! `systemd-analyze verify` only warns of a misspelt key, and wants the program of every `Exec…`
//! line to be there; so it gets a copy that names the binary just built, and must say nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::out::say;
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Profile;
use crate::{files, process, tools, workspace};

/// Highest exposure that `systemd-analyze security` may find, of 10.
const EXPOSURE_BAR: f64 = 2.0;

/// Checks every unit, sysusers.d and tmpfiles.d file below `systemd/`.
pub(crate) fn run() -> Result<Outcome> {
    tools::ensure(tools::SYSTEMD)?;
    let binary = workspace::build_runsync(Profile::Dev)?;
    let sources = systemd_files()?;
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut faults = 0;
    let mut exposure_max = 0.0_f64;
    let mut services = 0;
    for source in &sources {
        match source.extension().and_then(|extension| extension.to_str()) {
            Some("service") => {
                services += 1;
                let unit = with_binary(source, &binary, scratch.path())?;
                faults += complaints("verify", analyze("verify").arg(&unit))?;
                let exposure = exposure(&unit)?;
                say!("{}: exposure {exposure:.1}", unit_name(source));
                exposure_max = exposure_max.max(exposure);
            }
            Some("conf") if is_of(source, "sysusers") || is_of(source, "tmpfiles") => {
                faults += dry_run(source, scratch.path())?;
            }
            _ => {}
        }
    }
    ensure!(services > 0, "there is no unit in systemd/");
    Ok(Outcome::Measured(Verdict {
        task: "units",
        measured: format!(
            "unit files: {services}, complaints of systemd: {faults}, highest exposure: {exposure_max:.1}"
        ),
        bar: format!("0 complaints, exposure <= {EXPOSURE_BAR:.1}"),
        met: faults == 0 && exposure_max <= EXPOSURE_BAR,
    }))
}

fn systemd_files() -> Result<Vec<PathBuf>> {
    let folder = workspace::root().join("systemd");
    Ok(files::below(&folder)?
        .into_iter()
        .map(|file| folder.join(file))
        .collect())
}

/// A copy of the unit whose `Exec…` lines run `binary`.
fn with_binary(unit: &Path, binary: &Path, folder: &Path) -> Result<PathBuf> {
    let mut text = String::new();
    for line in files::read(unit)?.lines() {
        text.push_str(&program_replaced(line, &binary.display().to_string()));
        text.push('\n');
    }
    let copy = folder.join(unit_name(unit));
    files::write(&copy, text.as_bytes())?;
    Ok(copy)
}

/// Replaces the program of an `Exec…=` line that runs runsync; keeps its prefixes (`-`, `+`, …).
fn program_replaced(line: &str, binary: &str) -> String {
    let Some((key, command)) = line
        .split_once('=')
        .filter(|(key, _)| key.starts_with("Exec"))
    else {
        return line.to_owned();
    };
    let (program, arguments) = command.split_once(' ').unwrap_or((command, ""));
    if !program.ends_with("/runsync") {
        return line.to_owned();
    }
    let path = program.trim_start_matches(['-', '+', '!', ':', '@']);
    let prefix = program.strip_suffix(path).unwrap_or_default();
    format!("{key}={prefix}{binary} {arguments}")
}

fn analyze(verb: &str) -> Command {
    let mut analyze = Command::new("systemd-analyze");
    analyze.arg("--no-pager").arg(verb);
    analyze
}

/// The overall exposure that systemd computes for a unit.
fn exposure(unit: &Path) -> Result<f64> {
    let mut security = analyze("security");
    security.arg("--offline=true").arg(unit);
    let report = String::from_utf8_lossy(&process::output(&mut security)?).into_owned();
    report
        .lines()
        .find_map(|line| {
            line.split_once("Overall exposure level for ")?
                .1
                .split(": ")
                .nth(1)
        })
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .with_context(|| format!("systemd-analyze gives {} no exposure level", unit.display()))
}

/// Applies a sysusers.d or tmpfiles.d file to an empty root.
fn dry_run(file: &Path, scratch: &Path) -> Result<usize> {
    let root = scratch.join(format!("{}-root", unit_name(file)));
    fs::create_dir_all(root.join("etc")).context("cannot make a folder for a dry run")?;
    let run = |program: &str, arguments: &[&str], file: &Path| {
        let mut command = Command::new(program);
        command.args(arguments).arg("--root").arg(&root).arg(file);
        complaints(&unit_name(file), &mut command)
    };
    if is_of(file, "sysusers") {
        return run("systemd-sysusers", &[], file);
    }
    // The owner of the folders comes from the sysusers.d file beside this one.
    let mut faults = 0;
    for users in systemd_files()?
        .iter()
        .filter(|users| is_of(users, "sysusers"))
    {
        faults += run("systemd-sysusers", &[], users)?;
    }
    Ok(faults + run("systemd-tmpfiles", &["--create"], file)?)
}

/// Whether a file is one for systemd's `sysusers` or `tmpfiles`, by its name or its folder's.
fn is_of(file: &Path, purpose: &str) -> bool {
    let own = file.strip_prefix(workspace::root()).unwrap_or(file);
    own.to_string_lossy().contains(purpose)
}

/// Runs a checker that is content only where it says nothing on standard error.
fn complaints(what: &str, command: &mut Command) -> Result<usize> {
    let words = process::words(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{words}`"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = text.lines().filter(|line| !is_about_success(line));
    let count = lines.inspect(|line| say!("{what}: {line}")).count();
    if count == 0 && !output.status.success() {
        say!("{what}: `{words}` failed: {}", output.status);
        return Ok(1);
    }
    Ok(count)
}

/// systemd-sysusers tells on standard error which users and groups it makes.
fn is_about_success(line: &str) -> bool {
    line.starts_with("Creating group ") || line.starts_with("Creating user ")
}

fn unit_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::program_replaced;

    #[test]
    fn only_lines_that_run_runsync_are_changed() {
        let replaced = |line| program_replaced(line, "/b/runsync");
        assert_eq!(
            replaced("ExecStart=/usr/bin/runsync daemon"),
            "ExecStart=/b/runsync daemon"
        );
        assert_eq!(
            replaced("ExecStartPre=-/usr/bin/runsync config check"),
            "ExecStartPre=-/b/runsync config check"
        );
        assert_eq!(
            replaced("ExecReload=/bin/kill -HUP $MAINPID"),
            "ExecReload=/bin/kill -HUP $MAINPID"
        );
        assert_eq!(replaced("Type=notify"), "Type=notify");
    }
}
