//! When a job is due: pure.

use std::time::Duration;

use jiff::Timestamp;
use runsync_config::jobs::Schedule;

use crate::clock::later;
use crate::ledger::jobs::{JobOutcome, JobRow};

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

/// Whether it is late: one of its times came long ago and it was not begun since, or it was broken off and is not
/// through though the time after that has come as well. What lies ahead was left by a clock that was wrong, and
/// tells nothing.
pub fn overdue(at: &Schedule, row: &JobRow, now: Timestamp) -> bool {
    let is_long_ago = |time| later(time, PATIENCE) <= now;
    if row.mark > later(now, PATIENCE) {
        return true;
    }
    let Some(due) = next(at, row.mark).filter(|due| is_long_ago(*due)) else {
        return false;
    };
    if (row.begun_at).is_none_or(|begun| begun < due || begun > later(now, PATIENCE)) {
        return true;
    }
    let is_left = !row.is_open() && row.ended_at.is_none_or(is_long_ago);
    let is_second = || next(at, due).is_some_and(is_long_ago);
    row.outcome == Some(JobOutcome::Interrupted) && (is_left || is_second())
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

    fn row(mark: &str, begun: Option<&str>) -> JobRow {
        JobRow {
            begun_at: begun.map(at),
            ..JobRow::new("nightly".parse().unwrap(), at(mark))
        }
    }

    #[test]
    fn a_job_that_was_not_begun_for_long_is_overdue() {
        let schedule = nightly();
        let is = |begun, now| overdue(&schedule, &row("2026-11-28T03:00:00Z", begun), at(now));
        assert!(!is(None, "2026-11-29T03:09:59Z"));
        assert!(is(None, "2026-11-29T03:10:00Z"));
        assert!(is(Some("2026-11-28T02:00:00Z"), "2026-11-29T03:10:00Z"));
        let under_way = Some("2026-11-29T03:00:02Z");
        assert!(!is(under_way, "2026-11-29T09:00:00Z"));
        assert!(is(Some("2031-11-29T03:00:02Z"), "2026-11-29T03:10:00Z"));
    }

    #[test]
    fn a_job_whose_mark_lies_ahead_is_overdue() {
        let is = |mark| overdue(&nightly(), &row(mark, None), at("2026-11-28T12:00:00Z"));
        assert!(is("2031-11-28T03:00:00Z"));
        assert!(!is("2026-11-28T12:00:01Z"), "clocks are set by seconds");
    }

    #[test]
    fn a_job_that_breaks_off_each_time_is_overdue_when_its_next_time_has_come() {
        let begun = row("2026-11-28T03:00:00Z", Some("2026-11-30T02:00:00Z"));
        let again = JobRow {
            ended_at: Some(at("2026-11-30T01:59:00Z")),
            outcome: Some(JobOutcome::Interrupted),
            ..begun
        };
        let is = |row: &JobRow, now| overdue(&nightly(), row, at(now));
        assert!(!is(&again, "2026-11-30T03:09:59Z"), "it goes on");
        assert!(is(&again, "2026-11-30T03:10:00Z"));
        let left = JobRow {
            ended_at: Some(at("2026-11-30T02:10:00Z")),
            ..again
        };
        assert!(!is(&left, "2026-11-30T02:19:59Z"), "it is begun soon");
        assert!(is(&left, "2026-11-30T02:20:00Z"));
    }
}
