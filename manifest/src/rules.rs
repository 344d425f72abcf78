//! The rules that reader and writer share: what a header may say, and what may
//! follow it.
//!
//! Cheap on purpose: a dataset line costs no allocation here.

use crate::content::Content;
use crate::dimension::DimensionRecords;
use crate::entry::{DataId, DataValue, DatasetEntry};
use crate::error::{Fault, Limit, NameError, excerpt};
use crate::header::{Header, UniverseVersion};
use crate::name::{NAME_BYTES_MAX, check_path};
use crate::strict;
use crate::trailer::Counts;
use crate::universe::{self, KeyKind};

/// Sizes and their sum stay within the signed 64 bits that databases hold.
pub(crate) const SIZE_MAX: u64 = i64::MAX as u64;

const TEXT_EXPECTED: &str = "1 to 250 bytes of text without control characters";

/// Where a file stands, and what it has held so far.
#[derive(Debug)]
pub(crate) struct Rules {
    content: Content,
    universe: UniverseVersion,
    types: Vec<TypeRule>,
    /// Indices into `types`, by name.
    by_name: Vec<usize>,
    /// The type of the last dataset line: mostly that of the next one too.
    last_type: usize,
    entries_max: u64,
    counts: Counts,
    total_bytes: u64,
}

#[derive(Debug)]
struct TypeRule {
    name: String,
    /// By name; the kind is known where the universe is.
    dimensions: Vec<(String, Option<KeyKind>)>,
}

impl Rules {
    /// Checks a header and prepares the checks of the lines after it.
    pub(crate) fn new(header: &Header, entries_max: u64) -> Result<Self, Fault> {
        header.check()?;
        let types: Vec<_> = header
            .dataset_types
            .iter()
            .map(|dataset_type| TypeRule {
                name: dataset_type.name.as_str().to_owned(),
                dimensions: key_kinds(&header.universe, &dataset_type.dimensions),
            })
            .collect();
        let mut named: Vec<_> = types.iter().map(|rule| &rule.name).zip(0..).collect();
        named.sort_unstable();
        let by_name = named.into_iter().map(|(_, index)| index).collect();
        Ok(Self {
            content: header.content,
            universe: header.universe.clone(),
            types,
            by_name,
            last_type: 0,
            entries_max,
            counts: Counts::default(),
            total_bytes: 0,
        })
    }

    /// Lines seen so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Sum of the sizes of the dataset lines seen so far.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Checks and counts a dimension line.
    pub(crate) fn dimension(&mut self, line: &DimensionRecords) -> Result<(), Fault> {
        self.may_hold("dimension")?;
        if self.counts.dataset > 0 {
            return Err(Fault::Order {
                kind: "dimension",
                after: "a dataset line",
            });
        }
        check_text("element", &line.element)?;
        for record in &line.records {
            record
                .values()
                .try_for_each(|value| check_depth("records", value))?;
        }
        if self.universe.name == universe::NAMESPACE {
            check_records(&self.universe, line)?;
        }
        self.counts.dimension += 1;
        Ok(())
    }

    /// Checks and counts a dataset line; returns the index of its type in the header.
    pub(crate) fn dataset(&mut self, entry: &DatasetEntry<'_>) -> Result<usize, Fault> {
        self.may_hold("dataset")?;
        let dataset_type = self.type_index(&entry.dataset_type)?;
        check_entry(entry)?;
        if let Some(rule) = self.types.get(dataset_type) {
            check_data_id(rule, &entry.data_id)?;
        }
        let total_bytes = self
            .total_bytes
            .checked_add(entry.size)
            .filter(|total| *total <= SIZE_MAX)
            .ok_or(Fault::TotalOverflow)?;
        if self.counts.dataset >= self.entries_max {
            return Err(Fault::Limit {
                limit: Limit::Entries,
                most: self.entries_max,
            });
        }
        self.total_bytes = total_bytes;
        self.counts.dataset += 1;
        self.last_type = dataset_type;
        Ok(dataset_type)
    }

    fn may_hold(&self, kind: &'static str) -> Result<(), Fault> {
        if self.content.holds_datasets() {
            return Ok(());
        }
        Err(Fault::Content {
            content: self.content,
            kind,
        })
    }

    fn type_index(&self, name: &str) -> Result<usize, Fault> {
        if self
            .types
            .get(self.last_type)
            .is_some_and(|rule| rule.name == name)
        {
            return Ok(self.last_type);
        }
        self.by_name
            .binary_search_by(|index| {
                let known = self.types.get(*index).map_or("", |rule| &rule.name);
                known.cmp(name)
            })
            .ok()
            .and_then(|at| self.by_name.get(at).copied())
            .ok_or_else(|| Fault::UndeclaredType {
                name: excerpt(name),
            })
    }
}

