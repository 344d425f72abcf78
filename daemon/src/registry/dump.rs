//! Writes what a registry holds as text, the same text for the same state.

use std::io::{self, Write};

use runsync_manifest::generation::Generation;
use runsync_manifest::name::DatasetId;
use serde::Serialize;

use super::record::{DatasetRow, RecordRow, RunRow};
use super::{Registry, RegistryError};

/// Datasets read at a time.
const PAGE: usize = 10_000;

/// What goes wrong while dumping.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The dump cannot be written.
    #[error("cannot write the dump of the registry")]
    Write(#[from] io::Error),
}

/// Writes dataset types, dimension records, and runs with their datasets and records, as JSON
/// Lines in key order.
///
/// Two registries that were given the same manifests and artifacts, in whatever order, have the
/// same dump. So it leaves out what depends on the order: datasets below their run's floor,
/// which await their removal and are known only where they came before the floor, and the
/// counters of runs, which count them.
///
/// # Errors
///
/// Where the registry cannot be read or `to` cannot be written.
pub fn dump(registry: &dyn Registry, to: &mut dyn Write) -> Result<(), DumpError> {
    for mut dataset_type in registry.dataset_types()? {
        dataset_type.dimensions.sort_unstable();
        line(to, "dataset_type", &dataset_type)?;
    }
    for record in registry.dimension_records()? {
        line(to, "dimension_record", &record)?;
    }
    for run in registry.runs(None)? {
        let generation = run
            .generation
            .filter(|generation| reaches(*generation, run.floor));
        line(to, "run", &(&run.key, generation, run.floor))?;
        datasets(registry, &run, to)?;
    }
    Ok(())
}

fn datasets(registry: &dyn Registry, run: &RunRow, to: &mut dyn Write) -> Result<(), DumpError> {
    let mut after: Option<DatasetId> = None;
    loop {
        let page = registry.datasets(&run.key, None, after, PAGE)?;
        let records = registry.records(&run.key, after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.uuid);
        let mut records = records.iter().peekable();
        for dataset in &page {
            let stays = reaches(dataset.generation, run.floor);
            if stays {
                line(to, "dataset", dataset)?;
            }
            write_records(dataset, &mut records, stays, to)?;
        }
    }
}

fn write_records<'a>(
    dataset: &DatasetRow,
    records: &mut std::iter::Peekable<impl Iterator<Item = &'a RecordRow>>,
    stays: bool,
    to: &mut dyn Write,
) -> Result<(), DumpError> {
    while let Some(record) = records.next_if(|record| record.uuid <= dataset.uuid) {
        if stays {
            line(to, "record", record)?;
        }
    }
    Ok(())
}

fn reaches(generation: Generation, floor: Option<Generation>) -> bool {
    floor.is_none_or(|floor| generation >= floor)
}

fn line(to: &mut dyn Write, kind: &str, value: &impl Serialize) -> io::Result<()> {
    write!(to, "{kind} ")?;
    serde_json::to_writer(&mut *to, value)?;
    writeln!(to)
}
