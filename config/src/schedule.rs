//! Times at which something is done: cron expressions, in UTC.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::Serialize;
use toml::de::DeValue;

use crate::problem::Reason;
use crate::value::{Value, text};

const HINT: &str = "it has six fields, second, minute, hour, day of month, month and day of week, in UTC: \
                    \"0 */10 * * * *\" is every ten minutes";

/// From where times are compared: 2024-01-01T00:00:00Z, the first day of a leap year.
const COMPARED_FROM: i64 = 1_704_067_200;
/// To where: five years later, so that a leap day is among them twice.
const COMPARED_TO: i64 = COMPARED_FROM + 5 * 366 * 24 * 60 * 60;
/// Steps that are taken on this way at most: of an hour each they come further than a year.
const STEPS_MAX: usize = 20_000;

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

/// The longest time that passes between two times of any of some schedules, where it is longer than `above`; else
/// that.
pub(crate) fn longest_gap(schedules: &[&Schedule], above: Duration) -> Duration {
    let crons: Vec<Cron> = schedules
        .iter()
        .filter_map(|at| parse(&at.0).ok())
        .collect();
    let mut longest = TimeDelta::from_std(above).unwrap_or(TimeDelta::MAX);
    let from = DateTime::from_timestamp(COMPARED_FROM, 0);
    let mut last = from.and_then(|from| first_after(&crons, from));
    for _ in 0..STEPS_MAX {
        let Some(at) = last.filter(|at| at.timestamp() <= COMPARED_TO) else {
            break;
        };
        // The last time that is no longer away than the longest gap; where there is none, what comes next is.
        let near = at.checked_add_signed(longest);
        let near = near.and_then(|near| last_until(&crons, near));
        last = near.filter(|near| *near > at).or_else(|| {
            let next = first_after(&crons, at)?;
            longest = longest.max(next - at);
            Some(next)
        });
    }
    longest.to_std().unwrap_or(above)
}

fn first_after(crons: &[Cron], at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let next = crons
        .iter()
        .map(|cron| cron.find_next_occurrence(&at, false));
    next.filter_map(Result::ok).min()
}

fn last_until(crons: &[Cron], at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let last = (crons.iter()).map(|cron| cron.find_previous_occurrence(&at, true));
    last.filter_map(Result::ok).max()
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
        match text.split_whitespace().count() {
            6 => {}
            7.. => {
                let reason = Reason::new("has more than six fields, and no zone can be named");
                return Err(reason.hint(HINT));
            }
            _ => return Err(Reason::new("has fewer than six fields").hint(HINT)),
        }
        if let Err(error) = parse(text) {
            return Err(Reason::new(format!("is no cron expression: {error}")).hint(HINT));
        }
        let schedule = Self(text.to_owned());
        if schedule.next_after(COMPARED_FROM).is_none() {
            let hint = "see the day of month beside the month: some months have no such day";
            return Err(Reason::new("never comes").hint(hint));
        }
        Ok(schedule)
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
            "@daily",
            "0 0 3 30 2 *",
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
        let hour = Duration::from_secs(60 * 60);
        assert_eq!(longest_gap(&[&workdays], hour), 72 * hour);
        assert_eq!(longest_gap(&[&weekends], hour), 144 * hour);
        assert_eq!(longest_gap(&[&workdays, &weekends], hour), 24 * hour);
        assert_eq!(longest_gap(&[&workdays], 100 * hour), 100 * hour);
        let dense = read("*/2 * 3 * * *").unwrap();
        assert_eq!(
            longest_gap(&[&dense], hour),
            23 * hour + Duration::from_secs(2)
        );
        let leap_days = read("0 0 0 29 2 *").unwrap();
        assert_eq!(longest_gap(&[&leap_days], hour), 1_461 * 24 * hour);
    }

    #[test]
    fn the_next_time_is_later_than_the_one_asked_about() {
        let nightly = read("0 30 3 * * *").unwrap();
        // 2026-11-28T03:30:00Z
        let at = 1_795_836_600;
        assert_eq!(nightly.next_after(at - 1), Some(at));
        assert_eq!(nightly.next_after(at), Some(at + 24 * 60 * 60));
    }
}
