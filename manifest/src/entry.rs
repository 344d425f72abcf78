//! Dataset lines: one artifact of one dataset each.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::checksum::Checksums;
use crate::name::DatasetId;

/// A dataset line, less its `kind`: one dataset (or one component of it) in one
/// artifact. Borrows from the line it was read from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetEntry<'a> {
    /// The dataset's UUID.
    pub uuid: DatasetId,
    /// Name of one of the header's dataset types.
    #[serde(borrow)]
    pub dataset_type: Cow<'a, str>,
    /// The data ID: exactly the type's required dimensions.
    #[serde(borrow)]
    pub data_id: DataId<'a>,
    /// Where the artifact lies, relative to the datastore root.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// The artifact's size in bytes; databases hold it as a signed 64-bit number.
    #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
    pub size: u64,
    /// The artifact's checksums.
    pub checksums: Checksums,
    /// Python class that reads the artifact, where the Butler needs one.
    #[serde(
        borrow,
        default,
        deserialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub formatter: Option<Cow<'a, str>>,
    /// Component of a disassembled composite that this artifact holds.
    #[serde(
        borrow,
        default,
        deserialize_with = "optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub component: Option<Cow<'a, str>>,
}

/// A data ID: dimension name to value, sorted by name, no name twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DataId<'a>(Vec<(Cow<'a, str>, DataValue<'a>)>);

/// One value of a data ID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DataValue<'a> {
    /// Such as a detector's or a visit's number.
    Integer(i64),
    /// Such as an instrument's name.
    Text(Cow<'a, str>),
}

impl<'a> DataId<'a> {
    /// Sorts the pairs by dimension; `None` where a dimension comes twice.
    pub fn new(mut pairs: Vec<(Cow<'a, str>, DataValue<'a>)>) -> Option<Self> {
        if !pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            if !pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
                return None;
            }
        }
        Some(Self(pairs))
    }

    /// The pairs, sorted by dimension.
    pub fn pairs(&self) -> &[(Cow<'a, str>, DataValue<'a>)] {
        &self.0
    }

    /// The value of one dimension.
    pub fn get(&self, dimension: &str) -> Option<&DataValue<'a>> {
        let at = self
            .0
            .binary_search_by(|(name, _)| name.as_ref().cmp(dimension))
            .ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Appends the canonical form: a compact JSON object, keys sorted by bytes.
    /// Two data IDs are equal exactly where their canonical forms are.
    pub fn write_canonical(&self, to: &mut Vec<u8>) {
        let start = to.len();
        if serde_json::to_writer(&mut *to, self).is_err() {
            // Text and whole numbers always have a JSON form, and a Vec takes
            // all bytes; should that ever change, nothing beats half of a key.
            to.truncate(start);
        }
    }
}

impl Serialize for DataId<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DataId<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(DataIdVisitor)
    }
}

struct DataIdVisitor;

impl<'de> Visitor<'de> for DataIdVisitor {
    type Value = DataId<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a data ID: an object of dimension names and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DataId<'de>, A::Error> {
        // Most data IDs have two to four dimensions.
        let mut pairs = Vec::with_capacity(4);
        while let Some((Text(name), value)) = map.next_entry()? {
            pairs.push((name, value));
        }
        DataId::new(pairs)
            .ok_or_else(|| de::Error::custom("found a dimension twice, expected each once"))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DataValue<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DataValueVisitor)
    }
}

struct DataValueVisitor;

impl<'de> Visitor<'de> for DataValueVisitor {
    type Value = DataValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number of at most 64 bits with its sign")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<DataValue<'de>, E> {
        Ok(DataValue::Integer(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<DataValue<'de>, E> {
        i64::try_from(number)
            .map(DataValue::Integer)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<DataValue<'de>, E> {
        Ok(DataValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DataValue<'de>, E> {
        Ok(DataValue::Text(Cow::Owned(text.to_owned())))
    }
}

/// Text that borrows from the line wherever it holds no escapes. (Serde's own
/// `Cow` always copies inside an `Option` or a map.)
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(TextVisitor)
    }
}

fn optional_text<'de: 'a, 'a, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<Text<'a>>::deserialize(from)?.map(|Text(text)| text))
}

impl JsonSchema for DataId<'_> {
    fn schema_name() -> Cow<'static, str> {
        "DataId".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "Dimension name to value; exactly the dimensions of the dataset type.",
            "additionalProperties": generator.subschema_for::<DataValue<'static>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_id(json: &str) -> Result<DataId<'_>, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_data_id_is_sorted_however_it_was_written() {
        let id = data_id(r#"{"visit": 903334, "instrument": "HSC", "detector": 23}"#).unwrap();
        let mut canonical = Vec::new();
        id.write_canonical(&mut canonical);
        assert_eq!(
            String::from_utf8(canonical).unwrap(),
            r#"{"detector":23,"instrument":"HSC","visit":903334}"#
        );
        assert_eq!(id.get("visit"), Some(&DataValue::Integer(903_334)));
        assert_eq!(id.get("exposure"), None);
    }

    #[test]
    fn a_dimension_twice_is_an_error() {
        let error = data_id(r#"{"visit": 1, "detector": 2, "visit": 1}"#).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn only_text_and_whole_numbers_of_64_bits_are_values() {
        for wrong in [
            "1.5",
            "1e3",
            "1e400",
            "-0",
            "9223372036854775808",
            "18446744073709551616",
            "null",
            "true",
            "[]",
            "{}",
            "NaN",
        ] {
            assert!(
                data_id(&format!(r#"{{"visit": {wrong}}}"#)).is_err(),
                "{wrong}"
            );
        }
        for right in [
            "-9223372036854775808",
            "9223372036854775807",
            "\"é\"",
            "\"a\\u0062\"",
        ] {
            assert!(
                data_id(&format!(r#"{{"visit": {right}}}"#)).is_ok(),
                "{right}"
            );
        }
    }

    #[test]
    fn text_without_escapes_is_borrowed_from_the_line() {
        let line = r#"{"skymap": "hsc_rings_v1"}"#;
        let id = data_id(line).unwrap();
        assert!(matches!(
            id.get("skymap"),
            Some(DataValue::Text(Cow::Borrowed("hsc_rings_v1")))
        ));
    }
}
