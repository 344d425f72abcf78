//! The golden files in `manifest/fixtures/v1`: see the README there.

#![cfg(test)]

mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use insta::assert_snapshot;
use runsync_manifest::content::Content;
use runsync_manifest::writer::Packing;
use support::{read, reseal, signing_key, small};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

/// The kept bytes of a golden file; where it is missing and wanted, made of `fresh`.
fn golden(name: &str, fresh: &[u8]) -> Vec<u8> {
    let path = folder().join(name);
    if std::env::var_os("RUNSYNC_UPDATE").is_some() && !path.try_exists().unwrap() {
        File::create_new(&path).unwrap().write_all(fresh).unwrap();
    }
    fs::read(&path).unwrap()
}

fn several_frames(plain: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    for line in plain.split_inclusive('\n') {
        packed.extend(zstd::encode_all(line.as_bytes(), 3).unwrap());
        packed.extend([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2]);
    }
    packed
}

#[test]
fn every_good_file_is_read() {
    let additions = small(Content::Additions);
    let unsigned = additions.write(Packing::Plain, None).unwrap().0;
    let files = [
        ("additions.manifest.jsonl", additions.plain().into_bytes()),
        ("additions.manifest.jsonl.zst", additions.packed()),
        (
            "several-frames.manifest.jsonl.zst",
            several_frames(&additions.plain()),
        ),
        ("unsigned.manifest.jsonl", unsigned),
        (
            "removal.manifest.jsonl",
            small(Content::Removal).plain().into_bytes(),
        ),
        (
            "snapshot.manifest.jsonl",
            small(Content::Snapshot).plain().into_bytes(),
        ),
        (
            "inventory.manifest.jsonl",
            small(Content::Inventory).plain().into_bytes(),
        ),
    ];
    let mut told = String::new();
    for (name, fresh) in files {
        let kept = golden(name, &fresh);
        if !name.contains(".zst") {
            assert!(
                kept == fresh,
                "{name}: the writer's canonical bytes have changed"
            );
        }
        let (manifest, trailer) = read(kept.as_slice()).unwrap();
        let signed = trailer
            .signature
            .as_ref()
            .is_some_and(|signature| signature.is_by(&signing_key().public(), &trailer.sha256));
        writeln!(
            told,
            "{name}: {} of {}, {} + {} lines, {} bytes, {}{}",
            manifest.header.content,
            manifest.header.run_key(),
            trailer.counts.dimension,
            trailer.counts.dataset,
            trailer.total_bytes,
            trailer.sha256,
            if signed { ", signed" } else { "" },
        )
        .unwrap();
    }
    assert_snapshot!(told, @r#"
    additions.manifest.jsonl: additions of HSC/runs/ci_hsc/20240806T180642Z of 00000000-0000-0000-0000-00000000000a, 2 + 3 lines, 138243 bytes, e03672715b3dc01818183a8fd7b075c2dd05d5b2ef3475393d2b21a57483ea09, signed
    additions.manifest.jsonl.zst: additions of HSC/runs/ci_hsc/20240806T180642Z of 00000000-0000-0000-0000-00000000000a, 2 + 3 lines, 138243 bytes, e03672715b3dc01818183a8fd7b075c2dd05d5b2ef3475393d2b21a57483ea09, signed
    several-frames.manifest.jsonl.zst: additions of HSC/runs/ci_hsc/20240806T180642Z of 00000000-0000-0000-0000-00000000000a, 2 + 3 lines, 138243 bytes, e03672715b3dc01818183a8fd7b075c2dd05d5b2ef3475393d2b21a57483ea09, signed
    unsigned.manifest.jsonl: additions of HSC/runs/ci_hsc/20240806T180642Z of 00000000-0000-0000-0000-00000000000a, 2 + 3 lines, 138243 bytes, e03672715b3dc01818183a8fd7b075c2dd05d5b2ef3475393d2b21a57483ea09
    removal.manifest.jsonl: removal of HSC/runs/ci_hsc/20240806T180642Z of 00000000-0000-0000-0000-00000000000a, 0 + 0 lines, 0 bytes, 43d8d31b09a8f8162a3a59a31725b067ee5e96cfe3c5a25259f8d8de60fb1121, signed
    snapshot.manifest.jsonl: snapshot of HSC/runs/ci_hsc/20240806T180642Z of 00000000-0000-0000-0000-00000000000a, 2 + 3 lines, 138243 bytes, 012ad7a396a8396cb3a54a06603e596ea987b80481c66b00ed9e49ecac623d95, signed
    inventory.manifest.jsonl: inventory of HSC/runs/ci_hsc/20240806T180642Z of 00000000-0000-0000-0000-00000000000a, 2 + 3 lines, 138243 bytes, a794b4ecb3df252e33bc505b0e09b6791d3df640b785485da96bd06e43a2aeb5, signed
    "#);
}

#[test]
fn no_file_is_left_out() {
    let names = |folder: PathBuf| {
        fs::read_dir(folder)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file())
            .count()
    };
    // The README and the good ones; the bad ones.
    assert_eq!(names(folder()), 1 + 7);
    assert_eq!(names(folder().join("bad")), bad_files().len());
}

