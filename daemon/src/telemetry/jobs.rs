//! What is counted of jobs and scans; [`metrics`](super::metrics) renders it.

use metrics::{Unit, describe_counter, describe_gauge};

/// How long ago a job last did its work.
pub const AGE: &str = "runsync_job_last_success_age_seconds";
/// Whether a job should have been begun some time ago.
pub const OVERDUE: &str = "runsync_job_overdue";
/// How often a job ended.
pub const RUNS: &str = "runsync_job_runs_total";
/// How often a job failed.
pub const FAILURES: &str = "runsync_job_failures_total";
/// Drift that scans have found and that has not healed.
pub const DRIFT: &str = "runsync_scan_findings";
/// Since when all of a root has been seen.
pub const SEEN_AGE: &str = "runsync_scan_seen_age_seconds";
/// Whether scans of a root are behind its period.
pub const BEHIND: &str = "runsync_scan_behind";

/// What Prometheus shows beside each name.
pub(super) fn describe() {
    describe_counter!(RUNS, "Times that a job ended, whatever came of it.");
    describe_counter!(FAILURES, "Times that a job failed.");
    for (name, text) in [
        (
            OVERDUE,
            "Whether a job should have been begun some time ago.",
        ),
        (
            DRIFT,
            "Drift that scans have found, by kind, without what is left out.",
        ),
        (
            BEHIND,
            "Whether scans of the root are behind its scan_period.",
        ),
    ] {
        describe_gauge!(name, text);
    }
    for (name, text) in [
        (AGE, "Seconds since the job last did its work."),
        (
            SEEN_AGE,
            "Seconds since which all of the root has been seen by scans.",
        ),
    ] {
        describe_gauge!(name, Unit::Seconds, text);
    }
}
