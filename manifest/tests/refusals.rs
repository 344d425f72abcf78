//! Every wrong manifest gets an error that names line and field, what was
//! expected and what was found; these are the exact texts.

#![cfg(test)]

mod support;

use std::io::Read as _;

use insta::assert_snapshot;
use runsync_manifest::content::Content;
use runsync_manifest::error::{Disposition, ReadError};
use runsync_manifest::limits::Limits;
use runsync_manifest::writer::Packing;
use support::{read, read_from, read_within, reseal, signing_key, small};

/// The error for a small additions manifest in which `from` was replaced by `to`,
/// and the trailer made to fit again.
fn refusal(from: &str, to: &str) -> ReadError {
    let plain = small(Content::Additions).plain();
    assert!(plain.contains(from), "{from}");
    let changed = reseal(&plain.replacen(from, to, 1));
    read(changed.as_bytes()).unwrap_err()
}

fn told(from: &str, to: &str) -> String {
    let error = refusal(from, to);
    assert_eq!(error.disposition(), Disposition::Quarantine, "{error}");
    assert!(!error.hint().is_empty());
    format!("{error}\n[{}]", error.field().unwrap_or("no field"))
}

/// Line 4 is the first dataset line.
const FIRST: &str = r#""size":46080"#;

#[test]
fn an_unchanged_manifest_is_read() {
    let plain = small(Content::Additions).plain();
    assert!(read(reseal(&plain).as_bytes()).is_ok());
}

#[test]
fn a_file_that_is_no_manifest_says_so() {
    assert_snapshot!(read(&b""[..]).unwrap_err(), @"line 1: the file ends before its trailer");
    assert_snapshot!(read(&b"SIMPLE  =   T\n"[..]).unwrap_err(), @"line 1, column 1: expected value");
    assert_snapshot!(read(&b"[1]\n"[..]).unwrap_err(), @"line 1, column 2, field `kind`: invalid type: integer `1`, expected a string");
    assert_snapshot!(read(&b"{}\n"[..]).unwrap_err(), @"line 1, field `kind`: is missing");
    assert_snapshot!(read(&b"\xff\xfe\n"[..]).unwrap_err(), @"line 1, column 1: found bytes that are not UTF-8, expected a JSON object in UTF-8");
    assert_snapshot!(read(&b"\xef\xbb\xbf{}\n"[..]).unwrap_err(), @"line 1, column 1: found a byte order mark, expected a JSON object in UTF-8");
    assert_snapshot!(read(&b"\n"[..]).unwrap_err(), @"line 1, column 1: found an empty line, expected a JSON object in UTF-8");
    assert_snapshot!(read(&b"{}\r\n"[..]).unwrap_err(), @"line 1, column 3: found a carriage return, expected a JSON object in UTF-8");
}

