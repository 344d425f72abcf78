//! Where messages of files that come and go are heard, and how much of them is kept.
//!
//! A message is a hint and no more: without a source a site finds the same, later.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runsync_manifest::name::SiteName;
use serde::{Serialize, Serializer};
use toml::de::DeValue;

use crate::bytes::Bytes;
use crate::duration;
use crate::problem::Reason;
use crate::raw::Section;
use crate::value::{Value, text, word};

/// Hints kept unless configured: a few hundred megabytes, and days of a large site's transfers.
const HINTS_MAX: u64 = 1_000_000;
/// What nobody could make anything of within a day is left to the next look at everything.
const HINT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Messages that could not be read, kept unless configured: enough to see what is wrong with a sender.
const POISON_MAX: u64 = 1000;
/// Largest message: Rucio's have about 1 KiB, and Kafka's brokers take none above 1 MiB by default.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// The largest that can be configured: as many as `batch` of them may be in memory.
const MESSAGE_BYTES_LIMIT: u64 = 16 << 20;
/// Messages that are taken in one commit.
const BATCH: u32 = 1000;
const BATCH_LIMIT: u32 = 10_000;
/// An address that does not answer within this is not there. It can be less: a daemon that waits for a
/// broker for longer would not stop in time.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Often enough to learn of a dead connection soon, and seldom enough to cost nothing.
const HEART_BEAT: Duration = Duration::from_secs(10);
/// Brokers look at their clocks once a second or so.
const HEART_BEAT_MIN: Duration = Duration::from_secs(1);
const HEART_BEAT_MAX: Duration = Duration::from_secs(300);
/// Where Rucio's Hermes sends messages unless configured otherwise.
const DESTINATION: &str = "/topic/rucio.events";

/// What messages that come by HTTP are counted as: no source is called so.
pub const HTTP_SOURCE: &str = "http";

/// `[events]`: what is kept of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Hints that wait at a time.
    pub hints_max: u64,
    /// How long a hint is tried before it is left to the next look at everything.
    #[serde(serialize_with = "duration::serialize")]
    pub hint_lifetime: Duration,
    /// Messages that could not be read: the newest.
    pub poison_max: u64,
    /// Largest message that is read, in bytes.
    #[serde(serialize_with = "bytes")]
    pub message_bytes_max: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            hints_max: HINTS_MAX,
            hint_lifetime: HINT_LIFETIME,
            poison_max: POISON_MAX,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

impl Events {
    /// Reads `[events]`.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Self {
        let events = Self {
            hints_max: section.or("hints_max", HINTS_MAX),
            hint_lifetime: section.or("hint_lifetime", HINT_LIFETIME),
            poison_max: section.or("poison_max", POISON_MAX),
            message_bytes_max: section.or("message_bytes_max", Bytes(MESSAGE_BYTES_MAX)).0,
        };
        if !(1..=MESSAGE_BYTES_LIMIT).contains(&events.message_bytes_max) {
            let most = Bytes(MESSAGE_BYTES_LIMIT);
            section.report(
                "message_bytes_max",
                format!("must be from \"1B\" to \"{most}\""),
            );
        }
        section.finish();
        events
    }
}

/// `[[event_source]]`: brokers of one kind, of which one at a time is listened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventSource {
    /// What it is called in logs, metrics and answers.
    pub name: String,
    /// Where; tried in turn (STOMP), or as the cluster's entrances (Kafka).
    pub brokers: Vec<BrokerAddress>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// PEM file of the authorities that vouch for the brokers, beside those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How this site shows who it is; none: not at all.
    #[serde(flatten)]
    pub login: Option<BrokerLogin>,
    /// How long connecting may take.
    #[serde(serialize_with = "duration::serialize")]
    pub connect_timeout: Duration,
    /// Messages that are taken in one commit, and that a broker sends ahead.
    pub batch: u32,
    /// How messages are had.
    #[serde(flatten)]
    pub kind: EventSourceKind,
}

/// A user's name and password at a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokerLogin {
    /// The user.
    pub username: String,
    /// The file that holds the password.
    pub password_file: PathBuf,
}

/// How messages are had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EventSourceKind {
    /// A durable subscription by STOMP 1.2, which Rucio's Hermes sends to.
    Stomp(Stomp),
    /// A consumer group of Kafka.
    Kafka(Kafka),
}

