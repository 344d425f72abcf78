//! Checks that both kinds of input share: dataset types, data IDs, records.

use std::borrow::Cow;
use std::collections::BTreeMap;

use runsync_manifest::dimension::{DimensionRecord, DimensionRecords};
use runsync_manifest::entry::{DataId, DataValue};
use runsync_manifest::header::{DatasetType, UniverseVersion};
use runsync_manifest::name::{DatasetTypeName, NAME_BYTES_MAX};
use runsync_manifest::universe;

use super::error::{CreateError, Place};

/// Dimension records by element, each key once, in foreign-key order.
#[derive(Debug, Default)]
pub(super) struct Dimensions {
    /// By rank and element; canonical key to record, or a running number where the
    /// universe is not known.
    elements: BTreeMap<(usize, String), BTreeMap<String, DimensionRecord>>,
    unknown: usize,
}

impl Dimensions {
    /// Adds a record.
    pub(super) fn add(
        &mut self,
        universe: &UniverseVersion,
        element: &str,
        record: DimensionRecord,
        place: &Place,
    ) -> Result<(), CreateError> {
        if universe.name != universe::NAMESPACE {
            // Its order is all that is known of it.
            let rank = self.rank_of_unknown(element);
            let records = self.elements.entry((rank, element.to_owned())).or_default();
            let key = format!("{:020}", records.len());
            records.insert(key, record);
            return Ok(());
        }
        let known = universe::element_in(universe.version, element)
            .ok_or_else(|| unknown(place, "element", element, universe))?;
        let Some(rank) = universe::foreign_key_rank(element) else {
            // Sites derive these, such as `band`, from other records.
            return Ok(());
        };
        let key = universe::record_key(known, &record).ok_or_else(|| CreateError::Field {
            place: place.clone(),
            field: "records".into(),
            found: format!("a record of `{element}` without its whole key"),
            expected: format!("{{{}}}", known.required.join(", ")),
        })?;
        let mut canonical = Vec::new();
        key.write_canonical(&mut canonical);
        let key = String::from_utf8_lossy(&canonical).into_owned();
        let records = self.elements.entry((rank, element.to_owned())).or_default();
        match records.get(&key) {
            Some(first) if *first != record => Err(CreateError::Field {
                place: place.clone(),
                field: "records".into(),
                found: format!("another `{element}` record of {key}"),
                expected: "each key once".into(),
            }),
            Some(_) => Ok(()),
            None => {
                records.insert(key, record);
                Ok(())
            }
        }
    }

    /// Records, of all elements together.
    pub(super) fn len(&self) -> usize {
        self.elements.values().map(BTreeMap::len).sum()
    }

    /// One list for each element, in foreign-key order.
    pub(super) fn into_lines(self) -> Vec<DimensionRecords> {
        self.elements
            .into_iter()
            .map(|((_, element), records)| DimensionRecords {
                element,
                records: records.into_values().collect(),
            })
            .collect()
    }

    fn rank_of_unknown(&mut self, element: &str) -> usize {
        let seen = self.elements.keys().find(|(_, name)| name == element);
        if let Some((rank, _)) = seen {
            return *rank;
        }
        self.unknown += 1;
        self.unknown
    }
}

/// A dataset type as a manifest defines it, and what data IDs of it may hold besides.
#[derive(Debug, Clone)]
pub(super) struct TypeShape {
    /// Its definition, with the required dimensions alone.
    pub(super) definition: DatasetType,
    /// Required and implied ones.
    all: Vec<String>,
}

impl TypeShape {
    /// Reduces what an input says, perhaps all dimensions, to the required ones.
    pub(super) fn new(
        definition: DatasetType,
        universe: &UniverseVersion,
        place: &Place,
    ) -> Result<Self, CreateError> {
        let given = &definition.dimensions;
        if universe.name != universe::NAMESPACE {
            let all = given.clone();
            return Ok(Self { definition, all });
        }
        let version = universe.version;
        let expanded = universe::expanded_dimensions_in(version, given);
        let required = universe::required_dimensions_in(version, given);
        let (Some(all), Some(dimensions)) = (expanded, required) else {
            let wrong = given
                .iter()
                .find(|name| {
                    universe::expanded_dimensions_in(version, &[(*name).clone()]).is_none()
                })
                .map_or("", String::as_str);
            return Err(unknown(place, "dimensions", wrong, universe));
        };
        Ok(Self {
            definition: DatasetType {
                dimensions,
                ..definition
            },
            all,
        })
    }

