//! One membership of a group, from joining it to leaving it.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::debug;

use super::context::Context;
use super::fault::{Complaint, Severity};
use super::positions::Positions;
use crate::events::source::Message;

/// Bytes of messages beyond which no more are taken, so that large ones come in small batches.
const BYTES: usize = 16 << 20;

/// Nothing more is told of what happened before, where nothing has been for so long.
const QUIET: Duration = Duration::from_millis(50);

/// How many messages are taken at a time, how large, and how long they are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taking {
    pub(super) limit: usize,
    pub(super) message_bytes_max: u64,
    pub(super) patience: Duration,
    /// How long the group may take to give this member its share of the partitions.
    pub(super) join_patience: Duration,
}

/// A member of the group, as long as it lives.
pub(super) struct Session {
    consumer: BaseConsumer<Context>,
    /// One of the topics, asked for to see whether a broker answers.
    topic: String,
    given: Positions,
    /// Why nothing comes: until a broker answers, or the group gives this member its share.
    hindrance: Option<Complaint>,
    /// What went wrong after messages had come: they go first.
    after: Option<Complaint>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("given", &self.given)
            .field("hindrance", &self.hindrance)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Joins the group, as soon as a broker answers.
    pub(super) fn join(consumer: BaseConsumer<Context>, topics: &[String]) -> KafkaResult<Self> {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Self {
            consumer,
            topic: topics.first().copied().unwrap_or_default().to_owned(),
            given: Positions::default(),
            hindrance: None,
            after: None,
        })
    }

    /// Its client.
    pub(super) fn client(&self) -> &BaseConsumer<Context> {
        &self.consumer
    }

    /// Whether messages were given that are not acknowledged.
    pub(super) fn owes(&self) -> bool {
        !self.given.is_empty()
    }

    /// Whether messages come as soon as there are any.
    pub(super) fn is_listening(&self) -> bool {
        self.hindrance.is_none() && self.consumer.context().told(|told| told.has_share)
    }

    /// The next messages.
    pub(super) fn receive(&mut self, taking: Taking) -> Result<Vec<Message>, Complaint> {
        if let Some(complaint) = self.after.take() {
            return Err(complaint);
        }
        let begin = Instant::now();
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while messages.len() < taking.limit && bytes < BYTES {
            let wait = if messages.is_empty() {
                self.wait(taking, begin.elapsed())
            } else {
                // What has come already is taken together, as far as it goes.
                Duration::ZERO
            };
            let polled = self.consumer.poll(wait);
            let context = self.consumer.context();
            let taken_away = context.told(|told| std::mem::take(&mut told.taken_away));
            self.given.forget(&taken_away);
            match polled {
                Some(Ok(message)) => {
                    let body = message.payload().unwrap_or_default();
                    let (topic, number) = (message.topic(), message.partition());
                    self.given.give(topic, number, message.offset());
                    bytes += body.len();
                    messages.push(Message::of(body, taking.message_bytes_max));
                    self.hindrance = None;
                }
                Some(Err(error)) => {
                    let Some(complaint) = judge(context, error) else {
                        continue;
                    };
                    if is_lasting(context, &complaint) {
                        // It may be an old one: whether it still holds is asked at the end.
                        self.hindrance = Some(complaint);
                        continue;
                    }
                    if messages.is_empty() {
                        return Err(complaint);
                    }
                    self.after = Some(complaint);
                    break;
                }
                None if wait <= QUIET => break,
                // What is called back ends the wait early.
                None => {}
            }
        }
        if !messages.is_empty() {
            return Ok(messages);
        }
        match self.trouble(taking.patience) {
            None => Ok(messages),
            Some(trouble) => Err(trouble),
        }
    }

    /// How long the next message is waited for.
    fn wait(&self, taking: Taking, waited: Duration) -> Duration {
        if self.hindrance.is_some() {
            // Only until all is heard that was told of it meanwhile.
            return taking.patience.saturating_sub(waited).min(QUIET);
        }
        let patience = if self.is_listening() {
            taking.patience
        } else {
            taking.join_patience
        };
        patience.saturating_sub(waited)
    }

    /// What has gone wrong by itself: offsets that could not be committed, or what hinders this member still.
    fn trouble(&mut self, patience: Duration) -> Option<Complaint> {
        let context = self.consumer.context();
        let uncommitted = context.told(|told| told.uncommitted.take());
        if let Some(error) = uncommitted {
            // Once more: what is committed later says it as well.
            let again = self.commit();
            let error = again.err().unwrap_or(error);
            return Some(complaint("a commit of offsets", error));
        }
        let hindrance = self.hindrance.take()?;
        if !self.is_over(&hindrance, patience) {
            self.hindrance = Some(hindrance);
        }
        self.hindrance.clone()
    }

    /// Whether what hindered this member does no more: librdkafka mends it by itself, and does not tell.
    fn is_over(&self, hindrance: &Complaint, patience: Duration) -> bool {
        if Severity::of(&hindrance.error) == Severity::Away {
            let answer = self.consumer.fetch_metadata(Some(&self.topic), patience);
            return answer.is_ok();
        }
        self.consumer.context().told(|told| told.has_share)
    }

    /// Says that all that was given is safe.
    pub(super) fn acknowledge(&mut self) -> Result<(), Complaint> {
        if self.given.is_empty() {
            return Ok(());
        }
        let stored = self.store();
        let committed = stored.and_then(|()| self.commit());
        committed.map_err(|error| complaint("a commit of offsets", error))
    }

    fn store(&mut self) -> KafkaResult<()> {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in self.given.take() {
            let (topic, number) = (&partition.topic, partition.number);
            offsets.add_partition_offset(topic, number, Offset::Offset(next))?;
        }
        match self.consumer.store_offsets(&offsets) {
            // They are other members' by now.
            Err(KafkaError::StoreOffset(Code::State | Code::UnknownPartition)) => Ok(()),
            stored => stored,
        }
    }

    fn commit(&self) -> KafkaResult<()> {
        unless_nothing(self.consumer.commit_consumer_state(CommitMode::Async))
    }

    /// Leaves the group.
    pub(super) fn leave(self) -> io::Result<Leaving> {
        let_go(self.consumer)
    }
}

