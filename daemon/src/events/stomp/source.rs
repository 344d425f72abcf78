//! A durable subscription, at one broker of several at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runsync_config::events::{BrokerAddress, BrokerLogin, EventSource as Config, Stomp};
use runsync_config::secret;
use rustls::ClientConfig;

use super::connection::{Beats, Connection, Dialling};
use super::frame::{Frame, Writing};
use crate::events::error::SourceError;
use crate::events::source::{Checked, EventSource, Message};
use crate::tls;

/// Of our heart-beats one comes in half the time agreed on: brokers look at their own clocks.
const EAGERNESS: u32 = 2;
/// Frames that are taken from the connection at a time.
const TAKE: usize = 1_000;
/// Bytes of messages beyond which no more are taken, so that large ones come in small batches.
const BYTES: usize = 16 << 20;
/// Batches that the broker sends before the first is acknowledged: while one is written, the next comes.
const BATCHES_AHEAD: u32 = 2;
/// The receipt of the subscription.
const SUBSCRIBED: &str = "subscribed";
/// The receipt of the leave.
const LEFT: &str = "left";
/// How long taking leave may take: a daemon that ends waits for it.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// The one version that this speaks: what earlier ones lack is needed.
const VERSION: &str = "1.2";

/// Listens to a topic or queue by STOMP 1.2.
#[derive(Debug)]
pub struct StompSource {
    brokers: Vec<BrokerAddress>,
    stomp: Stomp,
    login: Option<BrokerLogin>,
    dialling: Dialling,
    batch: u32,
    /// The broker that is tried next.
    next: usize,
    session: Option<Session>,
}

/// What becomes of a subscription when its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The broker keeps messages for it.
    Durable,
    /// It ends, too.
    Passing,
}

/// A subscription at a broker.
#[derive(Debug)]
struct Session {
    connection: Connection,
    /// Messages that came while something else was waited for.
    ahead: VecDeque<Frame>,
    /// What the broker calls the messages that were given and not acknowledged.
    given: Vec<String>,
    /// Acknowledgements whose receipt has not come, oldest first, and when each was sent.
    owed: VecDeque<(u64, Instant)>,
    acknowledged: u64,
    /// Bytes of the messages ahead.
    bytes: usize,
}

impl StompSource {
    /// One that is not connected yet.
    ///
    /// # Errors
    ///
    /// Where the certificates that are configured cannot be used.
    pub fn new(
        config: &Config,
        stomp: &Stomp,
        message_bytes_max: u64,
    ) -> Result<Self, SourceError> {
        let tls: Option<Arc<ClientConfig>> = config
            .tls
            .then(|| tls::client(config.ca_file.as_deref()))
            .transpose()?;
        let brokers = config.brokers.clone();
        Ok(Self {
            // Sites that have the same list do not all begin with the same broker.
            next: fastrand::usize(..brokers.len().max(1)),
            brokers,
            stomp: stomp.clone(),
            login: config.login.clone(),
            dialling: Dialling {
                tls,
                patience: config.connect_timeout,
                message_bytes_max,
            },
            batch: config.batch,
            session: None,
        })
    }

    /// Connects to the next broker and subscribes.
    fn subscribe(&mut self) -> Result<Session, SourceError> {
        let turn = self.next % self.brokers.len().max(1);
        // The next try goes elsewhere, unless this one holds.
        self.next = turn + 1;
        let Some(broker) = self.brokers.get(turn) else {
            return Err(SourceError::Ended {
                broker: String::new(),
                source: None,
            });
        };
        let session = self.subscribe_at(broker, Standing::Durable)?;
        self.next = turn;
        Ok(session)
    }

    fn subscribe_at(
        &self,
        broker: &BrokerAddress,
        standing: Standing,
    ) -> Result<Session, SourceError> {
        let connection = Connection::open(broker, &self.dialling)?;
        let mut session = Session::new(connection);
        session.connection.send(self.connect_frame(standing)?)?;
        // The time to connect, to speak TLS, and to answer.
        let patience = self.dialling.patience.saturating_mul(3);
        let connected =
            session.wait_for(patience, "the login", |frame| frame.command == "CONNECTED")?;
        self.agree(&session.connection, &connected)?;
        session.connection.send(self.subscribe_frame(standing))?;
        session.wait_for(patience, "the subscription", |frame| {
            frame.command == "RECEIPT" && frame.header("receipt-id").as_deref() == Some(SUBSCRIBED)
        })?;
        Ok(session)
    }

