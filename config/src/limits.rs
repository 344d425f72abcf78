//! Limits for reading manifests.

use std::ops::RangeInclusive;

use runsync_manifest::limits::Limits;
use serde::Serialize;

use crate::bytes::Bytes;
use crate::raw::Section;

/// The windows that zstd itself knows, as base-2 logarithms of bytes.
const ZSTD_WINDOW_LOGS: RangeInclusive<u32> = 10..=31;

/// Reads `[limits]`.
pub(crate) fn read(mut section: Section<'_, '_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        line_bytes_max: bytes(&mut section, "line_bytes_max", default.line_bytes_max),
        packed_bytes_max: bytes(&mut section, "packed_bytes_max", default.packed_bytes_max),
        unpacked_bytes_max: bytes(
            &mut section,
            "unpacked_bytes_max",
            default.unpacked_bytes_max,
        ),
        unpacked_ratio_max: section.or("unpacked_ratio_max", default.unpacked_ratio_max),
        zstd_window_log_max: section.or("zstd_window_log_max", default.zstd_window_log_max),
        entries_max: section.or("entries_max", default.entries_max),
    };
    if !ZSTD_WINDOW_LOGS.contains(&limits.zstd_window_log_max) {
        let (least, most) = (ZSTD_WINDOW_LOGS.start(), ZSTD_WINDOW_LOGS.end());
        let reason = format!("must be from {least} to {most}");
        section.report("zstd_window_log_max", reason);
    }
    for (key, limit) in [
        ("line_bytes_max", limits.line_bytes_max),
        ("packed_bytes_max", limits.packed_bytes_max),
        ("unpacked_bytes_max", limits.unpacked_bytes_max),
        ("unpacked_ratio_max", limits.unpacked_ratio_max),
        ("entries_max", limits.entries_max),
    ] {
        if limit == 0 {
            section.report(key, "must be more than 0");
        }
    }
    section.finish();
    limits
}

fn bytes(section: &mut Section<'_, '_>, key: &'static str, default: u64) -> u64 {
    section.or(key, Bytes(default)).0
}

/// The limits as they are written.
#[derive(Debug, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the fields are the keys of the file"
)]
pub(crate) struct Written {
    line_bytes_max: Bytes,
    packed_bytes_max: Bytes,
    unpacked_bytes_max: Bytes,
    unpacked_ratio_max: u64,
    zstd_window_log_max: u32,
    entries_max: u64,
}

impl From<Limits> for Written {
    fn from(limits: Limits) -> Self {
        Self {
            line_bytes_max: Bytes(limits.line_bytes_max),
            packed_bytes_max: Bytes(limits.packed_bytes_max),
            unpacked_bytes_max: Bytes(limits.unpacked_bytes_max),
            unpacked_ratio_max: limits.unpacked_ratio_max,
            zstd_window_log_max: limits.zstd_window_log_max,
            entries_max: limits.entries_max,
        }
    }
}
