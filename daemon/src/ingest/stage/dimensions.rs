//! The dimension records that a manifest brings, and the keys that it needs.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::sync::Mutex;

use runsync_manifest::dimension::DimensionRecords;
use runsync_manifest::entry::{DataId, DataValue};
use runsync_manifest::universe::{self, Element};

use super::encode;
use crate::poison::lock;
use crate::registry::record::{DimensionKeyCursor, DimensionRow};
use crate::sorting::{Cursor, Sorted, Sorter};

/// Keys remembered as already staged. Data IDs repeat few keys many times; what is forgotten
/// here is only sorted out later.
const REMEMBERED_KEYS: usize = 50_000;
/// Memory of each of the two key sorters.
const KEY_BUDGET_BYTES: usize = 2 << 20;

/// Gathers records and keys while the manifest is read.
#[derive(Debug)]
pub(super) struct DimensionStaging {
    records: BufWriter<File>,
    brought: Sorter,
    needed: Sorter,
    remembered: Remembered,
    values: Vec<u8>,
    buffer: Vec<u8>,
    key: Vec<u8>,
}

/// Elements and values of keys that are staged, as two hashes of each under secret keys: nobody can
/// write a manifest in which two are taken for one, and memory does not depend on their length.
#[derive(Debug, Default)]
struct Remembered {
    hashes: HashSet<(u64, u64)>,
    keys: (RandomState, RandomState),
}

impl Remembered {
    /// Whether it was not seen yet, or was forgotten.
    fn is_new(&mut self, values: &[u8]) -> bool {
        let hash = (self.keys.0.hash_one(values), self.keys.1.hash_one(values));
        if self.hashes.contains(&hash) {
            return false;
        }
        if self.hashes.len() >= REMEMBERED_KEYS {
            self.hashes.clear();
        }
        self.hashes.insert(hash)
    }
}

/// What was gathered.
#[derive(Debug)]
pub(super) struct StagedDimensions {
    records: Mutex<File>,
    brought: Sorted,
    needed: Sorted,
}

impl DimensionStaging {
    pub(super) fn new(scratch: &Path) -> io::Result<Self> {
        Ok(Self {
            records: BufWriter::new(tempfile::tempfile_in(scratch)?),
            brought: Sorter::new(scratch, KEY_BUDGET_BYTES),
            needed: Sorter::new(scratch, KEY_BUDGET_BYTES),
            remembered: Remembered::default(),
            values: Vec::new(),
            buffer: Vec::new(),
            key: Vec::new(),
        })
    }

    /// Takes a dimension line. A record needs the records that it refers to in turn.
    pub(super) fn records(&mut self, line: &DimensionRecords) -> io::Result<()> {
        // The reader has checked elements and keys; in a universe that is not the Butler's
        // there is nothing to check against, and nothing to refer to.
        let Some(element) = universe::element(&line.element) else {
            return Ok(());
        };
        for record in &line.records {
            let Some(key) = universe::record_key(element, record) else {
                continue;
            };
            self.key.clear();
            key.write_canonical(&mut self.key);
            encode::dimension_key(element.name, &self.key, &mut self.buffer);
            self.brought.push(&self.buffer)?;
            for part in [
                element.name.as_bytes(),
                &self.key,
                &serde_json::to_vec(record)?,
            ] {
                write_part(&mut self.records, part)?;
            }
            self.references(element, record, &key)?;
        }
        Ok(())
    }

    fn references(
        &mut self,
        element: &Element,
        record: &runsync_manifest::dimension::DimensionRecord,
        key: &DataId<'_>,
    ) -> io::Result<()> {
        let mut pairs = key.pairs().to_vec();
        for implied in element.implied {
            let value = match record.get(*implied) {
                Some(serde_json::Value::String(text)) => DataValue::Text(text.as_str().into()),
                Some(serde_json::Value::Number(number)) => match number.as_i64() {
                    Some(number) => DataValue::Integer(number),
                    None => continue,
                },
                _ => continue,
            };
            pairs.push(((*implied).into(), value));
        }
        let Some(known) = DataId::new(pairs) else {
            return Ok(());
        };
        let refers_to = element.required.iter().chain(element.implied);
        for dimension in refers_to.filter(|name| **name != element.name) {
            self.needs(dimension, &known)?;
        }
        Ok(())
    }