/// What a STOMP subscription needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stomp {
    /// The topic or queue.
    pub destination: String,
    /// The subscription's name, by which the broker keeps messages while nobody listens.
    pub subscription: String,
    /// The broker's virtual host.
    pub virtual_host: String,
    /// How often either side shows that it is there.
    #[serde(serialize_with = "duration::serialize")]
    pub heart_beat: Duration,
}

/// What a Kafka consumer needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kafka {
    /// The topics.
    pub topics: Vec<String>,
    /// The consumer group, by which the brokers keep how far this site has read.
    pub group: String,
    /// Where a group begins that has read nothing yet.
    pub from: Begin,
    /// How the password is shown; of no meaning without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
}

/// Where a consumer group begins that has read nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// With the oldest message that the brokers still have.
    Earliest,
    /// With the next one that comes.
    Latest,
}

impl Value for Begin {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let words = [("earliest", Self::Earliest), ("latest", Self::Latest)];
        word(value, &words)
    }
}

/// How a password is shown to Kafka's brokers (SASL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Sasl {
    /// As it is.
    #[serde(rename = "plain")]
    Plain,
    /// By SCRAM with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// By SCRAM with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl Value for Sasl {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(
            value,
            &[
                ("plain", Self::Plain),
                ("scram-sha-256", Self::ScramSha256),
                ("scram-sha-512", Self::ScramSha512),
            ],
        )
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Stomp,
    Kafka,
}

impl Value for Protocol {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(value, &[("stomp", Self::Stomp), ("kafka", Self::Kafka)])
    }
}

/// A host and a port, such as `broker.example.org:61613`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    host: String,
    port: u16,
}

impl BrokerAddress {
    /// The host's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it names this machine's loopback, where nobody listens in.
    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_good = if let Some(address) = bare {
            address.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !host.is_empty() && host.chars().all(good)
        };
        is_good.then(|| Self {
            host: bare.unwrap_or(host).to_owned(),
            port,
        })
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl Serialize for BrokerAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Value for BrokerAddress {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint = "it is a host and a port, such as \"broker.example.org:61613\"";
        let text = text(value, "an address").map_err(|reason| reason.hint(hint))?;
        Self::parse(text).ok_or_else(|| Reason::new("is no host and port").hint(hint))
    }
}

impl EventSource {
    /// Reads one `[[event_source]]`; paths are relative to `base`. `None` where a problem was reported.
    pub(crate) fn read(
        mut section: Section<'_, '_>,
        base: &Path,
        site: Option<&SiteName>,
    ) -> Option<Self> {
        let name: Option<String> = section.required("name", "\"hermes\"");
        let protocol: Option<Protocol> = section.required("kind", "\"stomp\"");
        let brokers: Vec<BrokerAddress> = section.list("brokers");
        let tls = section.or("tls", true);
        let ca_file: Option<PathBuf> = section.optional("ca_file");
        let login = read_login(&mut section, base);
        let connect_timeout = section.or("connect_timeout", CONNECT_TIMEOUT);
        if !(CONNECT_TIMEOUT_MIN..=CONNECT_TIMEOUT).contains(&connect_timeout) {
            section.report("connect_timeout", "must be from \"1s\" to \"10s\"");
        }
        let batch = section.or("batch", BATCH);
        let own_name = site.map_or_else(|| "runsync".to_owned(), |site| format!("runsync-{site}"));
        let kind = match protocol {
            Some(Protocol::Stomp) => {
                Some(EventSourceKind::Stomp(Stomp::read(&mut section, own_name)))
            }
            Some(Protocol::Kafka) => {
                Some(EventSourceKind::Kafka(Kafka::read(&mut section, own_name)))
            }
            None => None,
        };
        if let Some(name) = &name {
            check_name(&section, "name", name);
            if name == HTTP_SOURCE {
                let reason = Reason::new("stands for messages that come by `POST /v1/events`");
                section.report("name", reason.hint("call it otherwise"));
            }
        }
        if !(1..=BATCH_LIMIT).contains(&batch) {
            section.report("batch", format!("must be from 1 to {BATCH_LIMIT}"));
        }
        if brokers.is_empty() {
            let reason = Reason::new("names none");
            let hint = "name at least one, such as \"broker.example.org:61613\"";
            section.report("brokers", reason.hint(hint));
        }
        if let Some(EventSourceKind::Kafka(kafka)) = &kind {
            kafka.check_login(&section, login.is_some());
        }
        if login.is_some() && !tls && !brokers.iter().all(BrokerAddress::is_loopback) {
            let reason = Reason::new("would send secrets unencrypted to another machine");
            section.report("tls", reason.hint("take `tls = false` away"));
        }
        if ca_file.is_some() && !tls {
            section.report("ca_file", "is of no use without `tls`");
        }
        section.finish();
        Some(Self {
            name: name?,
            brokers,
            tls,
            ca_file: ca_file.map(|file| base.join(file)),
            login,
            connect_timeout,
            batch,
            kind: kind?,
        })
    }
}

