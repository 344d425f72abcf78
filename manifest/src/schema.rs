//! JSON Schemas (draft 2020-12) of every line kind, generated from the types.

/// A line kind's name and its JSON Schema.
pub fn line_schemas() -> Vec<(&'static str, schemars::Schema)> {
    todo!()
}
