//! Durations, which carry their units: `"10min"`.

use std::time::Duration;

use serde::Serializer;
use toml::de::DeValue;

use crate::problem::Reason;
use crate::value::{Value, text};

impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint = "a duration carries its unit, such as \"10s\", \"5min\", \"24h\" or \"7days\"";
        let text = text(value, "a duration").map_err(|reason| reason.hint(hint))?;
        let read = humantime::parse_duration(text);
        let duration = read.map_err(|error| {
            Reason::new(format!("is no duration: {}", lowercase(&error.to_string()))).hint(hint)
        })?;
        if duration.is_zero() {
            return Err("must be longer than nothing".into());
        }
        Ok(duration)
    }
}

/// Writes a duration as it is read.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*duration))
}

fn lowercase(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().into_iter().flat_map(char::to_lowercase);
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Duration, Reason> {
        Duration::read(DeValue::parse(toml).unwrap().get_ref())
    }

    #[test]
    fn a_duration_is_read_with_its_unit() {
        assert_eq!(read("'10min'").unwrap(), Duration::from_secs(600));
        assert_eq!(read("'1h 30m'").unwrap(), Duration::from_secs(5400));
    }

    #[test]
    fn a_duration_without_unit_is_refused_with_a_hint() {
        for bare in ["10", "'10'", "1.5", "''", "'0s'", "'10 parsecs'"] {
            assert!(read(bare).is_err(), "{bare}");
        }
        assert!(read("10").unwrap_err().hint.unwrap().contains("unit"));
        assert!(read("'10'").unwrap_err().hint.unwrap().contains("unit"));
    }
}
