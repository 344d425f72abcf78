//! A large run made of nothing: raw exposures of a camera, as many as asked for.
//!
//! UUIDs are random (version 4) and entries come in data-ID order, which is what a registry has
//! the most trouble with. Row `i` is the same each time, so that nothing has to be remembered.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use runsync_manifest::checksum::{Adler32, Checksums};
use runsync_manifest::content::Content;
use runsync_manifest::dimension::{DimensionRecord, DimensionRecords};
use runsync_manifest::entry::{DataId, DataValue, DatasetEntry};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{DatasetType, Header, Repository, UniverseVersion};
use runsync_manifest::name::{DatasetId, ManifestId, RepositoryId, SiteName};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::version::FORMAT;
use runsync_manifest::writer::{Packing, Writer};
use serde_json::json;
use uuid::Uuid;

use crate::files;
use crate::random::Random;

/// The run's name.
pub(crate) const RUN: &str = "HSC/raw/all";
/// Detectors of the camera; each exposure has a dataset of each.
const DETECTORS: u64 = 200;
/// Records in one dimension line: lines stay far below the reader's limit.
const RECORDS_PER_LINE: usize = 500;
/// First exposure's number: day of observation, then a sequence number.
const FIRST_EXPOSURE: u64 = 2_026_110_100_000;
/// The day of observation of all exposures.
const DAY_OBS: u64 = 20_261_101;
/// When the manifest says it was written, in milliseconds since 1970 and as text.
const CREATED: (u64, &str) = (1_793_491_200_000, "2026-11-01T00:00:00Z");

/// One dataset of the run.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its UUID.
    pub(crate) uuid: Uuid,
    detector: u64,
    exposure: u64,
    /// Path relative to the root.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Adler-32.
    pub(crate) adler32: [u8; 4],
}

impl Row {
    /// The run's row `at`.
    pub(crate) fn new(at: u64) -> Self {
        let mut random = Random::new(at);
        let (exposure, detector) = (FIRST_EXPOSURE + at / DETECTORS, at % DETECTORS);
        let [a, b, c, d, ..] = random.next().to_le_bytes();
        Self {
            uuid: random.uuid(),
            detector,
            exposure,
            path: format!("{RUN}/{exposure}/raw_{exposure}_{detector:03}.fits"),
            size: 10_000_000 + random.below(10_000_000),
            adler32: [a, b, c, d],
        }
    }

    /// Its canonical data ID.
    pub(crate) fn data_id(&self) -> String {
        format!(
            r#"{{"detector":{},"exposure":{},"instrument":"HSC"}}"#,
            self.detector, self.exposure
        )
    }

    fn entry(&self) -> Result<DatasetEntry<'_>> {
        let number = |value| i64::try_from(value).map(DataValue::Integer);
        let data_id = DataId::new(vec![
            (Cow::Borrowed("detector"), number(self.detector)?),
            (Cow::Borrowed("exposure"), number(self.exposure)?),
            (Cow::Borrowed("instrument"), DataValue::Text("HSC".into())),
        ]);
        Ok(DatasetEntry {
            uuid: DatasetId(self.uuid),
            dataset_type: "raw".into(),
            data_id: data_id.context("a dimension comes twice")?,
            path: self.path.as_str().into(),
            size: self.size,
            checksums: Checksums {
                adler32: Adler32(self.adler32),
                md5: None,
                sha256: None,
            },
            formatter: None,
            component: None,
        })
    }
}

