//! What the writer writes, the reader reads, and nothing that was altered or cut.

#![cfg(test)]

mod support;

use std::io::Read;

use proptest::prelude::*;
use runsync_manifest::content::Content;
use runsync_manifest::entry::{DataId, DataValue, DatasetEntry};
use runsync_manifest::error::ReadError;
use runsync_manifest::limits::Limits;
use runsync_manifest::name::DatasetId;
use runsync_manifest::reader::Reader;
use runsync_manifest::summary::Summary;
use runsync_manifest::writer::Packing;
use support::{Manifest, entry, read, read_from, signing_key, small};

#[test]
fn each_content_is_read_as_it_was_written() {
    for content in Content::ALL {
        let manifest = small(content);
        for packing in [Packing::Plain, Packing::Zstd(3)] {
            let (bytes, trailer) = manifest.write(packing, Some(&signing_key())).unwrap();
            let (back, read_trailer) = read(bytes.as_slice()).unwrap();
            assert_eq!(back, manifest);
            assert_eq!(read_trailer, trailer);
            let signature = read_trailer.signature.unwrap();
            assert!(signature.is_by(&signing_key().public(), &trailer.sha256));
        }
    }
}

#[test]
fn a_summary_counts_by_type_and_element() {
    let mut manifest = small(Content::Additions);
    let summary = Summary::read(&*manifest.packed(), Limits::default()).unwrap();
    let counts: Vec<_> = summary
        .dataset_types
        .iter()
        .map(|counted| (counted.name.as_str(), counted.lines, counted.bytes))
        .collect();
    assert_eq!(counts, [("calexp", 3, 138_243), ("raw", 0, 0)]);
    let counts: Vec<_> = summary
        .dimensions
        .iter()
        .map(|counted| (counted.element.as_str(), counted.records))
        .collect();
    assert_eq!(counts, [("instrument", 1), ("detector", 2)]);
    assert!(summary.sorted && summary.trailer.signature.is_some());
    manifest.entries.swap(0, 2);
    let summary = Summary::read(&*manifest.packed(), Limits::default()).unwrap();
    assert!(!summary.sorted);
}

#[test]
fn the_digest_is_the_same_packed_and_plain() {
    let manifest = small(Content::Additions);
    let (_, plain) = manifest.write(Packing::Plain, None).unwrap();
    let (_, packed) = manifest.write(Packing::Zstd(19), None).unwrap();
    assert_eq!(plain, packed);
    assert_eq!(plain.signature, None);
}

#[test]
fn a_reader_that_gives_one_byte_at_a_time_changes_nothing() {
    struct Trickle<'a>(&'a [u8]);
    impl Read for Trickle<'_> {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            let count = 1.min(to.len());
            self.0.read(&mut to[..count])
        }
    }
    let manifest = small(Content::Additions);
    assert_eq!(
        read_from(Trickle(manifest.plain().as_bytes()), Limits::default())
            .unwrap()
            .0,
        manifest
    );
    assert_eq!(
        read_from(Trickle(&manifest.packed()), Limits::default())
            .unwrap()
            .0,
        manifest
    );
}

#[test]
fn many_records_are_spread_over_several_lines() {
    let mut manifest = small(Content::Additions);
    manifest.dimensions[1].records = (0..2000)
        .map(|id| {
            support::record(
                serde_json::json!({"instrument": "HSC", "id": id, "full_name": "x".repeat(100)}),
            )
        })
        .collect();
    let (back, trailer) = read(manifest.plain().as_bytes()).unwrap();
    assert!(trailer.counts.dimension > 5, "{:?}", trailer.counts);
    let records: Vec<_> = back.dimensions[1..]
        .iter()
        .flat_map(|line| line.records.clone())
        .collect();
    assert_eq!(records, manifest.dimensions[1].records);
    let longest = manifest.plain().lines().map(str::len).max().unwrap();
    assert!(longest < 64 << 10, "{longest}");
}

