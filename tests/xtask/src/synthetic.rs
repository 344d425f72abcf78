//! A large run made of nothing: raw exposures of a camera, as many as asked for.
//!
//! UUIDs are random (version 4). Row `i` is the same each time, so that nothing has to be
//! remembered.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use runsync::datastore::manifest_path;
use runsync_manifest::checksum::{Adler32, Checksums, Md5, Sha256};
use runsync_manifest::content::Content;
use runsync_manifest::dimension::{DimensionRecord, DimensionRecords};
use runsync_manifest::entry::{DataId, DataValue, DatasetEntry};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{DatasetType, Header, Repository, UniverseVersion};
use runsync_manifest::name::{DatasetId, ManifestId, RepositoryId, RunName, SiteName};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::version::FORMAT;
use runsync_manifest::writer::{Packing, Writer};
use serde_json::json;
use uuid::Uuid;

use crate::out::{grouped, say};
use crate::random::Random;
use crate::runsync_command::Site;
use crate::{files, process};

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

/// Sets the UUIDs of small runs apart from those of the large one.
const SMALL_SEED: u64 = 1 << 40;

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

    /// As a file name that holds a digest.
    fn rich_path(&self) -> String {
        let unguessable = Random::new(!self.size).uuid().simple();
        format!("{RUN}/{}/{unguessable}.fits", self.exposure)
    }

    fn rich_entry<'a>(&'a self, path: &'a str) -> Result<DatasetEntry<'a>> {
        let mut random = Random::new(self.uuid.as_u64_pair().0);
        let mut digest = || random.uuid().into_bytes();
        let (md5, half, other) = (digest(), digest(), digest());
        let mut entry = self.entry()?;
        entry.path = path.into();
        entry.checksums.md5 = Some(Md5(md5));
        entry.checksums.sha256 = [half, other].concat().try_into().ok().map(Sha256);
        Ok(entry)
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

/// A site that has registered a run of so many datasets at level trust.
pub(crate) fn registered_site(binary: &Path, folder: &Path, datasets: u64) -> Result<Site> {
    let site = Site::init(binary, folder, "SITE_A", "trust")?;
    let manifest = folder.join("run.manifest.jsonl");
    Sample::new(datasets, Order::DataId).write(
        &manifest,
        site.repository()?,
        &site.signing_key()?,
    )?;
    let taken = process::measure(&mut site.ingest([manifest.as_path()]))?;
    say!(
        "{} datasets registered at level trust in {:.1} s",
        grouped(datasets),
        taken.wall.as_secs_f64()
    );
    Ok(site)
}

/// Writes the manifest of a run, signed, as a stream; `row` says what its rows are, which are
/// those of [`Row::new`] but for UUID, path, size and checksum.
pub(crate) fn write_run(
    to: &Path,
    run: &str,
    datasets: u64,
    (origin, key): (RepositoryId, &SigningKey),
    mut row: impl FnMut(u64) -> Result<Row>,
) -> Result<()> {
    let sample = Sample {
        run: run.to_owned(),
        ..Sample::new(datasets, Order::DataId)
    };
    sample.write_rows(to, origin, key, |writer, at| {
        writer.dataset(&row(at)?.entry()?)?;
        Ok(())
    })
}

/// A small run beside the large one.
pub(crate) fn small_run(number: u64) -> RunName {
    let name = format!("HSC/raw/small/{number}").parse();
    #[expect(clippy::expect_used, reason = "a number makes no name wrong")]
    name.expect("a run's name")
}

/// Writes the signed manifest of a small run: one dataset.
pub(crate) fn write_small_manifest(
    to: &Path,
    number: u64,
    origin: RepositoryId,
    key: &SigningKey,
) -> Result<()> {
    let run = small_run(number);
    write_run(to, run.as_str(), 1, (origin, key), |at| {
        Ok(Row {
            uuid: Random::new(SMALL_SEED + number).uuid(),
            path: format!("{run}/raw.fits"),
            ..Row::new(at)
        })
    })
}

/// In which order a manifest's dataset lines come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// In that of the data IDs.
    DataId,
    /// By UUID, as our own writer's callers bring them.
    Sorted,
    /// In none.
    Shuffled,
}

impl Order {
    /// The row numbers of a run in this order.
    fn of(self, rows: Range<u64>) -> Vec<u64> {
        let mut numbers: Vec<u64> = rows.collect();
        match self {
            Self::DataId => {}
            Self::Sorted => numbers.sort_by_cached_key(|at| Row::new(*at).uuid),
            Self::Shuffled => Random::new(1).shuffle(&mut numbers),
        }
        numbers
    }
}

