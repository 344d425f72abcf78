//! The JSON Schemas in `docs/manifest/schema` are those of the types, and what
//! the writer writes is valid under them.
//!
//! `RUNSYNC_UPDATE=1 cargo test -p runsync-manifest --test schemas` rewrites them.

#![cfg(test)]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use runsync_manifest::content::Content;
use runsync_manifest::schema::line_schemas;
use serde_json::Value;
use support::small;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/manifest/schema")
}

#[test]
fn the_schema_files_are_current() {
    for (kind, schema) in line_schemas() {
        let path = folder().join(format!("{kind}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("RUNSYNC_UPDATE").is_some() {
            let mut file = File::create(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap();
        let path = path.display();
        assert!(kept == text, "{path}: run this test with RUNSYNC_UPDATE=1");
    }
}

fn validator(kind: &str) -> jsonschema::Validator {
    let text = fs::read_to_string(folder().join(format!("{kind}.schema.json"))).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

#[test]
fn every_line_that_the_writer_writes_is_valid() {
    let mut seen = std::collections::BTreeSet::new();
    for content in Content::ALL {
        for line in small(content).plain().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let kind = line["kind"].as_str().unwrap().to_owned();
            let faults: Vec<_> = validator(&kind)
                .iter_errors(&line)
                .map(|error| error.to_string())
                .collect();
            assert!(faults.is_empty(), "{line}: {faults:?}");
            seen.insert(kind);
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_line_with_a_wrong_field_is_not_valid() {
    let plain = small(Content::Additions).plain();
    let line = plain.lines().nth(3).unwrap();
    for (from, to) in [
        (r#""kind":"dataset""#, r#""kind":"trailer""#),
        (r#""size":46080"#, r#""size":-1"#),
        (r#""adler32":"00000000""#, r#""adler32":"0000000""#),
        (r#""detector":0"#, r#""detector":0.5"#),
        (r#""path":"#, r#""paths":"#),
    ] {
        let wrong: Value = serde_json::from_str(&line.replacen(from, to, 1)).unwrap();
        assert!(!validator("dataset").is_valid(&wrong), "{to}");
    }
}
