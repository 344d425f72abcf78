//! JSON as Python writes it.
//!
//! Rucio's answers are made by Python's `json`, which writes an infinite number, such as the quota of
//! an account without a limit, as `Infinity`: no JSON (RFC 8259, section 6).

use serde::de::DeserializeOwned;

/// The numbers that Python writes and JSON does not have, the longer first, and what is read for them.
const NUMBERS: [(&str, &str); 3] = [
    ("-Infinity", "-1.7976931348623157e308"),
    ("Infinity", "1.7976931348623157e308"),
    ("NaN", "null"),
];

/// Reads it; an infinite number becomes the largest one, and one that is none becomes `null`.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let error = match serde_json::from_slice(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match std::str::from_utf8(text)
        .ok()
        .and_then(with_numbers_of_json)
    {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    }
}

/// The text without such numbers outside of its strings; `None` where there are none.
fn with_numbers_of_json(text: &str) -> Option<String> {
    let (mut written, mut rest, mut is_in_string) = (String::new(), text, false);
    let mut is_changed = false;
    while let Some(first) = rest.chars().next() {
        let number = NUMBERS.iter().find(|(name, _)| rest.starts_with(name));
        let taken = match number {
            Some((name, number)) if !is_in_string => {
                written.push_str(number);
                is_changed = true;
                name.len()
            }
            _ if is_in_string && first == '\\' => {
                let taken = rest.chars().take(2).map(char::len_utf8).sum();
                written.extend(rest.get(..taken));
                taken
            }
            _ => {
                is_in_string ^= first == '"';
                written.push(first);
                first.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    is_changed.then_some(written)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn infinite_numbers_are_read_outside_of_strings() {
        let read = |text: &str| read::<Value>(text.as_bytes()).ok();
        assert_eq!(read(r#"{"A": 1}"#), Some(json!({"A": 1})));
        assert_eq!(
            read(r#"{"A": Infinity, "B": -Infinity, "C": NaN, "D\\": "\"Infinity"}"#),
            Some(json!({"A": f64::MAX, "B": f64::MIN, "C": null, "D\\": "\"Infinity"}))
        );
        for text in ["", "{", "Infinit", r#"{"A": "Infinity"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