    /// Notes that the record of `dimension` with the values in `data_id` must be there.
    pub(super) fn needs(&mut self, dimension: &str, data_id: &DataId<'_>) -> io::Result<()> {
        let Some(element) = universe::element(dimension).filter(|found| found.has_records) else {
            return Ok(());
        };
        // The values alone tell keys of one element apart, and cost little to write.
        self.values.clear();
        self.values.extend_from_slice(element.name.as_bytes());
        for required in element.required {
            // A reference whose key is not whole (a null field) refers to nothing.
            let Some(value) = data_id.get(required) else {
                return Ok(());
            };
            write_value(value, &mut self.values);
        }
        if !self.remembered.is_new(&self.values) {
            return Ok(());
        }
        self.need(element, data_id)
    }

    fn need(&mut self, element: &Element, data_id: &DataId<'_>) -> io::Result<()> {
        let required = element.required.iter();
        let pairs = required
            .filter_map(|name| Some(((*name).into(), data_id.get(name)?.clone())))
            .collect();
        let Some(key) = DataId::new(pairs) else {
            return Ok(());
        };
        self.key.clear();
        key.write_canonical(&mut self.key);
        encode::dimension_key(element.name, &self.key, &mut self.buffer);
        self.needed.push(&self.buffer)
    }

    pub(super) fn finish(self) -> io::Result<StagedDimensions> {
        let records = self
            .records
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(StagedDimensions {
            records: Mutex::new(records),
            brought: self.brought.sort()?,
            needed: self.needed.sort()?,
        })
    }
}

impl StagedDimensions {
    pub(super) fn memory_bytes(&self) -> usize {
        self.brought.memory_bytes() + self.needed.memory_bytes()
    }

    pub(super) fn each(
        &self,
        each: &mut dyn FnMut(DimensionRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = lock(&self.records);
        file.rewind()?;
        let mut reader = BufReader::new(&mut *file);
        let (mut element, mut key, mut record) = (String::new(), String::new(), String::new());
        while read_part(&mut reader, &mut element)? {
            if !read_part(&mut reader, &mut key)? || !read_part(&mut reader, &mut record)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            each(DimensionRow {
                element: &element,
                key: &key,
                record: &record,
            })?;
        }
        Ok(())
    }

    pub(super) fn keys(&self) -> io::Result<MissingKeys<'_>> {
        let mut brought = self.brought.cursor()?;
        let next_brought = brought.next()?.map(<[u8]>::to_vec);
        Ok(MissingKeys {
            needed: self.needed.cursor()?,
            brought,
            next_brought,
            current: Vec::new(),
        })
    }
}

/// Lends the needed keys that the manifest does not bring.
#[derive(Debug)]
pub(super) struct MissingKeys<'a> {
    needed: Cursor<'a>,
    brought: Cursor<'a>,
    next_brought: Option<Vec<u8>>,
    current: Vec<u8>,
}

impl DimensionKeyCursor for MissingKeys<'_> {
    fn next(&mut self) -> io::Result<Option<(&str, &str)>> {
        loop {
            let Some(needed) = self.needed.next()? else {
                return Ok(None);
            };
            self.current.clear();
            self.current.extend_from_slice(needed);
            while self
                .next_brought
                .as_ref()
                .is_some_and(|key| key < &self.current)
            {
                self.next_brought = self.brought.next()?.map(<[u8]>::to_vec);
            }
            let order = self.next_brought.as_ref().map(|key| key.cmp(&self.current));
            if order != Some(Ordering::Equal) {
                return encode::read_dimension_key(&self.current).map(Some);
            }
        }
    }
}

/// Appends a value so that no other sequence of values gives the same bytes.
fn write_value(value: &DataValue<'_>, to: &mut Vec<u8>) {
    match value {
        DataValue::Integer(number) => {
            to.push(0);
            to.extend_from_slice(&number.to_be_bytes());
        }
        DataValue::Text(text) => {
            to.push(1);
            to.extend_from_slice(&text.len().to_be_bytes());
            to.extend_from_slice(text.as_bytes());
        }
    }
}

fn write_part(to: &mut impl Write, part: &[u8]) -> io::Result<()> {
    to.write_all(&(part.len() as u64).to_le_bytes())?;
    to.write_all(part)
}

/// Reads one part into `part`; false at the end of the file.
fn read_part(from: &mut impl Read, part: &mut String) -> io::Result<bool> {
    let mut length = [0; 8];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    part.clear();
    let length = u64::from_le_bytes(length);
    from.take(length).read_to_string(part)?;
    Ok(true)
}
