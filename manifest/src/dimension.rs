//! Dimension lines: records that data IDs refer to, in foreign-key order.

use schemars::JsonSchema;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::strict::{self, SortedObject};

/// One dimension record, field name to value, as the Butler's record JSON has it.
pub type DimensionRecord = serde_json::Map<String, serde_json::Value>;

/// A dimension line, less its `kind`: records of one element.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct DimensionRecords {
    /// The dimension element, such as `detector`.
    pub element: String,
    /// Its records.
    #[serde(deserialize_with = "strict::objects")]
    pub records: Vec<DimensionRecord>,
}

impl Serialize for DimensionRecords {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let records: Vec<_> = self.records.iter().map(SortedObject).collect();
        let mut line = to.serialize_struct("DimensionRecords", 2)?;
        line.serialize_field("element", &self.element)?;
        line.serialize_field("records", &records)?;
        line.end()
    }
}

/// The canonical JSON of one record: compact, keys sorted by bytes at every depth.
/// Two records are equal exactly where their canonical forms are.
///
/// # Errors
///
/// Whatever the serializer returns; for a record that was read, nothing.
pub fn canonical_record(record: &DimensionRecord) -> Result<String, serde_json::Error> {
    serde_json::to_string(&SortedObject(record))
}
