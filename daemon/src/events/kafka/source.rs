//! Topics of Kafka, read as a member of a consumer group.

use std::io;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use runsync_config::events::{EventSource as Config, Kafka};
use tracing::debug;

use super::context::Context;
use super::fault::{Complaint, Severity};
use super::session::{Leaving, Session, Taking, let_go};
use super::settings;
use crate::events::error::SourceError;
use crate::events::source::{Checked, EventSource, Message};

/// How long leaving the group is waited for: the daemon stops no later for brokers that do not answer.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited for what librdkafka may still tell about a call that failed.
const REASON_PATIENCE: Duration = Duration::from_millis(100);
/// Errors that are asked for at most.
const REASONS: usize = 100;

/// Listens to topics of Kafka.
#[derive(Debug)]
pub struct KafkaSource {
    config: Config,
    kafka: Kafka,
    /// All brokers, for people.
    brokers: String,
    message_bytes_max: u64,
    session: Option<Session>,
}

impl KafkaSource {
    /// One that is no member of the group yet.
    pub fn new(config: &Config, kafka: &Kafka, message_bytes_max: u64) -> Self {
        Self {
            brokers: settings::brokers(config),
            config: config.clone(),
            kafka: kafka.clone(),
            message_bytes_max,
            session: None,
        }
    }

    fn client(&self) -> Result<BaseConsumer<Context>, SourceError> {
        let settings = settings::consumer(&self.config, &self.kafka)?;
        let client = settings.create_with_context(Context::new(&self.config.name));
        client.map_err(|error| self.unusable("the settings", &error))
    }

    fn join(&self) -> Result<Session, SourceError> {
        let joined = Session::join(self.client()?, &self.kafka.topics);
        joined.map_err(|error| self.unusable("the subscription", &error))
    }

    /// What librdkafka does not take. The value of a setting is not told: it may be the password.
    fn unusable(&self, request: &'static str, error: &KafkaError) -> SourceError {
        let reason = match error {
            KafkaError::ClientConfig(_, reason, key, _) => format!("{key}: {reason}"),
            other => other.to_string(),
        };
        SourceError::Kafka {
            brokers: self.brokers.clone(),
            request,
            reason,
        }
    }

    /// Says what has gone wrong, and keeps the membership where it mends itself.
    fn failed(&mut self, session: Session, complaint: &Complaint) -> SourceError {
        let error = self.told(session.client(), complaint);
        let severity = Severity::of(&complaint.error);
        let needs_login =
            severity == Severity::Away && matches!(error, SourceError::Refused { .. });
        // A new member gets again what was given and not acknowledged, and reads the password again.
        if severity == Severity::Fatal || session.owes() || needs_login {
            abandon(session.leave());
        } else {
            self.session = Some(session);
        }
        error
    }

    fn told(&self, client: &BaseConsumer<Context>, complaint: &Complaint) -> SourceError {
        let code = complaint.error.rdkafka_error_code();
        if let Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) = code
            && let Err(error) = self.look(client)
        {
            return error;
        }
        let cause = client.context().told(|told| told.cause.clone());
        complaint.as_error(&self.brokers, cause.as_ref())
    }

    /// Whether the brokers have the topics, and let this user read them as a member of the group.
    fn look(&self, client: &BaseConsumer<Context>) -> Result<(), SourceError> {
        let patience = self.config.connect_timeout;
        let mut partitions = TopicPartitionList::new();
        for topic in &self.kafka.topics {
            let answer = client.fetch_metadata(Some(topic), patience);
            let answer = answer.map_err(|error| self.refused(client, "the topics", error))?;
            let found = answer.topics().iter().find(|found| found.name() == topic);
            let Some(found) = found.filter(|found| found.error().is_none()) else {
                return Err(SourceError::NoTopic {
                    brokers: self.brokers.clone(),
                    topic: topic.clone(),
                });
            };
            for partition in found.partitions() {
                partitions.add_partition(topic, partition.id());
            }
        }
        let committed = client.committed_offsets(partitions, patience);
        committed.map_err(|error| self.refused(client, "the group", error))?;
        Ok(())
    }

    /// Why a call failed: librdkafka tells of it aside.
    fn refused(
        &self,
        client: &BaseConsumer<Context>,
        request: &'static str,
        error: KafkaError,
    ) -> SourceError {
        for _ in 0..REASONS {
            if client.poll(REASON_PATIENCE).is_none() {
                break;
            }
        }
        let cause = client.context().told(|told| told.cause.clone());
        let complaint = Complaint {
            request,
            error,
            reason: String::new(),
        };
        complaint.as_error(&self.brokers, cause.as_ref())
    }
}

/// Lets a client end by itself.
fn abandon(leaving: io::Result<Leaving>) {
    if let Err(error) = leaving {
        debug!(%error, "a client was ended in line");
    }
}

impl EventSource for KafkaSource {
    fn receive(&mut self, limit: usize, patience: Duration) -> Result<Vec<Message>, SourceError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.join()?,
        };
        let received = session.receive(Taking {
            limit,
            message_bytes_max: self.message_bytes_max,
            patience,
            join_patience: patience.max(self.config.connect_timeout),
        });
        match received {
            Ok(messages) => {
                self.session = Some(session);
                Ok(messages)
            }
            Err(complaint) => Err(self.failed(session, &complaint)),
        }
    }

    fn acknowledge(&mut self) -> Result<(), SourceError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let acknowledged = session.acknowledge();
        acknowledged.map_err(|complaint| complaint.as_error(&self.brokers, None))
    }

    fn connected_to(&self) -> Option<String> {
        let is_listening = self.session.as_ref().is_some_and(Session::is_listening);
        is_listening.then(|| self.brokers.clone())
    }

    fn leave(&mut self) -> Result<(), SourceError> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        let broker = self.brokers.clone();
        let left = match session.leave() {
            Ok(left) => left,
            Err(source) => return Err(SourceError::Start { broker, source }),
        };
        match left.recv_timeout(LEAVE_PATIENCE) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(complaint)) => Err(complaint.as_error(&self.brokers, None)),
            Err(_) => Err(SourceError::Silent {
                broker,
                silence: LEAVE_PATIENCE,
            }),
        }
    }

    fn check(&self) -> Vec<Checked> {
        let found = self.client().and_then(|client| {
            let found = self.look(&client);
            // It has joined no group, and may wait for brokers all the same.
            abandon(let_go(client));
            found
        });
        vec![Checked {
            broker: self.brokers.clone(),
            found,
        }]
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            abandon(session.leave());
        }
    }
}
