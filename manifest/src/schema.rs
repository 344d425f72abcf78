//! JSON Schemas (draft 2020-12) of every line kind, generated from the types.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::dimension::DimensionRecords;
use crate::entry::DatasetEntry;
use crate::header::Header;
use crate::line::Kind;
use crate::trailer::Trailer;

/// A line kind's name and its JSON Schema.
pub fn line_schemas() -> Vec<(&'static str, Schema)> {
    Kind::ALL
        .into_iter()
        .map(|kind| {
            let schema = match kind {
                Kind::Header => line_schema::<Header>(kind),
                Kind::Dimension => line_schema::<DimensionRecords>(kind),
                Kind::Dataset => line_schema::<DatasetEntry<'static>>(kind),
                Kind::Trailer => line_schema::<Trailer>(kind),
            };
            (kind.as_str(), schema)
        })
        .collect()
}

/// The schema of a line's type, and its `kind`.
fn line_schema<T: JsonSchema>(kind: Kind) -> Schema {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    let kind = kind.as_str();
    schema.insert("title".into(), format!("{kind} line").into());
    let description = format!("A {kind} line of a manifest, format 1: see docs/MANIFEST.md.");
    schema.insert("description".into(), description.into());
    let kind = json!({ "const": kind });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("kind".into(), kind);
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.insert(0, "kind".into());
    }
    schema
}