/// Names that brokers keep things by, and that are labels of metrics.
fn check_name(section: &Section<'_, '_>, key: &'static str, name: &str) {
    let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.is_empty() || name.len() > 200 || !name.chars().all(good) {
        let reason = Reason::new("is no name");
        let hint = "it has letters, digits, `-`, `.` and `_`, and no more than 200 of them";
        section.report(key, reason.hint(hint));
    }
}

fn read_login(section: &mut Section<'_, '_>, base: &Path) -> Option<BrokerLogin> {
    let username: Option<String> = section.optional("username");
    let password_file: Option<PathBuf> = section.optional("password_file");
    match (username, password_file) {
        (Some(username), Some(file)) => Some(BrokerLogin {
            username,
            password_file: base.join(file),
        }),
        (None, None) => None,
        (Some(_), None) => {
            section.report("username", "needs `password_file` beside it");
            None
        }
        (None, Some(_)) => {
            section.report("password_file", "needs `username` beside it");
            None
        }
    }
}

impl Stomp {
    fn read(section: &mut Section<'_, '_>, own_name: String) -> Self {
        let stomp = Self {
            destination: section.or("destination", DESTINATION.to_owned()),
            subscription: section.or("subscription", own_name),
            virtual_host: section.or("virtual_host", "/".to_owned()),
            heart_beat: section.or("heart_beat", HEART_BEAT),
        };
        check_name(section, "subscription", &stomp.subscription);
        if stomp.destination.is_empty() {
            section.report("destination", "must not be empty");
        }
        if !(HEART_BEAT_MIN..=HEART_BEAT_MAX).contains(&stomp.heart_beat) {
            section.report("heart_beat", "must be from \"1s\" to \"5min\"");
        }
        stomp
    }
}

impl Kafka {
    fn read(section: &mut Section<'_, '_>, own_name: String) -> Self {
        let kafka = Self {
            topics: section.list("topics"),
            group: section.or("group", own_name),
            from: section.or("from", Begin::Earliest),
            sasl: section.optional("sasl"),
        };
        check_name(section, "group", &kafka.group);
        if kafka.topics.is_empty() {
            let reason = Reason::new("names none");
            section.report("topics", reason.hint("name at least one"));
        }
        kafka
    }
}

impl Kafka {
    fn check_login(&self, section: &Section<'_, '_>, is_there: bool) {
        match (self.sasl, is_there) {
            (None, true) => section.report("username", "needs `sasl` beside it"),
            (Some(_), false) => {
                section.report("sasl", "needs `username` and `password_file` beside it");
            }
            (Some(_), true) | (None, false) => {}
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn bytes<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
    Bytes(*bytes).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["broker.example.org:61613", "127.0.0.1:1", "[::1]:9093"] {
            assert_eq!(BrokerAddress::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "broker",
            "broker:",
            "broker:0",
            "broker:70000",
            ":61613",
            "ssl://broker:1",
            "a b:1",
            "::1:9093",
            "[broker]:1",
        ] {
            assert_eq!(BrokerAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_the_loopback() {
        let is = |text: &str| BrokerAddress::parse(text).unwrap().is_loopback();
        assert!(is("localhost:1") && is("127.0.0.9:1") && is("[::1]:1"));
        assert!(!is("localhost.example.org:1") && !is("10.0.0.1:1"));
    }
}
