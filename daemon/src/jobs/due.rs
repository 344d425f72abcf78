//! When a job is due: pure.

use std::time::Duration;

use jiff::Timestamp;
use runsync_config::jobs::Schedule;

use crate::clock::later;

/// A job that should have been begun so long ago is overdue: a daemon that lives begins it within seconds.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The first time of a schedule that is later than `than`.
pub fn next(at: &Schedule, than: Timestamp) -> Option<Timestamp> {
    let second = at.next_after(than.as_second())?;
    Timestamp::from_second(second).ok()
}

/// Whether one of its times has come since `mark`, up to which all are done with.
pub fn is_due(at: &Schedule, mark: Timestamp, now: Timestamp) -> bool {
    next(at, mark).is_some_and(|due| due <= now)
}

/// Whether one of its times came long ago, and the job was not begun since.
pub fn overdue(
    at: &Schedule,
    mark: Timestamp,
    begun_at: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let Some(due) = next(at, mark) else {
        return false;
    };
    later(due, PATIENCE) <= now && begun_at.is_none_or(|begun| begun < due)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Every day at three.
    pub(crate) fn nightly() -> Schedule {
        let text = "site.name = 'A'\n[[root]]\nname = 'main'\nurl = 'file:///data'\n\
            [[schedule]]\nname = 'nightly'\njob = 'scan'\nat = '0 0 3 * * *'\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("site.toml");
        #[expect(clippy::disallowed_methods, reason = "a file of this test")]
        std::fs::write(&file, text).unwrap();
        let site = runsync_config::load(Path::new(&file)).unwrap();
        site.schedules.first().unwrap().at.clone()
    }

    #[test]
    fn a_job_is_due_from_its_time_on_until_that_is_done_with() {
        let schedule = nightly();
        let mark = at("2026-11-28T03:00:00Z");
        assert_eq!(next(&schedule, mark), Some(at("2026-11-29T03:00:00Z")));
        for (now, due) in [
            ("2026-11-28T03:00:01Z", false),
            ("2026-11-29T02:59:59Z", false),
            ("2026-11-29T03:00:00Z", true),
            ("2026-12-24T12:00:00Z", true),
        ] {
            assert_eq!(is_due(&schedule, mark, at(now)), due, "{now}");
        }
    }

    #[test]
    fn a_job_that_was_not_begun_for_long_is_overdue() {
        let schedule = nightly();
        let mark = at("2026-11-28T03:00:00Z");
        let is = |begun: Option<&str>, now| overdue(&schedule, mark, begun.map(at), at(now));
        assert!(!is(None, "2026-11-29T03:09:59Z"));
        assert!(is(None, "2026-11-29T03:10:00Z"));
        assert!(is(Some("2026-11-28T02:00:00Z"), "2026-11-29T03:10:00Z"));
        let under_way = Some("2026-11-29T03:00:02Z");
        assert!(!is(under_way, "2026-11-29T09:00:00Z"));
    }
}
