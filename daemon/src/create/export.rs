//! Reads a Butler export (YAML, version 1): dimension records, dataset types, datasets.
//!
//! It is taken item by item. What a manifest does not hold (TAGGED, CHAINED and
//! CALIBRATION collections, associations) is passed over. Times become nanoseconds of TAI
//! and regions hexadecimal text, as the Butler's own record JSON has them.

use std::collections::BTreeMap;
use std::io::BufRead;

use jiff::civil::DateTime;
use runsync_manifest::dimension::DimensionRecord;
use runsync_manifest::entry::DataValue;
use runsync_manifest::header::UniverseVersion;
use runsync_manifest::name::{ArtifactPath, DatasetId, RunName};
use runsync_manifest::universe;
use serde_json::Value;

use super::draft::{Claim, Draft};
use super::error::{CreateError, Place};
use super::fields::{definition, name};
use super::yaml::{Events, Node, NodeValue, Scalar};

/// The major version of exports that is read.
const VERSION: &str = "1";

/// The tag of the Butler's times.
const TIME_TAG: &str = "!butler_time/tai/iso";

/// Elements whose records have a timespan.
const TEMPORAL: [&str; 3] = ["day_obs", "exposure", "visit"];

/// A timespan without a beginning, in the Butler's nanoseconds of TAI since 1970.
const NO_BEGINNING: i64 = 0;
/// A timespan without an end: 2100-01-01 00:00:00 TAI.
const NO_END: i64 = 4_102_444_800_000_000_000;

/// Reads an export and drafts one of its runs: `run`, or the only one it holds.
///
/// `file` is what errors call the input.
///
/// # Errors
///
/// What is wrong, and in which line and field.
pub fn read(
    file: &str,
    input: impl BufRead,
    run: Option<&RunName>,
) -> Result<(RunName, Draft), CreateError> {
    let mut export = Export::new(file, input);
    export.read()?;
    export.into_draft(run)
}

/// Reads the dimension records of an export; what else it holds is checked and left out.
///
/// # Errors
///
/// As [`read`].
pub fn read_dimensions(file: &str, input: impl BufRead) -> Result<Draft, CreateError> {
    let mut export = Export::new(file, input);
    export.read()?;
    export.draft.begin_file(file);
    Ok(export.draft)
}

struct Export<R: BufRead> {
    events: Events<R>,
    /// Holds types, dimensions and the claims of all runs.
    draft: Draft,
    /// The runs, each with the places of its claims.
    runs: BTreeMap<RunName, Vec<Claim>>,
}

/// One item of `data`, less its records.
#[derive(Default)]
struct Item {
    line: u64,
    fields: Vec<(String, Node)>,
}

impl<R: BufRead> Export<R> {
    fn new(file: &str, input: R) -> Self {
        // What an export without these fields means.
        let universe = UniverseVersion {
            name: universe::NAMESPACE.into(),
            version: 0,
        };
        Self {
            events: Events::new(file.to_owned(), input),
            draft: Draft::new(universe),
            runs: BTreeMap::new(),
        }
    }

    fn read(&mut self) -> Result<(), CreateError> {
        self.events.enter_document()?;
        let mut items_seen = false;
        while let Some((key, line)) = self.events.next_key()? {
            if key == "data" {
                items_seen = true;
                self.read_items()?;
                continue;
            }
            let value = self.events.tree()?;
            let place = self.events.place(line);
            if items_seen && key.starts_with("universe") {
                return Err(wrong(&place, &key, "it after `data`", "it before `data`"));
            }
            match key.as_str() {
                "version" => check_version(&value, &place)?,
                "universe_version" => {
                    self.draft.universe.version = number(&value, &key, &place)?;
                }
                "universe_namespace" => {
                    self.draft.universe.name = text(&value, &key, &place)?;
                }
                _ => {}
            }
        }
        if items_seen {
            return Ok(());
        }
        Err(CreateError::Missing {
            place: self.events.place(1),
            field: "data".into(),
        })
    }

    fn read_items(&mut self) -> Result<(), CreateError> {
        self.events.enter_list("data")?;
        while let Some(line) = self.events.next_mapping()? {
            let mut item = Item {
                line,
                fields: Vec::new(),
            };
            while let Some((key, line)) = self.events.next_key()? {
                if key == "records" {
                    self.read_records(&item, line)?;
                } else {
                    let value = self.events.tree()?;
                    item.fields.push((key, value));
                }
            }
            self.read_item(&item)?;
        }
        Ok(())
    }

