//! What goes wrong with librdkafka, in the words of all sources.
//!
//! librdkafka mends what it can by itself and tells of everything, so most of what it tells is no error of the
//! source: one broker of several is away, a partition went to another member. [`Severity::of`] tells these apart.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::events::error::SourceError;

/// What an error that librdkafka tells of is to this source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// It goes on by itself.
    Passing,
    /// A reason why a broker cannot be reached; others may be.
    Broker,
    /// No broker can be reached.
    Away,
    /// The brokers do not allow it, or do not have it.
    Refusal,
    /// Nothing comes of this client any more.
    Fatal,
    /// Something else.
    Other,
}

impl Severity {
    pub(super) fn of(error: &KafkaError) -> Self {
        if let KafkaError::MessageConsumptionFatal(_) = error {
            return Self::Fatal;
        }
        let Some(code) = error.rdkafka_error_code() else {
            return Self::Other;
        };
        Self::of_code(code)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "there are a hundred codes, and newer versions have more"
    )]
    pub(super) fn of_code(code: Code) -> Self {
        match code {
            Code::PartitionEOF
            | Code::NoOffset
            | Code::PollExceeded
            | Code::AssignmentLost
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::WaitingForCoordinator
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::OffsetOutOfRange
            | Code::AutoOffsetReset => Self::Passing,
            Code::BrokerTransportFailure
            | Code::Resolve
            | Code::SSL
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::OperationTimedOut
            | Code::RequestTimedOut => Self::Broker,
            Code::AllBrokersDown => Self::Away,
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed => Self::Refusal,
            Code::Fatal => Self::Fatal,
            _ => Self::Other,
        }
    }
}

/// An error of librdkafka, and what it says about it.
#[derive(Debug, Clone)]
pub(super) struct Complaint {
    /// What was asked.
    pub(super) request: &'static str,
    /// The error.
    pub(super) error: KafkaError,
    /// What it says; empty: nothing beyond that.
    pub(super) reason: String,
}

impl Complaint {
    /// The same as an error of a source that listens to `brokers`. `cause` is why the last broker could not be
    /// reached, of which the error itself tells nothing.
    pub(super) fn as_error(&self, brokers: &str, cause: Option<&Self>) -> SourceError {
        let broker = brokers.to_owned();
        match Severity::of(&self.error) {
            Severity::Away | Severity::Broker => {
                let cause = cause.unwrap_or(self);
                match cause.error.rdkafka_error_code() {
                    Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                        SourceError::Refused {
                            broker,
                            request: "the login",
                            reason: cause.said(),
                        }
                    }
                    _ => SourceError::Away {
                        brokers: broker,
                        reason: cause.said(),
                    },
                }
            }
            Severity::Refusal => SourceError::Refused {
                broker,
                request: self.request,
                reason: self.said(),
            },
            Severity::Passing | Severity::Fatal | Severity::Other => SourceError::Kafka {
                brokers: broker,
                request: self.request,
                reason: self.said(),
            },
        }
    }

    /// What librdkafka says, or what its code means.
    fn said(&self) -> String {
        if !self.reason.is_empty() {
            return self.reason.clone();
        }
        match self.error.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => self.error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(code: Code, reason: &str) -> Complaint {
        Complaint {
            request: "the messages",
            error: KafkaError::MessageConsumption(code),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn that_no_broker_is_there_is_told_with_the_reason_of_the_last() {
        let away = complaint(Code::AllBrokersDown, "1/1 brokers are down");
        let refused = complaint(Code::BrokerTransportFailure, "Connection refused");
        let error = away.as_error("kafka:9092", Some(&refused));
        assert_eq!(
            error.to_string(),
            "none of the brokers kafka:9092 can be reached: Connection refused"
        );
        let login = complaint(Code::Authentication, "SASL authentication error");
        let error = away.as_error("kafka:9092", Some(&login));
        assert!(
            matches!(
                error,
                SourceError::Refused {
                    request: "the login",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn that_partitions_move_is_no_error() {
        for code in [
            Code::RebalanceInProgress,
            Code::IllegalGeneration,
            Code::PollExceeded,
        ] {
            assert_eq!(Severity::of_code(code), Severity::Passing);
        }
    }
}