/// Writes the manifest of a run of `datasets` rows, signed, as a stream.
pub(crate) fn write_manifest(
    to: &Path,
    datasets: u64,
    origin: RepositoryId,
    key: &SigningKey,
) -> Result<()> {
    files::make_parent(to)?;
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    let output = BufWriter::with_capacity(1 << 20, file);
    let mut writer = Writer::new(output, Packing::Plain, &header(origin)?)?;
    for records in dimensions(datasets.div_ceil(DETECTORS)) {
        writer.dimension(&records)?;
    }
    for at in 0..datasets {
        writer.dataset(&Row::new(at).entry()?)?;
    }
    let (output, _) = writer.finish(Some(key))?;
    output
        .into_inner()
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

/// Writes the signed manifest of a run of its own with one dataset; `number` sets it apart.
pub(crate) fn write_small_manifest(
    to: &Path,
    number: u64,
    origin: RepositoryId,
    key: &SigningKey,
) -> Result<()> {
    let mut header = header(origin)?;
    header.run = format!("HSC/raw/{number}").parse()?;
    header.manifest = ManifestId(
        uuid::Builder::from_unix_timestamp_millis(
            CREATED.0,
            Random::new(number).uuid().into_bytes()[..10].try_into()?,
        )
        .into_uuid(),
    );
    let mut writer = Writer::new(Vec::new(), Packing::Plain, &header)?;
    for records in dimensions(number / DETECTORS + 1) {
        writer.dimension(&records)?;
    }
    writer.dataset(&Row::new(number).entry()?)?;
    let (bytes, _) = writer.finish(Some(key))?;
    files::write(to, &bytes)
}

fn header(origin: RepositoryId) -> Result<Header> {
    let random = &Random::new(0).uuid().into_bytes()[..10];
    let manifest =
        uuid::Builder::from_unix_timestamp_millis(CREATED.0, random.try_into()?).into_uuid();
    Ok(Header {
        format: FORMAT,
        manifest: ManifestId(manifest),
        content: Content::Additions,
        run: RUN.parse()?,
        origin: Repository {
            repository: origin,
            site: "SITE_A".parse::<SiteName>()?,
        },
        holder: None,
        generation: Generation::FIRST,
        created_at: CREATED.1.to_owned(),
        scope: None,
        universe: UniverseVersion {
            name: "daf_butler".to_owned(),
            version: 8,
        },
        dataset_types: vec![DatasetType {
            name: "raw".parse()?,
            dimensions: ["detector", "exposure", "instrument"]
                .map(str::to_owned)
                .to_vec(),
            storage_class: "Exposure".parse()?,
            is_calibration: false,
        }],
        provenance: serde_json::Value::Null,
    })
}

/// The dimension records that the data IDs refer to, in foreign-key order.
fn dimensions(exposures: u64) -> Vec<DimensionRecords> {
    let numbers = || FIRST_EXPOSURE..FIRST_EXPOSURE + exposures;
    [
        (
            "instrument",
            vec![
                json!({"name": "HSC", "class_name": "lsst.obs.subaru.HyperSuprimeCam",
            "detector_max": DETECTORS, "exposure_max": null, "visit_max": null, "visit_system": 0}),
            ],
        ),
        (
            "day_obs",
            vec![json!({"instrument": "HSC", "id": DAY_OBS,
            "datetime_begin": null, "datetime_end": null})],
        ),
        (
            "physical_filter",
            vec![json!({"instrument": "HSC", "name": "HSC-I", "band": "i"})],
        ),
        (
            "group",
            numbers()
                .map(|number| json!({"instrument": "HSC", "name": number.to_string()}))
                .collect(),
        ),
        (
            "detector",
            (0..DETECTORS)
                .map(|number| {
                    json!({"instrument": "HSC", "id": number,
            "full_name": format!("0_{number:03}"), "name_in_raft": format!("{number:03}"),
            "raft": "0", "purpose": "SCIENCE"})
                })
                .collect(),
        ),
        (
            "exposure",
            numbers()
                .map(|number| {
                    json!({"instrument": "HSC", "id": number,
            "day_obs": DAY_OBS, "group": number.to_string(), "physical_filter": "HSC-I",
            "obs_id": format!("HSCA{number}"), "seq_num": number - FIRST_EXPOSURE})
                })
                .collect(),
        ),
    ]
    .into_iter()
    .flat_map(|(element, records)| {
        records
            .chunks(RECORDS_PER_LINE)
            .map(|chunk| DimensionRecords {
                element: element.to_owned(),
                records: chunk.iter().filter_map(as_record).collect(),
            })
            .collect::<Vec<_>>()
    })
    .collect()
}

fn as_record(value: &serde_json::Value) -> Option<DimensionRecord> {
    value.as_object().cloned()
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn a_row_is_the_same_each_time_and_unlike_its_neighbours() {
        assert_eq!(Row::new(5).uuid, Row::new(5).uuid);
        assert_ne!(Row::new(5).uuid, Row::new(6).uuid);
        assert_ne!(Row::new(5).path, Row::new(6).path);
        assert_ne!(Row::new(0).data_id(), Row::new(200).data_id());
    }
}
