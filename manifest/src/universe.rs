//! What a manifest's checks need of the Butler's dimension universe.
//!
//! Source: `dimensions.yaml` of lsst-daf-butler, namespace `daf_butler`, versions 0 to 8.
//! A later version is taken for version 8: what it adds is not known here, and is
//! refused by name.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::dimension::DimensionRecord;
use crate::entry::{DataId, DataValue};

/// The namespace that this module knows.
pub const NAMESPACE: &str = "daf_butler";

/// The newest version that this module knows.
pub const VERSION: u32 = 8;

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
    /// What its own key is.
    pub key_kind: KeyKind,
    /// Whether records of it are kept; `band` and the sky pixelisations have none.
    pub has_records: bool,
}

/// What a dimension's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Whole numbers, in the field `id`.
    Integer,
    /// Text, in the field `name`.
    Text,
    /// The element is no dimension and has no values.
    None,
}

impl KeyKind {
    /// Whether a data ID may hold this value for the dimension.
    pub fn allows(self, value: &DataValue<'_>) -> bool {
        match self {
            Self::Integer => matches!(value, DataValue::Integer(_)),
            Self::Text => matches!(value, DataValue::Text(_)),
            Self::None => false,
        }
    }
}

const fn integer(
    name: &'static str,
    required: &'static [&'static str],
    implied: &'static [&'static str],
) -> Element {
    Element {
        name,
        required,
        implied,
        key_field: Some("id"),
        key_kind: KeyKind::Integer,
        has_records: true,
    }
}

const fn text(
    name: &'static str,
    required: &'static [&'static str],
    implied: &'static [&'static str],
) -> Element {
    Element {
        key_field: Some("name"),
        key_kind: KeyKind::Text,
        ..integer(name, required, implied)
    }
}

const fn join(
    name: &'static str,
    required: &'static [&'static str],
    implied: &'static [&'static str],
) -> Element {
    Element {
        key_field: None,
        key_kind: KeyKind::None,
        ..integer(name, required, implied)
    }
}

const fn without_records(element: Element) -> Element {
    Element {
        has_records: false,
        ..element
    }
}

/// An element and the versions, first and last, that define it so.
struct Definition(u32, u32, Element);

const NEWEST: u32 = u32::MAX;

/// In foreign-key order: what a record refers to stands before it.
const DEFINITIONS: &[Definition] = &[
    Definition(0, NEWEST, text("instrument", &["instrument"], &[])),
    Definition(0, NEWEST, text("skymap", &["skymap"], &[])),
    Definition(
        8,
        NEWEST,
        text("ssp_hypothesis_table", &["ssp_hypothesis_table"], &[]),
    ),
    Definition(0, NEWEST, without_records(text("band", &["band"], &[]))),
    Definition(
        0,
        NEWEST,
        text(
            "physical_filter",
            &["instrument", "physical_filter"],
            &["band"],
        ),
    ),
    Definition(0, NEWEST, integer("subfilter", &["band", "subfilter"], &[])),
    Definition(
        0,
        NEWEST,
        integer("detector", &["detector", "instrument"], &[]),
    ),
    Definition(6, NEWEST, text("group", &["group", "instrument"], &[])),
    Definition(
        6,
        NEWEST,
        integer("day_obs", &["day_obs", "instrument"], &[]),
    ),
    Definition(
        0,
        NEWEST,
        integer("visit_system", &["instrument", "visit_system"], &[]),
    ),
    Definition(0, NEWEST, integer("tract", &["skymap", "tract"], &[])),
    Definition(
        0,
        NEWEST,
        integer("patch", &["patch", "skymap", "tract"], &[]),
    ),
    Definition(
        8,
        NEWEST,
        integer(
            "ssp_hypothesis_bundle",
            &["ssp_hypothesis_bundle", "ssp_hypothesis_table"],
            &[],
        ),
    ),
    Definition(
        8,
        NEWEST,
        integer(
            "ssp_balanced_index",
            &["ssp_balanced_index", "ssp_hypothesis_table"],
            &[],
        ),
    ),
    Definition(
        6,
        NEWEST,
        integer(
            "exposure",
            &["exposure", "instrument"],
            &["day_obs", "group", "physical_filter"],
        ),
    ),
    Definition(
        0,
        5,
        integer(
            "exposure",
            &["exposure", "instrument"],
            &["physical_filter"],
        ),
    ),
    Definition(
        6,
        NEWEST,
        integer(
            "visit",
            &["instrument", "visit"],
            &["day_obs", "physical_filter"],
        ),
    ),
    Definition(
        2,
        5,
        integer("visit", &["instrument", "visit"], &["physical_filter"]),
    ),
    Definition(
        0,
        1,
        integer(
            "visit",
            &["instrument", "visit"],
            &["physical_filter", "visit_system"],
        ),
    ),
    Definition(
        0,
        NEWEST,
        join(
            "visit_detector_region",
            &["detector", "instrument", "visit"],
            &[],
        ),
    ),
    Definition(
        2,
        NEWEST,
        join(
            "visit_definition",
            &["exposure", "instrument", "visit"],
            &[],
        ),
    ),
    Definition(
        0,
        1,
        join(
            "visit_definition",
            &["exposure", "instrument", "visit_system"],
            &["visit"],
        ),
    ),
    Definition(
        2,
        NEWEST,
        join(
            "visit_system_membership",
            &["instrument", "visit", "visit_system"],
            &[],
        ),
    ),
];

