//! Manifests for tests: built from parts, written, read back.
#![allow(
    dead_code,
    clippy::allow_attributes,
    unreachable_pub,
    reason = "each test target uses part of it"
)]

use std::io::{Cursor, Read};

use runsync_manifest::checksum::{Adler32, Checksums};
use runsync_manifest::content::Content;
use runsync_manifest::dimension::{DimensionRecord, DimensionRecords};
use runsync_manifest::entry::{DataId, DataValue, DatasetEntry};
use runsync_manifest::error::{ReadError, WriteError};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{DatasetType, Header, Repository, UniverseVersion};
use runsync_manifest::limits::Limits;
use runsync_manifest::name::DatasetId;
use runsync_manifest::reader::{Line, Reader};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::trailer::Trailer;
use runsync_manifest::writer::{Packing, Writer};
use serde_json::json;

/// A manifest in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    pub header: Header,
    pub dimensions: Vec<DimensionRecords>,
    pub entries: Vec<DatasetEntry<'static>>,
}

pub fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

pub fn repository(site: &str, number: u128) -> Repository {
    Repository {
        repository: runsync_manifest::name::RepositoryId(uuid::Uuid::from_u128(number)),
        site: site.parse().unwrap(),
    }
}

pub fn header(content: Content) -> Header {
    Header {
        format: 1,
        manifest: "01935a2e-7c00-7000-8000-000000000001".parse().unwrap(),
        content,
        run: "HSC/runs/ci_hsc/20240806T180642Z".parse().unwrap(),
        origin: repository("SITE_A", 0xa),
        holder: (content == Content::Inventory).then(|| repository("SITE_B", 0xb)),
        generation: Generation::FIRST,
        created_at: "2026-11-22T07:30:00Z".into(),
        scope: Some("hsc".parse().unwrap()),
        universe: UniverseVersion {
            name: "daf_butler".into(),
            version: 7,
        },
        dataset_types: if content == Content::Removal {
            Vec::new()
        } else {
            vec![calexp(), raw()]
        },
        provenance: json!({"tool": "runsync manifest create", "input": {"b": 1, "a": [1.5, null]}}),
    }
}

pub fn calexp() -> DatasetType {
    DatasetType {
        name: "calexp".parse().unwrap(),
        dimensions: ["detector", "instrument", "visit"].map(String::from).into(),
        storage_class: "ExposureF".parse().unwrap(),
        is_calibration: false,
    }
}

pub fn raw() -> DatasetType {
    DatasetType {
        name: "raw".parse().unwrap(),
        dimensions: ["detector", "exposure", "instrument"]
            .map(String::from)
            .into(),
        storage_class: "Exposure".parse().unwrap(),
        is_calibration: false,
    }
}

pub fn entry(number: u32) -> DatasetEntry<'static> {
    let detector = i64::from(number % 100);
    DatasetEntry {
        uuid: DatasetId(uuid::Uuid::from_u128(
            0x1b3a_4c19_dffa_4942_af1d_b123_a149_7a00 + u128::from(number),
        )),
        dataset_type: "calexp".into(),
        data_id: DataId::new(vec![
            ("instrument".into(), DataValue::Text("HSC".into())),
            ("detector".into(), DataValue::Integer(detector)),
            ("visit".into(), DataValue::Integer(903_334)),
        ])
        .unwrap(),
        path: format!("HSC/runs/ci_hsc/calexp/903334/calexp_{number}.fits").into(),
        size: 46_080 + u64::from(number),
        checksums: Checksums {
            adler32: Adler32(number.to_be_bytes()),
            md5: None,
            sha256: None,
        },
        formatter: Some("lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter".into()),
        component: None,
    }
}

pub fn record(json: serde_json::Value) -> DimensionRecord {
    serde_json::from_value(json).unwrap()
}

pub fn dimensions() -> Vec<DimensionRecords> {
    vec![
        DimensionRecords {
            element: "instrument".into(),
            records: vec![record(
                json!({"name": "HSC", "visit_max": 21_474_800, "class_name": null}),
            )],
        },
        DimensionRecords {
            element: "detector".into(),
            records: vec![
                record(json!({"instrument": "HSC", "id": 0, "full_name": "1_53"})),
                record(json!({"instrument": "HSC", "id": 1, "full_name": "1_54"})),
            ],
        },
    ]
}

/// A small manifest of the given content.
pub fn small(content: Content) -> Manifest {
    let holds = content.holds_datasets();
    Manifest {
        header: header(content),
        dimensions: if holds { dimensions() } else { Vec::new() },
        entries: if holds {
            (0..3).map(entry).collect()
        } else {
            Vec::new()
        },
    }
}

