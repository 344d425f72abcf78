//! Columns as types, and back.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use runsync_config::root::RootName;
use runsync_manifest::checksum::{Adler32, Checksums, Md5, Sha256};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{ArtifactPath, DatasetId, RepositoryId, RunKey};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::failure::Failure;
use crate::registry::RegistryError;
use crate::registry::record::{RecordRow, RunRow};

/// `record.confirmed` of an artifact that is waited for.
pub(super) const AWAITED: i64 = 0;
/// Of one that is confirmed.
pub(super) const CONFIRMED: i64 = 1;
/// Of one that is neither: unstored, or forgotten. Readers pass over it.
pub(super) const ABSENT: i64 = 2;

/// Columns that [`run_row`] reads.
pub(super) const RUN_COLUMNS: &str = "run.name, run.origin, run.epoch, run.sequence, \
     run.floor_epoch, run.floor_sequence, run.datasets, run.claims, run.waiting, run.bytes, \
     run.followed_epoch, run.followed_sequence";

/// Columns of `dataset_type` that [`dataset_type`] reads.
pub(super) const TYPE_COLUMNS: &str = "name, dimensions, storage_class, is_calibration";

/// Columns that [`checksums`] reads.
pub(super) const CHECKSUM_COLUMNS: &str = "record.adler32, record.md5, record.sha256";

/// Columns that [`record_row`] reads.
pub(super) const RECORD_COLUMNS: &str = "record.adler32, record.md5, record.sha256, record.uuid, \
     record.component, record.root_id, record.path, record.size, record.formatter_id, \
     record.confirmed";

pub(super) fn damaged(what: &'static str, value: &impl ToString) -> Failure {
    RegistryError::Damaged {
        what,
        value: value.to_string(),
    }
    .into()
}

pub(super) fn parse<T: FromStr>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<T, Failure> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(rusqlite::Error::from)?;
    text.parse().map_err(|_| damaged(what, &text))
}

pub(super) fn dataset_id(row: &Row<'_>, column: usize) -> rusqlite::Result<DatasetId> {
    Ok(DatasetId(Uuid::from_bytes(row.get(column)?)))
}

pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64, Failure> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| damaged("count", &value))
}

/// Reads one of a run's counters. Nothing is decided by them alone, so one that cannot be right
/// is no reason to refuse an answer: it counts as zero.
pub(super) fn counter(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value = row.get_ref(column)?.as_i64().unwrap_or(0);
    Ok(u64::try_from(value).unwrap_or(0))
}

pub(super) fn size_column(path: &str, size: u64) -> Result<i64, Failure> {
    i64::try_from(size).map_err(|_| {
        RegistryError::Size {
            path: path.to_owned(),
            size,
        }
        .into()
    })
}

pub(super) fn adler32_column(checksums: &Checksums) -> u32 {
    u32::from_be_bytes(checksums.adler32.0)
}

pub(super) fn md5_column(checksums: &Checksums) -> Option<[u8; 16]> {
    checksums.md5.map(|md5| md5.0)
}

pub(super) fn sha256_column(checksums: &Checksums) -> Option<[u8; 32]> {
    checksums.sha256.map(|sha256| sha256.0)
}

/// Reads [`CHECKSUM_COLUMNS`] where they are the first columns.
pub(super) fn checksums(row: &Row<'_>) -> rusqlite::Result<Checksums> {
    Ok(Checksums {
        adler32: Adler32(row.get::<_, u32>(0)?.to_be_bytes()),
        md5: row.get::<_, Option<[u8; 16]>>(1)?.map(Md5),
        sha256: row.get::<_, Option<[u8; 32]>>(2)?.map(Sha256),
    })
}

pub(super) fn generation(
    row: &Row<'_>,
    first_column: usize,
) -> rusqlite::Result<Option<Generation>> {
    let epoch: Option<u32> = row.get(first_column)?;
    let sequence: Option<u32> = row.get(first_column + 1)?;
    Ok(epoch
        .zip(sequence)
        .map(|(epoch, sequence)| Generation { epoch, sequence }))
}

