//! Limits that the reader enforces while reading, so that a hostile file costs
//! bounded memory and time.

/// How much of a manifest is read before it is refused.
///
/// The defaults admit every manifest that the writer writes, up to
/// [`ENTRIES_MAX`] dataset lines; a site may set others. Nesting is bounded
/// too, but not here: `serde_json` refuses JSON 128 levels deep, a constant of
/// its own, and passes over unknown fields without descending into them; free
/// values may nest 100 levels, so that the lines that hold them stay below that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest line, in bytes.
    pub line_bytes_max: u64,
    /// Most bytes of the file as it lies there.
    pub packed_bytes_max: u64,
    /// Most bytes after unpacking.
    pub unpacked_bytes_max: u64,
    /// Most unpacked bytes per packed byte, counted once the first MiB is unpacked.
    pub unpacked_ratio_max: u64,
    /// Base-2 logarithm of the largest zstd window, in bytes.
    pub zstd_window_log_max: u32,
    /// Most dataset lines.
    pub entries_max: u64,
}

/// 1 MiB. A dataset line stays below 64 KiB, for a path ends at 4,095 bytes; but
/// the header defines all dataset types of a run in one line, and a full
/// processing run has several hundred, of about 150 bytes each.
pub const LINE_BYTES_MAX: u64 = 1 << 20;

/// 2 GiB unpacked: 5,000,000 dataset lines of 263 bytes, the average seen, are
/// 1.3 GB, and longer paths must fit too.
pub const UNPACKED_BYTES_MAX: u64 = 2 << 30;

/// 2 GiB packed: a plain file is packed and unpacked in one.
pub const PACKED_BYTES_MAX: u64 = UNPACKED_BYTES_MAX;

/// Fifty to one. Honest manifests pack about nine to one and, since UUIDs are random, hardly
/// above twenty; a bomb packs a thousand to one and more.
pub const UNPACKED_RATIO_MAX: u64 = 50;

/// 8 MiB (2^23): what zstd levels 1 to 19 use at most.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// 5,000,000: five times the largest run foreseen. A larger one is split into
/// several generations.
pub const ENTRIES_MAX: u64 = 5_000_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: LINE_BYTES_MAX,
            packed_bytes_max: PACKED_BYTES_MAX,
            unpacked_bytes_max: UNPACKED_BYTES_MAX,
            unpacked_ratio_max: UNPACKED_RATIO_MAX,
            zstd_window_log_max: ZSTD_WINDOW_LOG_MAX,
            entries_max: ENTRIES_MAX,
        }
    }
}
