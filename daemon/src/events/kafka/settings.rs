//! How librdkafka is told what to do. Its `CONFIGURATION.md` says what each setting means.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use runsync_config::events::{Begin, EventSource as Config, Kafka, Sasl};
use runsync_config::secret;

use crate::events::error::SourceError;
use crate::tls;

/// A member of which nothing is heard for so long is no member any more, and others get its partitions: so long a
/// message may wait after a kill. Brokers allow no less than 6 s unless told otherwise.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of messages that wait in memory.
const QUEUE_BYTES: usize = 16 << 20;
/// Batches that wait in memory, as far as the bytes allow.
const QUEUE_BATCHES: u32 = 10;
/// How long fetching rests once that many wait. librdkafka rests a second, in which a fast reader runs dry.
const QUEUE_REST: Duration = Duration::from_millis(20);
/// How often topics that came, and partitions that were added, are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Brokers that are away are tried again after so long, which grows.
const RECONNECT_MIN: Duration = Duration::from_millis(500);
/// The longest of these.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// The settings of a consumer. They hold the password: `Debug` of them shows nothing of it.
///
/// # Errors
///
/// Where the password or the certificates cannot be read.
pub(super) fn consumer(config: &Config, kafka: &Kafka) -> Result<ClientConfig, SourceError> {
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers(config))
        .set("client.id", "runsync")
        .set("group.id", &kafka.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        .set("session.timeout.ms", milliseconds(SESSION_TIMEOUT))
        .set(
            "socket.connection.setup.timeout.ms",
            milliseconds(config.connect_timeout),
        )
        .set("reconnect.backoff.ms", milliseconds(RECONNECT_MIN))
        .set("reconnect.backoff.max.ms", milliseconds(RECONNECT_MAX))
        .set(
            "topic.metadata.refresh.interval.ms",
            milliseconds(LOOK_INTERVAL),
        )
        .set(
            "queued.max.messages.kbytes",
            (QUEUE_BYTES >> 10).to_string(),
        )
        .set(
            "queued.min.messages",
            config.batch.saturating_mul(QUEUE_BATCHES).to_string(),
        )
        .set("fetch.max.bytes", QUEUE_BYTES.to_string())
        .set("fetch.queue.backoff.ms", milliseconds(QUEUE_REST))
        .set(
            "auto.offset.reset",
            match kafka.from {
                Begin::Earliest => "earliest",
                Begin::Latest => "latest",
            },
        )
        .set(
            "security.protocol",
            match (config.tls, config.login.is_some()) {
                (true, true) => "sasl_ssl",
                (true, false) => "ssl",
                (false, true) => "sasl_plaintext",
                (false, false) => "plaintext",
            },
        )
        .set_log_level(RDKafkaLogLevel::Info);
    if let Some(file) = config.ca_file.as_deref().filter(|_| config.tls) {
        settings.set("ssl.ca.pem", tls::authorities_as_pem(file)?);
        // Beside those of the system, which librdkafka leaves out where others are named.
        if let Some(of_system) = tls::authorities_of_system() {
            settings.set("ssl.ca.location", of_system);
        }
    }
    if let (Some(login), Some(sasl)) = (&config.login, kafka.sasl) {
        let password = secret::read(&login.password_file).map_err(|source| {
            let username = login.username.clone();
            SourceError::Secret { username, source }
        })?;
        settings
            .set(
                "sasl.mechanism",
                match sasl {
                    Sasl::Plain => "PLAIN",
                    Sasl::ScramSha256 => "SCRAM-SHA-256",
                    Sasl::ScramSha512 => "SCRAM-SHA-512",
                },
            )
            .set("sasl.username", &login.username)
            .set(
                "sasl.password",
                password.expose().trim_end_matches(['\r', '\n']),
            );
    }
    Ok(settings)
}

/// All brokers, with commas between.
pub(super) fn brokers(config: &Config) -> String {
    let brokers: Vec<String> = config.brokers.iter().map(ToString::to_string).collect();
    brokers.join(",")
}
