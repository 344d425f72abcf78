//! Generated runs over the visits and detectors of the real one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::files;
use crate::random::Random;

use super::RUN_PREFIX;
use super::manifests::Observations;

/// Datasets per generated run.
const RUN_DATASETS: usize = 1_250;
/// Size of an artifact in bytes: enough that checksums take a look, little enough for any disk.
const ARTIFACT_BYTES: std::ops::Range<u64> = 2_000..6_000;

/// Dataset types of a visit's single-frame processing, their storage classes and file endings.
const DATASET_TYPES: &[(&str, &str, &str)] = &[
    ("calexp", "ExposureF", "fits"),
    ("calexpBackground", "Background", "fits"),
    ("icExp", "ExposureF", "fits"),
    ("icExpBackground", "Background", "fits"),
    ("icSrc", "SourceCatalog", "fits"),
    ("src", "SourceCatalog", "fits"),
    ("sourceTable", "ArrowAstropy", "parq"),
    ("preSourceTable", "ArrowAstropy", "parq"),
];

/// A generated run.
#[derive(Debug)]
pub(super) struct Invented {
    /// Its name.
    pub(super) name: String,
    /// Whether its manifest is packed.
    pub(super) zstd: bool,
    datasets: Vec<Dataset>,
}

#[derive(Debug)]
struct Dataset {
    uuid: uuid::Uuid,
    type_name: &'static str,
    storage_class: &'static str,
    data_id: serde_json::Value,
    path: String,
}

/// Spreads `count` datasets over runs; every second run's manifest is packed.
pub(super) fn runs(seen: &Observations, count: usize, random: &mut Random) -> Vec<Invented> {
    let pairs: Vec<(u64, u64)> = seen
        .visits
        .iter()
        .flat_map(|visit| {
            seen.detectors
                .iter()
                .map(move |detector| (*visit, *detector))
        })
        .collect();
    let mut left = count;
    let mut runs = Vec::new();
    while left > 0 {
        let name = format!("{RUN_PREFIX}/runs/generated/{:04}", runs.len() + 1);
        let datasets: Vec<Dataset> = DATASET_TYPES
            .iter()
            .flat_map(|of_type| pairs.iter().map(move |pair| (of_type, *pair)))
            .take(left.min(RUN_DATASETS))
            .map(|(of_type, pair)| dataset(&name, &seen.instrument, *of_type, pair, random))
            .collect();
        left -= datasets.len();
        runs.push(Invented {
            zstd: runs.len() % 2 == 1,
            name,
            datasets,
        });
    }
    runs
}

fn dataset(
    run: &str,
    instrument: &str,
    (dataset_type, storage_class, ending): (&'static str, &'static str, &'static str),
    (visit, detector): (u64, u64),
    random: &mut Random,
) -> Dataset {
    Dataset {
        uuid: random.uuid(),
        type_name: dataset_type,
        storage_class,
        data_id: json!({"instrument": instrument, "visit": visit, "detector": detector}),
        path: format!(
            "{run}/{dataset_type}/{visit}/{dataset_type}_{instrument}_{visit}_{detector:03}.{ending}"
        ),
    }
}

impl Invented {
    /// Writes the run's files.
    pub(super) fn write_artifacts(&self, root: &Path, random: &mut Random) -> Result<()> {
        self.datasets
            .iter()
            .try_for_each(|dataset| write_artifact(&root.join(&dataset.path), random))
    }

    /// Writes what `manifest create --from-jsonl` reads.
    pub(super) fn write_jsonl(&self, to: &Path) -> Result<()> {
        let types: BTreeMap<_, _> = self
            .datasets
            .iter()
            .map(|dataset| (dataset.type_name, dataset.storage_class))
            .collect();
        let mut lines = String::new();
        for (name, storage_class) in types {
            let line = json!({
                "kind": "dataset_type",
                "name": name,
                "dimensions": ["instrument", "visit", "detector"],
                "storage_class": storage_class,
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        for dataset in &self.datasets {
            let line = json!({
                "uuid": dataset.uuid,
                "dataset_type": dataset.type_name,
                "data_id": dataset.data_id,
                "path": dataset.path,
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        files::write(to, lines.as_bytes())
    }
}

/// Writes one artifact of random size and bytes.
pub(super) fn write_artifact(path: &Path, random: &mut Random) -> Result<()> {
    let span = ARTIFACT_BYTES.end - ARTIFACT_BYTES.start;
    let size = usize::try_from(ARTIFACT_BYTES.start + random.below(span))?;
    files::write(path, &random.bytes(size))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn as_many_datasets_as_asked_for_with_distinct_paths_and_uuids() {
        let seen = Observations {
            instrument: "HSC".to_owned(),
            visits: (1..=11).collect(),
            detectors: (0..16).collect(),
        };
        let runs = runs(&seen, 10_000, &mut Random::new(1));
        let datasets = || runs.iter().flat_map(|run| &run.datasets);
        let paths: BTreeSet<_> = datasets().map(|dataset| &dataset.path).collect();
        let uuids: BTreeSet<_> = datasets().map(|dataset| dataset.uuid).collect();
        assert_eq!((paths.len(), uuids.len()), (10_000, 10_000));
        assert!(runs.iter().any(|run| run.zstd) && runs.iter().any(|run| !run.zstd));
    }
}
