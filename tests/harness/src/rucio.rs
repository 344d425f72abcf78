//! The server with its parts: start, stop, and ways to reach it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::geteuid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::certificates::{Authority, Certificate};
use crate::daemons::{Daemon, Stepper};
use crate::install::{self, Installed};
use crate::ports::Port;
use crate::rest::{self, Answer};
use crate::supervisor::Supervisor;
use crate::{database, scratch};

const CONFIG: &str = include_str!("../etc/rucio.cfg");
/// How often whether something is ready is asked.
const POLL: Duration = Duration::from_millis(50);
/// A busy machine takes seconds.
pub(crate) const START: Duration = Duration::from_secs(120);
/// How often a start is tried: another program may take a port that was free.
const TRIES: u32 = 3;
/// The server among the supervisor's processes.
const SERVER: &str = "server";
const TLS_SERVER: &str = "tls-server";
const TRANSFERS: &str = "transfers";
const ISSUER: &str = "issuer";
const TRANSFERS_SCRIPT: &str = include_str!("../python/transfers.py");
const ISSUER_SCRIPT: &str = include_str!("../python/issuer.py");
const CERTIFIED_SCRIPT: &str = include_str!("../python/certified.py");

/// What may be started beside the server, its database and its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A message broker, to which Hermes sends Rucio's messages.
    Broker,
    /// Rucio's daemons, to be stepped.
    Daemons,
    /// The stand-in for an FTS server. Without it transfers are done at once, and move no bytes.
    Transfers,
    /// The same server over TLS, with client certificates.
    Tls,
    /// The stand-in for an issuer of tokens, which the server trusts.
    Issuer,
}

impl Part {
    /// Every part there is.
    pub const ALL: &[Self] = &[
        Self::Broker,
        Self::Daemons,
        Self::Transfers,
        Self::Tls,
        Self::Issuer,
    ];
}

/// A real Rucio server with its parts. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct Rucio {
    // Dropped first: it ends what uses the others.
    supervisor: Supervisor,
    folder: TempDir,
    installed: Installed,
    config: PathBuf,
    port: Port,
    broker: Option<Broker>,
    stepper: Option<Stepper>,
    transfers: Option<Port>,
    tls: Option<Tls>,
    issuer: Option<Port>,
}

/// The server over TLS.
#[derive(Debug)]
struct Tls {
    port: Port,
    authority: Authority,
    server: Certificate,
}

/// What is filled into Rucio's configuration file.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) port: u16,
    pub(crate) stomp_port: u16,
    pub(crate) transfers: bool,
    pub(crate) issuer: Option<u16>,
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
        if let Some(port) = self.issuer {
            let secrets = issuer_secrets(&format!("http://127.0.0.1:{port}"));
            let file = folder.join("etc/idpsecrets.json");
            scratch::write(&file, secrets.to_string().as_bytes())?;
        }
        Ok(file)
    }
}

