//! Dimension lines: records that data IDs refer to, in foreign-key order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One dimension record, field name to value, as the Butler's record JSON has it.
pub type DimensionRecord = serde_json::Map<String, serde_json::Value>;

/// A dimension line, less its `kind`: records of one element.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DimensionRecords {
    /// The dimension element, such as `detector`.
    pub element: String,
    /// Its records.
    pub records: Vec<DimensionRecord>,
}
