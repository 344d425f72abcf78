//! What is known of each source: for `runsync status` and for metrics.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use runsync_config::events::EventSource as Config;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::noting::Noted;
use crate::poison::lock;
use crate::telemetry::events as counted;

/// A source at one moment. Counts are since its loop began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// The broker that is listened to; none: there is no connection.
    pub connected_to: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When a message last came.
    pub last_message: Option<Timestamp>,
    /// When the newest message was written, as it says.
    pub newest_written: Option<Timestamp>,
    /// Messages that were taken.
    pub heard: u64,
    /// Hints that they came to.
    pub hints: u64,
    /// Messages of events that are not known here.
    pub unknown: u64,
    /// Messages that could not be read.
    pub poison: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Why the last of them did, with its causes; kept after it has recovered.
    pub last_error: Option<String>,
}

/// All sources of a site; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Sources(Arc<Vec<SourceState>>);

/// One of them, shared between its loop and whoever asks.
#[derive(Debug, Clone)]
pub(super) struct SourceState(Arc<Mutex<SourceStatus>>);

impl Sources {
    /// Those that are configured, of which nothing is known yet.
    pub fn new(configured: &[Config]) -> Self {
        let states = configured.iter().map(|config| {
            counted::expect(&config.name);
            SourceState(Arc::new(Mutex::new(SourceStatus {
                name: config.name.clone(),
                ..SourceStatus::default()
            })))
        });
        Self(Arc::new(states.collect()))
    }

    /// What is known of each, in the order of the configuration.
    pub fn statuses(&self) -> Vec<SourceStatus> {
        let states = self.0.iter();
        states.map(|state| lock(&state.0).clone()).collect()
    }

    /// One of them, by its place in the configuration.
    pub(super) fn state(&self, index: usize) -> Option<SourceState> {
        self.0.get(index).cloned()
    }
}

impl SourceState {
    /// Notes which broker is listened to now.
    pub(super) fn listens_to(&self, broker: Option<String>, now: Timestamp) {
        let mut status = lock(&self.0);
        if status.connected_to == broker {
            return;
        }
        counted::connected(&status.name, broker.is_some());
        status.since = broker.is_some().then_some(now);
        status.connected_to = broker;
    }

    /// Notes what came of messages.
    pub(super) fn took(&self, noted: &Noted, now: Timestamp) {
        let mut status = lock(&self.0);
        status.heard = status.heard.saturating_add(noted.heard);
        status.hints = status.hints.saturating_add(noted.hints);
        status.unknown = status.unknown.saturating_add(noted.unknown);
        status.poison = status.poison.saturating_add(noted.poison);
        status.last_message = Some(now);
        if let Some(written) = noted.created_at {
            status.newest_written = status.newest_written.max(Some(written));
            let lag = now.duration_since(written).as_secs_f64().max(0.0);
            counted::lag(&status.name, lag);
        }
    }

    /// Notes why it does not go on.
    pub(super) fn failed(&self, error: String) {
        let mut status = lock(&self.0);
        counted::failed(&status.name);
        status.failures = status.failures.saturating_add(1);
        status.last_error = Some(error);
    }
}