impl Manifest {
    pub fn write(
        &self,
        packing: Packing,
        key: Option<&SigningKey>,
    ) -> Result<(Vec<u8>, Trailer), WriteError> {
        let mut writer = Writer::new(Vec::new(), packing, &self.header)?;
        for records in &self.dimensions {
            writer.dimension(records)?;
        }
        for entry in &self.entries {
            writer.dataset(entry)?;
        }
        writer.finish(key)
    }

    pub fn plain(&self) -> String {
        let (bytes, _) = self.write(Packing::Plain, Some(&signing_key())).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub fn packed(&self) -> Vec<u8> {
        self.write(Packing::Zstd(3), Some(&signing_key()))
            .unwrap()
            .0
    }
}

/// Reads a whole manifest.
pub fn read(bytes: &[u8]) -> Result<(Manifest, Trailer), ReadError> {
    read_within(bytes, Limits::default())
}

/// Reads a whole manifest in every way that there is: all come to the same.
pub fn read_within(bytes: &[u8], limits: Limits) -> Result<(Manifest, Trailer), ReadError> {
    let read = Reader::new(bytes, limits).and_then(read_on);
    let ahead = Reader::ahead(Cursor::new(bytes.to_vec()), limits).and_then(read_on);
    let skimmed = Reader::new(bytes, limits).and_then(Reader::skim);
    match (&read, &ahead) {
        (Ok((_, trailer)), Ok((_, same))) => {
            assert_eq!(same, trailer);
            assert_eq!(&skimmed.unwrap(), trailer);
        }
        (Err(error), Err(same)) => assert_eq!(same.to_string(), error.to_string()),
        _ => panic!("read: {read:?}, ahead: {ahead:?}"),
    }
    read
}

/// Reads a whole manifest from anything.
pub fn read_from(bytes: impl Read, limits: Limits) -> Result<(Manifest, Trailer), ReadError> {
    Reader::new(bytes, limits).and_then(read_on)
}

fn read_on<R: Read>(mut reader: Reader<R>) -> Result<(Manifest, Trailer), ReadError> {
    let mut manifest = Manifest {
        header: reader.header().clone(),
        dimensions: Vec::new(),
        entries: Vec::new(),
    };
    while let Some(line) = reader.next()? {
        match line {
            Line::Dimension(records) => manifest.dimensions.push(records),
            Line::Dataset {
                entry,
                dataset_type,
            } => {
                assert_eq!(
                    manifest.header.dataset_types[dataset_type].name.as_str(),
                    entry.dataset_type
                );
                manifest.entries.push(owned(&entry));
            }
        }
    }
    let trailer = reader.trailer().unwrap().clone();
    Ok((manifest, trailer))
}

fn owned(entry: &DatasetEntry<'_>) -> DatasetEntry<'static> {
    let text = |text: &str| std::borrow::Cow::Owned(text.to_owned());
    let pairs = entry.data_id.pairs().iter().map(|(name, value)| {
        let value = match value {
            DataValue::Integer(number) => DataValue::Integer(*number),
            DataValue::Text(value) => DataValue::Text(text(value)),
        };
        (text(name), value)
    });
    DatasetEntry {
        uuid: entry.uuid,
        dataset_type: text(&entry.dataset_type),
        data_id: DataId::new(pairs.collect()).unwrap(),
        path: text(&entry.path),
        size: entry.size,
        checksums: entry.checksums,
        formatter: entry.formatter.as_deref().map(text),
        component: entry.component.as_deref().map(text),
    }
}

/// Puts another trailer under lines that a test has changed, so that only what
/// it changed is wrong.
pub fn reseal(lines: &str) -> String {
    use sha2::Digest as _;
    let body = lines
        .lines()
        .filter(|line| !line.starts_with(r#"{"kind":"trailer""#))
        .flat_map(|line| [line, "\n"])
        .collect::<String>();
    let count = |kind: &str| body.matches(&format!(r#""kind":"{kind}""#)).count();
    let sizes: u64 = body
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line["size"].as_u64())
        .fold(0, u64::saturating_add);
    let digest: [u8; 32] = sha2::Sha256::digest(&body).into();
    let trailer = json!({
        "kind": "trailer",
        "counts": {"dimension": count("dimension"), "dataset": count("dataset")},
        "total_bytes": sizes,
        "sha256": runsync_manifest::checksum::Sha256(digest),
    });
    format!("{body}{trailer}\n")
}
