//! What is counted of removals; [`metrics`](super::metrics) renders it.
//!
//! Operations are given by their words. A removal is `committed` once and `done` once, which may
//! be after a restart; an artifact counts in each pass over its journal, so only those `deleted` are
//! so once.

use metrics::{Unit, counter, describe_counter, describe_gauge};
use runsync_config::root::RootName;

/// What became of removals up to their commit.
const COMMIT: &str = "runsync_removal_commit_total";
/// What became of artifacts.
const DELETE: &str = "runsync_removal_delete_total";
/// Bytes of the artifacts that were deleted.
const DELETED_BYTES: &str = "runsync_removal_deleted_bytes_total";
/// Removals of which nothing is left to do.
const DONE: &str = "runsync_removal_done_total";
/// Removals that are committed and not done.
pub const UNDER_WAY: &str = "runsync_removals";
/// Journals that committed removals have open.
pub const JOURNALS: &str = "runsync_journals";

/// What a removal came to, up to its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Nobody finds its runs any more.
    Committed,
    /// Nothing has changed.
    Refused,
}

impl Begun {
    fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
        }
    }
}

/// What became of an artifact that a journal names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Artifact {
    /// It is gone by this.
    Deleted,
    /// It was not there.
    Absent,
    /// Another file lies there, and stays.
    Other,
    /// It could not be deleted, and stays in the journal.
    Failed,
    /// It was there, and is gone by Rucio's doing.
    Reaped,
}

impl Artifact {
    /// All of them.
    const ALL: [Self; 5] = [
        Self::Deleted,
        Self::Absent,
        Self::Other,
        Self::Failed,
        Self::Reaped,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Absent => "absent",
            Self::Other => "other",
            Self::Failed => "failed",
            Self::Reaped => "reaped",
        }
    }
}

/// Starts the counters of an operation at zero.
pub fn expect_operation(operation: &'static str) {
    for begun in [Begun::Committed, Begun::Refused] {
        commits(operation, begun).increment(0);
    }
    counter!(DONE, "operation" => operation).increment(0);
}

/// Starts the counters of a root at zero.
pub fn expect_root(root: &RootName) {
    for artifact in Artifact::ALL {
        deletions(root, artifact).increment(0);
    }
    counter!(DELETED_BYTES, "root" => root.to_string()).increment(0);
}

/// Counts a removal that was taken up.
pub fn begun(operation: &'static str, begun: Begun) {
    commits(operation, begun).increment(1);
}

/// Counts a removal of which nothing is left to do.
pub fn done(operation: &'static str) {
    counter!(DONE, "operation" => operation).increment(1);
}

/// Counts artifacts.
pub fn artifacts(root: &RootName, artifact: Artifact, count: u64) {
    deletions(root, artifact).increment(count);
}

/// Counts the bytes of artifacts that were deleted.
pub fn deleted_bytes(root: &RootName, bytes: u64) {
    counter!(DELETED_BYTES, "root" => root.to_string()).increment(bytes);
}

fn commits(operation: &'static str, begun: Begun) -> metrics::Counter {
    counter!(COMMIT, "operation" => operation, "outcome" => begun.as_str())
}

fn deletions(root: &RootName, artifact: Artifact) -> metrics::Counter {
    counter!(DELETE, "root" => root.to_string(), "outcome" => artifact.as_str())
}

/// What Prometheus shows beside each name.
pub(super) fn describe() {
    for (name, text) in [
        (
            COMMIT,
            "Removals that were taken up, by whether they were committed.",
        ),
        (DONE, "Removals of which nothing is left to do."),
        (
            DELETE,
            "Artifacts that journals name, by what became of them in a pass.",
        ),
    ] {
        describe_counter!(name, text);
    }
    describe_counter!(
        DELETED_BYTES,
        Unit::Bytes,
        "Bytes of artifacts that were deleted."
    );
    for (name, text) in [
        (UNDER_WAY, "Removals that are committed and not done."),
        (JOURNALS, "Journals that committed removals have open."),
    ] {
        describe_gauge!(name, text);
    }
}
