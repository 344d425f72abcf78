//! `[rucio.sync]`: how often Rucio is asked what should be here, and how much at a time.

use std::time::Duration;

use serde::Serialize;

use crate::duration;
use crate::raw::Section;
use crate::schedule::Schedule;

/// Events tell of arrivals at once; this bounds how long a lost one hides them.
const SCHEDULE: &str = "0 */10 * * * *";
/// A pass over thousands of runs takes some thousand requests; what is left over goes on with the next.
const REQUESTS_MAX: u64 = 5_000;
/// Shorter than the pause between two passes.
const TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// When Rucio is asked what should be here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sync {
    /// When a pass over all runs begins, or goes on.
    pub schedule: Schedule,
    /// Most requests of one pass; the next one goes on where it stopped.
    pub requests_max: u64,
    /// How long one pass may take.
    #[serde(serialize_with = "duration::serialize")]
    pub time_max: Duration,
}

impl Sync {
    pub(crate) fn read(mut section: Section<'_, '_>) -> Self {
        let schedule = section.optional("schedule");
        let requests_max = section.or("requests_max", REQUESTS_MAX);
        if requests_max == 0 {
            section.report("requests_max", "must be at least 1");
        }
        let time_max = section.or("time_max", TIME_MAX);
        section.finish();
        Self {
            schedule: schedule.unwrap_or_else(|| Schedule::standard(SCHEDULE)),
            requests_max,
            time_max,
        }
    }
}
