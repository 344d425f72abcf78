//! What librdkafka tells besides messages.
//!
//! It calls back from within the calls that a source makes, on the same thread; what it tells is kept until the source
//! asks.

use std::sync::Mutex;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::debug;

use super::fault::{Complaint, Severity};
use super::positions::Partition;
use crate::poison::lock;

/// Keeps what librdkafka tells of one source.
#[derive(Debug)]
pub(super) struct Context {
    /// The source, for the log.
    name: String,
    told: Mutex<Told>,
}

/// What it has told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whether the group has given this member its share of the partitions, which may be none.
    pub(super) has_share: bool,
    /// Partitions that were taken away, since this was last asked.
    pub(super) taken_away: Vec<Partition>,
    /// What the last error was about.
    pub(super) reason: String,
    /// Why a broker could last not be reached.
    pub(super) cause: Option<Complaint>,
    /// Why offsets could not be committed, since this was last asked.
    pub(super) uncommitted: Option<KafkaError>,
}

impl Context {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            told: Mutex::default(),
        }
    }

    /// Looks at what was told.
    pub(super) fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut lock(&self.told))
    }
}

impl ClientContext for Context {
    /// Whatever stops a source is told as an error as well, and logged where that is handled.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let source = &self.name;
        debug!(%source, ?level, facility, line, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut told = lock(&self.told);
        reason.clone_into(&mut told.reason);
        if Severity::of(&error) == Severity::Broker {
            told.cause = Some(Complaint {
                request: "a connection",
                error,
                reason: reason.to_owned(),
            });
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let source = &self.name;
        let mut told = lock(&self.told);
        match rebalance {
            Rebalance::Assign(partitions) => {
                told.has_share = true;
                debug!(%source, partitions = partitions.count(), "partitions were given");
            }
            Rebalance::Revoke(partitions) => {
                told.has_share = false;
                told.taken_away.extend(named(partitions));
                debug!(%source, partitions = partitions.count(), "partitions were taken away");
            }
            Rebalance::Error(error) => {
                told.has_share = false;
                debug!(%source, %error, "partitions cannot be shared out");
            }
        }
    }

    fn commit_callback(&self, committed: KafkaResult<()>, _: &TopicPartitionList) {
        let Err(error) = committed else { return };
        if Severity::of(&error) == Severity::Passing {
            // Who reads on there says it, or it comes again.
            debug!(source = %self.name, %error, "offsets were not committed");
        } else {
            lock(&self.told).uncommitted = Some(error);
        }
    }
}

fn named(partitions: &TopicPartitionList) -> Vec<Partition> {
    let elements = partitions.elements().into_iter();
    elements
        .map(|element| Partition {
            topic: element.topic().to_owned(),
            number: element.partition(),
        })
        .collect()
}