impl Rucio {
    /// Starts a server and the parts, and waits until all of them answer.
    ///
    /// # Errors
    ///
    /// Where anything cannot be installed or started; the message holds the end of its log.
    pub fn start(parts: &[Part]) -> Result<Self> {
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

    fn try_start(parts: &[Part], installed: &Installed) -> Result<Self> {
        // Short, since paths of sockets may not be long, and in reach of PostgreSQL's user.
        let folder = tempfile::Builder::new()
            .prefix("rucio-")
            .tempdir_in("/tmp")
            .context("cannot make a temporary folder")?;
        let path = folder.path();
        scratch::open_to_all(path)?;
        let supervisor = Supervisor::start(path)?;
        scratch::make_folder(&path.join("log"))?;
        let has = |part| parts.contains(&part);

        // What takes longest starts first; what needs nobody is not waited for.
        let broker = has(Part::Broker)
            .then(|| Broker::spawn(&supervisor, path))
            .transpose()?;
        database::copy_template(&installed.database, path)?;
        database::start(&supervisor, path, &installed.postgresql)?;
        start_memcached(&supervisor, path)?;
        let reserve = |part| has(part).then(Port::reserve).transpose();
        let (port, transfers, issuer) = (
            Port::reserve()?,
            reserve(Part::Transfers)?,
            reserve(Part::Issuer)?,
        );
        let tls = has(Part::Tls).then(|| Tls::new(path)).transpose()?;
        let config = Config {
            port: port.number,
            stomp_port: broker.as_ref().map(Broker::port).unwrap_or_default(),
            transfers: transfers.is_some(),
            issuer: issuer.as_ref().map(|port| port.number),
        };
        let mut rucio = Self {
            config: config.write(path)?,
            supervisor,
            folder,
            installed: installed.clone(),
            port,
            broker,
            stepper: None,
            transfers,
            tls,
            issuer,
        };
        rucio.spawn_server()?;
        if has(Part::Daemons) {
            let python = rucio.plain_command("python");
            rucio.stepper = Some(Stepper::spawn(&rucio.supervisor, rucio.folder(), python)?);
        }
        for (name, script, port) in [
            (TRANSFERS, TRANSFERS_SCRIPT, &rucio.transfers),
            (ISSUER, ISSUER_SCRIPT, &rucio.issuer),
        ] {
            if let Some(port) = port {
                rucio.spawn_script(name, script, port)?;
            }
        }
        rucio.wait()?;
        Ok(rucio)
    }

    /// Waits for all that has been started.
    fn wait(&self) -> Result<()> {
        self.await_server()?;
        for (name, port) in [(TRANSFERS, &self.transfers), (ISSUER, &self.issuer)] {
            if let Some(port) = port {
                self.await_port(name, port)?;
            }
        }
        if let Some(stepper) = &self.stepper {
            stepper.wait(&self.supervisor)?;
        }
        if let Some(broker) = &self.broker {
            broker.wait(&self.supervisor)?;
        }
        Ok(())
    }

    fn spawn_script(&self, name: &str, script: &str, port: &Port) -> Result<()> {
        let file = self.folder().join(format!("python/{name}.py"));
        scratch::write(&file, script.as_bytes())?;
        let mut command = self.plain_command("python");
        command.arg(file).arg(port.number.to_string());
        self.supervisor.spawn(name, &command)
    }

    fn await_port(&self, name: &str, port: &Port) -> Result<()> {
        until(START, || {
            self.supervisor.check(name)?;
            Ok(port.connect())
        })
        .with_context(|| format!("{name} does not start"))
    }

    /// Where the server answers, over plain HTTP.
    pub fn url(&self) -> String {
        url(&self.port)
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

    /// The message broker.
    ///
    /// # Errors
    ///
    /// Where this harness has none; so with the other parts.
    pub fn broker(&self) -> Result<&Broker> {
        self.broker.as_ref().context("this harness has no broker")
    }

    /// Runs a cycle of each of these daemons, one after the other.
    ///
    /// # Errors
    ///
    /// With what a daemon has raised, or caught and logged as critical.
    pub fn step(&self, daemons: &[Daemon]) -> Result<()> {
        let stepper = self.stepper.as_ref();
        let stepper = stepper.context("this harness has no daemons")?;
        daemons.iter().try_for_each(|daemon| stepper.step(*daemon))
    }

    /// Where the FTS stand-in answers.
    pub fn transfers_url(&self) -> Option<String> {
        self.transfers.as_ref().map(url)
    }

    /// Where the same server answers over TLS. Its certificate is for `localhost` and 127.0.0.1.
    pub fn tls_url(&self) -> Result<String> {
        let port = self.tls()?.port.number;
        Ok(format!("https://localhost:{port}"))
    }

    /// The certificate, PEM, of the authority that has signed that of the server, and signs those of
    /// clients.
    pub fn authority(&self) -> Result<PathBuf> {
        Ok(self.tls()?.authority.certificate())
    }

    /// Makes a certificate for a client. No account knows it until [`Self::add_certificate`].
    pub fn certificate(&self, name: &str) -> Result<Certificate> {
        self.tls()?.authority.client(name)
    }

    /// Where the stand-in for an issuer of tokens answers: `iss` of its tokens.
    pub fn issuer_url(&self) -> Option<String> {
        self.issuer.as_ref().map(url)
    }

    /// A JSON Web Token, to be sent as a token of Rucio's. The server knows no account for it until
    /// [`Self::add_token_subject`]. A lifetime below zero has passed.
    pub fn issue_token(&self, subject: &str, lifetime_seconds: i64) -> Result<String> {
        let issuer = self.issuer.as_ref().context("this harness has no issuer")?;
        let path = format!("/issue?subject={subject}&lifetime={lifetime_seconds}");
        let answer = rest::send(issuer.number, ("GET", &path), &[], None)?;
        ensure!(answer.status == 200, "no token: {}", answer.body);
        Ok(answer.body)
    }

    fn tls(&self) -> Result<&Tls> {
        self.tls.as_ref().context("this harness has no TLS")
    }

    /// Stops the server alone, also that over TLS: connections to it are refused.
    pub fn stop_server(&self) -> Result<()> {
        self.supervisor.stop(SERVER)?;
        match &self.tls {
            Some(_) => self.supervisor.stop(TLS_SERVER),
            None => Ok(()),
        }
    }

    /// Starts the server again, on the same ports, and waits until it answers. One that still runs is
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

    /// A program of the virtual environment, for the supervisor.
    fn plain_command(&self, program: &str) -> Command {
        let mut command = Command::new(self.installed.venv.join("bin").join(program));
        command.envs(self.environment());
        command
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
        let mut plain = self.gunicorn(&self.port);
        plain.arg("rucio.web.rest.flaskapi.v1.main:application");
        self.supervisor.spawn(SERVER, &plain)?;
        let Some(tls) = &self.tls else { return Ok(()) };
        let python = self.folder().join("python");
        scratch::write(&python.join("certified.py"), CERTIFIED_SCRIPT.as_bytes())?;
        let mut certified = self.gunicorn(&tls.port);
        for (option, path) in [
            ("--certfile", &tls.server.certificate),
            ("--keyfile", &tls.server.key),
            ("--ca-certs", &tls.authority.certificate()),
            ("--pythonpath", &python),
        ] {
            certified.arg(option).arg(path);
        }
        certified
            // ssl.CERT_OPTIONAL: who has no certificate may log in otherwise.
            .args(["--cert-reqs", "1"])
            .arg("certified:application");
        self.supervisor.spawn(TLS_SERVER, &certified)
    }

    fn gunicorn(&self, port: &Port) -> Command {
        let mut command = self.plain_command("gunicorn");
        command
            .args(["--worker-class", "gthread", "--workers", "1"])
            .args(["--threads", "8", "--timeout", "300"])
            .args(["--graceful-timeout", "1", "--no-control-socket"])
            .args(["--bind", &format!("127.0.0.1:{}", port.number)]);
        command
    }

    fn await_server(&self) -> Result<()> {
        until(START, || {
            self.supervisor.check(SERVER)?;
            let answer = rest::send(self.port.number, ("GET", "/ping"), &[], None);
            Ok(answer.ok().filter(|answer| answer.status == 200).map(drop))
        })
        .context("the Rucio server does not start")?;
        match &self.tls {
            Some(tls) => self.await_port(TLS_SERVER, &tls.port),
            None => Ok(()),
        }
    }
}

impl Tls {
    fn new(folder: &Path) -> Result<Self> {
        let authority = Authority::new(&folder.join("certificates"))?;
        Ok(Self {
            port: Port::reserve()?,
            server: authority.server(&["localhost", "127.0.0.1"])?,
            authority,
        })
    }
}

fn url(port: &Port) -> String {
    format!("http://127.0.0.1:{}", port.number)
}

/// What the server knows of the issuer. It also wants to be a client of it, which no token needs.
fn issuer_secrets(issuer: &str) -> Value {
    let client = json!({
        "client_id": "rucio", "client_secret": "secret", "redirect_uris": [issuer],
    });
    let mut secrets = client.clone();
    if let Some(secrets) = secrets.as_object_mut() {
        secrets.insert("issuer".to_owned(), issuer.into());
        secrets.insert("SCIM".to_owned(), client);
    }
    json!({"harness": secrets})
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
    text.contains("address already in use")
        || text.contains("connection in use")
        || text.contains("eaddrinuse")
}
