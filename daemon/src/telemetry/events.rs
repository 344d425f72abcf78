//! What is counted of messages and hints; [`metrics`](super::metrics) renders it.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Messages that were heard, by source and event.
const HEARD: &str = "runsync_events_heard_total";
/// Hints that messages came to.
const NOTED: &str = "runsync_events_noted_total";
/// Messages of events that are not known.
const UNKNOWN: &str = "runsync_events_unknown_total";
/// Messages that could not be read.
const POISON: &str = "runsync_events_poison_total";
/// Hints for which there was no room.
const DROPPED: &str = "runsync_events_dropped_total";
/// Tries to listen that failed.
const FAILURES: &str = "runsync_events_failures_total";
/// Whether a source is listened to.
const CONNECTED: &str = "runsync_events_connected";
/// How old the newest message was when it was heard.
const LAG: &str = "runsync_events_lag_seconds";
/// Hints that wait.
pub const WAITING: &str = "runsync_events_hints_waiting";
/// Hints that were ever lost.
pub const LOST: &str = "runsync_events_hints_lost";

/// What messages of a source came to.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    /// Hints.
    pub hints: u64,
    /// Messages of unknown events.
    pub unknown: u64,
    /// Messages that could not be read.
    pub poison: u64,
    /// Hints for which there was no room.
    pub dropped: u64,
}

/// Starts the counts of a source at zero.
pub fn expect(source: &str) {
    let nothing = Tally {
        hints: 0,
        unknown: 0,
        poison: 0,
        dropped: 0,
    };
    noted(source, nothing);
    counter!(FAILURES, "source" => source.to_owned()).increment(0);
    connected(source, false);
}

/// Counts messages by their events.
pub fn heard(source: &str, events: &[&'static str]) {
    for event in events {
        counter!(HEARD, "source" => source.to_owned(), "event" => *event).increment(1);
    }
}

/// Counts what messages came to.
pub fn noted(source: &str, tally: Tally) {
    let source = source.to_owned();
    counter!(NOTED, "source" => source.clone()).increment(tally.hints);
    counter!(UNKNOWN, "source" => source.clone()).increment(tally.unknown);
    counter!(POISON, "source" => source.clone()).increment(tally.poison);
    counter!(DROPPED, "source" => source).increment(tally.dropped);
}

/// Counts a try to listen that failed.
pub fn failed(source: &str) {
    counter!(FAILURES, "source" => source.to_owned()).increment(1);
}

/// Tells whether a source is listened to.
pub fn connected(source: &str, is: bool) {
    gauge!(CONNECTED, "source" => source.to_owned()).set(if is { 1.0 } else { 0.0 });
}

/// Tells how old the newest message was when it was heard.
pub fn lag(source: &str, seconds: f64) {
    gauge!(LAG, "source" => source.to_owned()).set(seconds);
}

/// What Prometheus shows beside each name.
pub(super) fn describe() {
    for (name, text) in [
        (HEARD, "Messages that were heard, by event."),
        (NOTED, "Hints that messages came to."),
        (UNKNOWN, "Messages of events that are not known."),
        (
            POISON,
            "Messages that could not be read, and were set aside.",
        ),
        (
            DROPPED,
            "Hints for which there was no room; everything is looked at instead.",
        ),
        (FAILURES, "Tries to listen to a source that failed."),
    ] {
        describe_counter!(name, text);
    }
    for (name, text) in [
        (CONNECTED, "Whether a source is listened to."),
        (
            LAG,
            "How old the newest message was when it was heard, in seconds.",
        ),
        (
            WAITING,
            "Hints that wait until somebody has looked, by kind.",
        ),
        (
            LOST,
            "Hints that were ever lost, for want of room or of time; everything is looked at instead.",
        ),
    ] {
        describe_gauge!(name, text);
    }
}