macro_rules! sky_pixels {
    ($since:literal: $($name:literal),*) => {
        &[$(Definition($since, NEWEST, without_records(integer($name, &[$name], &[])))),*]
    };
}

/// Hierarchical triangular mesh, levels 0 to 24.
const HTM: &[Definition] = sky_pixels!(0: "htm0", "htm1", "htm2", "htm3", "htm4", "htm5", "htm6", "htm7", "htm8", "htm9", "htm10", "htm11", "htm12", "htm13", "htm14", "htm15", "htm16", "htm17", "htm18", "htm19", "htm20", "htm21", "htm22", "htm23", "htm24");
/// `HEALPix`, levels 0 to 17.
const HEALPIX: &[Definition] = sky_pixels!(1: "healpix0", "healpix1", "healpix2", "healpix3", "healpix4", "healpix5", "healpix6", "healpix7", "healpix8", "healpix9", "healpix10", "healpix11", "healpix12", "healpix13", "healpix14", "healpix15", "healpix16", "healpix17");

/// Looks an element up by name, as the newest version defines it.
pub fn element(name: &str) -> Option<&'static Element> {
    element_in(VERSION, name)
}

/// Looks an element up by name, as one version of the universe defines it.
pub fn element_in(version: u32, name: &str) -> Option<&'static Element> {
    [DEFINITIONS, HTM, HEALPIX]
        .into_iter()
        .flatten()
        .find(|Definition(first, last, element)| {
            element.name == name && (*first..=*last).contains(&version)
        })
        .map(|Definition(_, _, element)| element)
}

/// The place of an element in foreign-key order: records of a lower one come first.
/// `None` for an element that has no records or is not known.
pub fn foreign_key_rank(name: &str) -> Option<usize> {
    DEFINITIONS
        .iter()
        .position(|Definition(_, _, element)| element.name == name && element.has_records)
}

/// The key of a record as a data ID over [`Element::required`]; `None` where a key
/// field is missing or is not what [`Element::key_kind`] says.
pub fn record_key(element: &Element, record: &DimensionRecord) -> Option<DataId<'static>> {
    let pairs = element
        .required
        .iter()
        .map(|dimension| {
            let field = key_field(element, dimension);
            let value = match record.get(field)? {
                serde_json::Value::Number(number) => DataValue::Integer(number.as_i64()?),
                serde_json::Value::String(text) => DataValue::Text(Cow::Owned(text.clone())),
                serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Array(_)
                | serde_json::Value::Object(_) => return None,
            };
            let kind = self::element(dimension)?.key_kind;
            kind.allows(&value)
                .then_some((Cow::Borrowed(*dimension), value))
        })
        .collect::<Option<Vec<_>>>()?;
    DataId::new(pairs)
}

