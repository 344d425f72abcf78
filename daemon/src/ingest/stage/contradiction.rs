//! Checks a manifest against itself: a contradiction can never be resolved by another manifest.

use std::io;
use std::thread;

use runsync_manifest::header::DatasetType;
use runsync_manifest::name::DatasetId;

use super::{Decoding, StageError, StagedRows};
use crate::registry::record::{
    ClaimCursor, ClaimRow, DataIdCursor, DataIdRow, PathCursor, PathRow,
};

/// Two lines of one manifest that cannot both be true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A UUID has two dataset types or data IDs.
    #[error("dataset {uuid} is named as {first} and as {second}")]
    Dataset {
        /// The dataset.
        uuid: DatasetId,
        /// One dataset type and data ID.
        first: String,
        /// The other.
        second: String,
    },
    /// A dataset's component is said to be in two artifacts, or in one with two contents.
    #[error("dataset {uuid}{} has two different lines, at `{first}` and at `{second}`", named_component(.component))]
    Artifact {
        /// The dataset.
        uuid: DatasetId,
        /// Its component, empty for the whole.
        component: String,
        /// One path.
        first: String,
        /// The other.
        second: String,
    },
    /// Two UUIDs have the same dataset type and data ID.
    #[error("datasets {first} and {second} both are {dataset_type} {data_id}")]
    DataId {
        /// The dataset type.
        dataset_type: String,
        /// The canonical data ID.
        data_id: String,
        /// One dataset.
        first: DatasetId,
        /// The other.
        second: DatasetId,
    },
    /// A path is given two sizes or checksums.
    #[error("path `{path}` has one size and checksum for dataset {first}, others for {second}")]
    Path {
        /// The path.
        path: String,
        /// One dataset.
        first: DatasetId,
        /// The other.
        second: DatasetId,
    },
}

fn named_component(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(", component {name},")
    }
}

/// What the rows count to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) claims: u64,
    pub(super) datasets: u64,
    /// Sum of the claims' sizes.
    pub(super) bytes: u64,
    pub(super) repeated: u64,
}

/// Walks the rows once in each order.
pub(super) fn check(
    rows: &StagedRows,
    types: &[DatasetType],
    lines: u64,
) -> Result<Counts, StageError> {
    let look_ups = || check_data_ids(rows, types).and_then(|()| check_paths(rows));
    let counts = if rows.by_dataset.is_on_disk() {
        let (counts, look_ups) = thread::scope(|scope| {
            let look_ups = scope.spawn(look_ups);
            (check_datasets(rows, types), look_ups.join())
        });
        let lost = |_| Err(io::Error::other("the thread that checks has panicked").into());
        counts.and_then(|counts| look_ups.unwrap_or_else(lost).map(|()| counts))?
    } else {
        let counts = check_datasets(rows, types)?;
        look_ups()?;
        counts
    };
    Ok(Counts {
        repeated: lines - counts.claims,
        ..counts
    })
}

fn type_name(types: &[DatasetType], index: usize) -> &str {
    types.get(index).map_or("?", |found| found.name.as_str())
}

/// What of a claim the next one is compared with.
#[derive(Debug, Default)]
struct LastClaim {
    uuid: Option<DatasetId>,
    component: String,
    dataset_type: usize,
    data_id: String,
    path: String,
}

impl LastClaim {
    fn set(&mut self, row: &ClaimRow<'_>) {
        self.uuid = Some(row.uuid);
        row.component.clone_into(&mut self.component);
        self.dataset_type = row.dataset_type;
        row.data_id.clone_into(&mut self.data_id);
        row.path.clone_into(&mut self.path);
    }
}

fn check_datasets(rows: &StagedRows, types: &[DatasetType]) -> Result<Counts, StageError> {
    let mut cursor = Decoding(rows.by_dataset.cursor()?);
    let mut last = LastClaim::default();
    let mut counts = Counts::default();
    while let Some(row) = ClaimCursor::next(&mut cursor)? {
        counts.claims += 1;
        counts.bytes = counts.bytes.saturating_add(row.size);
        if last.uuid == Some(row.uuid) {
            same_dataset(&last, &row, types)?;
        } else {
            counts.datasets += 1;
        }
        last.set(&row);
    }
    Ok(counts)
}

fn same_dataset(
    last: &LastClaim,
    row: &ClaimRow<'_>,
    types: &[DatasetType],
) -> Result<(), Contradiction> {
    if last.dataset_type != row.dataset_type || last.data_id != row.data_id {
        return Err(Contradiction::Dataset {
            uuid: row.uuid,
            first: format!("{} {}", type_name(types, last.dataset_type), last.data_id),
            second: format!("{} {}", type_name(types, row.dataset_type), row.data_id),
        });
    }
    if last.component == row.component {
        return Err(Contradiction::Artifact {
            uuid: row.uuid,
            component: row.component.to_owned(),
            first: last.path.clone(),
            second: row.path.to_owned(),
        });
    }
    Ok(())
}

fn check_data_ids(rows: &StagedRows, types: &[DatasetType]) -> Result<(), StageError> {
    let mut cursor = Decoding(rows.by_data_id.cursor()?);
    let mut last: Option<(usize, DatasetId)> = None;
    let mut last_data_id = String::new();
    while let Some(DataIdRow {
        dataset_type,
        data_id,
        uuid,
    }) = DataIdCursor::next(&mut cursor)?
    {
        if let Some((last_type, first)) = last
            && last_type == dataset_type
            && last_data_id == data_id
        {
            return Err(StageError::Contradiction(Contradiction::DataId {
                dataset_type: type_name(types, dataset_type).to_owned(),
                data_id: data_id.to_owned(),
                first,
                second: uuid,
            }));
        }
        last = Some((dataset_type, uuid));
        data_id.clone_into(&mut last_data_id);
    }
    Ok(())
}

fn check_paths(rows: &StagedRows) -> Result<(), StageError> {
    let mut cursor = Decoding(rows.by_path.cursor()?);
    let mut last = None;
    let mut last_path = String::new();
    while let Some(PathRow {
        path,
        uuid,
        size,
        checksums,
        ..
    }) = PathCursor::next(&mut cursor)?
    {
        if let Some((first, last_size, last_checksums)) = last
            && last_path == path
            && (last_size, last_checksums) != (size, checksums)
        {
            return Err(StageError::Contradiction(Contradiction::Path {
                path: path.to_owned(),
                first,
                second: uuid,
            }));
        }
        last = Some((uuid, size, checksums));
        path.clone_into(&mut last_path);
    }
    Ok(())
}
