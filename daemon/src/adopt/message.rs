//! Reads the payload of a message about one file.
//!
//! It is Rucio's own payload of `transfer-done` (`rucio/daemons/conveyor/finisher.py`) with two keys that
//! the sender has put into the DID's metadata: `rubin_butler` says what the file is, and `rubin_sidecar` holds,
//! as JSON in a text, the Butler's `DatasetRef.to_json()`. Fields that are not asked for are passed over; those
//! that are must be of their type.

use std::borrow::Cow;

use runsync_manifest::checksum::{Adler32, Checksums, Md5};
use runsync_manifest::entry::DataId;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{DatasetId, RunName};
use serde::Deserialize;
use serde_json::Value;

/// A sidecar has some hundred bytes; many dimensions and long names make it a few kilobytes.
const SIDECAR_BYTES_MAX: usize = 64 << 10;
/// The longest excerpt of what was found.
const EXCERPT_CHARS: usize = 80;

/// What a message says, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Where the file was put.
    pub url: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksums.
    pub checksums: Checksums,
    /// What it is.
    pub what: What,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The artifact of one dataset.
    Product(Box<Product>),
    /// A Butler export of dimension records.
    Dimensions,
    /// What only a Butler can read.
    NeedsButler(Unsupported),
}

/// Files that are known, and need a Butler to be ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsupported {
    /// A raw exposure: its dimension records are made from its headers.
    RawFile,
    /// An archive of many datasets, with an index inside.
    ZipFile,
}

impl Unsupported {
    /// The word that messages have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RawFile => "raw_file",
            Self::ZipFile => "zip_file",
        }
    }
}

/// A dataset, as the sidecar tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// Its UUID.
    pub uuid: DatasetId,
    /// Its type; dimensions may be all of them.
    pub dataset_type: DatasetType,
    /// Its data ID; it may hold implied dimensions.
    pub data_id: DataId<'static>,
    /// Its run.
    pub run: RunName,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is not JSON, or no object.
    #[error("it is no JSON object: {0}")]
    Json(String),
    /// A field is missing.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field is of another type, or breaks the rules for such a value.
    #[error("field `{field}`: found {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The sidecar cannot be read.
    #[error("`rubin_sidecar`: {0}")]
    Sidecar(String),
    /// A kind that nobody knows here.
    #[error("`rubin_butler` is {0}, which no sender is known to send")]
    UnknownKind(String),
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Payload {
    #[serde(rename = "dst-url")]
    url: Option<Value>,
    bytes: Option<Value>,
    #[serde(rename = "file-size")]
    file_size: Option<Value>,
    #[serde(rename = "checksum-adler")]
    adler32: Option<Value>,
    #[serde(rename = "checksum-md5")]
    md5: Option<Value>,
    rubin_butler: Option<Value>,
    rubin_sidecar: Option<Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Sidecar<'a> {
    id: DatasetId,
    #[serde(rename = "datasetType")]
    dataset_type: SidecarType,
    #[serde(rename = "dataId", borrow)]
    data_id: SidecarDataId<'a>,
    run: RunName,
    #[serde(default)]
    component: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a dataset type")]
struct SidecarType {
    name: runsync_manifest::name::DatasetTypeName,
    storage_class: runsync_manifest::name::StorageClassName,
    dimensions: SidecarDimensions,
    #[serde(default)]
    is_calibration: bool,
}

/// A list of names; Butlers before 2024 wrote them as `{"names": […]}`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of dimension names")]
enum SidecarDimensions {
    Names(Vec<String>),
    Graph { names: Vec<String> },
}

#[derive(Deserialize)]
#[serde(expecting = "a data ID inside `dataId`")]
struct SidecarDataId<'a> {
    #[serde(rename = "dataId", borrow)]
    data_id: DataId<'a>,
}

/// Reads a payload.
///
/// # Errors
///
/// What is wrong with it.
pub fn read(payload: &str) -> Result<Message, MessageError> {
    let payload: Payload =
        serde_json::from_str(payload).map_err(|error| MessageError::Json(error.to_string()))?;
    let what = what(&payload)?;
    Ok(Message {
        url: text(payload.url.as_ref(), "dst-url", "a URL")?.to_owned(),
        size: size(&payload)?,
        checksums: Checksums {
            adler32: adler32(payload.adler32.as_ref())?,
            md5: md5(payload.md5.as_ref())?,
            sha256: None,
        },
        what,
    })
}

fn what(payload: &Payload) -> Result<What, MessageError> {
    let kind = payload.rubin_butler.as_ref();
    let kind = kind.ok_or(MessageError::Missing("rubin_butler"))?;
    match kind {
        Value::String(word) => match word.as_str() {
            "data_product" => product(payload.rubin_sidecar.as_ref()),
            "dim_file" => Ok(What::Dimensions),
            "raw_file" => Ok(What::NeedsButler(Unsupported::RawFile)),
            "zip_file" => Ok(What::NeedsButler(Unsupported::ZipFile)),
            _ => Err(MessageError::UnknownKind(excerpt(kind))),
        },
        // What senders wrote before there were words for it.
        Value::Number(number) if number.as_u64() == Some(1) => {
            product(payload.rubin_sidecar.as_ref())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(MessageError::UnknownKind(excerpt(kind)))
        }
    }
}