/// Reads name and origin.
pub(super) fn run_key(row: &Row<'_>, first_column: usize) -> Result<RunKey, Failure> {
    Ok(RunKey {
        name: parse(row, first_column, "run name")?,
        origin: RepositoryId(Uuid::from_bytes(row.get(first_column + 1)?)),
    })
}

/// Reads [`RUN_COLUMNS`].
pub(super) fn run_row(row: &Row<'_>) -> Result<RunRow, Failure> {
    Ok(RunRow {
        key: run_key(row, 0)?,
        generation: generation(row, 2)?,
        floor: generation(row, 4)?,
        followed: generation(row, 10)?,
        datasets: counter(row, 6)?,
        claims: counter(row, 7)?,
        waiting: counter(row, 8)?,
        bytes: counter(row, 9)?,
    })
}

/// Reads [`TYPE_COLUMNS`].
pub(super) fn dataset_type(row: &Row<'_>) -> Result<DatasetType, Failure> {
    let dimensions: String = row.get(1)?;
    Ok(DatasetType {
        name: parse(row, 0, "dataset type name")?,
        dimensions: serde_json::from_str(&dimensions)
            .map_err(|_| damaged("list of dimensions", &dimensions))?,
        storage_class: parse(row, 2, "storage class name")?,
        is_calibration: row.get(3)?,
    })
}

/// Names that rows refer to by number.
#[derive(Debug)]
pub(super) struct Names {
    roots: HashMap<i64, RootName>,
    formatters: HashMap<i64, Arc<str>>,
}

impl Names {
    pub(super) fn load(connection: &Connection) -> Result<Self, Failure> {
        let mut names = Self {
            roots: HashMap::new(),
            formatters: HashMap::new(),
        };
        let mut roots = connection.prepare_cached("SELECT root_id, name FROM root")?;
        let mut rows = roots.query([])?;
        while let Some(row) = rows.next()? {
            let root = parse(row, 1, "root name")?;
            names.roots.insert(row.get(0)?, root);
        }
        let mut formatters =
            connection.prepare_cached("SELECT formatter_id, name FROM formatter")?;
        let mut rows = formatters.query([])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(1)?;
            names.formatters.insert(row.get(0)?, name.into());
        }
        Ok(names)
    }

    /// Reads [`RECORD_COLUMNS`].
    pub(super) fn record_row(&self, row: &Row<'_>) -> Result<RecordRow, Failure> {
        let root_id: i64 = row.get(5)?;
        let root = self.roots.get(&root_id);
        let formatter = row.get::<_, Option<i64>>(8)?.map(|id| {
            let name = self.formatters.get(&id);
            name.ok_or_else(|| damaged("formatter number", &id))
        });
        Ok(RecordRow {
            uuid: dataset_id(row, 3)?,
            component: row.get(4)?,
            root: root
                .ok_or_else(|| damaged("root number", &root_id))?
                .clone(),
            path: path(row.get(6)?)?,
            size: count(row, 7)?,
            checksums: checksums(row)?,
            formatter: formatter.transpose()?.cloned(),
            confirmed: row.get(9)?,
        })
    }
}

pub(super) fn path(text: String) -> Result<ArtifactPath, Failure> {
    ArtifactPath::try_from(text).map_err(|error| damaged("artifact path", &error.name))
}

/// Whether two statements about one artifact can both be true: the size and every checksum
/// that both have are the same.
pub(super) fn agree(a: (u64, &Checksums), b: (u64, &Checksums)) -> bool {
    fn same<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
        a.zip(b).is_none_or(|(a, b)| a == b)
    }
    a.0 == b.0
        && a.1.adler32 == b.1.adler32
        && same(a.1.md5, b.1.md5)
        && same(a.1.sha256, b.1.sha256)
}