fn bad_files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = badly_packed_files();
    files.extend(badly_arranged_files());
    files.extend(
        wrong_values()
            .into_iter()
            .map(|(name, from, to)| (name, changed(from, to))),
    );
    files
}

/// A manifest with one thing changed and a trailer that fits.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let plain = small(Content::Additions).plain();
    assert!(plain.contains(from), "{from}");
    reseal(&plain.replacen(from, to, 1)).into_bytes()
}

fn badly_packed_files() -> Vec<(&'static str, Vec<u8>)> {
    let packed = small(Content::Additions).packed();
    let cut = packed[..packed.len() - 3].to_vec();
    let mut damaged = packed;
    *damaged.last_mut().unwrap() ^= 1;
    let plain = small(Content::Additions).plain();
    let mut bomb = plain.lines().next().unwrap().to_owned();
    let line = r#"{"kind":"dimension","element":"instrument","records":[{"name":"HSC"}]}"#;
    while bomb.len() < 16 << 20 {
        bomb.push('\n');
        bomb.push_str(line);
    }
    let bomb = zstd::encode_all(bomb.as_bytes(), 19).unwrap();
    vec![
        ("cut-frame.manifest.jsonl.zst", cut),
        ("damaged-frame.manifest.jsonl.zst", damaged),
        ("bomb.manifest.jsonl.zst", bomb),
    ]
}