fn key_kinds(universe: &UniverseVersion, dimensions: &[String]) -> Vec<(String, Option<KeyKind>)> {
    let known = universe.name == universe::NAMESPACE;
    let mut kinds: Vec<_> = dimensions
        .iter()
        .map(|name| {
            let element = universe::element_in(universe.version, name).filter(|_| known);
            (name.clone(), element.map(|element| element.key_kind))
        })
        .collect();
    kinds.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    kinds
}

fn check_entry(entry: &DatasetEntry<'_>) -> Result<(), Fault> {
    if entry.uuid.0.is_nil() {
        return Err(Fault::field_text("uuid", "nil", "a UUID other than nil"));
    }
    check_path(&entry.path).map_err(|fault| name_fault("path", fault))?;
    if entry.size > SIZE_MAX {
        return Err(Fault::Field {
            field: "size".into(),
            found: entry.size.to_string(),
            expected: "at most 9223372036854775807 bytes",
        });
    }
    if let Some(formatter) = &entry.formatter {
        check_text("formatter", formatter)?;
    }
    if let Some(component) = &entry.component {
        check_text("component", component)?;
    }
    Ok(())
}

fn check_data_id(rule: &TypeRule, data_id: &DataId<'_>) -> Result<(), Fault> {
    let pairs = data_id.pairs();
    let same_keys = pairs.len() == rule.dimensions.len()
        && pairs
            .iter()
            .zip(&rule.dimensions)
            .all(|((found, _), (expected, _))| found == expected);
    if !same_keys {
        return Err(Fault::DataIdKeys {
            dataset_type: rule.name.clone(),
            expected: listed(rule.dimensions.iter().map(|(name, _)| name.as_str())),
            found: listed(pairs.iter().map(|(name, _)| name.as_ref())),
        });
    }
    pairs
        .iter()
        .zip(&rule.dimensions)
        .try_for_each(|((_, value), (name, kind))| check_value(name, *kind, value))
}

fn check_value(dimension: &str, kind: Option<KeyKind>, value: &DataValue<'_>) -> Result<(), Fault> {
    let allowed = kind.is_none_or(|kind| kind.allows(value));
    match value {
        DataValue::Text(text) if allowed => {
            if is_text(text) {
                return Ok(());
            }
            let field = format!("data_id.{dimension}");
            Err(Fault::field_text(&field, text, TEXT_EXPECTED))
        }
        DataValue::Integer(_) if allowed => Ok(()),
        DataValue::Text(text) => Err(Fault::Field {
            field: format!("data_id.{dimension}"),
            found: format!("the text `{}`", excerpt(text)),
            expected: "a whole number",
        }),
        DataValue::Integer(number) => Err(Fault::Field {
            field: format!("data_id.{dimension}"),
            found: number.to_string(),
            expected: "text",
        }),
    }
}

fn check_records(universe: &UniverseVersion, line: &DimensionRecords) -> Result<(), Fault> {
    let element = universe::element_in(universe.version, &line.element)
        .ok_or_else(|| unknown("element", &line.element, universe))?;
    if !element.has_records {
        let expected = "an element that has records of its own";
        return Err(Fault::field_text("element", element.name, expected));
    }
    for (index, record) in line.records.iter().enumerate() {
        if universe::record_key(element, record).is_none() {
            let keys: Vec<_> = element
                .required
                .iter()
                .map(|dimension| universe::key_field(element, dimension))
                .collect();
            return Err(Fault::RecordKey {
                field: format!("records[{index}]"),
                element: element.name,
                keys: listed(keys),
            });
        }
    }
    Ok(())
}

/// A dimension or element that the universe does not have.
pub(crate) fn unknown(field: &str, name: &str, universe: &UniverseVersion) -> Fault {
    Fault::UnknownDimension {
        field: field.to_owned(),
        name: excerpt(name),
        universe: excerpt(&universe.name),
        version: universe.version,
    }
}

/// Checks free text of one line: not empty, bounded, no control characters.
pub(crate) fn check_text(field: &str, text: &str) -> Result<(), Fault> {
    if is_text(text) {
        return Ok(());
    }
    Err(Fault::field_text(field, text, TEXT_EXPECTED))
}

/// Checks that a free value nests no deeper than every reader reads.
pub(crate) fn check_depth(field: &str, value: &serde_json::Value) -> Result<(), Fault> {
    if !strict::is_deeper(value, strict::LEVELS_MAX) {
        return Ok(());
    }
    Err(Fault::Field {
        field: field.to_owned(),
        found: "a value nested deeper".into(),
        expected: "at most 100 levels",
    })
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

fn name_fault(field: &'static str, fault: NameError) -> Fault {
    Fault::Name { field, fault }
}

/// Names for a message: `{a, b}`, escaped, cut at 8.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let mut shown: Vec<_> = names.by_ref().take(8).map(excerpt).collect();
    if names.next().is_some() {
        shown.push("…".into());
    }
    format!("{{{}}}", shown.join(", "))
}
