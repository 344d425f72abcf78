//! `[rucio.sync]`: how often Rucio is asked what should be here, and how much at a time.

use std::time::Duration;

use serde::Serialize;
use toml::de::DeValue;

use crate::duration;
use crate::problem::Reason;
use crate::raw::Section;
use crate::schedule::Schedule;
use crate::value::{Value, word};

/// Events tell of arrivals at once; this bounds how long a lost one hides them.
const SCHEDULE: &str = "0 */10 * * * *";
/// A pass over thousands of runs takes some thousand requests; what is left over goes on with the next.
const REQUESTS_MAX: u64 = 5_000;
/// Shorter than the pause between two passes.
const TIME_MAX: Duration = Duration::from_secs(5 * 60);
/// More damaged files than that in one pass look like damaged storage.
const DECLARE_MAX: u64 = 100;

/// What Rucio is told of artifacts that it calls available here, and that are damaged or not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Declare {
    /// Nothing, unless an operator declares them.
    Never,
    /// That they are suspicious: Rucio counts it, and does nothing yet.
    Suspicious,
    /// That they are bad: Rucio copies them anew from elsewhere, or gives them up as lost.
    Bad,
}

impl Value for Declare {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let words = [
            ("never", Self::Never),
            ("suspicious", Self::Suspicious),
            ("bad", Self::Bad),
        ];
        word(value, &words)
    }
}

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
    /// What Rucio is told of artifacts of overdue runs that are not what their manifests say.
    pub declare: Declare,
    /// Most artifacts that are declared in one pass; where there are more in a run, none of it is.
    pub declare_max: u64,
}

impl Sync {
    pub(crate) fn read(mut section: Section<'_, '_>) -> Self {
        let schedule = section.optional("schedule");
        let requests_max = section.or("requests_max", REQUESTS_MAX);
        if requests_max == 0 {
            section.report("requests_max", "must be at least 1");
        }
        let time_max = section.or("time_max", TIME_MAX);
        let declare = section.or("declare", Declare::Never);
        let declare_max = section.or("declare_max", DECLARE_MAX);
        if declare_max == 0 {
            let reason = "must be at least 1; `declare = \"never\"` declares nothing";
            section.report("declare_max", reason);
        }
        section.finish();
        Self {
            schedule: schedule.unwrap_or_else(|| Schedule::standard(SCHEDULE)),
            requests_max,
            time_max,
            declare,
            declare_max,
        }
    }
}
