//! Messages by Kafka, which sites feed Rucio's messages into.
//!
//! `source` listens as a member of a consumer group (`session`): the brokers share the partitions of the topics out among
//! members, and keep how far the group has read each of them. `positions` is what was given and not
//! acknowledged yet; `context` is what librdkafka tells meanwhile, `fault` what of it is an error, and
//! `settings` how it is told what to do.
//!
//! # Invariants
//!
//! - An offset is committed only once all messages of its partition before it are in the ledger.
//! - Nothing of a partition is committed that was taken away since it was given: it is another member's
//!   to say.
//! - What waits in memory is bounded, whatever the brokers have.

mod settings;

mod positions;

mod fault;

mod context;

mod session;

mod source;

pub use self::source::KafkaSource;
