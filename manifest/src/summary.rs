//! Reads a manifest to its end and says what it holds, for people and for checks.

use std::io::Read;

use serde::Serialize;

use crate::error::ReadError;
use crate::header::Header;
use crate::limits::Limits;
use crate::name::DatasetTypeName;
use crate::reader::{Line, Reader};
use crate::trailer::Trailer;

/// What a whole manifest holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Its header.
    pub header: Header,
    /// Its trailer, which matches what stands before it.
    pub trailer: Trailer,
    /// What it holds of each dataset type, in the header's order.
    pub dataset_types: Vec<TypeSummary>,
    /// Records of each dimension element, in the file's order.
    pub dimensions: Vec<ElementSummary>,
    /// Whether the dataset lines come by UUID, as the writer's caller should bring them.
    pub sorted: bool,
}

/// Dataset lines of one dataset type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeSummary {
    /// The dataset type.
    pub name: DatasetTypeName,
    /// Dataset lines: artifacts, each component counted.
    pub lines: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
}

/// Records of one dimension element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ElementSummary {
    /// The element.
    pub element: String,
    /// Records.
    pub records: u64,
}

impl Summary {
    /// Reads a manifest to its end. Whether the signature holds is for the caller
    /// to ask, who knows the keys: see [`Signature::is_by`](crate::signature::Signature::is_by).
    ///
    /// # Errors
    ///
    /// Whatever [`Reader`] finds wrong.
    pub fn read(input: impl Read, limits: Limits) -> Result<Self, ReadError> {
        let mut reader = Reader::new(input, limits)?;
        let header = reader.header().clone();
        let mut dataset_types: Vec<_> = header
            .dataset_types
            .iter()
            .map(|dataset_type| TypeSummary {
                name: dataset_type.name.clone(),
                lines: 0,
                bytes: 0,
            })
            .collect();
        let mut dimensions: Vec<ElementSummary> = Vec::new();
        let mut sorted = true;
        let mut last = None;
        while let Some(line) = reader.next()? {
            match line {
                Line::Dimension(line) => {
                    let records = line.records.len() as u64;
                    match dimensions.last_mut() {
                        Some(last) if last.element == line.element => last.records += records,
                        Some(_) | None => dimensions.push(ElementSummary {
                            element: line.element,
                            records,
                        }),
                    }
                }
                Line::Dataset {
                    entry,
                    dataset_type,
                } => {
                    sorted &= last.replace(entry.uuid) <= Some(entry.uuid);
                    if let Some(summary) = dataset_types.get_mut(dataset_type) {
                        summary.lines += 1;
                        summary.bytes += entry.size;
                    }
                }
            }
        }
        let trailer = reader
            .into_trailer()
            .ok_or(ReadError::Incomplete { line: 1 })?;
        Ok(Self {
            header,
            trailer,
            dataset_types,
            dimensions,
            sorted,
        })
    }
}