fn product(sidecar: Option<&Value>) -> Result<What, MessageError> {
    let sidecar = text(sidecar, "rubin_sidecar", "JSON in a text")?;
    if sidecar.len() > SIDECAR_BYTES_MAX {
        return Err(MessageError::Field {
            field: "rubin_sidecar",
            found: format!("{} bytes", sidecar.len()),
            expected: "at most 64 KiB",
        });
    }
    let read: Sidecar<'_> = serde_json::from_str(sidecar)
        .map_err(|error| MessageError::Sidecar(clip(&error.to_string())))?;
    if let Some(component) = read.component {
        return Err(MessageError::Sidecar(format!(
            "it is about the component `{}`, and a file holds whole datasets",
            clip(&component)
        )));
    }
    let SidecarType {
        name,
        storage_class,
        dimensions,
        is_calibration,
    } = read.dataset_type;
    let dimensions = match dimensions {
        SidecarDimensions::Names(names) | SidecarDimensions::Graph { names } => names,
    };
    Ok(What::Product(Box::new(Product {
        uuid: read.id,
        dataset_type: DatasetType {
            name,
            dimensions,
            storage_class,
            is_calibration,
        },
        data_id: owned(&read.data_id.data_id),
        run: read.run,
    })))
}

fn owned(data_id: &DataId<'_>) -> DataId<'static> {
    use runsync_manifest::entry::DataValue;
    let pairs = data_id.pairs().iter().map(|(name, value)| {
        let value = match value {
            DataValue::Integer(number) => DataValue::Integer(*number),
            DataValue::Text(text) => DataValue::Text(Cow::Owned(text.to_string())),
        };
        (Cow::Owned(name.to_string()), value)
    });
    // They were different before.
    DataId::new(pairs.collect()).unwrap_or_default()
}

fn text<'v>(
    value: Option<&'v Value>,
    field: &'static str,
    expected: &'static str,
) -> Result<&'v str, MessageError> {
    match value {
        None | Some(Value::Null) => Err(MessageError::Missing(field)),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(field, other, expected)),
    }
}

fn size(payload: &Payload) -> Result<u64, MessageError> {
    let expected = "a whole number of bytes";
    let number = |field, value: Option<&Value>| match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|size| i64::try_from(*size).is_ok())
            .map(Some)
            .ok_or_else(|| wrong(field, value, expected)),
    };
    let bytes = number("bytes", payload.bytes.as_ref())?;
    let file_size = number("file-size", payload.file_size.as_ref())?;
    match (bytes, file_size) {
        (Some(bytes), Some(other)) if bytes != other => Err(MessageError::Field {
            field: "file-size",
            found: format!("{other}, and {bytes} in `bytes`"),
            expected: "the same number",
        }),
        (Some(size), _) | (None, Some(size)) => Ok(size),
        (None, None) => Err(MessageError::Missing("bytes")),
    }
}

fn adler32(value: Option<&Value>) -> Result<Adler32, MessageError> {
    let expected = "8 hexadecimal digits";
    let text = text(value, "checksum-adler", expected)?;
    let parsed = text.to_ascii_lowercase().parse();
    parsed.map_err(|_| wrong("checksum-adler", &Value::from(text), expected))
}

/// Rucio writes what it has not as null, and `HermesK` as `None`.
fn md5(value: Option<&Value>) -> Result<Option<Md5>, MessageError> {
    let expected = "32 hexadecimal digits";
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() || text == "None" => Ok(None),
        Some(Value::String(text)) => {
            let parsed = text.to_ascii_lowercase().parse();
            parsed
                .map(Some)
                .map_err(|_| wrong("checksum-md5", &Value::from(text.as_str()), expected))
        }
        Some(other) => Err(wrong("checksum-md5", other, expected)),
    }
}

fn wrong(field: &'static str, found: &Value, expected: &'static str) -> MessageError {
    MessageError::Field {
        field,
        found: excerpt(found),
        expected,
    }
}