#[test]
fn a_newer_format_is_told_whatever_else_it_changed() {
    let error = read(&b"{\"kind\":\"overture\",\"format\":2,\"run\":7}\n"[..]).unwrap_err();
    assert!(matches!(error, ReadError::Newer { format: 2 }));
    assert_snapshot!(error, @"line 1, field `format`: found 2, expected 1 or lower");
    assert_snapshot!(error.hint(), @"upgrade runsync at this site");
    assert_snapshot!(told(r#""format":1"#, r#""format":0"#), @r#"
    line 1, field `format`: found `0`, expected 1
    [format]
    "#);
    assert_snapshot!(told(r#""format":1"#, r#""format":"one""#), @r#"
    line 1, column 31, field `format`: invalid type: string "one", expected u64
    [format]
    "#);
}

#[test]
fn a_wrong_header_names_the_field() {
    assert_snapshot!(told(r#""run":"HSC/runs"#, r#""run":"../runs"#), @r#"
    line 1, column 139, field `run`: run name `../runs/ci_hsc/20240806T180642Z` has a part `.` or `..`
    [run]
    "#);
    assert_snapshot!(told(r#""run":"HSC/runs"#, r#""run":"runsync/runs"#), @r#"
    line 1, column 144, field `run`: run name `runsync/runs/ci_hsc/20240806T180642Z` lies in runsync's own folder `runsync`
    [run]
    "#);
    assert_snapshot!(told("-7000-8000", "-4000-8000"), @r#"
    line 1, field `manifest`: found `01935a2e-7c00-4000-8000-000000000001`, expected a UUID of version 7
    [manifest]
    "#);
    assert_snapshot!(told(r#""content":"additions""#, r#""content":"extras""#), @r#"
    line 1, column 96, field `content`: unknown variant `extras`, expected one of `additions`, `removal`, `snapshot`, `inventory`
    [content]
    "#);
    assert_snapshot!(told(r#""content":"additions""#, r#""content":"inventory""#), @r#"
    line 1, field `holder`: found nothing, expected the repository that took the inventory
    [holder]
    "#);
    assert_snapshot!(told(r#""generation":"#, r#""holder":{"repository":"00000000-0000-0000-0000-00000000000b","site":"B"},"generation":"#), @r#"
    line 1, field `holder`: found a repository, expected it in an inventory only
    [holder]
    "#);
    assert_snapshot!(told(r#""epoch":1"#, r#""epoch":0"#), @r#"
    line 1, field `generation`: found `0-1`, expected epoch and sequence from 1 up
    [generation]
    "#);
    assert_snapshot!(told(r#""sequence":1"#, r#""sequence":4294967296"#), @r#"
    line 1, column 265, field `generation`: invalid value: integer `4294967296`, expected u32
    [generation]
    "#);
    assert_snapshot!(told("00000000000a", "000000000000"), @r#"
    line 1, field `origin.repository`: found `nil`, expected a UUID other than nil
    [origin.repository]
    "#);
    assert_snapshot!(told("2026-11-22T07:30:00Z", "2026-11-22T07:30:00+01:00"), @r#"
    line 1, field `created_at`: found `2026-11-22T07:30:00+01:00`, expected a time such as 2026-11-22T07:30:00Z (RFC 3339, UTC)
    [created_at]
    "#);
    assert_snapshot!(told(r#""scope":"hsc","#, r#""scope":"hsc","scope":"hsc","#), @r#"
    line 1, field `scope`: comes twice
    [scope]
    "#);
    assert_snapshot!(told(r#""site":"SITE_A""#, r#""sight":"SITE_A""#), @r#"
    line 1, field `origin.site`: is missing
    [origin.site]
    "#);
    assert_snapshot!(told(r#""a":[1.5"#, r#""b":[1.5"#), @r#"
    line 1, column 643, field `provenance`: found the key `b` twice, expected it once
    [provenance]
    "#);
}

#[test]
fn wrong_dataset_types_name_the_field() {
    assert_snapshot!(told(r#""name":"raw""#, r#""name":"calexp""#), @r#"
    line 1, field `dataset_types[1].name`: found `calexp`, expected each name once
    [dataset_types[1].name]
    "#);
    assert_snapshot!(told(r#""name":"raw""#, r#""name":"raw/x""#), @r#"
    line 1, column 501, field `dataset_types`: dataset type name `raw/x` holds a `/`
    [dataset_types]
    "#);
    assert_snapshot!(told(r#"["detector","instrument","visit"]"#, r#"["detector","detector","visit"]"#), @r#"
    line 1, field `dataset_types[0].dimensions`: found `detector`, expected each dimension once
    [dataset_types[0].dimensions]
    "#);
    assert_snapshot!(told(r#"["detector","instrument","visit"]"#, r#"["detector","instrument","visitation"]"#), @r#"
    line 1, field `dataset_types[0].dimensions`: universe `daf_butler` version 7 has no `visitation`
    [dataset_types[0].dimensions]
    "#);
    assert_snapshot!(told(r#"["detector","instrument","visit"]"#, r#"["detector","instrument","visit_definition"]"#), @r#"
    line 1, field `dataset_types[0].dimensions`: universe `daf_butler` version 7 has no `visit_definition`
    [dataset_types[0].dimensions]
    "#);
    assert_snapshot!(told(r#"["detector","instrument","visit"]"#, r#"["detector","instrument","physical_filter","visit"]"#), @r#"
    line 1, field `dataset_types[0].dimensions`: found {detector, instrument, physical_filter, visit}, expected the required dimensions alone, and all of them
    [dataset_types[0].dimensions]
    "#);
    assert_snapshot!(told(r#"["detector","instrument","visit"]"#, r#"["detector","visit"]"#), @r#"
    line 1, field `dataset_types[0].dimensions`: found {detector, visit}, expected the required dimensions alone, and all of them
    [dataset_types[0].dimensions]
    "#);
    assert_snapshot!(told(r#"["detector","exposure","instrument"]"#, r#"["htm25"]"#), @r#"
    line 1, field `dataset_types[1].dimensions`: universe `daf_butler` version 7 has no `htm25`
    [dataset_types[1].dimensions]
    "#);
}

#[test]
fn a_wrong_dimension_line_names_the_record() {
    assert_snapshot!(told(r#""element":"detector""#, r#""element":"detektor""#), @r#"
    line 3, field `element`: universe `daf_butler` version 7 has no `detektor`
    [element]
    "#);
    assert_snapshot!(told(r#""element":"detector""#, r#""element":"band""#), @r#"
    line 3, field `element`: found `band`, expected an element that has records of its own
    [element]
    "#);
    assert_snapshot!(told(r#""full_name":"1_54","id":1"#, r#""full_name":"1_54","id":"1""#), @r#"
    line 3, field `records[1]`: found no whole key, expected {id, instrument} as `detector` has them
    [records[1]]
    "#);
    assert_snapshot!(told(r#""full_name":"1_54","id":1"#, r#""full_name":"1_54""#), @r#"
    line 3, field `records[1]`: found no whole key, expected {id, instrument} as `detector` has them
    [records[1]]
    "#);
    assert_snapshot!(told(r#""full_name":"1_54","id":1"#, r#""full_name":"1_54","id":1,"id":1"#), @r#"
    line 3, column 130, field `records`: found the key `id` twice, expected it once
    [records]
    "#);
    assert_snapshot!(told(r#""full_name":"1_54","id":1"#, r#""full_name":"1_54","id":1e400"#), @r#"
    line 3, column 129, field `records`: number out of range
    [records]
    "#);
    assert_snapshot!(told(r#""records":[{"class"#, r#""records":[7,{"class"#), @r#"
    line 2, column 55, field `records`: invalid type: integer `7`, expected a JSON object
    [records]
    "#);
}

#[test]
fn a_wrong_dataset_line_names_the_field() {
    assert_snapshot!(told("1b3a4c19-dffa-4942-af1d-b123a1497a00", "00000000-0000-0000-0000-000000000000"), @r#"
    line 4, field `uuid`: found `nil`, expected a UUID other than nil
    [uuid]
    "#);
    assert_snapshot!(told("1b3a4c19-dffa-4942-af1d-b123a1497a00", "1b3a4c19"), @r#"
    line 4, column 35, field `uuid`: UUID parsing failed: invalid length: found 8
    [uuid]
    "#);
    assert_snapshot!(told(r#""dataset_type":"calexp""#, r#""dataset_type":"calxep""#), @r#"
    line 4, field `dataset_type`: `calxep` is not among the header's dataset types
    [dataset_type]
    "#);
    assert_snapshot!(told(r#""dataset_type":"calexp""#, r#""dataset_type":"raw""#), @r#"
    line 4, field `data_id`: found the dimensions {detector, instrument, visit}, expected {detector, exposure, instrument} as `raw` has them
    [data_id]
    "#);
    assert_snapshot!(told(r#""detector":0,"#, ""), @r#"
    line 4, field `data_id`: found the dimensions {instrument, visit}, expected {detector, instrument, visit} as `calexp` has them
    [data_id]
    "#);
    assert_snapshot!(told(r#""detector":0,"#, r#""detector":0,"detector":0,"#), @r#"
    line 4, column 159, field `data_id`: found a dimension twice, expected each once
    [data_id]
    "#);
    assert_snapshot!(told(r#""detector":0,"#, r#""detector":"0","#), @r#"
    line 4, field `data_id.detector`: found the text `0`, expected a whole number
    [data_id.detector]
    "#);
    assert_snapshot!(told(r#""instrument":"HSC","visit""#, r#""instrument":7,"visit""#), @r#"
    line 4, field `data_id.instrument`: found 7, expected text
    [data_id.instrument]
    "#);
    assert_snapshot!(told(r#""instrument":"HSC","visit""#, r#""instrument":"","visit""#), @r#"
    line 4, field `data_id.instrument`: found ``, expected 1 to 250 bytes of text without control characters
    [data_id.instrument]
    "#);
    assert_snapshot!(told(r#""instrument":"HSC","visit""#, r#""instrument":null,"visit""#), @r#"
    line 4, column 129, field `data_id`: invalid type: null, expected text or a whole number of at most 64 bits with its sign
    [data_id]
    "#);
    assert_snapshot!(told(r#""checksums":{"adler32":"00000000"}"#, r#""checksums":{"md5":"00000000"}"#), @r#"
    line 4, column 242, field `checksums`: invalid value: string "00000000", expected 32 lower-case hexadecimal digits
    [checksums]
    "#);
    assert_snapshot!(told(r#""checksums":{"adler32":"00000000"}"#, r#""checksums":{}"#), @r#"
    line 4, field `checksums.adler32`: is missing
    [checksums.adler32]
    "#);
    assert_snapshot!(told(r#""checksums":{"adler32":"00000000"}"#, r#""checksums":{"adler32":"0000000G"}"#), @r#"
    line 4, column 246, field `checksums`: invalid value: string "0000000G", expected 8 lower-case hexadecimal digits
    [checksums]
    "#);
    assert_snapshot!(told(r#""checksums":{"adler32":"00000000"}"#, r#""no_checksums":0"#), @r#"
    line 4, field `checksums`: is missing
    [checksums]
    "#);
    assert_snapshot!(told(r#""formatter":"lsst"#, r#""formatter":"\u0000lsst"#), @r#"
    line 4, field `formatter`: found `\0lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter`, expected 1 to 250 bytes of text without control characters
    [formatter]
    "#);
    assert_snapshot!(told(r#""formatter":"lsst"#, r#""component":"","formatter":"lsst"#), @r#"
    line 4, field `component`: found ``, expected 1 to 250 bytes of text without control characters
    [component]
    "#);
    assert_snapshot!(told(r#"{"kind":"dataset","#, r#"{"kind":"dataset","kind":"dataset","#), @r#"
    line 4, field `kind`: comes twice
    [kind]
    "#);
    assert_snapshot!(told(r#"{"kind":"dataset","#, r#"{"kind":"data\u001bset","#), @r#"
    line 4, field `kind`: found `data\u{1b}set`, expected `header`, `dimension`, `dataset` or `trailer`
    [kind]
    "#);
    assert_snapshot!(told(r#"{"kind":"dataset","#, r#"{"kind":7,"#), @r#"
    line 4, column 9, field `kind`: invalid type: integer `7`, expected a string
    [kind]
    "#);
    assert_snapshot!(told(r#"{"kind":"dataset","#, r"{"), @r#"
    line 4, field `kind`: is missing
    [kind]
    "#);
    assert_snapshot!(told(r#"{"kind":"dataset","#, r#"{"kind":"dataset",,"#), @r#"
    line 4, column 19: key must be a string
    [no field]
    "#);
}

#[test]
fn sizes_are_whole_numbers_of_63_bits() {
    for (wrong, text) in [
        ("-1", "-1"),
        ("1.5", "1.5"),
        ("9223372036854775808", "expected at most"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("1e400", "number out of range"),
        ("NaN", "expected"),
        ("\"46080\"", "string \"46080\""),
        ("null", "null"),
    ] {
        let error = refusal(FIRST, &format!(r#""size":{wrong}"#));
        assert_eq!(error.field(), Some("size"), "{error}");
        assert_eq!(error.line(), 4, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_snapshot!(told(FIRST, r#""size":9223372036854775807"#), @r#"
    line 5, field `size`: the sizes of all datasets add up to more than 9223372036854775807 bytes
    [size]
    "#);
}

#[test]
fn hostile_paths_are_refused_by_line() {
    let path = r#""path":"HSC/runs/ci_hsc/calexp/903334/calexp_0.fits""#;
    for wrong in [
        "../x",
        "/etc/passwd",
        "a/../b",
        "a//b",
        "./a",
        "a/",
        "",
        "a\\\\b",
        "a\\u0000b",
        "a\\nb",
        "runsync/x",
        "a\\u0085",
    ] {
        let error = refusal(path, &format!(r#""path":"{wrong}""#));
        assert_eq!((error.line(), error.field()), (4, Some("path")), "{error}");
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    assert_snapshot!(told(path, r#""path":"a/../../b""#), @r#"
        line 4, field `path`: artifact path name `a/../../b` has a part `.` or `..`
        [path]
        "#);
    let long = "x/".repeat(3000);
    let error = refusal(path, &format!(r#""path":"{long}x""#));
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn twins_under_unicode_normalisation_stay_two_paths() {
    let mut manifest = small(Content::Additions);
    manifest.entries[0].path = "\u{e9}.fits".into();
    manifest.entries[1].path = "e\u{301}.fits".into();
    let (back, _) = read(manifest.plain().as_bytes()).unwrap();
    assert_eq!(back, manifest);
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    for wrong in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
    ] {
        let plain = small(Content::Additions).plain().into_bytes();
        let at = plain
            .windows(7)
            .position(|seen| seen == b"calexp_")
            .unwrap();
        let bytes = [&plain[..at], wrong, &plain[at..]].concat();
        let error = read(bytes.as_slice()).unwrap_err();
        assert!(
            matches!(error, ReadError::NotText { line: 4, .. }),
            "{error}"
        );
    }
}

#[test]
fn unknown_fields_and_any_order_and_spacing_are_read() {
    let plain = small(Content::Additions).plain();
    let changed = plain
        .replacen(FIRST, r#""shade": {"x":[1]},  "size" : 46080"#, 1)
        .replacen(
            r#"{"kind":"dimension","#,
            r#"{ "new":1, "kind":"dimension","#,
            1,
        )
        .replacen(r#""format":1"#, r#""format":1,"mood":"good""#, 1);
    let (back, _) = read(reseal(&changed).as_bytes()).unwrap();
    assert_eq!(back, small(Content::Additions));
}

#[test]
fn lines_out_of_order_are_refused() {
    let plain = small(Content::Additions).plain();
    let lines: Vec<_> = plain.lines().collect();
    let arranged = |order: &[usize]| {
        let lines: Vec<_> = order.iter().map(|index| lines[*index]).collect();
        read(reseal(&lines.join("\n")).as_bytes()).unwrap_err()
    };
    assert_snapshot!(arranged(&[0, 1, 3, 2]), @"line 4: a dimension line after a dataset line: the order is header, dimension lines, dataset lines, trailer");
    assert_snapshot!(arranged(&[0, 0]), @"line 2: a header line after the header: the order is header, dimension lines, dataset lines, trailer");
    assert_snapshot!(arranged(&[1, 0]), @"line 1, field `kind`: found `dimension`, expected `header` in the first line");
    let twice = format!("{plain}{}\n", lines[3]);
    assert_snapshot!(read(twice.as_bytes()).unwrap_err(), @"line 8: a further line after the trailer: the order is header, dimension lines, dataset lines, trailer");
    let tail = format!("{plain} ");
    assert_snapshot!(read(tail.as_bytes()).unwrap_err(), @"line 8: a further line after the trailer: the order is header, dimension lines, dataset lines, trailer");
    let second = plain.repeat(2);
    assert_snapshot!(read(second.as_bytes()).unwrap_err(), @"line 8: a further line after the trailer: the order is header, dimension lines, dataset lines, trailer");
}

#[test]
fn a_removal_holds_nothing() {
    let plain = small(Content::Additions).plain().replacen(
        r#""content":"additions""#,
        r#""content":"removal""#,
        1,
    );
    assert_snapshot!(read(reseal(&plain).as_bytes()).unwrap_err(), @"line 2: a dimension line, which a manifest of content `removal` never holds");
    let mut manifest = small(Content::Removal);
    manifest.header.dataset_types = vec![support::calexp()];
    manifest.entries = vec![support::entry(0)];
    assert_snapshot!(manifest.write(Packing::Plain, None).unwrap_err(), @"cannot write line 2: a dataset line, which a manifest of content `removal` never holds");
}

#[test]
fn a_trailer_that_does_not_fit_is_refused() {
    let plain = small(Content::Additions).plain();
    let told = |from: &str, to: &str| {
        let at = plain.rfind(from).unwrap();
        let (before, rest) = plain.split_at(at);
        let changed = format!("{before}{}", rest.replacen(from, to, 1));
        read(changed.as_bytes()).unwrap_err()
    };
    assert_snapshot!(told(r#""dataset":3"#, r#""dataset":4"#), @"line 7, field `counts.dataset`: the trailer says 4, the lines before it have 3");
    assert_snapshot!(told(r#""dimension":2"#, r#""dimension":1"#), @"line 7, field `counts.dimension`: the trailer says 1, the lines before it have 2");
    assert_snapshot!(told(r#""total_bytes":138243"#, r#""total_bytes":138244"#), @"line 7, field `total_bytes`: the trailer says 138244, the lines before it have 138243");
    let error = told(r#""sha256":""#, r#""sha256":"00","was":""#);
    assert_eq!(error.field(), Some("sha256"), "{error}");
    let (_, trailer) = read(plain.as_bytes()).unwrap();
    let digest = &trailer.sha256.to_string();
    let error = told(digest, &"0".repeat(64));
    assert_eq!(error.field(), Some("sha256"), "{error}");
    assert!(error.to_string().contains(digest), "{error}");
    assert_snapshot!(told(r#""signature":"#, r#""signatures":"#), @"line 7, column 300: found `key_id` without `signature`, expected both");
    assert_snapshot!(told(r#""key_id":"#, r#""key":"#), @"line 7, column 296: found `signature` without `key_id`, expected both");
    assert_snapshot!(told(r#"=="}"#, r#"="}"#), @"line 7, column 298: found another text in `signature`, expected base64 of 64 bytes");
}

#[test]
fn deep_nesting_is_refused_or_skipped_without_overflow() {
    let plain = small(Content::Additions).plain();
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [127, 100_000] {
        let deep = nested(depth);
        for (from, to) in [
            (r#""class_name":null"#, format!(r#""class_name":{deep}"#)),
            (
                r#""provenance":{"#,
                format!(r#""provenance":{{"deep":{deep},"#),
            ),
        ] {
            let changed = plain.replacen(from, &to, 1);
            let error = read(changed.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("recursion limit"), "{error}");
        }
    }
    // A field that is not known is passed over without descending into it.
    let changed = plain.replacen(FIRST, &format!(r#"{FIRST},"shade":{}"#, nested(100_000)), 1);
    let error = read(changed.as_bytes()).unwrap_err();
    assert_eq!(
        (error.line(), error.field()),
        (7, Some("sha256")),
        "{error}"
    );
}

#[test]
fn each_limit_is_enforced_while_reading() {
    let manifest = small(Content::Additions);
    let plain = manifest.plain();
    let told = |bytes: &[u8], limits| read_within(bytes, limits).unwrap_err();
    let ample = Limits::default();
    assert_snapshot!(told(plain.as_bytes(), Limits { line_bytes_max: 500, ..ample }), @"line 1: more than 500 bytes in the line");
    assert_snapshot!(told(plain.as_bytes(), Limits { entries_max: 2, ..ample }), @"line 6: more than 2 dataset lines");
    assert_snapshot!(told(plain.as_bytes(), Limits { packed_bytes_max: 1000, ..ample }), @"line 1: more than 1000 bytes in the file");
    assert_snapshot!(told(plain.as_bytes(), Limits { unpacked_bytes_max: 1000, ..ample }), @"line 1: more than 1000 bytes after unpacking");
    assert_snapshot!(told(&manifest.packed(), Limits { unpacked_bytes_max: 1000, ..ample }), @"line 1: more than 1000 bytes after unpacking");
    assert_snapshot!(told(&manifest.packed(), Limits { zstd_window_log_max: 12, ..ample }), @"line 1: more than 4096 bytes of zstd window asked for");
    let error = told(
        plain.as_bytes(),
        Limits {
            entries_max: 2,
            ..ample
        },
    );
    assert_snapshot!(error.hint(), @"if the file is honest, raise the limit in the configuration; else ask its origin for smaller manifests");
}

#[test]
fn a_bomb_is_refused_after_few_bytes() {
    let header = small(Content::Additions)
        .plain()
        .lines()
        .next()
        .unwrap()
        .to_owned()
        + "\n";
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
    std::io::Write::write_all(&mut bomb, header.as_bytes()).unwrap();
    let line = format!(
        r#"{{"kind":"dimension","element":"instrument","records":[{{"name":"HSC"}}],"x":"{}"}}"#,
        "x".repeat(10_000)
    );
    for _ in 0..10_000 {
        std::io::Write::write_all(&mut bomb, line.as_bytes()).unwrap();
        std::io::Write::write_all(&mut bomb, b"\n").unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 100_000);
    assert_snapshot!(read(bomb.as_slice()).unwrap_err(), @"line 104: more than 50 unpacked bytes for each packed one");
    let endless = std::io::repeat(b' ').take(1 << 40);
    assert_snapshot!(read_from(endless, Limits::default()).unwrap_err(), @"line 1: more than 1048576 bytes in the line");
}

#[test]
fn a_damaged_frame_is_told_from_a_cut_one() {
    let mut packed = small(Content::Additions).packed();
    packed.extend(b"rest");
    assert_snapshot!(read(packed.as_slice()).unwrap_err(), @"line 8: the zstd frame is damaged: Unknown frame descriptor");
    let mut packed = small(Content::Additions).packed();
    let last = packed.len() - 1;
    packed[last] ^= 1;
    assert_snapshot!(read(packed.as_slice()).unwrap_err(), @"line 1: the zstd frame is damaged: Restored data doesn't match checksum");
}

#[test]
fn what_may_pass_by_itself_is_tried_again() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is on fire"))
        }
    }
    let error = read_from(Broken, Limits::default()).unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
    assert_snapshot!(error, @"line 1: reading the file failed");
    assert_snapshot!(std::error::Error::source(&error).unwrap(), @"the disk is on fire");
    let error = read(&b"{"[..]).unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let told = |change: &dyn Fn(&mut support::Manifest)| {
        let mut manifest = small(Content::Additions);
        change(&mut manifest);
        manifest
            .write(Packing::Plain, Some(&signing_key()))
            .unwrap_err()
    };
    assert_snapshot!(told(&|manifest| manifest.header.format = 2), @"cannot write line 1, field `format`: found `2`, expected 1");
    assert_snapshot!(told(&|manifest| manifest.entries[1].path = "../x".into()), @"cannot write line 5, field `path`: artifact path name `../x` has a part `.` or `..`");
    assert_snapshot!(told(&|manifest| manifest.entries[1].size = u64::MAX), @"cannot write line 5, field `size`: found 18446744073709551615, expected at most 9223372036854775807 bytes");
    assert_snapshot!(told(&|manifest| manifest.dimensions[0].element = "band".into()), @"cannot write line 2, field `element`: found `band`, expected an element that has records of its own");
    assert_snapshot!(told(&|manifest| {
        manifest.dimensions[0].records[0].insert("x".into(), "y".repeat(2 << 20).into());
    }), @"cannot write line 2: more than 1048576 bytes in the line");
    let told_of_packing = |change: &dyn Fn(&mut support::Manifest)| {
        let mut manifest = small(Content::Additions);
        change(&mut manifest);
        manifest.write(Packing::Zstd(3), None).unwrap_err()
    };
    assert_snapshot!(told_of_packing(&|manifest| {
        manifest.entries = vec![support::entry(0); 10_000];
    }), @"cannot write line 10004: more than 50 unpacked bytes for each packed one");
    assert_snapshot!(told(&|manifest| {
        let nested = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        manifest.header.provenance = serde_json::from_str(&nested).unwrap();
    }), @"cannot write line 1, field `provenance`: found a value nested deeper, expected at most 100 levels");
    let error = small(Content::Additions)
        .write(Packing::Zstd(22), None)
        .unwrap_err();
    assert_snapshot!(error, @"cannot pack at zstd level 22: expected 1 to 19");
}

#[test]
fn a_writer_that_failed_writes_no_trailer() {
    let manifest = small(Content::Additions);
    let mut writer =
        runsync_manifest::writer::Writer::new(Vec::new(), Packing::Plain, &manifest.header)
            .unwrap();
    let mut wrong = support::entry(0);
    wrong.size = u64::MAX;
    assert!(writer.dataset(&wrong).is_err());
    assert_snapshot!(writer.dataset(&support::entry(1)).unwrap_err(), @"cannot go on with a manifest of which a line could not be written");
    assert_snapshot!(writer.finish(None).unwrap_err(), @"cannot go on with a manifest of which a line could not be written");
}