/// The record field of `element` that holds the key of one of its required dimensions.
pub fn key_field(element: &Element, dimension: &'static str) -> &'static str {
    match element.key_field {
        Some(field) if dimension == element.name => field,
        _ => dimension,
    }
}

/// The dimensions of `all` that no other one implies: what a data ID must hold, sorted.
/// `None` where one is not known.
pub fn required_dimensions(all: &[String]) -> Option<Vec<String>> {
    required_dimensions_in(VERSION, all)
}

/// [`required_dimensions`] in one version of the universe.
pub fn required_dimensions_in(version: u32, all: &[String]) -> Option<Vec<String>> {
    let Expanded { names, implied } = expand(version, all)?;
    Some(owned(names.difference(&implied)))
}

/// `all`, and whatever its members require or imply, sorted: the dimensions that a
/// full data ID has. `None` where one is not known.
pub fn expanded_dimensions_in(version: u32, all: &[String]) -> Option<Vec<String>> {
    let Expanded { names, .. } = expand(version, all)?;
    Some(owned(names.iter()))
}

struct Expanded {
    names: BTreeSet<&'static str>,
    /// Those that another one implies.
    implied: BTreeSet<&'static str>,
}

/// Adds what is required and implied, as the Butler does.
fn expand(version: u32, all: &[String]) -> Option<Expanded> {
    let mut open: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut names = BTreeSet::new();
    let mut implied = BTreeSet::new();
    while let Some(name) = open.pop() {
        let element = element_in(version, name).filter(|found| found.key_kind != KeyKind::None)?;
        if names.insert(element.name) {
            open.extend(element.required.iter().chain(element.implied));
            implied.extend(element.implied);
        }
    }
    Some(Expanded { names, implied })
}

fn owned<'a>(names: impl Iterator<Item = &'a &'static str>) -> Vec<String> {
    names.map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(version: u32, all: &[&str]) -> Option<Vec<String>> {
        let all: Vec<_> = all.iter().map(|name| (*name).to_owned()).collect();
        required_dimensions_in(version, &all)
    }

    #[test]
    fn implied_dimensions_are_left_out() {
        let all = [
            "band",
            "instrument",
            "day_obs",
            "detector",
            "physical_filter",
            "visit",
        ];
        assert_eq!(
            required(8, &all).unwrap(),
            ["detector", "instrument", "visit"]
        );
    }

    #[test]
    fn missing_required_dimensions_are_added() {
        assert_eq!(
            required(8, &["detector", "visit"]).unwrap(),
            ["detector", "instrument", "visit"]
        );
        assert_eq!(
            required(8, &["patch"]).unwrap(),
            ["patch", "skymap", "tract"]
        );
        assert_eq!(required(8, &[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_dimension_that_one_implies_and_another_requires_is_implied() {
        assert_eq!(
            required(8, &["physical_filter", "subfilter"]).unwrap(),
            ["instrument", "physical_filter", "subfilter"]
        );
        assert_eq!(required(8, &["subfilter"]).unwrap(), ["band", "subfilter"]);
    }

    #[test]
    fn versions_differ_in_what_they_define() {
        assert_eq!(element_in(5, "day_obs"), None);
        assert_eq!(required(5, &["day_obs"]), None);
        assert_eq!(element_in(5, "visit").unwrap().implied, ["physical_filter"]);
        assert_eq!(
            element("visit").unwrap().implied,
            ["day_obs", "physical_filter"]
        );
        assert_eq!(element_in(0, "healpix3"), None);
        assert_eq!(element_in(99, "visit"), element("visit"));
    }

    #[test]
    fn sky_pixelisations_end_at_their_highest_level() {
        assert!(element("htm0").is_some() && element("htm24").is_some());
        assert!(element("htm25").is_none() && element("htm07").is_none());
        assert!(element("healpix17").is_some() && element("healpix18").is_none());
        assert!(!element("htm7").unwrap().has_records);
        assert!(!element("band").unwrap().has_records);
    }

    #[test]
    fn an_element_that_is_no_dimension_cannot_be_in_a_data_id() {
        assert_eq!(required(8, &["visit_definition"]), None);
    }

    #[test]
    fn every_name_is_sorted_and_known() {
        for Definition(first, _, element) in DEFINITIONS {
            assert!(element.required.is_sorted(), "{}", element.name);
            assert!(element.implied.is_sorted(), "{}", element.name);
            for name in element.required.iter().chain(element.implied) {
                assert!(element_in(*first, name).is_some(), "{name}");
            }
            assert_eq!(
                element.key_field.is_none(),
                !element.required.contains(&element.name)
            );
        }
    }

    #[test]
    fn what_a_record_refers_to_comes_before_it() {
        for Definition(_, _, element) in DEFINITIONS {
            let Some(rank) = foreign_key_rank(element.name) else {
                continue;
            };
            for name in element.required.iter().chain(element.implied) {
                if *name != element.name {
                    assert!(
                        foreign_key_rank(name).is_none_or(|other| other < rank),
                        "{name}"
                    );
                }
            }
        }
        assert_eq!(foreign_key_rank("band"), None);
        assert_eq!(foreign_key_rank("htm7"), None);
    }

    #[test]
    fn a_full_data_id_has_the_implied_dimensions_too() {
        assert_eq!(
            expanded_dimensions_in(8, &["detector".into(), "visit".into()]).unwrap(),
            [
                "band",
                "day_obs",
                "detector",
                "instrument",
                "physical_filter",
                "visit"
            ]
        );
    }

    #[test]
    fn a_record_tells_its_key() {
        let record = |json: serde_json::Value| json.as_object().unwrap().clone();
        let detector = element("detector").unwrap();
        let key = record_key(
            detector,
            &record(serde_json::json!({
                "instrument": "HSC", "id": 23, "full_name": "0_26"
            })),
        );
        let mut canonical = Vec::new();
        key.unwrap().write_canonical(&mut canonical);
        assert_eq!(canonical, br#"{"detector":23,"instrument":"HSC"}"#);
        for wrong in [
            serde_json::json!({"instrument": "HSC"}),
            serde_json::json!({"instrument": "HSC", "id": "23"}),
            serde_json::json!({"instrument": "HSC", "id": 23.5}),
            serde_json::json!({"instrument": 1, "id": 23}),
            serde_json::json!({"instrument": "HSC", "id": null}),
        ] {
            assert_eq!(record_key(detector, &record(wrong)), None);
        }
    }
}
