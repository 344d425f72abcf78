//! What a manifest's checks need of the Butler's dimension universe.
//!
//! Source: `dimensions.yaml` of lsst-daf-butler, namespace `daf_butler`, versions 0 to 8.

use crate::dimension::DimensionRecord;
use crate::entry::DataId;

/// The namespace that this module knows.
pub const NAMESPACE: &str = "daf_butler";

/// One dimension element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: &'static str,
    /// Dimensions in its key, itself included where it is a dimension, sorted by name.
    pub required: &'static [&'static str],
    /// Dimensions that its record determines.
    pub implied: &'static [&'static str],
    /// The record field that holds its own key (`id` or `name`); `None` for an
    /// element that is no dimension, such as `visit_detector_region`.
    pub key_field: Option<&'static str>,
    /// Whether records of it are kept; `band` and the sky pixelisations have none.
    pub has_records: bool,
}

/// Looks an element up by name.
pub fn element(name: &str) -> Option<&'static Element> {
    let _ = name;
    todo!()
}

/// The key of a record as a data ID over [`Element::required`]; `None` where a key
/// field is missing or is neither text nor a whole number.
pub fn record_key(element: &Element, record: &DimensionRecord) -> Option<DataId<'static>> {
    let _ = (element, record);
    todo!()
}

/// The dimensions of `all` that no other one implies: what a data ID must hold.
/// `None` where one is not known.
pub fn required_dimensions(all: &[String]) -> Option<Vec<String>> {
    let _ = all;
    todo!()
}
