//! Times at which something is done: cron expressions, in UTC.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::Serialize;
use toml::de::DeValue;

use crate::problem::Reason;
use crate::value::{Value, text};

const HINT: &str = "it has six fields, second, minute, hour, day of month, month and day of week, in UTC: \
                    \"0 */10 * * * *\" is every ten minutes";

/// Times that are compared where schedules are: of one that comes daily, more than a year.
const COMPARED: usize = 400;
/// From where they are compared: 2024-01-01T00:00:00Z, the first day of a leap year.
const COMPARED_FROM: i64 = 1_704_067_200;
/// To where: ten years later.
const COMPARED_TO: i64 = COMPARED_FROM + 10 * 366 * 24 * 60 * 60;

/// A cron expression with seconds. Its times are in UTC, whatever zone the machine is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Schedule(String);

impl Schedule {
    /// What it says where configuration does not.
    pub(crate) fn standard(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first of its times that is later than this one, both in whole seconds since 1970 (UTC); none where
    /// none is left.
    pub fn next_after(&self, second: i64) -> Option<i64> {
        let after: DateTime<Utc> = DateTime::from_timestamp(second, 0)?;
        let cron = parse(&self.0).ok()?;
        let next = cron.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp())
    }
}

/// The longest time that passes between two times of any of some schedules, of as many as are compared; none where
/// they have none at all.
pub(crate) fn longest_gap(schedules: &[&Schedule]) -> Option<Duration> {
    let mut upcoming: Vec<_> = (schedules.iter())
        .filter_map(|at| Some((at.next_after(COMPARED_FROM)?, *at)))
        .collect();
    let mut last = upcoming.iter().map(|(next, _)| *next).min()?;
    let mut longest = 0;
    for _ in 0..COMPARED {
        if last > COMPARED_TO {
            break;
        }
        for (next, at) in upcoming.iter_mut().filter(|(next, _)| *next <= last) {
            *next = at.next_after(last)?;
        }
        let next = upcoming.iter().map(|(next, _)| *next).min()?;
        longest = longest.max(next - last);
        last = next;
    }
    u64::try_from(longest).ok().map(Duration::from_secs)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for Schedule {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let text = text(value, "a cron expression").map_err(|reason| reason.hint(HINT))?;
        if ["TZ=", "CRON_TZ="]
            .iter()
            .any(|zone| text.starts_with(zone))
        {
            return Err(Reason::new("names a time zone, and schedules are in UTC").hint(HINT));
        }
        if text.split_whitespace().count() > 6 {
            return Err(
                Reason::new("has more than six fields, and no zone can be named").hint(HINT),
            );
        }
        match parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(Reason::new(format!("is no cron expression: {error}")).hint(HINT)),
        }
    }
}

fn parse(text: &str) -> Result<Cron, croner::errors::CronError> {
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        // As the scheduler reads it.
        .dom_and_dow(true)
        .build();
    parser.parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Schedule, Reason> {
        Schedule::read(&DeValue::String(text.into()))
    }

    #[test]
    fn a_schedule_has_six_fields_and_no_zone() {
        for good in ["0 */10 * * * *", "30 5 3 * * SUN", "*/2 * * * * *"] {
            assert_eq!(read(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "*/10 * * * *",
            "0 */10 * * * * 2030",
            "0 61 * * * *",
            "every ten minutes",
            "TZ=Europe/Berlin 0 0 3 * * *",
            "CRON_TZ=Europe/Berlin 0 0 3 * * *",
            "0 0 3 * * * Europe/Berlin",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_zone_is_refused_with_what_to_write() {
        for text in ["TZ=Europe/Paris 0 0 * * * *", "CRON_TZ=UTC 0 0 * * * *"] {
            let reason = read(text).unwrap_err();
            assert!(reason.text.contains("schedules are in UTC"), "{reason:?}");
            assert!(reason.hint.unwrap().contains("in UTC"));
        }
    }

    #[test]
    fn schedules_leave_gaps_that_others_fill() {
        let (workdays, weekends) = (
            read("0 0 3 * * MON-FRI").unwrap(),
            read("0 0 3 * * SAT,SUN").unwrap(),
        );
        let never = read("0 0 0 30 2 *").unwrap();
        let days = |count: u64| Some(Duration::from_secs(count * 24 * 60 * 60));
        assert_eq!(longest_gap(&[&workdays]), days(3));
        assert_eq!(longest_gap(&[&weekends, &never]), days(6));
        assert_eq!(longest_gap(&[&workdays, &weekends]), days(1));
        assert_eq!((longest_gap(&[&never]), longest_gap(&[])), (None, None));
    }

    #[test]
    fn the_next_time_is_later_than_the_one_asked_about() {
        let nightly = read("0 30 3 * * *").unwrap();
        // 2026-11-28T03:30:00Z
        let at = 1_795_836_600;
        assert_eq!(nightly.next_after(at - 1), Some(at));
        assert_eq!(nightly.next_after(at), Some(at + 24 * 60 * 60));
        let never = read("0 0 0 30 2 *").unwrap();
        assert_eq!(never.next_after(at), None);
    }
}
