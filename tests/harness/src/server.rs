//! The processes that serve Rucio's application: over plain HTTP, and over TLS.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::certificates::{Authority, Certificate};
use crate::config::Programs;
use crate::ports::Port;
use crate::supervisor::Supervisor;
use crate::{rest, scratch};

const PLAIN: &str = "server";
const TLS: &str = "tls-server";
/// A module of Python, and its text.
const CERTIFIED: &str = "certified";
const CERTIFIED_SCRIPT: &str = include_str!("../python/certified.py");

/// Rucio's server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: Port,
    tls: Option<Tls>,
}

/// The same over TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    port: Port,
    pub(crate) authority: Authority,
    certificate: Certificate,
}

impl Server {
    /// Reserves what it listens on.
    pub(crate) fn new(folder: &Path, tls: bool) -> Result<Self> {
        let tls = tls.then(|| Tls::new(&folder.join("certificates")));
        Ok(Self {
            port: Port::reserve()?,
            tls: tls.transpose()?,
        })
    }

    pub(crate) fn url(&self) -> String {
        self.port.url()
    }

    pub(crate) fn tls(&self) -> Result<&Tls> {
        self.tls.as_ref().context("this harness has no TLS")
    }

    /// Starts it without waiting for it.
    pub(crate) fn spawn(
        &self,
        supervisor: &Supervisor,
        programs: &Programs,
        folder: &Path,
    ) -> Result<()> {
        let mut plain = gunicorn(programs, &self.port);
        plain.arg("rucio.web.rest.flaskapi.v1.main:application");
        supervisor.spawn(PLAIN, &plain)?;
        let Some(tls) = &self.tls else { return Ok(()) };
        let python = folder.join("python");
        let script = python.join(CERTIFIED).with_extension("py");
        scratch::write(&script, CERTIFIED_SCRIPT.as_bytes())?;
        let mut certified = gunicorn(programs, &tls.port);
        for (option, path) in [
            ("--certfile", &tls.certificate.certificate),
            ("--keyfile", &tls.certificate.key),
            ("--ca-certs", &tls.authority.certificate()),
            ("--pythonpath", &python),
        ] {
            certified.arg(option).arg(path);
        }
        certified
            // ssl.CERT_OPTIONAL: who has no certificate may log in otherwise.
            .args(["--cert-reqs", "1"])
            .arg(format!("{CERTIFIED}:application"));
        supervisor.spawn(TLS, &certified)
    }

    /// Waits until it answers.
    pub(crate) fn wait(&self, supervisor: &Supervisor) -> Result<()> {
        supervisor.wait_for(PLAIN, || {
            let answer = rest::send(self.port.number, ("GET", "/ping"), &[], None).ok()?;
            (answer.status == 200).then_some(())
        })?;
        match &self.tls {
            Some(tls) => supervisor.wait_for(TLS, || tls.port.connect()),
            None => Ok(()),
        }
    }

    /// Stops what runs of it.
    pub(crate) fn stop(&self, supervisor: &Supervisor) -> Result<()> {
        supervisor.stop(PLAIN)?;
        match &self.tls {
            Some(_) => supervisor.stop(TLS),
            None => Ok(()),
        }
    }
}

impl Tls {
    fn new(folder: &Path) -> Result<Self> {
        let authority = Authority::new(folder)?;
        Ok(Self {
            port: Port::reserve()?,
            certificate: authority.server(&["localhost", "127.0.0.1"])?,
            authority,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port.number)
    }
}

fn gunicorn(programs: &Programs, port: &Port) -> Command {
    let mut command = programs.command("gunicorn");
    command
        .args(["--worker-class", "gthread", "--workers", "1"])
        .args(["--threads", "8", "--timeout", "300"])
        // Else it writes to the user's home, and lets requests take half a minute when it ends.
        .args(["--no-control-socket", "--graceful-timeout", "1"])
        .args(["--bind", &format!("127.0.0.1:{}", port.number)]);
    command
}