    /// An item that has no records of its own.
    fn read_item(&mut self, item: &Item) -> Result<(), CreateError> {
        let place = self.events.place(item.line);
        if item.text("type", &place)? != "dataset_type" {
            return Ok(());
        }
        let dimensions = item.get("dimensions", &place)?;
        let dimensions = list(dimensions)
            .iter()
            .map(|node| text(node, "dimensions", &self.events.place(node.line)))
            .collect::<Result<_, _>>()?;
        let is_calibration = item
            .find("is_calibration")
            .is_some_and(|node| node.scalar() == Ok(Scalar::Bool(true)));
        let definition = definition(
            &item.text("name", &place)?,
            dimensions,
            &item.text("storage_class", &place)?,
            is_calibration,
            &place,
        )?;
        self.draft.add_type(definition, &place)
    }

    fn read_records(&mut self, item: &Item, line: u64) -> Result<(), CreateError> {
        let place = self.events.place(line);
        self.events.enter_list("records")?;
        match item.text("type", &place)?.as_str() {
            "dimension" => {
                let element = item.text("element", &place)?;
                while let Some(node) = self.events.next_in_list()? {
                    let place = self.events.place(node.line);
                    let record = dimension_record(&element, &node, &place)?;
                    let universe = &self.draft.universe;
                    self.draft
                        .dimensions
                        .add(universe, &element, record, &place)?;
                }
            }
            "dataset" => {
                let name_of_type = item.text("dataset_type", &place)?;
                let dataset_type = self.draft.types.find(&name_of_type, &place)?;
                let run: RunName = name(&item.text("run", &place)?, "run", &place)?;
                while let Some(node) = self.events.next_in_list()? {
                    let place = self.events.place(node.line);
                    let claims = self.claims(dataset_type, &node, &place)?;
                    self.runs.entry(run.clone()).or_default().extend(claims);
                }
            }
            _ => while self.events.next_in_list()?.is_some() {},
        }
        Ok(())
    }

    /// The claims of one record: as many as its artifact holds datasets.
    fn claims(
        &mut self,
        dataset_type: usize,
        record: &Node,
        place: &Place,
    ) -> Result<Vec<Claim>, CreateError> {
        let ids = list(required(record, "dataset_id", place)?);
        let data_ids = list(required(record, "data_id", place)?);
        if ids.len() != data_ids.len() {
            let found = format!("{} for {} in `dataset_id`", data_ids.len(), ids.len());
            return Err(wrong(place, "data_id", &found, "as many"));
        }
        let path = required(record, "path", place)?;
        let path: ArtifactPath = name(&text(path, "path", place)?, "path", place)?;
        let formatter = match record.get("formatter") {
            Some(node) if node.scalar() != Ok(Scalar::Null) => {
                let formatter = text(node, "formatter", place)?;
                Some(self.draft.formatter(&formatter))
            }
            Some(_) | None => None,
        };
        ids.iter()
            .zip(data_ids)
            .map(|(id, data_id)| {
                Ok(Claim {
                    uuid: dataset_id(id, &self.events.place(id.line))?,
                    component: None,
                    dataset_type,
                    data_id: self.data_id(dataset_type, data_id)?,
                    path: path.clone(),
                    formatter,
                    measured: None,
                    file: 0,
                    line: record.line,
                })
            })
            .collect()
    }

    fn data_id(&self, dataset_type: usize, node: &Node) -> Result<Box<str>, CreateError> {
        let place = self.events.place(node.line);
        let NodeValue::Map(pairs) = &node.value else {
            return Err(wrong(&place, "data_id", "something else", "a mapping"));
        };
        let mut given = BTreeMap::new();
        for (dimension, value) in pairs {
            let place = at(&place, value);
            let field = || format!("data_id.{}", dimension.escape_debug());
            let expected = "text or a whole number";
            let value = match value.scalar() {
                Ok(Scalar::Text(text)) => DataValue::Text(text.into()),
                Ok(Scalar::Number(number)) => number
                    .as_i64()
                    .map(DataValue::Integer)
                    .ok_or_else(|| wrong(&place, &field(), &number.to_string(), expected))?,
                Ok(Scalar::Null) => return Err(wrong(&place, &field(), "null", expected)),
                Ok(Scalar::Bool(value)) => {
                    return Err(wrong(&place, &field(), &value.to_string(), expected));
                }
                Err(found) => return Err(wrong(&place, &field(), &found, expected)),
            };
            given.insert(dimension.clone(), value);
        }
        self.draft
            .types
            .get(dataset_type)
            .map_or(Ok("".into()), |shape| {
                shape.data_id(&self.draft.universe, given, &place)
            })
    }

