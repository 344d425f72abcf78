//! Serializes text that is JSON already as the value that it stands for, not as a quoted string.
//!
//! Registry and ledger keep some values as JSON text; who reads the commands' JSON should not have
//! to parse twice.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Serializes JSON text as its value; what is no JSON, as a string.
pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

/// The same for text that may be absent.
#[expect(clippy::ref_option, reason = "the form that serde calls")]
pub(crate) fn serialize_optional<S: Serializer>(
    text: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => serialize(text, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row<'a> {
        #[serde(serialize_with = "serialize")]
        value: &'a str,
        #[serde(serialize_with = "serialize_optional")]
        more: Option<String>,
    }

    fn written(value: &str, more: Option<&str>) -> String {
        let more = more.map(str::to_owned);
        serde_json::to_string(&Row { value, more }).unwrap()
    }

    #[test]
    fn json_text_becomes_its_value_in_the_order_written() {
        let text = r#"{"visit":1,"detector":[2]}"#;
        assert_eq!(
            written(text, Some("3")),
            r#"{"value":{"visit":1,"detector":[2]},"more":3}"#
        );
        assert_eq!(
            written("no json", None),
            r#"{"value":"no json","more":null}"#
        );
    }
}
