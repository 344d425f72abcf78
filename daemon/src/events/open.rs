//! From configuration to a source.

use runsync_config::events::{EventSource as Config, EventSourceKind};

use super::error::SourceError;
use super::source::EventSource;
use super::stomp::StompSource;

/// Refuses a source that this program was built without.
///
/// # Errors
///
/// That it was.
pub fn check_built(config: &Config) -> Result<(), SourceError> {
    match &config.kind {
        EventSourceKind::Stomp(_) => Ok(()),
        EventSourceKind::Kafka(_) if cfg!(feature = "kafka") => Ok(()),
        EventSourceKind::Kafka(_) => Err(SourceError::NotBuilt),
    }
}

/// The source that is configured, not connected yet. Messages of more than `message_bytes_max` bytes are not read.
///
/// # Errors
///
/// Where its files cannot be used, or this program was built without it.
pub fn open(config: &Config, message_bytes_max: u64) -> Result<Box<dyn EventSource>, SourceError> {
    match &config.kind {
        EventSourceKind::Stomp(stomp) => {
            let source = StompSource::new(config, stomp, message_bytes_max)?;
            Ok(Box::new(source))
        }
        #[cfg(feature = "kafka")]
        EventSourceKind::Kafka(kafka) => {
            let source = super::kafka::KafkaSource::new(config, kafka, message_bytes_max);
            Ok(Box::new(source))
        }
        #[cfg(not(feature = "kafka"))]
        EventSourceKind::Kafka(_) => Err(SourceError::NotBuilt),
    }
}
