//! Bare consumers: the least that anyone has to do who reads these messages and looks at the files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::Broker;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::messages::{self, BARE_DESTINATION};

/// How long the next message may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough to have connected.
const BEFORE: Duration = Duration::from_secs(1);

/// Reads messages and looks at what they name.
pub(super) trait Bare {
    /// As many messages as that.
    fn read(&mut self, count: usize) -> Result<()>;
}

/// By STOMP: the broker takes for acknowledged what it has sent.
#[derive(Debug)]
pub(super) struct BareStomp {
    stream: BufReader<TcpStream>,
}

impl BareStomp {
    /// Subscribes.
    pub(super) fn subscribe(broker: &Broker) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", broker.port()))
            .context("cannot connect to the broker")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut bare = Self {
            stream: BufReader::with_capacity(1 << 16, stream),
        };
        let (login, passcode, host) = (Broker::LOGIN, Broker::PASSCODE, Broker::VIRTUAL_HOST);
        bare.say(&format!(
            "CONNECT\naccept-version:1.2\nhost:{host}\nlogin:{login}\npasscode:{passcode}\n\n\0"
        ))?;
        bare.expect("CONNECTED")?;
        bare.say(&format!(
            "SUBSCRIBE\nid:bare\ndestination:{BARE_DESTINATION}\nack:auto\nreceipt:bare\n\n\0"
        ))?;
        bare.expect("RECEIPT")?;
        Ok(bare)
    }

    fn say(&mut self, frame: &str) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(frame.as_bytes()).context("cannot send")
    }

    /// The body of the next frame, which has to be of that command.
    fn expect(&mut self, command: &str) -> Result<Vec<u8>> {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            if self.stream.read_line(&mut line).context("no answer")? == 0 {
                bail!("the broker has ended the connection");
            }
        }
        let answered = line.trim_matches(['\0', '\r', '\n']).to_owned();
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).context("no header")?;
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.parse().context("a length that is none")?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("no body")?;
        let mut end = Vec::new();
        self.stream.read_until(0, &mut end).context("no end")?;
        if answered != command {
            bail!("the broker answers {answered}, not {command}");
        }
        Ok(body)
    }
}

impl Bare for BareStomp {
    fn read(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            messages::look(&self.expect("MESSAGE")?)?;
        }
        Ok(())
    }
}

/// By Kafka: in no group, so that nobody shares anything out.
pub(super) struct BareKafka {
    consumer: BaseConsumer,
}

impl BareKafka {
    /// Reads a topic of one partition from its beginning.
    pub(super) fn assign(port: u16, topic: &str) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{port}"))
            .set("group.id", "bare")
            .set("enable.auto.commit", "false")
            .create()
            .context("cannot make a consumer")?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&partitions)?;
        if consumer.poll(BEFORE).is_some() {
            bail!("a topic that should be empty is not");
        }
        Ok(Self { consumer })
    }
}

impl Bare for BareKafka {
    fn read(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let message = self.consumer.poll(PATIENCE).context("no message")??;
            messages::look(message.payload().unwrap_or_default())?;
        }
        Ok(())
    }
}
