//! Sets up logging: lines for people or JSON on standard error, or fields in systemd's journal.

use std::io::IsTerminal;

use runsync_config::log::{Log, LogFormat};
use thiserror::Error;
use tracing_subscriber::filter::{FilterExt, LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// Logging that cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("cannot read the log filter `{filter}`")]
    Filter {
        /// The filter as configured.
        filter: String,
        /// Why.
        source: ParseError,
    },
    /// The journal's socket cannot be reached.
    #[error("cannot reach the journal of systemd")]
    Journal(#[source] std::io::Error),
    /// Something else logs already.
    #[error("cannot set up logging twice")]
    Twice(#[source] TryInitError),
}

/// Starts logging as `log` says, for the rest of the process.
pub fn start(log: &Log) -> Result<(), TelemetryError> {
    start_up_to(log, LevelFilter::TRACE)
}

/// The same for a command that does a daemon's work: what it warns of must not be lost, and the rest it
/// prints itself.
pub fn start_for_a_command(log: &Log) -> Result<(), TelemetryError> {
    start_up_to(log, LevelFilter::WARN)
}

fn start_up_to(log: &Log, level: LevelFilter) -> Result<(), TelemetryError> {
    let filter = filter(&log.filter)?.and(level);
    let stderr = std::io::stderr;
    let lines = fmt::layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Human => Box::new(lines),
        LogFormat::Json => Box::new(lines.json()),
        LogFormat::Journald => {
            Box::new(tracing_journald::layer().map_err(TelemetryError::Journal)?)
        }
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    subscriber.try_init().map_err(TelemetryError::Twice)
}

/// Libraries that log at INFO what only their makers ask for.
const QUIET: &str = "tokio_cron_scheduler=warn";

/// Reads filter directives such as `info,runsync::ingest=debug`.
pub fn filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    // What is said later of the same target counts.
    let parsed = EnvFilter::builder().parse(format!("{QUIET},{directives}"));
    parsed.map_err(|source| TelemetryError::Filter {
        filter: directives.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        assert!(filter("info,runsync::ingest=debug").is_ok());
        let error = filter("info,runsync=lots").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the log filter `info,runsync=lots`"
        );
    }
}
