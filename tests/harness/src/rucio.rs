//! The server with its parts: start, stop, and ways to reach it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use crate::install::{self, Installed};
use crate::ports::Port;
use crate::rest::{self, Answer};
use crate::supervisor::Supervisor;
use crate::{database, scratch};

const CONFIG: &str = include_str!("../etc/rucio.cfg");
/// How often whether something is ready is asked.
const POLL: Duration = Duration::from_millis(50);
/// A busy machine takes seconds.
const START: Duration = Duration::from_secs(120);
/// How often a start is tried: another program may take a port that was free.
const TRIES: u32 = 3;
/// The server among the supervisor's processes.
const SERVER: &str = "server";

/// Which parts to start beside the server, its database and its cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {}

impl Parts {
    /// Every part there is.
    pub const ALL: Self = Self {};
}

/// A real Rucio server with its parts. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct Rucio {
    // Declared in the order in which they are dropped.
    supervisor: Supervisor,
    folder: TempDir,
    port: Port,
    installed: Installed,
    config: PathBuf,
}

/// What is filled into Rucio's configuration file.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) port: u16,
    pub(crate) stomp_port: u16,
    pub(crate) transfers: bool,
}

impl Config {
    /// Writes the file and what it points at; returns its path.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let transfertool = if self.transfers { "fts3" } else { "mock" };
        let text = CONFIG
            .replace("@FOLDER@", &folder.display().to_string())
            .replace("@URL@", &format!("http://127.0.0.1:{}", self.port))
            .replace("@STOMP_PORT@", &self.stomp_port.to_string())
            .replace("@TRANSFERTOOL@", transfertool);
        let file = folder.join("etc/rucio.cfg");
        scratch::write(&file, text.as_bytes())?;
        database::write_alembic(folder)?;
        Ok(file)
    }
}

impl Rucio {
    /// Starts a server and the parts, and waits until all of them answer.
    ///
    /// # Errors
    ///
    /// Where anything cannot be installed or started; the message holds the end of its log.
    pub fn start(parts: Parts) -> Result<Self> {
        let installed = install::install()?;
        let mut tried = 1;
        loop {
            match Self::try_start(parts, &installed) {
                Ok(rucio) => return Ok(rucio),
                Err(error) if tried == TRIES || !is_about_a_port(&error) => return Err(error),
                Err(_) => tried += 1,
            }
        }
    }

    fn try_start(_parts: Parts, installed: &Installed) -> Result<Self> {
        // Short, since paths of sockets may not be long, and in reach of PostgreSQL's user.
        let folder = tempfile::Builder::new()
            .prefix("rucio-")
            .tempdir_in("/tmp")
            .context("cannot make a temporary folder")?;
        let path = folder.path();
        scratch::open_to_all(path)?;
        let supervisor = Supervisor::start(path)?;
        scratch::make_folder(&path.join("log"))?;
        database::copy_template(&installed.database, path)?;
        database::start(&supervisor, path, &installed.postgresql)?;
        start_memcached(&supervisor, path)?;
        let port = Port::reserve()?;
        let config = Config {
            port: port.number,
            ..Config::default()
        };
        let config = config.write(path)?;
        let rucio = Self {
            supervisor,
            folder,
            port,
            installed: installed.clone(),
            config,
        };
        rucio.spawn_server()?;
        rucio.await_server()?;
        Ok(rucio)
    }

    /// Where the server answers, over plain HTTP.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    /// The port of [`Self::url`].
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The folder with all that belongs to this harness: `log/` for one, and what tests put there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file of the server, its daemons and its clients: `RUCIO_CONFIG`.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Stops the server alone: connections to it are refused.
    pub fn stop_server(&self) -> Result<()> {
        self.supervisor.stop(SERVER)
    }

    /// Starts the server again, on the same port, and waits until it answers. One that still runs is
    /// stopped first; what it kept in memory is gone.
    pub fn restart_server(&self) -> Result<()> {
        if self.supervisor.check(SERVER).is_ok() {
            self.stop_server()?;
        }
        self.spawn_server()?;
        self.await_server()
    }

