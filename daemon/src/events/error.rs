//! What goes wrong with sources of messages.

use std::io;
use std::time::Duration;

use runsync_config::secret::SecretError;

use crate::disposition::Disposition;
use crate::ledger::LedgerError;
use crate::tls::TlsError;

/// Why a source cannot be listened to.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers at that address.
    #[error("cannot reach broker {broker}")]
    Unreachable {
        /// The broker.
        broker: String,
        /// Why.
        source: io::Error,
    },
    /// The encrypted connection cannot be made.
    #[error("cannot speak TLS with broker {broker}")]
    Handshake {
        /// The broker.
        broker: String,
        /// Why.
        source: io::Error,
    },
    /// The certificates that are configured cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The password cannot be read.
    #[error("cannot read the password of user `{username}`")]
    Secret {
        /// The user.
        username: String,
        /// Why.
        source: SecretError,
    },
    /// The broker refuses a request.
    #[error("broker {broker} refuses {request}: {reason}")]
    Refused {
        /// The broker.
        broker: String,
        /// What was asked.
        request: &'static str,
        /// What it says.
        reason: String,
    },
    /// What the broker says is not what it should say.
    #[error("broker {broker} does not speak STOMP 1.2: {reason}")]
    Protocol {
        /// The broker.
        broker: String,
        /// What is wrong.
        reason: String,
    },
    /// The broker shows no sign of life.
    #[error("broker {broker} has been silent for {}", humantime::format_duration(*.silence))]
    Silent {
        /// The broker.
        broker: String,
        /// For how long.
        silence: Duration,
    },
    /// The connection has ended.
    #[error("the connection to broker {broker} has ended")]
    Ended {
        /// The broker.
        broker: String,
        /// Why; none: the broker has closed it.
        source: Option<io::Error>,
    },
    /// What does the work cannot be started.
    #[error("cannot start what listens to broker {broker}")]
    Start {
        /// The broker.
        broker: String,
        /// Why.
        source: io::Error,
    },
    /// None of the brokers of a cluster can be reached.
    #[error("none of the brokers {brokers} can be reached: {reason}")]
    Away {
        /// The brokers.
        brokers: String,
        /// What is said of the last that was tried.
        reason: String,
    },
    /// Kafka's library fails.
    #[error("brokers {brokers} fail at {request}: {reason}")]
    Kafka {
        /// The brokers.
        brokers: String,
        /// What was asked.
        request: &'static str,
        /// What the library says.
        reason: String,
    },
    /// A topic is not there, or this user may not see it.
    #[error("brokers {brokers} have no topic `{topic}` for this user")]
    NoTopic {
        /// The brokers.
        brokers: String,
        /// The topic.
        topic: String,
    },
    /// This program was built without it.
    #[error("this build of runsync does not speak Kafka")]
    NotBuilt,
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unreachable { .. } | Self::Silent { .. } => {
                "see that the broker runs, and that `brokers` names its port"
            }
            Self::Handshake { .. } => {
                "see that the port is the encrypted one, that `ca_file` vouches for the broker, and that its \
                 certificate names the host in `brokers`"
            }
            Self::Tls(error) => return error.hint(),
            Self::Secret { source, .. } => return Some(source.hint()),
            Self::Refused { .. } => {
                "check `username`, what is in `password_file`, `virtual_host`, and that the user may read there"
            }
            Self::Protocol { .. } => "see that `brokers` names the port that speaks STOMP",
            Self::NoTopic { .. } => "check `topics`, or have the topic made",
            Self::NotBuilt => "build it with the feature `kafka`, which is on unless taken away",
            Self::Ended { .. } | Self::Start { .. } => return None,
            Self::Away { .. } => {
                "see that the brokers run, that `brokers` names their port, and that `tls` and `ca_file` are right"
            }
            Self::Kafka { .. } => {
                "see that the brokers run, and check `brokers`, `tls`, `username`, `password_file` and `sasl`"
            }
        };
        Some(text.to_owned())
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NotBuilt => Disposition::Stop,
            Self::Unreachable { .. }
            | Self::Handshake { .. }
            | Self::Tls(_)
            | Self::Secret { .. }
            | Self::Refused { .. }
            | Self::Protocol { .. }
            | Self::Silent { .. }
            | Self::Ended { .. }
            | Self::Start { .. }
            | Self::Away { .. }
            | Self::Kafka { .. }
            | Self::NoTopic { .. } => Disposition::Retry,
        }
    }
}

/// Why messages cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The source does not work.
    #[error("cannot listen to source `{name}`")]
    Source {
        /// The source.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// The ledger does not take what they say.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Hints that nothing else would tell of have no place.
    #[error(
        "{waiting} hints wait, and {more} more have no place: their messages stay at the broker"
    )]
    Full {
        /// Hints that wait.
        waiting: u64,
        /// Hints that have no place.
        more: usize,
    },
}

impl EventsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source { source, .. } => source.hint(),
            Self::Ledger(error) => error.hint().map(str::to_owned),
            Self::Full { .. } => Some(
                "see by `runsync status` why hints are not acted on, or raise `hints_max` in `[events]`"
                    .to_owned(),
            ),
        }
    }

    /// Whether the lease is another process's by now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Ledger(error) if error.is_fenced())
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Source { source, .. } => source.disposition(),
            Self::Ledger(error) => error.disposition(),
            Self::Full { .. } => Disposition::Retry,
        }
    }
}