fn excerpt(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        Value::String(text) => format!("`{}`", text.escape_debug()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    clip(&text)
}

fn clip(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sidecar() -> Value {
        json!({
            "id": "0ef08762-b0dd-4a02-8b1c-e09b1544992d",
            "datasetType": {
                "name": "visitSummary", "storageClass": "ExposureCatalog",
                "dimensions": ["instrument", "visit"]
            },
            "dataId": {"dataId": {"instrument": "HSC", "visit": 328, "band": "y"}},
            "run": "HSC/runs/RC2"
        })
    }

    fn payload() -> Value {
        json!({
            "dst-rse": "SITE_B_DISK", "dst-url": "root://b:1094//rucio/hsc/a.fits",
            "scope": "hsc", "name": "a.fits", "bytes": 7, "file-size": 7,
            "checksum-adler": "3210CB3F", "checksum-md5": null, "activity": "x",
            "rubin_butler": "data_product", "rubin_sidecar": sidecar().to_string()
        })
    }

    fn with(field: &str, value: &Value) -> Result<Message, MessageError> {
        let mut payload = payload();
        payload[field] = value.clone();
        read(&payload.to_string())
    }

    fn without(field: &str) -> MessageError {
        let mut payload = payload();
        payload.as_object_mut().unwrap().remove(field);
        read(&payload.to_string()).unwrap_err()
    }

    #[test]
    fn a_data_product_is_read_whole() {
        let message = read(&payload().to_string()).unwrap();
        assert_eq!((message.size, message.checksums.md5), (7, None));
        assert_eq!(message.checksums.adler32.to_string(), "3210cb3f");
        let What::Product(product) = message.what else {
            panic!("{message:?}");
        };
        assert_eq!(product.run.as_str(), "HSC/runs/RC2");
        assert_eq!(product.data_id.pairs().len(), 3);
        assert!(!product.dataset_type.is_calibration);
        // The number that older senders wrote, and the `None` of HermesK, mean the same.
        let older = with("rubin_butler", &json!(1)).unwrap();
        assert!(matches!(older.what, What::Product(_)));
        assert_eq!(
            with("checksum-md5", &json!("None")).unwrap().checksums.md5,
            None
        );
    }

    #[test]
    fn other_files_are_told_apart() {
        let what = |kind: &str| with("rubin_butler", &json!(kind)).unwrap().what;
        assert_eq!(what("dim_file"), What::Dimensions);
        assert_eq!(what("raw_file"), What::NeedsButler(Unsupported::RawFile));
        assert_eq!(what("zip_file"), What::NeedsButler(Unsupported::ZipFile));
        for kind in [
            json!("tarball"),
            json!(2),
            json!(true),
            json!(null),
            json!(["x"]),
        ] {
            let error = with("rubin_butler", &kind).unwrap_err();
            let is_told = matches!(
                error,
                MessageError::UnknownKind(_) | MessageError::Missing(_)
            );
            assert!(is_told, "{kind}: {error}");
        }
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        for field in ["dst-url", "checksum-adler", "rubin_butler", "rubin_sidecar"] {
            assert!(without(field).to_string().contains(field), "{field}");
        }
        for (field, value) in [
            ("dst-url", json!(7)),
            ("bytes", json!(-1)),
            ("bytes", json!(1.5)),
            ("bytes", json!("7")),
            ("bytes", json!(u64::MAX)),
            ("file-size", json!(8)),
            ("checksum-adler", json!("12")),
            ("checksum-md5", json!("zz")),
            ("rubin_sidecar", json!({"id": 1})),
        ] {
            let error = with(field, &value).unwrap_err();
            assert!(error.to_string().contains(field), "{field}: {error}");
        }
    }

    #[test]
    fn a_sidecar_cut_anywhere_is_refused() {
        let whole = sidecar().to_string();
        for cut in 0..whole.len() {
            let error = with("rubin_sidecar", &json!(whole.get(..cut))).unwrap_err();
            assert!(matches!(error, MessageError::Sidecar(_)), "{cut}: {error}");
        }
    }

    #[test]
    fn a_sidecar_of_another_shape_is_refused() {
        for (at, value) in [
            ("/id", json!("no uuid")),
            ("/run", json!("../x")),
            ("/run", json!(7)),
            ("/datasetType", json!("visitSummary")),
            ("/datasetType/name", json!("")),
            ("/datasetType/dimensions", json!("visit")),
            ("/dataId", json!({"visit": 1})),
            ("/dataId/dataId", json!({"visit": 1.5})),
            ("/dataId/dataId", json!({"visit": null})),
        ] {
            let mut sidecar = sidecar();
            *sidecar.pointer_mut(at).unwrap() = value.clone();
            let result = with("rubin_sidecar", &json!(sidecar.to_string()));
            assert!(
                matches!(result, Err(MessageError::Sidecar(_))),
                "{at} {value}: {result:?}"
            );
        }
        let twice = sidecar().to_string().replacen('{', "{\"run\":\"a\",", 1);
        let result = with("rubin_sidecar", &json!(twice));
        assert!(
            matches!(result, Err(MessageError::Sidecar(_))),
            "{result:?}"
        );
        let huge = "x".repeat(SIDECAR_BYTES_MAX + 1);
        assert!(with("rubin_sidecar", &json!(huge)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            assert!(read(&text).is_err());
            let _refused_or_read = with("rubin_sidecar", &json!(text));
        }
    }
}