    /// Asks Rucio's database; each row as the texts of its fields. Tables need no schema's name.
    pub fn sql(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        database::query(&self.installed.postgresql, self.folder(), sql)
    }

    /// Runs a Python script where Rucio's packages and its configuration are found.
    pub fn python<I>(&self, script: &str, arguments: I) -> Result<Output>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command("python")
            .args(["-c", script])
            .args(arguments)
            .output()
            .context("cannot start python")
    }

    /// A program of the virtual environment, such as `rucio`, which finds this server.
    ///
    /// It is killed with its parent.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(self.installed.venv.join("bin").join(program))
            .envs(self.environment())
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Sends a request as root: logs in first. The answer may be a refusal.
    pub fn rest(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let login = [
            ("X-Rucio-Account", "root"),
            ("X-Rucio-Username", "ddmlab"),
            ("X-Rucio-Password", "secret"),
        ];
        let answer = rest::send(self.port.number, ("GET", "/auth/userpass"), &login, None)?;
        let token = answer
            .header("X-Rucio-Auth-Token")
            .with_context(|| format!("root cannot log in: {}", answer.body))?;
        let headers = [
            ("X-Rucio-Auth-Token", token),
            ("Content-Type", "application/json"),
        ];
        rest::send(self.port.number, (method, path), &headers, body)
    }

    /// [`Self::rest`], where a refusal is an error.
    pub fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let answer = self.rest(method, path, body)?;
        ensure!(
            (200..300).contains(&answer.status),
            "{method} {path}: {} {}",
            answer.status,
            answer.body
        );
        Ok(answer)
    }

    fn environment(&self) -> [(&'static str, &OsStr); 3] {
        let folder = self.folder().as_os_str();
        [
            ("RUCIO_CONFIG", self.config.as_os_str()),
            ("RUCIO_HOME", folder),
            // Some programs keep files in their user's home.
            ("HOME", folder),
        ]
    }

    fn spawn_server(&self) -> Result<()> {
        let mut command = Command::new(self.installed.venv.join("bin/gunicorn"));
        command
            .args(["--worker-class", "gthread", "--workers", "1"])
            .args(["--threads", "8", "--timeout", "300"])
            .args(["--graceful-timeout", "1", "--no-control-socket"])
            .args(["--bind", &format!("127.0.0.1:{}", self.port.number)])
            .arg("rucio.web.rest.flaskapi.v1.main:application")
            .envs(self.environment());
        self.supervisor.spawn(SERVER, &command)
    }

    fn await_server(&self) -> Result<()> {
        until(START, || {
            self.supervisor.check(SERVER)?;
            let answer = rest::send(self.port.number, ("GET", "/ping"), &[], None);
            Ok(answer.ok().filter(|answer| answer.status == 200).map(drop))
        })
        .context("the Rucio server does not start")
    }
}

fn start_memcached(supervisor: &Supervisor, folder: &Path) -> Result<()> {
    let socket = folder.join("memcached.sock");
    let mut command = Command::new("memcached");
    command.arg("-s").arg(&socket);
    if geteuid().is_root() {
        // It refuses root unless asked for it.
        command.args(["-u", "root"]);
    }
    supervisor.spawn("memcached", &command)?;
    until(START, || {
        supervisor.check("memcached")?;
        let connection = std::os::unix::net::UnixStream::connect(&socket);
        Ok(connection.ok().map(drop))
    })
    .context("memcached does not start")
}

/// Asks until there is an answer, an error, or no time left.
pub(crate) fn until<T>(
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > patience {
            bail!("waited {patience:?} in vain");
        }
        thread::sleep(POLL);
    }
}

/// Whether a start failed since another program took a port.
fn is_about_a_port(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    text.contains("address already in use") || text.contains("eaddrinuse")
}