    fn connect_frame(&self, standing: Standing) -> Result<Vec<u8>, SourceError> {
        let beat = self.stomp.heart_beat.as_millis();
        let mut frame = Writing::new("CONNECT")
            .header("accept-version", VERSION)
            .header("host", &self.stomp.virtual_host)
            .header("heart-beat", &format!("{beat},{beat}"));
        if standing == Standing::Durable {
            // ActiveMQ knows a durable subscription by the client's name and its own.
            frame = frame.header("client-id", &self.stomp.subscription);
        }
        if let Some(login) = &self.login {
            let password = secret::read(&login.password_file).map_err(|source| {
                let username = login.username.clone();
                SourceError::Secret { username, source }
            })?;
            frame = frame
                .header("login", &login.username)
                .header("passcode", password.expose().trim_end_matches(['\r', '\n']));
        }
        Ok(frame.finish())
    }

    /// Headers that a broker does not know are of no meaning to it.
    fn subscribe_frame(&self, standing: Standing) -> Vec<u8> {
        let (name, ahead) = match standing {
            Standing::Durable => {
                let ahead = self.batch.saturating_mul(BATCHES_AHEAD);
                (self.stomp.subscription.clone(), ahead.to_string())
            }
            Standing::Passing => (format!("{}-check", self.stomp.subscription), "1".to_owned()),
        };
        let frame = Writing::new("SUBSCRIBE")
            .header("id", &name)
            .header("destination", &self.stomp.destination)
            .header("ack", "client-individual")
            .header("receipt", SUBSCRIBED)
            // RabbitMQ, ActiveMQ.
            .header("prefetch-count", &ahead)
            .header("activemq.prefetchSize", &ahead);
        // To a topic the passing one is a subscription of its own. A queue keeps what was not acknowledged.
        let is_topic = self.stomp.destination.starts_with("/topic/")
            || self.stomp.destination.starts_with("/exchange/");
        if standing == Standing::Passing && is_topic {
            return frame.finish();
        }
        frame
            // RabbitMQ.
            .header("durable", "true")
            .header("auto-delete", "false")
            // ActiveMQ.
            .header("activemq.subscriptionName", &name)
            .finish()
    }

    /// Begins the heart-beats that the broker has agreed to.
    fn agree(&self, connection: &Connection, connected: &Frame) -> Result<(), SourceError> {
        let broker = || connection.broker().to_owned();
        let version = connected.header("version").unwrap_or_default();
        if version != VERSION {
            let reason = format!("it speaks version {version:.20}");
            return Err(SourceError::Protocol {
                broker: broker(),
                reason,
            });
        }
        let theirs = connected.header("heart-beat").unwrap_or_default();
        let Some((sends, wants)) = read_beats(&theirs) else {
            let reason = format!("it offers the heart-beats {theirs:.40}");
            return Err(SourceError::Protocol {
                broker: broker(),
                reason,
            });
        };
        let ours = self.stomp.heart_beat;
        let agreed = |beat: Duration| (!beat.is_zero()).then(|| beat.max(ours));
        connection.beat(Beats {
            ours: agreed(wants).map(|beat| beat / EAGERNESS),
            theirs: agreed(sends),
        });
        Ok(())
    }

    fn session(&mut self) -> Result<&mut Session, SourceError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.subscribe()?,
        };
        Ok(self.session.insert(session))
    }
}

/// The two numbers of a `heart-beat` header, of milliseconds; a missing one is none at all.
fn read_beats(header: &str) -> Option<(Duration, Duration)> {
    if header.is_empty() {
        return Some((Duration::ZERO, Duration::ZERO));
    }
    let (sends, wants) = header.split_once(',')?;
    let read = |text: &str| text.trim().parse().ok().map(Duration::from_millis);
    Some((read(sends)?, read(wants)?))
}

