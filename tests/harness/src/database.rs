//! PostgreSQL with Rucio's tables: built once, then copied for each harness.
//!
//! It listens on a socket in the harness's folder, on no port. As root it runs as the user `postgres`,
//! since it refuses root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use crate::config::Config;
use crate::supervisor::Supervisor;
use crate::{install, scratch};

const BUILD_SCHEMA: &str = include_str!("../python/build_schema.py");
/// Between fields and between rows of what psql prints: in no value.
const FIELD: char = '\u{1f}';
const ROW: char = '\u{1e}';
/// Counts the ways in which templates are built: a changed one has another number.
const TEMPLATE: u32 = 1;

/// The stopped PostgreSQL that harnesses copy; builds it first where there is none.
pub(crate) fn template(cache: &Path, venv: &Path, programs: &Path) -> Result<PathBuf> {
    let version = programs
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default();
    let template = cache.join(format!(
        "database-{TEMPLATE}-{}-{}",
        install::RUCIO,
        version.display()
    ));
    if template.join("whole").is_file() {
        return Ok(template.join("data"));
    }
    let folder = scratch::temporary_folder()?;
    let folder = folder.path();
    let supervisor = Supervisor::start(folder)?;
    let postgres = make_folder(folder)?;
    install::run(
        as_postgres(programs, "initdb")
            .args(["--auth=trust", "--username=postgres", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--wal-segsize=1"])
            .arg("--pgdata")
            .arg(postgres.join("data")),
    )?;
    start(&supervisor, folder, programs)?;
    let sql = "CREATE ROLE rucio LOGIN; CREATE DATABASE rucio OWNER rucio";
    for statement in sql.split("; ") {
        query_as(programs, folder, ("postgres", "postgres"), statement)?;
    }
    let mut python = Config::default().write(venv, folder)?.command("python");
    install::run(python.args(["-c", BUILD_SCHEMA]))?;
    // Written out in full at once; stopped at once it still needs recovery, a moment each time.
    query_as(programs, folder, ("postgres", "postgres"), "CHECKPOINT")?;
    supervisor.stop("postgres")?;
    if template.is_dir() {
        fs::remove_dir_all(&template).context("cannot remove half a template")?;
    }
    scratch::make_folder(&template)?;
    copy(&postgres.join("data"), &template.join("data"))?;
    scratch::write(&template.join("whole"), b"")?;
    Ok(template.join("data"))
}

/// Copies the template into a harness's folder.
pub(crate) fn copy_template(template: &Path, folder: &Path) -> Result<()> {
    copy(template, &make_folder(folder)?.join("data"))
}

/// Starts it and waits until it answers.
pub(crate) fn start(supervisor: &Supervisor, folder: &Path, programs: &Path) -> Result<()> {
    let postgres = folder.join("pg");
    let mut command = as_postgres(programs, "postgres");
    command.arg("-D").arg(postgres.join("data")).arg("-k");
    command.arg(&postgres);
    for setting in [
        "listen_addresses=",
        "max_connections=200",
        // Nobody needs the data after a crash.
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
    ] {
        command.args(["-c", setting]);
    }
    supervisor.spawn("postgres", &command)?;
    supervisor.wait_for("postgres", || {
        let ready = query_as(programs, folder, ("postgres", "postgres"), "SELECT 1");
        ready.ok().map(drop)
    })
}

/// Asks Rucio's database.
pub(crate) fn query(programs: &Path, folder: &Path, sql: &str) -> Result<Vec<Vec<String>>> {
    query_as(programs, folder, ("rucio", "rucio"), sql)
}

fn query_as(
    programs: &Path,
    folder: &Path,
    (user, database): (&str, &str),
    sql: &str,
) -> Result<Vec<Vec<String>>> {
    let output = Command::new(programs.join("psql"))
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args([
            "--set=ON_ERROR_STOP=1",
            "--username",
            user,
            "--dbname",
            database,
        ])
        .args(["--field-separator", &FIELD.to_string()])
        .args(["--record-separator", &ROW.to_string()])
        .arg("--host")
        .arg(folder.join("pg"))
        .args(["--command", sql])
        .env("PGOPTIONS", "--search_path=dev")
        .current_dir("/")
        .output()
        .context("cannot start psql")?;
    if !output.status.success() {
        bail!(
            "cannot run `{sql}`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout).context("psql printed no UTF-8")?;
    let rows = text.strip_suffix('\n').unwrap_or(&text);
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let fields = |row: &str| row.split(FIELD).map(str::to_owned).collect();
    Ok(rows.split(ROW).map(fields).collect())
}

/// Makes PostgreSQL's folder: it must be its own user's.
fn make_folder(folder: &Path) -> Result<PathBuf> {
    let postgres = folder.join("pg");
    scratch::make_folder(&postgres)?;
    if geteuid().is_root() {
        install::run(Command::new("chown").arg("postgres:").arg(&postgres))?;
    }
    Ok(postgres)
}

/// A program of PostgreSQL, as a user that it accepts.
fn as_postgres(programs: &Path, program: &str) -> Command {
    let program = programs.join(program);
    let mut command = if geteuid().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg("--")
            .arg(program);
        setpriv
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Copies a folder with its owners and permissions.
fn copy(from: &Path, to: &Path) -> Result<()> {
    install::run(Command::new("cp").arg("--archive").arg(from).arg(to))
}