    fn into_draft(mut self, run: Option<&RunName>) -> Result<(RunName, Draft), CreateError> {
        let chosen = match run {
            Some(run) => self.runs.remove_entry(run),
            None if self.runs.len() == 1 => self.runs.pop_first(),
            None => None,
        };
        let Some((run, claims)) = chosen else {
            return Err(CreateError::Run {
                file: self.events.place(0).file,
                asked: run.cloned(),
                found: self.runs.into_keys().collect(),
            });
        };
        self.draft.begin_file(&self.events.place(0).file);
        self.draft.claims = claims;
        self.draft.settle()?;
        Ok((run, self.draft))
    }
}

impl Item {
    fn find(&self, field: &str) -> Option<&Node> {
        let found = self.fields.iter().find(|(name, _)| name == field);
        found.map(|(_, node)| node)
    }

    fn get(&self, field: &str, place: &Place) -> Result<&Node, CreateError> {
        self.find(field).ok_or_else(|| CreateError::Missing {
            place: place.clone(),
            field: field.to_owned(),
        })
    }

    fn text(&self, field: &str, place: &Place) -> Result<String, CreateError> {
        text(self.get(field, place)?, field, place)
    }
}

fn check_version(value: &Node, place: &Place) -> Result<(), CreateError> {
    let NodeValue::Scalar { text, .. } = &value.value else {
        return Err(wrong(place, "version", "something else", "text"));
    };
    // Exports before there were versions say 0.
    let major = text.split('.').next().unwrap_or_default();
    if major == VERSION || text == "0" {
        return Ok(());
    }
    let found = format!("`{}`", text.escape_debug());
    Err(wrong(place, "version", &found, "major version 1"))
}

fn dimension_record(
    element: &str,
    node: &Node,
    place: &Place,
) -> Result<DimensionRecord, CreateError> {
    let NodeValue::Map(pairs) = &node.value else {
        return Err(wrong(place, "records", "something else", "a mapping"));
    };
    let mut record = DimensionRecord::new();
    for (field, value) in pairs {
        if field == "datetime_begin" || field == "datetime_end" {
            continue;
        }
        record.insert(field.clone(), json(value, field, &at(place, value))?);
    }
    if TEMPORAL.contains(&element) && !record.contains_key("timespan") {
        record.insert("timespan".into(), timespan(node, place)?);
    }
    Ok(record)
}

/// A record without both times has no timespan; one without either is open there.
fn timespan(record: &Node, place: &Place) -> Result<Value, CreateError> {
    let begin = record.get("datetime_begin");
    let end = record.get("datetime_end");
    if begin.is_none() && end.is_none() {
        return Ok(Value::Null);
    }
    let begin = begin.map_or(Ok(NO_BEGINNING), |node| {
        time(node, "datetime_begin", NO_BEGINNING, place)
    })?;
    let end = end.map_or(Ok(NO_END), |node| time(node, "datetime_end", NO_END, place))?;
    Ok(Value::from(vec![begin, end]))
}

/// Nanoseconds of TAI since 1970-01-01 00:00:00 TAI. TAI has no leap seconds: the civil
/// difference is exact.
fn time(node: &Node, field: &str, absent: i64, place: &Place) -> Result<i64, CreateError> {
    if node.scalar() == Ok(Scalar::Null) {
        return Ok(absent);
    }
    let place = &at(place, node);
    let expected = "a TAI time tagged `!butler_time/tai/iso`, 1970 to 2261";
    let NodeValue::Scalar { text, .. } = &node.value else {
        return Err(wrong(place, field, "something else", expected));
    };
    let refused = || {
        let found = format!("`{}`", text.escape_debug());
        wrong(place, field, &found, expected)
    };
    if node.tag.as_deref() != Some(TIME_TAG) {
        return Err(refused());
    }
    let at: DateTime = text.parse().map_err(|_| refused())?;
    let nanoseconds = at.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    i64::try_from(nanoseconds.as_nanos())
        .ok()
        .filter(|nanoseconds| *nanoseconds >= 0)
        .ok_or_else(refused)
}

