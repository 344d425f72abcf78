//! Reads A's manifests with nothing of runsync's own: what B must answer comes from here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use uuid::Uuid;

use crate::files;

/// What B must know in the end.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Manifests carried.
    pub(super) manifests: u64,
    /// Each dataset's artifact.
    pub(super) datasets: BTreeMap<Uuid, Artifact>,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Artifact {
    /// Path relative to the root.
    pub(super) path: String,
    /// Size in bytes.
    pub(super) size: u64,
    /// 8 hexadecimal digits.
    pub(super) adler32: String,
}

/// The visits and detectors that the real run's manifest brings records of.
#[derive(Debug)]
pub(super) struct Observations {
    /// The instrument's name.
    pub(super) instrument: String,
    /// Numbers of visits.
    pub(super) visits: Vec<u64>,
    /// Numbers of detectors.
    pub(super) detectors: Vec<u64>,
}

/// Reads every manifest below `root`.
pub(super) fn expected(root: &Path) -> Result<Expected> {
    let mut expected = Expected::default();
    let folder = root.join("runsync/manifests");
    for file in files::below(&folder)? {
        expected.manifests += 1;
        for_each_line(&folder.join(file), |line| {
            if text(line, "kind")? == "dataset" {
                let uuid = text(line, "uuid")?.parse().context("a uuid is none")?;
                let artifact = artifact(line)?;
                let before = expected.datasets.insert(uuid, artifact);
                ensure!(before.is_none(), "dataset {uuid} is in two lines");
            }
            Ok(())
        })?;
    }
    Ok(expected)
}

/// Takes the records of visits and detectors from a manifest's dimension lines.
pub(super) fn observations(manifest: &Path) -> Result<Observations> {
    let mut instruments = Vec::new();
    let mut visits = Vec::new();
    let mut detectors = Vec::new();
    for_each_line(manifest, |line| {
        if text(line, "kind")? != "dimension" {
            return Ok(());
        }
        let records = line.get("records").and_then(Value::as_array);
        for record in records.context("a dimension line has no records")? {
            match text(line, "element")? {
                "instrument" => instruments.push(text(record, "name")?.to_owned()),
                "visit" => visits.push(number(record, "id")?),
                "detector" => detectors.push(number(record, "id")?),
                _ => {}
            }
        }
        Ok(())
    })?;
    ensure!(
        !visits.is_empty() && !detectors.is_empty(),
        "the manifest brings no visits or no detectors"
    );
    Ok(Observations {
        instrument: instruments
            .pop()
            .context("the manifest brings no instrument")?,
        visits,
        detectors,
    })
}

fn artifact(line: &Value) -> Result<Artifact> {
    let checksums = line
        .get("checksums")
        .context("a dataset has no checksums")?;
    Ok(Artifact {
        path: text(line, "path")?.to_owned(),
        size: number(line, "size")?,
        adler32: text(checksums, "adler32")?.to_owned(),
    })
}

fn for_each_line(path: &Path, mut each: impl FnMut(&Value) -> Result<()>) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let unpacked: Box<dyn Read> = if path.extension().is_some_and(|packing| packing == "zst") {
        Box::new(zstd::Decoder::new(file)?)
    } else {
        Box::new(file)
    };
    for (at, line) in BufReader::new(unpacked).lines().enumerate() {
        let place = || format!("{}, line {}", path.display(), at + 1);
        let line: Value = serde_json::from_str(&line.with_context(place)?).with_context(place)?;
        each(&line).with_context(place)?;
    }
    Ok(())
}

fn text<'a>(of: &'a Value, field: &str) -> Result<&'a str> {
    let value = of.get(field).and_then(Value::as_str);
    value.with_context(|| format!("`{field}` is missing or no text"))
}

fn number(of: &Value, field: &str) -> Result<u64> {
    let value = of.get(field).and_then(Value::as_u64);
    value.with_context(|| format!("`{field}` is missing or no number"))
}
