//! The loop of one source: receive, note, acknowledge.

use std::sync::Arc;
use std::time::Duration;

use runsync_config::events::EventSource as Config;
use tracing::{debug, info};

use super::error::{EventsError, SourceError};
use super::noting::Noting;
use super::open::open;
use super::source::{EventSource, Message};
use super::sources::SourceState;
use crate::clock::Clock;
use crate::error_chain::error_chain;
use crate::worker::{BackOff, Next, Pulse, StepError, Worker};

/// How long a step waits for a message: the daemon stops, and its watchdog sees it, no later than that.
const PATIENCE: Duration = Duration::from_millis(500);
/// Sites that lost the same broker do not all come back at the same moment; and no site is without messages
/// for longer than a minute after its broker is back.
pub(super) const BACK_OFF: BackOff = BackOff {
    max: Duration::from_secs(60),
    jitter: Duration::from_secs(3),
};

/// Listens to one source.
#[derive(Debug)]
pub(super) struct ListenWorker {
    config: Config,
    noting: Arc<Noting>,
    state: SourceState,
    clock: Arc<dyn Clock>,
    source: Option<Box<dyn EventSource>>,
    /// Messages that were received and are not noted yet.
    held: Vec<Message>,
}

impl ListenWorker {
    /// The loop of a source, of which `state` is told.
    pub(super) fn new(
        config: Config,
        state: SourceState,
        noting: Arc<Noting>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            config,
            noting,
            state,
            clock,
            source: None,
            held: Vec::new(),
        }
    }

    /// Takes what has come, or waits a moment for it.
    fn listen(&mut self) -> Result<(), EventsError> {
        let name = self.config.name.clone();
        let failed = |source: SourceError| EventsError::Source {
            name: name.clone(),
            source,
        };
        let limit = usize::try_from(self.config.batch).unwrap_or(usize::MAX);
        let source = match &mut self.source {
            Some(source) => source,
            none => {
                let most = self.noting.bounds().message_bytes_max;
                none.insert(open(&self.config, most).map_err(failed)?)
            }
        };
        let was_connected = source.connected_to().is_some();
        if self.held.is_empty() {
            self.held = source.receive(limit, PATIENCE).map_err(failed)?;
        }
        let broker = source.connected_to();
        if let (false, Some(broker)) = (was_connected, &broker) {
            info!(source = %name, %broker, "listening");
        }
        let now = self.clock.now();
        self.state.listens_to(broker, now);
        if self.held.is_empty() {
            return Ok(());
        }
        let noted = self.noting.note(&name, &self.held)?;
        self.held.clear();
        self.state.took(&noted, now);
        source.acknowledge().map_err(failed)
    }
}

impl Worker for ListenWorker {
    fn step(&mut self, pulse: &Pulse) -> Result<Next, StepError> {
        let listened = self.listen();
        let is_fenced = listened.as_ref().is_err_and(EventsError::is_fenced);
        if (pulse.is_stopping() || is_fenced)
            && let Some(mut source) = self.source.take()
            && let Err(error) = source.leave()
        {
            // What was acknowledged last may come again: that changes nothing.
            debug!(%error, "cannot take leave of the broker");
        }
        let broker = self
            .source
            .as_ref()
            .and_then(|source| source.connected_to());
        self.state.listens_to(broker, self.clock.now());
        match listened {
            Ok(()) => Ok(Next::Again),
            Err(error) if is_fenced => {
                debug!(%error, "step ended early");
                Ok(Next::Idle(None))
            }
            Err(error) => {
                self.state.failed(error_chain(&error));
                Err(error.into())
            }
        }
    }
}