#[test]
fn several_frames_and_skippable_frames_are_one_stream() {
    let manifest = small(Content::Additions);
    let plain = manifest.plain();
    let (start, end) = plain.as_bytes().split_at(plain.len() / 2);
    let mut packed = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    packed.extend(zstd::encode_all(start, 3).unwrap());
    packed.extend(zstd::encode_all(&b""[..], 3).unwrap());
    packed.extend([0x5f, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    packed.extend(zstd::encode_all(end, 3).unwrap());
    assert_eq!(read(packed.as_slice()).unwrap().0, manifest);
}

#[test]
fn a_plain_manifest_cut_at_any_byte_has_not_arrived() {
    let bytes = small(Content::Additions).plain().into_bytes();
    for end in 0..bytes.len() {
        let error = read(&bytes[..end]).unwrap_err();
        assert!(
            matches!(error, ReadError::Incomplete { .. }),
            "{end}: {error}"
        );
    }
}

#[test]
fn a_packed_manifest_cut_at_any_byte_has_not_arrived() {
    let bytes = small(Content::Additions).packed();
    for end in 0..bytes.len() {
        let error = read(&bytes[..end]).unwrap_err();
        assert!(
            matches!(error, ReadError::Incomplete { .. }),
            "{end}: {error}"
        );
    }
}

#[test]
fn a_flipped_bit_never_passes_for_the_manifest() {
    let manifest = small(Content::Additions);
    for bytes in [manifest.plain().into_bytes(), manifest.packed()] {
        let (_, trailer) = read(bytes.as_slice()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok((back, read_trailer)) = read(flipped.as_slice()) else {
                continue;
            };
            assert_eq!(back, manifest, "bit {bit}");
            assert_eq!(read_trailer.sha256, trailer.sha256, "bit {bit}");
            let holds = read_trailer
                .signature
                .is_some_and(|signature| signature.is_by(&signing_key().public(), &trailer.sha256));
            assert!(
                holds == (bytes == flipped) || read(flipped.as_slice()).unwrap().1 == trailer,
                "bit {bit}"
            );
        }
    }
}

fn value() -> impl Strategy<Value = DataValue<'static>> {
    prop_oneof![
        any::<i64>().prop_map(DataValue::Integer),
        "[^\\p{Cc}]{1,40}".prop_map(|text| DataValue::Text(text.into())),
    ]
}

fn entries() -> impl Strategy<Value = Vec<DatasetEntry<'static>>> {
    let one = (
        any::<u128>().prop_filter("nil", |bits| *bits != 0),
        proptest::collection::vec("[^\\p{Cc}/\\\\.]{1,20}", 1..5),
        0..1_u64 << 50,
        proptest::option::of("[^\\p{Cc}]{1,60}"),
        (value(), value(), value()),
        any::<[u8; 4]>(),
        proptest::option::of(any::<[u8; 16]>()),
        proptest::option::of(any::<[u8; 32]>()),
    );
    let one = one.prop_map(|(uuid, path, size, text, values, adler32, md5, sha256)| {
        let mut entry = entry(0);
        entry.uuid = DatasetId(uuid::Uuid::from_u128(uuid));
        entry.path = format!("p{}", path.join("/")).into();
        entry.size = size;
        entry.component = text.clone().map(Into::into);
        entry.formatter = text.map(Into::into);
        entry.checksums.adler32 = runsync_manifest::checksum::Adler32(adler32);
        entry.checksums.md5 = md5.map(runsync_manifest::checksum::Md5);
        entry.checksums.sha256 = sha256.map(runsync_manifest::checksum::Sha256);
        entry.data_id = DataId::new(vec![
            ("detector".into(), values.0),
            ("instrument".into(), values.1),
            ("visit".into(), values.2),
        ])
        .unwrap();
        entry
    });
    proptest::collection::vec(one, 0..20)
}

proptest! {
    #[test]
    fn any_entries_are_read_as_they_were_written(entries in entries(), level in 0..4) {
        let mut manifest = Manifest { entries, ..small(Content::Snapshot) };
        // Another universe, whose dimensions take any value.
        manifest.header.universe.name = "other".into();
        let packing = if level == 0 { Packing::Plain } else { Packing::Zstd(level) };
        let (bytes, _) = manifest.write(packing, None).unwrap();
        prop_assert_eq!(read(bytes.as_slice()).unwrap().0, manifest);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read(bytes.as_slice()).is_err());
    }

    #[test]
    fn any_frame_contents_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut packed = vec![0x28, 0xb5, 0x2f, 0xfd];
        packed.extend(&bytes);
        prop_assert!(read(packed.as_slice()).is_err());
        let whole = zstd::encode_all(bytes.as_slice(), 1).unwrap();
        prop_assert!(read(whole.as_slice()).is_err());
    }
}

/// A file that was empty when it was opened, and has grown since.
struct Grown<'a>(bool, &'a [u8]);

impl Read for Grown<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if std::mem::replace(&mut self.0, true) {
            self.1.read(to)
        } else {
            Ok(0)
        }
    }
}

#[test]
fn a_file_that_was_empty_at_first_has_not_arrived_whatever_comes_then() {
    for bytes in [
        &b"\x28\xb5\x2f\xfd and more"[..],
        b"{\"kind\":\"header\"}\n",
    ] {
        let read = Reader::new(Grown(false, bytes), Limits::default());
        assert!(matches!(read, Err(ReadError::Incomplete { .. })));
    }
}