fn badly_arranged_files() -> Vec<(&'static str, Vec<u8>)> {
    let plain = small(Content::Additions).plain();
    let lines: Vec<_> = plain.split_inclusive('\n').collect();
    let altered = |from: &str, to: &str| plain.replacen(from, to, 1).into_bytes();
    let arranged = |order: &[usize]| {
        let lines: String = order.iter().map(|index| lines[*index]).collect();
        lines.into_bytes()
    };
    let swapped = arranged(&[0, 1, 3, 2, 4, 5]);
    let swapped = reseal(&String::from_utf8(swapped).unwrap()).into_bytes();
    let bytes = plain.as_bytes();
    let not_utf8 = [&bytes[..100], b"\xc3\x28", &bytes[100..]].concat();
    vec![
        ("empty.manifest.jsonl", Vec::new()),
        ("cut-in-a-line.manifest.jsonl", bytes[..900].to_vec()),
        (
            "cut-before-the-trailer.manifest.jsonl",
            arranged(&[0, 1, 2, 3, 4, 5]),
        ),
        ("no-last-newline.manifest.jsonl", plain.trim_end().into()),
        (
            "no-manifest.manifest.jsonl",
            b"SIMPLE  =                    T\n".to_vec(),
        ),
        (
            "carriage-returns.manifest.jsonl",
            plain.replace('\n', "\r\n").into(),
        ),
        (
            "byte-order-mark.manifest.jsonl",
            format!("\u{feff}{plain}").into(),
        ),
        ("not-utf8.manifest.jsonl", not_utf8),
        ("empty-line.manifest.jsonl", altered("\n", "\n\n")),
        (
            "wrong-digest.manifest.jsonl",
            altered("calexp_1.fits", "calexp_9.fits"),
        ),
        (
            "wrong-total.manifest.jsonl",
            altered(r#""size":46081"#, r#""size":46082"#),
        ),
        ("line-missing.manifest.jsonl", arranged(&[0, 1, 2, 3, 5, 6])),
        (
            "line-after-the-trailer.manifest.jsonl",
            arranged(&[0, 1, 2, 3, 4, 5, 6, 4]),
        ),
        ("dimension-after-dataset.manifest.jsonl", swapped),
        (
            "key-id-alone.manifest.jsonl",
            altered(r#""signature":"#, r#""signatur":"#),
        ),
    ]
}

fn wrong_values() -> Vec<(&'static str, &'static str, &'static str)> {
    let three = r#"["detector","instrument","visit"]"#;
    let content = r#""content":"additions""#;
    let path = r#""path":"HSC"#;
    let detector = r#""detector":0,"#;
    let calexp = r#""dataset_type":"calexp""#;
    vec![
        (
            "newer-format.manifest.jsonl",
            r#""format":1"#,
            r#""format":2"#,
        ),
        (
            "unknown-kind.manifest.jsonl",
            r#""kind":"dataset""#,
            r#""kind":"data set""#,
        ),
        (
            "key-twice.manifest.jsonl",
            detector,
            r#""detector":0,"detector":1,"#,
        ),
        (
            "undeclared-type.manifest.jsonl",
            calexp,
            r#""dataset_type":"postISRCCD""#,
        ),
        (
            "wrong-data-id.manifest.jsonl",
            calexp,
            r#""dataset_type":"raw""#,
        ),
        (
            "text-for-a-number.manifest.jsonl",
            detector,
            r#""detector":"0","#,
        ),
        (
            "path-out-of-the-root.manifest.jsonl",
            path,
            r#""path":"../HSC"#,
        ),
        (
            "path-in-the-reserved-folder.manifest.jsonl",
            path,
            r#""path":"runsync/HSC"#,
        ),
        ("absolute-path.manifest.jsonl", path, r#""path":"/HSC"#),
        (
            "huge-size.manifest.jsonl",
            r#""size":46080"#,
            r#""size":18446744073709551616"#,
        ),
        (
            "no-adler32.manifest.jsonl",
            r#""adler32":"#,
            r#""adler33":"#,
        ),
        (
            "removal-with-lines.manifest.jsonl",
            content,
            r#""content":"removal""#,
        ),
        (
            "inventory-without-holder.manifest.jsonl",
            content,
            r#""content":"inventory""#,
        ),
        (
            "unknown-dimension.manifest.jsonl",
            three,
            r#"["detector","instrument","visite"]"#,
        ),
    ]
}

#[test]
fn every_bad_file_is_refused() {
    let mut told = String::new();
    for (name, fresh) in bad_files() {
        let kept = golden(&format!("bad/{name}"), &fresh);
        let error = read(kept.as_slice()).unwrap_err();
        writeln!(told, "{name}: {:?}: {error}", error.disposition()).unwrap();
    }
    assert_snapshot!(told, @r#"
    cut-frame.manifest.jsonl.zst: Retry: line 8: the file ends before its trailer
    damaged-frame.manifest.jsonl.zst: Quarantine: line 1: the zstd frame is damaged: Restored data doesn't match checksum
    bomb.manifest.jsonl.zst: Quarantine: line 14530: more than 50 unpacked bytes for each packed one
    empty.manifest.jsonl: Retry: line 1: the file ends before its trailer
    cut-in-a-line.manifest.jsonl: Retry: line 3: the file ends before its trailer
    cut-before-the-trailer.manifest.jsonl: Retry: line 7: the file ends before its trailer
    no-last-newline.manifest.jsonl: Retry: line 7: the file ends before its trailer
    no-manifest.manifest.jsonl: Quarantine: line 1, column 1: expected value
    carriage-returns.manifest.jsonl: Quarantine: line 1, column 682: found a carriage return, expected a JSON object in UTF-8
    byte-order-mark.manifest.jsonl: Quarantine: line 1, column 1: found a byte order mark, expected a JSON object in UTF-8
    not-utf8.manifest.jsonl: Quarantine: line 1, column 101: found bytes that are not UTF-8, expected a JSON object in UTF-8
    empty-line.manifest.jsonl: Quarantine: line 2, column 1: found an empty line, expected a JSON object in UTF-8
    wrong-digest.manifest.jsonl: Quarantine: line 7, field `sha256`: the trailer says e03672715b3dc01818183a8fd7b075c2dd05d5b2ef3475393d2b21a57483ea09, the lines before it have 91349e3403b57c28baedf9aba45a60e3266733279f27c014569971cee3fe479d
    wrong-total.manifest.jsonl: Quarantine: line 7, field `total_bytes`: the trailer says 138243, the lines before it have 138244
    line-missing.manifest.jsonl: Quarantine: line 6, field `counts.dataset`: the trailer says 3, the lines before it have 2
    line-after-the-trailer.manifest.jsonl: Quarantine: line 8: a further line after the trailer: the order is header, dimension lines, dataset lines, trailer
    dimension-after-dataset.manifest.jsonl: Quarantine: line 4: a dimension line after a dataset line: the order is header, dimension lines, dataset lines, trailer
    key-id-alone.manifest.jsonl: Quarantine: line 7, column 298: found `key_id` without `signature`, expected both
    newer-format.manifest.jsonl: Quarantine: line 1, field `format`: found 2, expected 1 or lower
    unknown-kind.manifest.jsonl: Quarantine: line 4, field `kind`: found `data set`, expected `header`, `dimension`, `dataset` or `trailer`
    key-twice.manifest.jsonl: Quarantine: line 4, column 159, field `data_id`: found a dimension twice, expected each once
    undeclared-type.manifest.jsonl: Quarantine: line 4, field `dataset_type`: `postISRCCD` is not among the header's dataset types
    wrong-data-id.manifest.jsonl: Quarantine: line 4, field `data_id`: found the dimensions {detector, instrument, visit}, expected {detector, exposure, instrument} as `raw` has them
    text-for-a-number.manifest.jsonl: Quarantine: line 4, field `data_id.detector`: found the text `0`, expected a whole number
    path-out-of-the-root.manifest.jsonl: Quarantine: line 4, field `path`: artifact path name `../HSC/runs/ci_hsc/calexp/903334/calexp_0.fits` has a part `.` or `..`
    path-in-the-reserved-folder.manifest.jsonl: Quarantine: line 4, field `path`: artifact path name `runsync/HSC/runs/ci_hsc/calexp/903334/calexp_0.fits` lies in runsync's own folder `runsync`
    absolute-path.manifest.jsonl: Quarantine: line 4, field `path`: artifact path name `/HSC/runs/ci_hsc/calexp/903334/calexp_0.fits` has an empty part
    huge-size.manifest.jsonl: Quarantine: line 4, column 227, field `size`: invalid type: floating point `1.8446744073709552e+19`, expected u64
    no-adler32.manifest.jsonl: Quarantine: line 4, field `checksums.adler32`: is missing
    removal-with-lines.manifest.jsonl: Quarantine: line 2: a dimension line, which a manifest of content `removal` never holds
    inventory-without-holder.manifest.jsonl: Quarantine: line 1, field `holder`: found nothing, expected the repository that took the inventory
    unknown-dimension.manifest.jsonl: Quarantine: line 1, field `dataset_types[0].dimensions`: universe `daf_butler` version 7 has no `visite`
    "#);
}
