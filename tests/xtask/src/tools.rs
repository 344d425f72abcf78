//! Installs what tasks need: cargo tools by version into the cache, programs through apt.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::out::say;
use crate::{cache, files, process, workspace};

/// A cargo tool at one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CargoTool {
    name: &'static str,
    version: &'static str,
}

/// How a tool is built: to be there soon. What tools set for their own releases makes them faster to
/// run and much slower to build.
const TOOL_BUILD: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// Checks licences, sources and bans of all dependencies.
pub(crate) const CARGO_DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
};

impl CargoTool {
    /// Its path; installs it first where it is missing, which takes some minutes once.
    pub(crate) fn path(self) -> Result<PathBuf> {
        let Self { name, version } = self;
        let folder = cache::folder("tools")?.join(format!("{name}-{version}"));
        let program = folder.join("bin").join(name);
        if !files::is_there(&program)? {
            say!(
                "installing {name} {version} into {} (once)",
                folder.display()
            );
            process::run(
                workspace::cargo()
                    // A tool is no part of this build: its own target folder and no build flags of ours.
                    .env_remove("CARGO_TARGET_DIR")
                    .env_remove("RUSTFLAGS")
                    .envs(TOOL_BUILD)
                    .args(["install", name, "--version", version, "--locked", "--root"])
                    .arg(&folder),
            )?;
        }
        Ok(program)
    }
}

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
}

/// Gives tests namespaces of their own, with limits of their own.
pub(crate) const UNSHARE: Program = Program {
    name: "unshare",
    package: "util-linux",
};
/// Traces system calls.
pub(crate) const STRACE: Program = Program {
    name: "strace",
    package: "strace",
};
/// Checks units, sysusers.d and tmpfiles.d files.
pub(crate) const SYSTEMD: &[Program] = &[
    Program {
        name: "systemd-analyze",
        package: "systemd",
    },
    Program {
        name: "systemd-sysusers",
        package: "systemd",
    },
    Program {
        name: "systemd-tmpfiles",
        package: "systemd",
    },
];

/// Installs the programs that are missing.
///
/// # Errors
///
/// Where neither works; the message holds the command to run.
pub(crate) fn ensure(programs: &[Program]) -> Result<()> {
    let mut packages: Vec<&str> = programs
        .iter()
        .filter(|program| !is_on_path(program.name))
        .map(|program| program.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages)
}

/// Installs Debian packages, as root or through `sudo -n`.
fn install(packages: &[&str]) -> Result<()> {
    let Some(prefix) = privilege() else {
        bail!(
            "these programs are missing and this user may not install them; run:\n  \
             sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    };
    let apt = |arguments: &[&str]| {
        let mut words = prefix.iter().copied().chain(["apt-get"]);
        let mut apt = Command::new(words.next().unwrap_or("apt-get"));
        apt.args(words)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        process::run(&mut apt)
    };
    apt(&["update", "--quiet"])?;
    let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    install.extend_from_slice(packages);
    apt(&install)
}

/// Whether the shell would find a program.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps systemd-sysusers in /bin but other tools where users do not look.
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

/// The words before a command that needs root; `None` where there is no way.
fn privilege() -> Option<&'static [&'static str]> {
    let quietly = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()
    };
    if quietly("id", &["-u"]).is_some_and(|id| id.stdout == b"0\n") {
        return Some(&[]);
    }
    quietly("sudo", &["-n", "true"])
        .is_some_and(|sudo| sudo.status.success())
        .then_some(&["sudo", "-n"])
}

/// What Debian leaves out of its python3: the module that puts pip into a virtual environment.
pub(crate) const PYTHON_VENV: &str = "python3-venv";

/// Installs the package where python3 lacks the module.
pub(crate) fn ensure_python_module(module: &str, package: &'static str) -> Result<()> {
    let has_it = Command::new("python3")
        .args(["-c", &format!("import {module}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if has_it { Ok(()) } else { install(&[package]) }
}
