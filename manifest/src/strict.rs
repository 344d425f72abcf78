//! JSON values without repeated keys.
//!
//! `serde_json` keeps the last of two equal keys. Two readers that disagree on
//! which one counts would read two manifests in one, so the free parts of a
//! line (provenance, dimension records) are read through here.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// Deserializes any JSON value; a key twice in one object is an error.
pub(crate) fn value<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    from.deserialize_any(ValueVisitor)
}

/// Deserializes a list of JSON objects, each without a repeated key.
pub(crate) fn objects<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<Map<String, Value>>, D::Error> {
    struct Object(Map<String, Value>);

    impl<'de> Deserialize<'de> for Object {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_map(ObjectVisitor).map(Self)
        }
    }

    Ok(Vec::<Object>::deserialize(from)?
        .into_iter()
        .map(|Object(map)| map)
        .collect())
}

/// Serializes a JSON value with the keys of every object sorted by bytes,
/// whatever order `serde_json` was built to keep.
pub(crate) struct Sorted<'a>(pub(crate) &'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => to.collect_seq(values.iter().map(Sorted)),
            Value::Object(map) => SortedObject(map).serialize(to),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.0.serialize(to)
            }
        }
    }
}

/// [`Sorted`] for an object.
pub(crate) struct SortedObject<'a>(pub(crate) &'a Map<String, Value>);

impl Serialize for SortedObject<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_unstable_by_key(|(key, _)| *key);
        to.collect_map(pairs.into_iter().map(|(key, value)| (key, Sorted(value))))
    }
}

/// Levels of lists and objects in a free value. `serde_json` reads 127, of which the
/// line itself takes a few; other languages' parsers stop at about as many.
pub(crate) const LEVELS_MAX: usize = 100;

/// Whether a value nests deeper than `levels`; looks no further than that.
pub(crate) fn is_deeper(value: &Value, levels: usize) -> bool {
    let mut below: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(values) => Box::new(values.iter()),
        Value::Object(map) => Box::new(map.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return false,
    };
    levels == 0 || below.any(|value| is_deeper(value, levels - 1))
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::invalid_value(Unexpected::Float(value), &"a finite number"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = from.next_element_seed(StrictValue)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        ObjectVisitor.visit_map(from).map(Value::Object)
    }
}

struct StrictValue;

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        value(from)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!(
                    "found the key `{}` twice, expected it once",
                    crate::error::excerpt(&key)
                )));
            }
            let value = from.next_value_seed(StrictValue)?;
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Value, serde_json::Error> {
        value(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn a_value_is_read_as_serde_json_reads_it() {
        let json = r#"{"a":[1,-2,3.25,null,true,"x\n"],"b":{"c":{}},"t":1371475783039000000}"#;
        let plain: Value = serde_json::from_str(json).unwrap();
        assert_eq!(read(json).unwrap(), plain);
        assert_eq!(serde_json::to_string(&Sorted(&plain)).unwrap(), json);
    }

    #[test]
    fn a_key_twice_is_an_error_at_any_depth() {
        for json in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains("the key `a` twice"), "{error}");
        }
    }

    #[test]
    fn depth_counts_lists_and_objects() {
        let nested = |levels: usize| {
            let json = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
            read(&json).unwrap()
        };
        assert!(!is_deeper(&nested(0), 0));
        assert!(is_deeper(&nested(1), 0) && !is_deeper(&nested(1), 1));
        assert!(is_deeper(&nested(101), LEVELS_MAX) && !is_deeper(&nested(100), LEVELS_MAX));
    }

    #[test]
    fn floats_keep_every_bit() {
        let json = "21.192894420000002";
        assert_eq!(read(json).unwrap().to_string(), json);
        assert!(read("1e400").is_err());
    }
}
