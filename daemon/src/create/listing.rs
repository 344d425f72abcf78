//! Reads JSON lines that say which files are which datasets.
//!
//! ```text
//! {"kind":"dataset_type","name":"calexp","dimensions":["visit","detector"],"storage_class":"ExposureF"}
//! {"kind":"dimension","element":"instrument","records":[{"name":"HSC", …}]}
//! {"path":"a/b.fits","dataset_type":"calexp","data_id":{"instrument":"HSC","visit":1,"detector":2}}
//! ```
//!
//! A dataset line may name a `uuid` (else a random one is made), a `formatter` and a
//! `component`. Definitions come before what uses them, in the same file or an
//! earlier one. Data IDs may hold implied dimensions, which are left out.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use runsync_manifest::dimension::DimensionRecords;
use runsync_manifest::entry::DataValue;
use runsync_manifest::header::UniverseVersion;
use runsync_manifest::limits::LINE_BYTES_MAX;
use runsync_manifest::name::DatasetId;
use serde::Deserialize;
use uuid::Uuid;

use super::draft::{Claim, Draft};
use super::error::{CreateError, Place};
use super::fields::{definition, name};

/// A draft that listings are read into, one after the other.
#[derive(Debug)]
pub struct Listing {
    draft: Draft,
    /// The file that is read, among the draft's.
    file: usize,
    /// What stands before each path: empty, or a folder and `/`.
    folder: String,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct KindLine {
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct DatasetTypeLine {
    name: String,
    dimensions: Vec<String>,
    storage_class: String,
    #[serde(default)]
    is_calibration: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatasetLine<'a> {
    /// Told before.
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    path: String,
    dataset_type: String,
    #[serde(borrow)]
    data_id: runsync_manifest::entry::DataId<'a>,
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    formatter: Option<String>,
    #[serde(default)]
    component: Option<String>,
}

impl Listing {
    /// Begins, in a dimension universe.
    pub fn new(universe: UniverseVersion) -> Self {
        Self {
            draft: Draft::new(universe),
            file: 0,
            folder: String::new(),
        }
    }

    /// Takes paths as relative to `folder` in the root, which is empty for the root itself.
    #[must_use]
    pub fn below(self, folder: &str) -> Self {
        let folder = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        Self { folder, ..self }
    }

    /// Reads one file; `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// What is wrong, and in which line and field.
    pub fn read(&mut self, file: &str, mut input: impl BufRead) -> Result<(), CreateError> {
        self.file = self.draft.begin_file(file);
        let mut line = Vec::new();
        let mut place = Place {
            file: file.to_owned(),
            line: 0,
        };
        loop {
            place.line += 1;
            line.clear();
            let count = read_line(&mut input, &mut line).map_err(|source| CreateError::Read {
                file: file.to_owned(),
                source,
            })?;
            if count == 0 {
                return Ok(());
            }
            if line.len() as u64 > LINE_BYTES_MAX {
                return Err(CreateError::Syntax {
                    place,
                    column: LINE_BYTES_MAX,
                    problem: format!("the line is longer than {LINE_BYTES_MAX} bytes"),
                });
            }
            if !line.trim_ascii().is_empty() {
                self.line(&line, &place)?;
            }
        }
    }

    /// The draft of all that was read.
    ///
    /// # Errors
    ///
    /// [`CreateError::Contradiction`] where two lines do not go together.
    pub fn into_draft(mut self) -> Result<Draft, CreateError> {
        self.draft.settle()?;
        Ok(self.draft)
    }

    fn line(&mut self, line: &[u8], place: &Place) -> Result<(), CreateError> {
        let KindLine { kind } = parse(line, place)?;
        match kind.as_deref() {
            None | Some("dataset") => self.dataset(&parse(line, place)?, place),
            Some("dataset_type") => {
                let line: DatasetTypeLine = parse(line, place)?;
                let definition = definition(
                    &line.name,
                    line.dimensions,
                    &line.storage_class,
                    line.is_calibration,
                    place,
                )?;
                self.draft.add_type(definition, place)
            }
            Some("dimension") => {
                let DimensionRecords { element, records } = parse(line, place)?;
                let universe = &self.draft.universe;
                records.into_iter().try_for_each(|record| {
                    self.draft.dimensions.add(universe, &element, record, place)
                })
            }
            Some(other) => Err(CreateError::Field {
                place: place.clone(),
                field: "kind".into(),
                found: format!("`{}`", other.escape_debug()),
                expected: "`dataset_type`, `dimension`, `dataset` or nothing".into(),
            }),
        }
    }

    fn dataset(&mut self, line: &DatasetLine<'_>, place: &Place) -> Result<(), CreateError> {
        let dataset_type = self.draft.types.find(&line.dataset_type, place)?;
        let given: BTreeMap<_, _> = line
            .data_id
            .pairs()
            .iter()
            .map(|(dimension, value)| (dimension.to_string(), owned(value)))
            .collect();
        let data_id = self
            .draft
            .types
            .get(dataset_type)
            .map_or(Ok("".into()), |shape| {
                shape.data_id(&self.draft.universe, given, place)
            })?;
        let uuid = match &line.uuid {
            Some(text) => name(text, "uuid", place)?,
            None => DatasetId(Uuid::new_v4()),
        };
        let formatter = line
            .formatter
            .as_deref()
            .map(|formatter| self.draft.formatter(formatter));
        self.draft.claims.push(Claim {
            uuid,
            component: line.component.as_deref().map(Into::into),
            dataset_type,
            data_id,
            path: name(&format!("{}{}", self.folder, line.path), "path", place)?,
            formatter,
            measured: None,
            file: self.file,
            line: place.line,
        });
        Ok(())
    }
}

/// Reads up to a newline or a byte more than a line may have.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    io::Read::take(input, LINE_BYTES_MAX + 1).read_until(b'\n', line)
}

fn owned(value: &DataValue<'_>) -> DataValue<'static> {
    match value {
        DataValue::Integer(number) => DataValue::Integer(*number),
        DataValue::Text(text) => DataValue::Text(text.to_string().into()),
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a [u8], place: &Place) -> Result<T, CreateError> {
    serde_json::from_slice(line).map_err(|error| {
        let whole = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let problem = whole.strip_suffix(&position).unwrap_or(&whole);
        let missing = problem
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(field) = missing {
            return CreateError::Missing {
                place: place.clone(),
                field: field.to_owned(),
            };
        }
        CreateError::Syntax {
            place: place.clone(),
            column: error.column() as u64,
            problem: problem.chars().take(300).collect(),
        }
    })
}