/// A manifest to be written.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The run's name.
    pub(crate) run: String,
    /// The generation in the first epoch.
    pub(crate) sequence: u32,
    /// Its rows.
    pub(crate) rows: Range<u64>,
    /// Their order.
    pub(crate) order: Order,
    /// Whether lines also have MD5, SHA-256 and a path that no packer can guess.
    pub(crate) rich: bool,
    /// How it is packed.
    pub(crate) packing: Packing,
}

impl Sample {
    /// A plain manifest of [`RUN`].
    pub(crate) fn new(datasets: u64, order: Order) -> Self {
        Self {
            run: RUN.to_owned(),
            sequence: Generation::FIRST.sequence,
            rows: 0..datasets,
            order,
            rich: false,
            packing: Packing::Plain,
        }
    }

    /// Writes it, signed, as a stream.
    pub(crate) fn write(&self, to: &Path, origin: RepositoryId, key: &SigningKey) -> Result<()> {
        self.write_rows(to, origin, key, |writer, at| {
            let row = Row::new(at);
            if self.rich {
                let path = row.rich_path();
                writer.dataset(&row.rich_entry(&path)?)?;
            } else {
                writer.dataset(&row.entry()?)?;
            }
            Ok(())
        })
    }

    fn write_rows(
        &self,
        to: &Path,
        origin: RepositoryId,
        key: &SigningKey,
        mut row: impl FnMut(&mut Writer<BufWriter<File>>, u64) -> Result<()>,
    ) -> Result<()> {
        files::make_parent(to)?;
        let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
        let output = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Writer::new(output, self.packing, &self.header(origin)?)?;
        for records in dimensions(&self.rows) {
            writer.dimension(&records)?;
        }
        for at in self.order.of(self.rows.clone()) {
            row(&mut writer, at)?;
        }
        let (output, _) = writer.finish(Some(key))?;
        output
            .into_inner()
            .with_context(|| format!("cannot write {}", to.display()))?;
        Ok(())
    }

    /// Where it lies in a root.
    pub(crate) fn path(&self, origin: RepositoryId) -> Result<String> {
        let packed = self.packing != Packing::Plain;
        Ok(manifest_path(
            origin,
            &self.run.parse()?,
            self.generation(),
            packed,
        ))
    }

    fn generation(&self) -> Generation {
        Generation {
            sequence: self.sequence,
            ..Generation::FIRST
        }
    }

    fn header(&self, origin: RepositoryId) -> Result<Header> {
        let seed = self.run.bytes().fold(self.rows.start, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let random = &Random::new(seed).uuid().into_bytes()[..10];
        let manifest =
            uuid::Builder::from_unix_timestamp_millis(CREATED.0, random.try_into()?).into_uuid();
        Ok(Header {
            format: FORMAT,
            manifest: ManifestId(manifest),
            content: Content::Additions,
            run: self.run.parse()?,
            origin: Repository {
                repository: origin,
                site: "SITE_A".parse::<SiteName>()?,
            },
            holder: None,
            generation: self.generation(),
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
}

/// The dimension records that the data IDs of those rows refer to, in foreign-key order.
fn dimensions(rows: &Range<u64>) -> Vec<DimensionRecords> {
    let exposures = rows.start / DETECTORS..rows.end.div_ceil(DETECTORS);
    let detectors: BTreeSet<u64> = rows
        .clone()
        .map(|at| at % DETECTORS)
        .take(usize::try_from(DETECTORS).unwrap_or(usize::MAX))
        .collect();
    let numbers = || FIRST_EXPOSURE + exposures.start..FIRST_EXPOSURE + exposures.end;
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
            detectors
                .into_iter()
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
    use super::{Order, Row};

    #[test]
    fn the_order_asked_for_is_the_order_of_the_lines() {
        let uuids = |order: Order| -> Vec<_> {
            order
                .of(0..100)
                .into_iter()
                .map(|at| Row::new(at).uuid)
                .collect()
        };
        assert!(uuids(Order::Sorted).is_sorted());
        for order in [Order::DataId, Order::Shuffled] {
            assert!(!uuids(order).is_sorted(), "{order:?}");
        }
        assert_ne!(Order::Shuffled.of(0..100), Order::DataId.of(0..100));
    }

    #[test]
    fn a_row_is_the_same_each_time_and_unlike_its_neighbours() {
        assert_eq!(Row::new(5).uuid, Row::new(5).uuid);
        assert_ne!(Row::new(5).uuid, Row::new(6).uuid);
        assert_ne!(Row::new(5).path, Row::new(6).path);
        assert_ne!(Row::new(0).data_id(), Row::new(200).data_id());
    }
}