/// Says once that a member has left, and how its last commit went.
pub(super) type Leaving = Receiver<Result<(), Complaint>>;

/// Ends a client, on a thread of its own: that waits for brokers.
pub(super) fn let_go(client: BaseConsumer<Context>) -> io::Result<Leaving> {
    let (done, leaving) = mpsc::sync_channel(1);
    let leave = move || {
        let committed = unless_nothing(client.commit_consumer_state(CommitMode::Sync));
        drop(client);
        let committed = committed.map_err(|error| complaint("a commit of offsets", error));
        // Nobody may wait for it.
        drop(done.send(committed));
    };
    let thread = thread::Builder::new().name("kafka-leave".to_owned());
    thread.spawn(leave)?;
    Ok(leaving)
}

/// What of an error is one of the source.
fn judge(context: &Context, error: KafkaError) -> Option<Complaint> {
    let reason = context.told(|told| std::mem::take(&mut told.reason));
    match Severity::of(&error) {
        Severity::Passing | Severity::Broker => {
            debug!(%error, reason, "goes on by itself");
            None
        }
        Severity::Away | Severity::Refusal | Severity::Fatal | Severity::Other => Some(Complaint {
            request: "the messages",
            error,
            reason,
        }),
    }
}

/// Whether nothing comes until something has changed.
fn is_lasting(context: &Context, complaint: &Complaint) -> bool {
    match Severity::of(&complaint.error) {
        Severity::Away => true,
        // One of several topics may be refused.
        Severity::Refusal => !context.told(|told| told.has_share),
        Severity::Passing | Severity::Broker | Severity::Fatal | Severity::Other => false,
    }
}

fn complaint(request: &'static str, error: KafkaError) -> Complaint {
    Complaint {
        request,
        error,
        reason: String::new(),
    }
}

/// That there is nothing to commit, or that others say it by now, is no error.
fn unless_nothing(committed: KafkaResult<()>) -> KafkaResult<()> {
    match committed {
        Err(error) if Severity::of(&error) == Severity::Passing => Ok(()),
        committed => committed,
    }
}