    /// The canonical data ID: the required dimensions alone, each of its kind.
    pub(super) fn data_id(
        &self,
        universe: &UniverseVersion,
        mut given: BTreeMap<String, DataValue<'static>>,
        place: &Place,
    ) -> Result<Box<str>, CreateError> {
        if let Some(extra) = given.keys().find(|name| !self.all.contains(name)) {
            return Err(CreateError::Field {
                place: place.clone(),
                field: "data_id".into(),
                found: format!("the dimension `{}`", extra.escape_debug()),
                expected: format!("{{{}}}", self.definition.dimensions.join(", ")),
            });
        }
        let mut pairs = Vec::with_capacity(self.definition.dimensions.len());
        for dimension in &self.definition.dimensions {
            let value = given
                .remove(dimension)
                .ok_or_else(|| CreateError::Missing {
                    place: place.clone(),
                    field: format!("data_id.{dimension}"),
                })?;
            check_value(universe, dimension, &value, place)?;
            pairs.push((Cow::Owned(dimension.clone()), value));
        }
        let mut canonical = Vec::new();
        DataId::new(pairs)
            .unwrap_or_default()
            .write_canonical(&mut canonical);
        Ok(String::from_utf8_lossy(&canonical).into())
    }
}

fn check_value(
    universe: &UniverseVersion,
    dimension: &str,
    value: &DataValue<'_>,
    place: &Place,
) -> Result<(), CreateError> {
    let wrong = |expected: &str| CreateError::Field {
        place: place.clone(),
        field: format!("data_id.{dimension}"),
        found: match value {
            DataValue::Integer(number) => number.to_string(),
            DataValue::Text(text) => format!("the text `{}`", text.escape_debug()),
        },
        expected: expected.into(),
    };
    if universe.name == universe::NAMESPACE
        && let Some(element) = universe::element_in(universe.version, dimension)
        && !element.key_kind.allows(value)
    {
        return Err(wrong(match element.key_kind {
            universe::KeyKind::Integer => "a whole number",
            universe::KeyKind::Text => "text",
            universe::KeyKind::None => "nothing",
        }));
    }
    match value {
        DataValue::Text(text)
            if text.is_empty()
                || text.len() > NAME_BYTES_MAX
                || text.chars().any(char::is_control) =>
        {
            Err(wrong("1 to 250 bytes of text without control characters"))
        }
        DataValue::Text(_) | DataValue::Integer(_) => Ok(()),
    }
}

/// Dataset types by name, in the order in which they were defined.
#[derive(Debug, Default)]
pub(super) struct DatasetTypes {
    shapes: Vec<TypeShape>,
    by_name: BTreeMap<String, usize>,
}

impl DatasetTypes {
    /// Adds a definition; the same one may come again.
    pub(super) fn add(&mut self, shape: TypeShape, place: &Place) -> Result<(), CreateError> {
        let name = shape.definition.name.as_str();
        let first = self.index_of(name).and_then(|index| self.get(index));
        match first {
            Some(first) if first.definition != shape.definition => Err(CreateError::Field {
                place: place.clone(),
                field: "name".into(),
                found: format!("another definition of dataset type `{name}`"),
                expected: "one for each dataset type".into(),
            }),
            Some(_) => Ok(()),
            None => {
                self.by_name.insert(name.to_owned(), self.shapes.len());
                self.shapes.push(shape);
                Ok(())
            }
        }
    }

    /// The place of a dataset type; an error where it is not defined yet.
    pub(super) fn find(&self, name: &str, place: &Place) -> Result<usize, CreateError> {
        self.index_of(name).ok_or_else(|| CreateError::Field {
            place: place.clone(),
            field: "dataset_type".into(),
            found: format!("`{}`", name.escape_debug()),
            expected: "a dataset type that was defined before".into(),
        })
    }

    /// A dataset type by its place.
    pub(super) fn get(&self, index: usize) -> Option<&TypeShape> {
        self.shapes.get(index)
    }

    /// The definitions.
    pub(super) fn definitions(&self) -> Vec<DatasetType> {
        self.shapes
            .iter()
            .map(|shape| shape.definition.clone())
            .collect()
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// Parses a name, saying where it stands.
pub(super) fn name<T>(text: &str, field: &str, place: &Place) -> Result<T, CreateError>
where
    T: std::str::FromStr<Err = runsync_manifest::error::NameError>,
{
    text.parse().map_err(|source| CreateError::Name {
        place: place.clone(),
        field: field.to_owned(),
        source,
    })
}

/// A dataset type from its parts.
pub(super) fn definition(
    dataset_type: &str,
    dimensions: Vec<String>,
    storage_class: &str,
    is_calibration: bool,
    place: &Place,
) -> Result<DatasetType, CreateError> {
    Ok(DatasetType {
        name: name::<DatasetTypeName>(dataset_type, "name", place)?,
        dimensions,
        storage_class: name(storage_class, "storage_class", place)?,
        is_calibration,
    })
}

fn unknown(place: &Place, field: &str, name: &str, universe: &UniverseVersion) -> CreateError {
    CreateError::Field {
        place: place.clone(),
        field: field.into(),
        found: format!("`{}`", name.escape_debug()),
        expected: format!(
            "a name of universe `{}` version {}",
            universe.name, universe.version
        ),
    }
}