fn json(node: &Node, field: &str, place: &Place) -> Result<Value, CreateError> {
    let refused = |found: &str| wrong(place, field, found, "a value of a dimension record");
    match (&node.value, node.tag.as_deref()) {
        (NodeValue::Map(_), Some(tag)) if tag.contains("lsst.sphgeom.") => {
            let encoded = node.get("encoded").and_then(|node| node.scalar().ok());
            // Digits alone look like a number; what is wanted is the text.
            match (encoded, node.get("encoded").map(|node| &node.value)) {
                (Some(_), Some(NodeValue::Scalar { text, .. })) if is_hexadecimal(text) => {
                    Ok(Value::from(text.as_str()))
                }
                _ => Err(refused("a region without hexadecimal `encoded`")),
            }
        }
        (NodeValue::Scalar { text, .. }, Some("tag:yaml.org,2002:binary")) => {
            let packed: String = text.split_whitespace().collect();
            let bytes = data_encoding::BASE64
                .decode(packed.as_bytes())
                .map_err(|_| refused("binary that is no base64"))?;
            Ok(Value::from(data_encoding::HEXLOWER.encode(&bytes)))
        }
        (NodeValue::Scalar { .. }, _) => match node.scalar() {
            Ok(Scalar::Null) => Ok(Value::Null),
            Ok(Scalar::Bool(value)) => Ok(Value::Bool(value)),
            Ok(Scalar::Number(number)) => Ok(Value::Number(number)),
            Ok(Scalar::Text(text)) => Ok(Value::String(text)),
            Err(found) => Err(refused(&found)),
        },
        (NodeValue::List(_) | NodeValue::Map(_), _) => Err(refused("a list or mapping")),
    }
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty()
        && text.len().is_multiple_of(2)
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn dataset_id(node: &Node, place: &Place) -> Result<DatasetId, CreateError> {
    match node.scalar() {
        Ok(Scalar::Text(text)) => name(&text, "dataset_id", place),
        Ok(Scalar::Number(number)) => {
            let found = format!("the number {number}");
            Err(wrong(
                place,
                "dataset_id",
                &found,
                "a UUID (export it anew with a later Butler)",
            ))
        }
        _ => Err(wrong(place, "dataset_id", "something else", "a UUID")),
    }
}

/// The place of a node in the file of `place`.
fn at(place: &Place, node: &Node) -> Place {
    Place {
        file: place.file.clone(),
        line: node.line,
    }
}

/// A list, or what stands for a list of one.
fn list(node: &Node) -> &[Node] {
    match &node.value {
        NodeValue::List(nodes) => nodes,
        NodeValue::Scalar { .. } | NodeValue::Map(_) => std::slice::from_ref(node),
    }
}

fn required<'a>(record: &'a Node, field: &str, place: &Place) -> Result<&'a Node, CreateError> {
    record.get(field).ok_or_else(|| CreateError::Missing {
        place: place.clone(),
        field: field.to_owned(),
    })
}

fn text(node: &Node, field: &str, place: &Place) -> Result<String, CreateError> {
    match node.scalar() {
        Ok(Scalar::Text(text)) => Ok(text),
        Ok(Scalar::Number(number)) => {
            Err(wrong(place, field, &format!("the number {number}"), "text"))
        }
        Ok(Scalar::Null | Scalar::Bool(_)) => Err(wrong(place, field, "no text", "text")),
        Err(found) => Err(wrong(place, field, &found, "text")),
    }
}

fn number(node: &Node, field: &str, place: &Place) -> Result<u32, CreateError> {
    match node.scalar() {
        Ok(Scalar::Number(number)) => number.as_u64().and_then(|number| number.try_into().ok()),
        Ok(Scalar::Null | Scalar::Bool(_) | Scalar::Text(_)) | Err(_) => None,
    }
    .ok_or_else(|| wrong(place, field, "something else", "a whole number from 0 up"))
}

fn wrong(place: &Place, field: &str, found: &str, expected: &str) -> CreateError {
    CreateError::Field {
        place: place.clone(),
        field: field.to_owned(),
        found: found.chars().take(200).collect(),
        expected: expected.to_owned(),
    }
}
