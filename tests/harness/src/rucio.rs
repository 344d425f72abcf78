//! The server with its parts: start, stop, and ways to reach it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::Broker;
use crate::certificates::Certificate;
use crate::config::{Config, Programs};
use crate::daemons::{Daemon, Stepper};
use crate::install::{self, Installed};
use crate::rest::{self, Answer};
use crate::server::Server;
use crate::stand_in::StandIn;
use crate::supervisor::Supervisor;
use crate::{cache, database, scratch};

/// How often a start is tried: another program may take a port that was free.
const TRIES: u32 = 3;

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
    programs: Programs,
    server: Server,
    broker: Option<Broker>,
    daemons: Option<Stepper>,
    transfers: Option<StandIn>,
    issuer: Option<StandIn>,
}

impl Rucio {
    /// The account that all fixtures are made by.
    pub const ACCOUNT: &str = "root";
    /// The name by which [`Self::ACCOUNT`] logs in.
    pub const USERNAME: &str = "ddmlab";
    /// The password of [`Self::USERNAME`].
    pub const PASSWORD: &str = "secret";

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
        let folder = scratch::temporary_folder()?;
        let path = folder.path();
        let supervisor = Supervisor::start(path)?;
        let has = |part| parts.contains(&part);

        // What takes longest starts first, and is waited for last.
        let broker = has(Part::Broker).then(|| Broker::spawn(&supervisor, path));
        let broker = broker.transpose()?;
        database::copy_template(&installed.database, path)?;
        database::start(&supervisor, path, &installed.postgresql)?;
        cache::start(&supervisor, path)?;
        let server = Server::new(path, has(Part::Tls))?;
        let transfers = has(Part::Transfers).then(StandIn::transfers).transpose()?;
        let issuer = has(Part::Issuer).then(StandIn::issuer).transpose()?;
        let config = Config {
            url: server.url(),
            stomp_port: broker.as_ref().map(Broker::port).unwrap_or_default(),
            transfers: transfers.is_some(),
            issuer: issuer.as_ref().map(|issuer| issuer.port.url()),
        };
        let programs = config.write(&installed.venv, path)?;
        server.spawn(&supervisor, &programs, path)?;
        let daemons = has(Part::Daemons).then(|| Stepper::spawn(&supervisor, &programs, path));
        let daemons = daemons.transpose()?;
        for stand_in in transfers.iter().chain(&issuer) {
            stand_in.spawn(&supervisor, &programs, path)?;
        }

        for stand_in in transfers.iter().chain(&issuer) {
            stand_in.wait(&supervisor)?;
        }
        server.wait(&supervisor)?;
        if let Some(daemons) = &daemons {
            daemons.wait(&supervisor)?;
        }
        if let Some(broker) = &broker {
            broker.wait(&supervisor)?;
        }
        Ok(Self {
            supervisor,
            folder,
            installed: installed.clone(),
            programs,
            server,
            broker,
            daemons,
            transfers,
            issuer,
        })
    }

    /// Where the server answers, over plain HTTP.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The port of [`Self::url`].
    pub fn port(&self) -> u16 {
        self.server.port.number
    }

    /// The folder with all that belongs to this harness: `log/` for one, and what tests put there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file of the server, its daemons and its clients: `RUCIO_CONFIG`.
    pub fn config(&self) -> &Path {
        &self.programs.config
    }

    /// The message broker.
    ///
    /// # Errors
    ///
    /// Where this harness has none; so with what belongs to another part.
    pub fn broker(&self) -> Result<&Broker> {
        self.broker.as_ref().context("this harness has no broker")
    }

    /// Stops the message broker: connections to it end, and new ones are refused.
    ///
    /// # Errors
    ///
    /// As [`Self::broker`].
    pub fn stop_broker(&self) -> Result<()> {
        self.broker()?;
        Broker::stop(&self.supervisor)
    }

    /// Runs a cycle of each of these daemons, one after the other.
    ///
    /// # Errors
    ///
    /// With what a daemon has raised, or caught and logged as critical.
    pub fn step(&self, daemons: &[Daemon]) -> Result<()> {
        let stepper = self.daemons.as_ref();
        let stepper = stepper.context("this harness has no daemons")?;
        daemons.iter().try_for_each(|daemon| stepper.step(*daemon))
    }

    /// Where the FTS stand-in answers: the attribute `fts` of every RSE.
    pub fn transfers_url(&self) -> Result<String> {
        let transfers = self.transfers.as_ref();
        let transfers = transfers.context("this harness moves no bytes")?;
        Ok(transfers.port.url())
    }

    /// Where the same server answers over TLS. Its certificate is for `localhost` and 127.0.0.1.
    pub fn tls_url(&self) -> Result<String> {
        Ok(self.server.tls()?.url())
    }

    /// The certificate, PEM, of the authority that has signed that of the server, and signs those of
    /// clients.
    pub fn authority(&self) -> Result<PathBuf> {
        Ok(self.server.tls()?.authority.certificate())
    }

    /// Makes a certificate for a client. No account knows it until [`Self::add_certificate`].
    pub fn certificate(&self, name: &str) -> Result<Certificate> {
        self.server.tls()?.authority.client(name)
    }

    /// Where the stand-in for an issuer of tokens answers: `iss` of its tokens.
    pub fn issuer_url(&self) -> Result<String> {
        Ok(self.issuer()?.port.url())
    }

    /// A JSON Web Token, to be sent as a token of Rucio's. The server knows no account for it until
    /// [`Self::add_token_subject`]. A lifetime below zero has passed.
    pub fn issue_token(&self, subject: &str, lifetime_seconds: i64) -> Result<String> {
        let port = self.issuer()?.port.number;
        let path = format!("/issue?subject={subject}&lifetime={lifetime_seconds}");
        let answer = rest::send(port, ("GET", &path), &[], None)?;
        ensure!(answer.status == 200, "no token: {}", answer.body);
        Ok(answer.body)
    }

    fn issuer(&self) -> Result<&StandIn> {
        self.issuer.as_ref().context("this harness has no issuer")
    }

    /// Stops the server alone, also that over TLS: connections to it are refused.
    pub fn stop_server(&self) -> Result<()> {
        self.server.stop(&self.supervisor)
    }

    /// Starts the server again, on the same ports, and waits until it answers. One that still runs is
    /// stopped first; what it kept in memory is gone, as the tokens that it has seen.
    pub fn restart_server(&self) -> Result<()> {
        self.stop_server()?;
        self.server
            .spawn(&self.supervisor, &self.programs, self.folder())?;
        self.server.wait(&self.supervisor)
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
        let mut command = self.programs.bound_command(program);
        command.stdin(Stdio::null());
        command
    }

    /// Sends a request as nobody in particular: what its headers say.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        rest::send(self.port(), (method, path), headers, body)
    }

    /// Sends a request as root: logs in first. The answer may be a refusal.
    pub fn rest(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let login = [
            ("X-Rucio-Account", Self::ACCOUNT),
            ("X-Rucio-Username", Self::USERNAME),
            ("X-Rucio-Password", Self::PASSWORD),
        ];
        let answer = self.send("GET", "/auth/userpass", &login, None)?;
        let token = answer
            .header("X-Rucio-Auth-Token")
            .with_context(|| format!("root cannot log in: {}", answer.body))?;
        let headers = [
            ("X-Rucio-Auth-Token", token),
            ("Content-Type", "application/json"),
        ];
        self.send(method, path, &headers, body)
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
}

/// Whether a start failed since another program took a port.
fn is_about_a_port(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    text.contains("address already in use")
        || text.contains("connection in use")
        || text.contains("eaddrinuse")
}