impl Session {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            ahead: VecDeque::new(),
            given: Vec::new(),
            owed: VecDeque::new(),
            acknowledged: 0,
            bytes: 0,
        }
    }

    /// Ends it as the protocol has it: what was acknowledged is acknowledged then. What comes meanwhile is
    /// dropped, and comes again.
    fn close(mut self) -> Result<(), SourceError> {
        let leave = Writing::new("DISCONNECT").header("receipt", LEFT);
        self.connection.send(leave.finish())?;
        let until = Instant::now() + LEAVE_PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.connection.silent(LEAVE_PATIENCE));
            }
            let frames = self.connection.receive(TAKE, left)?;
            let is_it = |frame: &Frame| frame.header("receipt-id").as_deref() == Some(LEFT);
            if frames.iter().any(is_it) {
                return Ok(());
            }
        }
    }

    /// Waits for a frame; messages that come before it are kept.
    fn wait_for(
        &mut self,
        patience: Duration,
        request: &'static str,
        is_it: impl Fn(&Frame) -> bool,
    ) -> Result<Frame, SourceError> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.connection.silent(patience));
            }
            for frame in self.connection.receive(1, left)? {
                if is_it(&frame) {
                    return Ok(frame);
                }
                self.take(frame, request)?;
            }
        }
    }

    /// Sorts a frame that comes by itself.
    fn take(&mut self, frame: Frame, request: &'static str) -> Result<(), SourceError> {
        match &*frame.command {
            "MESSAGE" => {
                self.bytes += frame.weight();
                self.ahead.push_back(frame);
            }
            "ERROR" => {
                return Err(SourceError::Refused {
                    broker: self.connection.broker().to_owned(),
                    request,
                    reason: frame.complaint(),
                });
            }
            "RECEIPT" => {
                let receipt = frame.header("receipt-id");
                let number = receipt
                    .and_then(|receipt| receipt.parse().ok())
                    .unwrap_or(0);
                // Receipts come in the order of what was sent.
                self.owed.retain(|(owed, _)| *owed > number);
            }
            // What this version of the protocol has no name for is no concern of ours.
            _ => {}
        }
        Ok(())
    }

    fn receive(
        &mut self,
        limit: usize,
        patience: Duration,
        receipt_patience: Duration,
    ) -> Result<Vec<Message>, SourceError> {
        if self.owes(receipt_patience) {
            // It may have come while nothing was read.
            for frame in self.connection.receive(TAKE, Duration::ZERO)? {
                self.take(frame, "to acknowledge")?;
            }
            if self.owes(receipt_patience) {
                return Err(self.connection.silent(receipt_patience));
            }
        }
        let mut patience = patience;
        // What has come already is taken together, as far as it goes.
        while self.ahead.len() < limit && self.bytes < BYTES {
            if !self.ahead.is_empty() {
                patience = Duration::ZERO;
            }
            let frames = self.connection.receive(TAKE, patience)?;
            if frames.is_empty() {
                break;
            }
            for frame in frames {
                self.take(frame, "to go on")?;
            }
        }
        let mut messages = Vec::new();
        for _ in 0..limit {
            let Some(frame) = self.ahead.pop_front() else {
                break;
            };
            let Some(ack) = frame.header("ack") else {
                return Err(SourceError::Protocol {
                    broker: self.connection.broker().to_owned(),
                    reason: "a message cannot be acknowledged".to_owned(),
                });
            };
            self.bytes = self.bytes.saturating_sub(frame.weight());
            self.given.push(ack);
            messages.push(frame.body);
        }
        Ok(messages)
    }

    /// Whether the broker has not said for so long that it has an acknowledgement.
    fn owes(&self, patience: Duration) -> bool {
        let oldest = self.owed.front();
        oldest.is_some_and(|(_, sent)| sent.elapsed() > patience)
    }

    fn acknowledge(&mut self) -> Result<(), SourceError> {
        let Some((last, others)) = self.given.split_last() else {
            return Ok(());
        };
        self.acknowledged += 1;
        let receipt = self.acknowledged.to_string();
        let mut frames = Vec::new();
        for ack in others {
            frames.extend(Writing::new("ACK").header("id", ack).finish());
        }
        let last = Writing::new("ACK")
            .header("id", last)
            .header("receipt", &receipt);
        frames.extend(last.finish());
        self.connection.send(frames)?;
        self.given.clear();
        self.owed.push_back((self.acknowledged, Instant::now()));
        Ok(())
    }
}

impl EventSource for StompSource {
    fn receive(&mut self, limit: usize, patience: Duration) -> Result<Vec<Message>, SourceError> {
        let receipt_patience = self.dialling.patience.saturating_mul(3);
        let received = self
            .session()
            .and_then(|session| session.receive(limit, patience, receipt_patience));
        if received.is_err() {
            // The one that failed is the last to be tried again.
            if self.session.take().is_some() {
                self.next += 1;
            }
        }
        received
    }

    fn acknowledge(&mut self) -> Result<(), SourceError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let acknowledged = session.acknowledge();
        if acknowledged.is_err() {
            self.session = None;
        }
        acknowledged
    }

    fn connected_to(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        Some(session.connection.broker().to_owned())
    }

    fn leave(&mut self) -> Result<(), SourceError> {
        self.session.take().map_or(Ok(()), Session::close)
    }

    fn check(&self) -> Vec<Checked> {
        let brokers = self.brokers.iter();
        let checked = brokers.map(|broker| Checked {
            broker: broker.to_string(),
            found: self
                .subscribe_at(broker, Standing::Passing)
                .and_then(Session::close),
        });
        checked.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heart_beats_are_two_numbers_of_milliseconds() {
        let milliseconds = Duration::from_millis;
        let zero = Duration::ZERO;
        for (header, beats) in [
            ("", Some((zero, zero))),
            ("0,0", Some((zero, zero))),
            (
                "1000, 60000",
                Some((milliseconds(1000), milliseconds(60_000))),
            ),
            ("1000", None),
            ("a,b", None),
            ("-1,0", None),
        ] {
            assert_eq!(read_beats(header), beats, "{header}");
        }
    }
}
