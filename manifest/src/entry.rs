//! Dataset lines: one artifact of one dataset each.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The artifact's size in bytes.
    pub size: u64,
    /// The artifact's checksums.
    pub checksums: Checksums,
    /// Python class that reads the artifact, where the Butler needs one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub formatter: Option<Cow<'a, str>>,
    /// Component of a disassembled composite that this artifact holds.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Cow<'a, str>>,
}

/// A data ID: dimension name to value, sorted by name, no name twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DataId<'a>(Vec<(Cow<'a, str>, DataValue<'a>)>);

/// One value of a data ID.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(untagged)]
pub enum DataValue<'a> {
    /// Such as a detector's or a visit's number.
    Integer(i64),
    /// Such as an instrument's name.
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl<'a> DataId<'a> {
    /// Sorts the pairs by dimension; `None` where a dimension comes twice.
    pub fn new(pairs: Vec<(Cow<'a, str>, DataValue<'a>)>) -> Option<Self> {
        let _ = pairs;
        todo!()
    }

    /// The pairs, sorted by dimension.
    pub fn pairs(&self) -> &[(Cow<'a, str>, DataValue<'a>)] {
        &self.0
    }

    /// The value of one dimension.
    pub fn get(&self, dimension: &str) -> Option<&DataValue<'a>> {
        let _ = dimension;
        todo!()
    }

    /// Appends the canonical form: a compact JSON object, keys sorted by bytes.
    /// Two data IDs are equal exactly where their canonical forms are.
    pub fn write_canonical(&self, to: &mut Vec<u8>) {
        let _ = to;
        todo!()
    }
}

impl Serialize for DataId<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let _ = to;
        todo!()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DataId<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let _ = from;
        todo!()
    }
}

impl JsonSchema for DataId<'_> {
    fn schema_name() -> Cow<'static, str> {
        "DataId".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let _ = generator;
        todo!()
    }
}
