//! What is counted of messages about single files; [`metrics`](super::metrics) renders it.

use metrics::{counter, describe_counter};
use runsync_manifest::name::RseName;

/// What became of messages.
const MESSAGES: &str = "runsync_adopt_messages_total";
/// Manifests written of them.
const MANIFESTS: &str = "runsync_adopt_manifests_total";

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its dataset, or its dimension records, are in a manifest.
    Adopted,
    /// They were known already.
    Known,
    /// The run's owner speaks for it, or it was removed here.
    NotOurs,
    /// It cannot be read.
    Broken,
    /// Of a kind that nobody knows.
    Unknown,
    /// Of a kind that only a Butler reads.
    NeedsButler,
    /// Its file lies in no root.
    Elsewhere,
    /// It contradicts what is known.
    Contrary,
    /// Its run may not be adopted here.
    Foreign,
}

impl Fate {
    /// All of them.
    const ALL: [Self; 9] = [
        Self::Adopted,
        Self::Known,
        Self::NotOurs,
        Self::Broken,
        Self::Unknown,
        Self::NeedsButler,
        Self::Elsewhere,
        Self::Contrary,
        Self::Foreign,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Known => "known",
            Self::NotOurs => "not_ours",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::NeedsButler => "needs_butler",
            Self::Elsewhere => "elsewhere",
            Self::Contrary => "contrary",
            Self::Foreign => "foreign",
        }
    }
}

/// Starts the counters of an RSE at zero.
pub fn expect(rse: &RseName) {
    for fate in Fate::ALL {
        messages(rse, fate, 0);
    }
    manifests(rse, 0);
}

/// Counts a message.
pub fn message(rse: &RseName, fate: Fate) {
    messages(rse, fate, 1);
}

/// Counts messages.
pub fn messages(rse: &RseName, fate: Fate, count: u64) {
    counter!(MESSAGES, "rse" => rse.to_string(), "outcome" => fate.as_str()).increment(count);
}

/// Counts manifests written.
pub fn manifests(rse: &RseName, count: u64) {
    counter!(MANIFESTS, "rse" => rse.to_string()).increment(count);
}

/// Says what the metrics are.
pub(super) fn describe() {
    describe_counter!(
        MESSAGES,
        "Messages about single files, by what became of them"
    );
    describe_counter!(
        MANIFESTS,
        "Manifests written of messages about single files"
    );
}
