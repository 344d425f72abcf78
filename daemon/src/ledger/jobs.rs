//! What is kept of jobs that are done by schedule.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use runsync_config::jobs::JobName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a run of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobOutcome {
    /// All is well.
    Done,
    /// It did its work, and something was found.
    Found,
    /// It could not do its work.
    Failed,
    /// The daemon stopped meanwhile; it goes on.
    Interrupted,
}

impl JobOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Found, Self::Failed, Self::Interrupted];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Found => "found",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the work was done, whatever it found.
    pub const fn is_success(self) -> bool {
        match self {
            Self::Done | Self::Found => true,
            Self::Failed | Self::Interrupted => false,
        }
    }
}

impl fmt::Display for JobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobOutcome {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let outcome = Self::ALL.into_iter().find(|one| one.as_str() == text);
        outcome.ok_or(())
    }
}

/// When a job was done last, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// The job.
    pub name: JobName,
    /// Its times up to this one are done with, or not to be done.
    pub mark: Timestamp,
    /// When it was begun last.
    pub begun_at: Option<Timestamp>,
    /// When it ended last; none, or earlier than it was begun: it is under way, or broke off.
    pub ended_at: Option<Timestamp>,
    /// How it ended last.
    pub outcome: Option<JobOutcome>,
    /// What came of it, for people.
    pub detail: Option<String>,
    /// When it last succeeded.
    pub succeeded_at: Option<Timestamp>,
    /// How often it ended, whatever came of it.
    pub runs: u64,
    /// How often it failed.
    pub failures: u64,
}

impl JobRow {
    /// A job that is new at this time: its earlier times are none.
    pub fn new(name: JobName, now: Timestamp) -> Self {
        Self {
            name,
            mark: now,
            begun_at: None,
            ended_at: None,
            outcome: None,
            detail: None,
            succeeded_at: None,
            runs: 0,
            failures: 0,
        }
    }

    /// Whether it was begun and has not ended: it is under way, or its process died.
    pub fn is_open(&self) -> bool {
        match (self.begun_at, self.ended_at) {
            (Some(begun), Some(ended)) => ended < begun,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}
