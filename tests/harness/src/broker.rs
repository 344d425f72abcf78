//! The message broker: RabbitMQ, which Rucio sends its messages to by STOMP.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::ports::Port;
use crate::scratch;
use crate::supervisor::Supervisor;

const NAME: &str = "broker";
/// How long the broker may take for an answer to a sender.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to subscribe to what Rucio tells.
#[derive(Debug)]
pub struct Broker {
    home: PathBuf,
    stomp: Port,
    /// The same over TLS, and who vouches for it.
    tls: Option<(Port, Authority)>,
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

    /// The port of the loopback that speaks STOMP over TLS, by a certificate for `localhost` and 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Where this broker has none: that of a Rucio server.
    pub fn tls_port(&self) -> Result<u16> {
        Ok(self.tls()?.0.number)
    }

    /// The certificate, PEM, of the authority that has signed the broker's.
    ///
    /// # Errors
    ///
    /// As [`Self::tls_port`].
    pub fn authority(&self) -> Result<PathBuf> {
        Ok(self.tls()?.1.certificate())
    }

    fn tls(&self) -> Result<&(Port, Authority)> {
        self.tls.as_ref().context("this broker has no TLS")
    }

    /// Sends messages that outlive the broker, as Hermes does, and waits until the broker has them.
    ///
    /// # Errors
    ///
    /// Where it does not take them.
    pub fn send<B: AsRef<[u8]>>(
        &self,
        destination: &str,
        bodies: impl IntoIterator<Item = B>,
    ) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port()))
            .context("cannot connect to the broker")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let (login, passcode, host) = (Self::LOGIN, Self::PASSCODE, Self::VIRTUAL_HOST);
        write!(
            stream,
            "CONNECT\naccept-version:1.2\nhost:{host}\nlogin:{login}\npasscode:{passcode}\n\n\0"
        )?;
        expect(&mut answers, "CONNECTED")?;
        let mut frames = Vec::new();
        for body in bodies {
            let body = body.as_ref();
            let length = body.len();
            write!(
                frames,
                "SEND\ndestination:{destination}\npersistent:true\ncontent-length:{length}\n\n"
            )?;
            frames.extend_from_slice(body);
            frames.push(0);
        }
        frames.extend_from_slice(b"DISCONNECT\nreceipt:all\n\n\0");
        stream.write_all(&frames).context("cannot send")?;
        expect(&mut answers, "RECEIPT")
    }

    /// Starts it without waiting for it: it takes longest of all parts.
    pub(crate) fn spawn(supervisor: &Supervisor, folder: &Path) -> Result<Self> {
        let broker = Self::new(folder, false)?;
        broker.launch(supervisor)?;
        Ok(broker)
    }

    fn new(folder: &Path, tls: bool) -> Result<Self> {
        let home = folder.join("broker");
        let tls = tls.then(|| -> Result<_> {
            let authority = Authority::new(&home.join("certificates"))?;
            Ok((Port::reserve()?, authority))
        });
        let broker = Self {
            home,
            stomp: Port::reserve()?,
            tls: tls.transpose()?,
            between_nodes: Port::reserve()?,
            names: Port::reserve()?,
        };
        broker.configure()?;
        Ok(broker)
    }

    fn configure(&self) -> Result<()> {
        let home = &self.home;
        let mut settings = vec![
            // STOMP alone.
            "listeners.tcp = none".to_owned(),
            format!("stomp.listeners.tcp.1 = 127.0.0.1:{}", self.port()),
            format!("default_user = {}", Self::LOGIN),
            format!("default_pass = {}", Self::PASSCODE),
            "log.console = true".to_owned(),
            "log.file = false".to_owned(),
        ];
        if let Some((port, authority)) = &self.tls {
            let server = authority.server(&["localhost", "127.0.0.1"])?;
            settings.push(format!("stomp.listeners.ssl.1 = 127.0.0.1:{}", port.number));
            for (key, file) in [
                ("cacertfile", authority.certificate()),
                ("certfile", server.certificate),
                ("keyfile", server.key),
            ] {
                settings.push(format!("ssl_options.{key} = {}", file.display()));
            }
            settings.push("ssl_options.verify = verify_none".to_owned());
        }
        scratch::write(
            &home.join("rabbitmq.conf"),
            (settings.join("\n") + "\n").as_bytes(),
        )?;
        scratch::write(&home.join("enabled_plugins"), b"[rabbitmq_stomp].")?;
        scratch::write(&home.join("environment.conf"), b"")
    }

    fn launch(&self, supervisor: &Supervisor) -> Result<()> {
        let home = &self.home;
        // The program of that name on the PATH changes the user.
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", home)
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
        supervisor.wait_for(NAME, || self.stomp.connect())?;
        match &self.tls {
            Some((port, _)) => supervisor.wait_for(NAME, || port.connect()),
            None => Ok(()),
        }
    }

    /// Stops it: connections end.
    pub(crate) fn stop(supervisor: &Supervisor) -> Result<()> {
        supervisor.stop(NAME)
    }

    /// Starts it again, with what it has kept.
    pub(crate) fn restart(&self, supervisor: &Supervisor) -> Result<()> {
        Self::stop(supervisor)?;
        self.launch(supervisor)?;
        self.wait(supervisor)
    }
}

/// Reads a frame.
fn expect(answers: &mut impl BufRead, command: &str) -> Result<()> {
    let mut frame = Vec::new();
    answers
        .read_until(0, &mut frame)
        .context("the broker does not answer")?;
    let text = String::from_utf8_lossy(&frame);
    if text.trim_start().starts_with(command) {
        return Ok(());
    }
    bail!("the broker answers `{text}`, not {command}")
}

/// A broker without a Rucio server, over TLS, too. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped first: it ends what uses the others.
    supervisor: Supervisor,
    _folder: TempDir,
    broker: Broker,
}

impl RabbitMq {
    /// Starts one, and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// Where it cannot be installed or started; the message holds the end of its log.
    pub fn start() -> Result<Self> {
        crate::install::debian()?;
        let folder = scratch::temporary_folder()?;
        let supervisor = Supervisor::start(folder.path())?;
        let broker = Broker::new(folder.path(), true)?;
        broker.launch(&supervisor)?;
        broker.wait(&supervisor)?;
        Ok(Self {
            supervisor,
            _folder: folder,
            broker,
        })
    }

    /// How to reach it.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Stops it: connections end, and new ones are refused.
    ///
    /// # Errors
    ///
    /// Where its supervisor does not answer; so with [`Self::restart`].
    pub fn stop(&self) -> Result<()> {
        Broker::stop(&self.supervisor)
    }

    /// Starts it again, on the same ports and with what it has kept, and waits until it takes connections.
    /// One that still runs is stopped first.
    pub fn restart(&self) -> Result<()> {
        self.broker.restart(&self.supervisor)
    }
}
