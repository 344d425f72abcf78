//! What is counted of Rucio, and of what is published there; [`metrics`](super::metrics) renders it.

use metrics::{counter, describe_counter, describe_gauge};

/// Requests to Rucio, by endpoint and what came of them.
const REQUESTS: &str = "runsync_rucio_requests_total";
/// Manifests that were published.
const PUBLISHED: &str = "runsync_publish_done_total";
/// Files that were registered and attached.
const FILES: &str = "runsync_publish_files_total";
/// Manifests that are ordered and not published.
pub const ORDERED: &str = "runsync_publications_ordered";
/// Those of them that do not go on.
pub const STOPPED: &str = "runsync_publications_stopped";

/// Passes over what Rucio has of this site.
const PASSES: &str = "runsync_sync_passes_total";
/// How long ago a pass last went through a root.
pub const SYNC_AGE: &str = "runsync_sync_age_seconds";
/// Removed runs whose rules have not all ended.
pub const RULE_ENDINGS: &str = "runsync_rule_endings";

/// What came of one try of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// There was an answer.
    Answered,
    /// The server refused, or what answered is not Rucio.
    Refused,
    /// It may pass, or nobody knows what came of it.
    Failed,
}

impl Asked {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Counts a try of a request.
pub fn asked(endpoint: &'static str, outcome: Asked) {
    counter!(REQUESTS, "endpoint" => endpoint, "outcome" => outcome.as_str()).increment(1);
}

/// Counts files that were registered and attached.
pub fn files(count: u64) {
    counter!(FILES).increment(count);
}

/// Counts a manifest that was published.
pub fn published() {
    counter!(PUBLISHED).increment(1);
}

/// Counts a pass over what Rucio has of this site, or a part of one.
pub fn synced(went_well: bool) {
    let outcome = if went_well { "done" } else { "failed" };
    counter!(PASSES, "outcome" => outcome).increment(1);
}

/// What Prometheus shows beside each name.
pub(super) fn describe() {
    for (name, text) in [
        (
            REQUESTS,
            "Tries of requests to Rucio, by what came of them.",
        ),
        (PUBLISHED, "Manifests that were published."),
        (FILES, "Files that were registered in Rucio and attached."),
        (
            PASSES,
            "Passes over what Rucio has of this site, or parts of them.",
        ),
    ] {
        describe_counter!(name, text);
    }
    for (name, text) in [
        (
            SYNC_AGE,
            "Seconds since a comparison with Rucio last went through a root.",
        ),
        (ORDERED, "Manifests that are ordered and not published."),
        (
            RULE_ENDINGS,
            "Removed runs whose rules have not all ended in Rucio, by what they wait for.",
        ),
        (
            STOPPED,
            "Ordered manifests that do not go on by themselves at the moment.",
        ),
    ] {
        describe_gauge!(name, text);
    }
}
