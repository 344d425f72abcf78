//! The message broker: RabbitMQ, which Rucio sends its messages to by STOMP.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::ports::Port;
use crate::scratch;
use crate::supervisor::Supervisor;

const NAME: &str = "broker";

/// How to subscribe to what Rucio tells.
#[derive(Debug)]
pub struct Broker {
    stomp: Port,
    /// Two more that Erlang wants.
    between_nodes: Port,
    names: Port,
}

impl Broker {
    /// Where Rucio's messages go.
    pub const DESTINATION: &str = "/topic/rucio.events";
    /// Who may subscribe.
    pub const LOGIN: &str = "rucio";
    /// The password of [`Self::LOGIN`].
    pub const PASSCODE: &str = "rucio";
    /// What STOMP calls the host.
    pub const VIRTUAL_HOST: &str = "/";

    /// The port of the loopback that speaks STOMP.
    pub fn port(&self) -> u16 {
        self.stomp.number
    }

    /// Reserves what it listens on.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            stomp: Port::reserve()?,
            between_nodes: Port::reserve()?,
            names: Port::reserve()?,
        })
    }

    /// Starts it without waiting for it: it takes longest of all parts. What it has kept on disk of an
    /// earlier start is there again.
    pub(crate) fn spawn(&self, supervisor: &Supervisor, folder: &Path) -> Result<()> {
        let home = folder.join("broker");
        let settings = [
            // STOMP alone.
            "listeners.tcp = none".to_owned(),
            format!("stomp.listeners.tcp.1 = 127.0.0.1:{}", self.port()),
            format!("default_user = {}", Self::LOGIN),
            format!("default_pass = {}", Self::PASSCODE),
            "log.console = true".to_owned(),
            "log.file = false".to_owned(),
        ];
        scratch::write(
            &home.join("rabbitmq.conf"),
            (settings.join("\n") + "\n").as_bytes(),
        )?;
        scratch::write(&home.join("enabled_plugins"), b"[rabbitmq_stomp].")?;
        scratch::write(&home.join("environment.conf"), b"")?;
        // The program of that name on the PATH changes the user.
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", &home)
            .env("RABBITMQ_NODENAME", "rucio@localhost")
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_PID_FILE", home.join("pid"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                home.join("enabled_plugins"),
            )
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", home.join("environment.conf"))
            .env("RABBITMQ_DIST_PORT", self.between_nodes.number.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.names.number.to_string())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            );
        supervisor.spawn(NAME, &command)
    }

    /// Waits until it takes connections.
    pub(crate) fn wait(&self, supervisor: &Supervisor) -> Result<()> {
        supervisor.wait_for(NAME, || self.stomp.connect())
    }

    /// Asks it to end and waits for that.
    pub(crate) fn stop(supervisor: &Supervisor) -> Result<()> {
        supervisor.stop(NAME)
    }
}
