//! Servers of the harness's own, each a script that listens on one port.

use std::path::Path;

use anyhow::Result;

use crate::config::Programs;
use crate::ports::Port;
use crate::scratch;
use crate::supervisor::Supervisor;

/// One of them.
#[derive(Debug)]
pub(crate) struct StandIn {
    name: &'static str,
    script: &'static str,
    pub(crate) port: Port,
}

impl StandIn {
    /// Of an FTS server.
    pub(crate) fn transfers() -> Result<Self> {
        Self::new("transfers", include_str!("../python/transfers.py"))
    }

    /// Of an issuer of tokens.
    pub(crate) fn issuer() -> Result<Self> {
        Self::new("issuer", include_str!("../python/issuer.py"))
    }

    fn new(name: &'static str, script: &'static str) -> Result<Self> {
        Ok(Self {
            name,
            script,
            port: Port::reserve()?,
        })
    }

    /// Starts it without waiting for it.
    pub(crate) fn spawn(
        &self,
        supervisor: &Supervisor,
        programs: &Programs,
        folder: &Path,
    ) -> Result<()> {
        let file = folder.join("python").join(self.name).with_extension("py");
        scratch::write(&file, self.script.as_bytes())?;
        let mut command = programs.command("python");
        command.arg(file).arg(self.port.number.to_string());
        supervisor.spawn(self.name, &command)
    }

    /// Waits until it takes connections.
    pub(crate) fn wait(&self, supervisor: &Supervisor) -> Result<()> {
        supervisor.wait_for(self.name, || self.port.connect())
    }
}
