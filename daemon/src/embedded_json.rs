//! Serializes text that is JSON already as the value that it stands for, not as a quoted string,
//! and reads it back as the text.
//!
//! Registry and ledger keep some values as JSON text; who reads the commands' JSON should not have
//! to parse twice.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

/// Reads a value as its JSON text.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Box::<RawValue>::deserialize(from).map(|value| value.get().to_owned())
}

/// The same for a value that may be absent.
pub(crate) fn deserialize_optional<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(from)?;
    Ok(value.map(|value| value.to_string()))
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

    #[derive(Deserialize, PartialEq, Debug)]
    struct ReadRow {
        #[serde(deserialize_with = "deserialize")]
        value: String,
        #[serde(deserialize_with = "deserialize_optional")]
        more: Option<String>,
    }

    #[test]
    fn a_value_is_read_back_as_its_text() {
        let text = r#"{"value":{"visit":1},"more":null}"#;
        let row: ReadRow = serde_json::from_str(text).unwrap();
        assert_eq!((row.value.as_str(), row.more), (r#"{"visit":1}"#, None));
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
